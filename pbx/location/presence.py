"""Locations by reference that are told by SIP presence: the subscriber of RFC 6665 (RFC 6442 §4.6, RFC 3856). Pure.

in → out: a reference and the road to it, NOTIFYs, outcomes of SUBSCRIBEs, time → SUBSCRIBEs, answers, `Told` for the trail.

    ASKED ─NOTIFY─▶ ACTIVE ─refresh is due─▶ ACTIVE
      └─silent, refused, ended─▶ WAITING ─▶ ASKED once more; the second time OVER
    any ─call ended─▶ ENDING (Expires: 0) ─last NOTIFY, or silence─▶ forgotten

Where a reference may lead is decided before (`pbx.call.by_presence`). A call never waits for any of this.

Not done: credentials for a server that asks for them, several dialogs of one forked SUBSCRIBE, partial documents (RFC 5262).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from pbx.call.effects import Note, Respond, SendElsewhere, SendRequest
from pbx.location.header import error as geolocation_error
from pbx.location.header import geolocation
from pbx.location.pidf import Located
from pbx.location.presence_subscription import Road, State, Subscription, notified_dialog, pack, unpack
from pbx.sip import acceptance, grammar
from pbx.sip.dialog import Dialog, response_key
from pbx.sip.effects import RequestArrived, ResponseArrived, TransactionFailed
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.uri import NameAddr
from pbx.sip.wakeups import earliest

MAX_PER_CALL: Final = 2
"""References of one call that are ever followed: a phone names its network's server, and itself."""
MAX_SUBSCRIPTIONS: Final = 500
"""All together, those that are saying goodbye included: 200 calls with both."""
MAX_EXPIRES: Final = 3600
"""Seconds a server may make us ask for by 423."""
NOTIFY_SECONDS: Final = 10.0
"""How long the first NOTIFY is waited for. RFC 6665 §4.1.2.4 waits 64·T1 (timer N, 32 s); a dispatcher has asked by then."""
RETRIES: Final = 1
"""In a row; a location that was told makes good for one that failed."""
RETRY_SECONDS: Final = 2.0
MAX_RETRY: Final = 60.0
"""Seconds a `retry-after` may put off the retry."""
GOODBYE_SECONDS: Final = 32.0
"""64·T1: how long the last NOTIFY is waited for, so that it is answered 200."""

# RFC 6665 §4.1.2.2: answers to a refresh that end the subscription; after any other the old one lasts until it expires.
ENDS: Final = frozenset({404, 405, 410, 416, *range(480, 486), 489, 501, 604})
# Answers after which it may go better a moment later; 481: the server forgot us.
PASSING: Final = frozenset({408, 480, 481, 500, 502, 503, 504})
# RFC 6665 §4.1.3: after these reasons a new subscription may be tried, after rejected, noresource and invariant it may not.
AGAIN: Final = frozenset({"deactivated", "probation", "timeout", "giveup"})

Mint = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Follow:
    """Subscribe to the presence URI a caller gave for its place, if it may be."""

    call: str
    uri: str


@dataclass(frozen=True, slots=True)
class Told:
    """A NOTIFY said where the caller of `call` is; `by` as in `trail.Entry`."""

    call: str
    uri: str
    by: str
    found: tuple[Located, ...]


Item = Respond | SendRequest | SendElsewhere | Note | Told


class Presence:
    """All such subscriptions."""

    def __init__(self, mint: Mint) -> None:
        """`mint` makes ids nobody guesses: `sip_call`, `tag`."""
        self._mint = mint
        self._count = 0
        self._all: dict[int, Subscription] = {}
        self._calls: dict[str, list[int]] = {}
        self._by_call_id: dict[str, int] = {}
        self.changed = False
        """For whoever keeps a journal; it takes it back."""

    def __len__(self) -> int:
        return sum(one.state is not State.OVER for one in self._all.values())

    def call_of(self, sip_call_id: str) -> str | None:
        """Return the call whose evidence messages with this Call-ID are; None when it is over."""
        found = self._all.get(self._by_call_id.get(sip_call_id, 0))
        return None if found is None or found.state is State.ENDING else found.call

    # --- in -----------------------------------------------------------------------------------------------------

    def follow(self, call: str, uri: str, road: Road, now: float) -> list[Item]:
        """Subscribe to a reference of a call. One that is followed already is left alone."""
        mine = self._calls.get(call, [])
        if any(self._all[key].uri == uri for key in mine):
            return []
        if len(mine) >= MAX_PER_CALL or len(self) >= MAX_SUBSCRIPTIONS:
            return [_unusable(call, uri, "too many subscriptions")]
        self._count += 1
        self.changed = True
        made = Subscription(self._count, call, uri, road)
        self._all[made.id] = made
        self._calls.setdefault(call, []).append(made.id)
        return self._ask(made, now)

    def end(self, call: str) -> None:
        """Hear that a call is over; what has to be said is said by the next `expire`."""
        for key in self._calls.pop(call, ()):
            self.changed = True
            one = self._all[key]
            if one.state in {State.OVER, State.WAITING}:
                self._forget(one)
            else:
                one.state, one.refresh_at, one.due = State.ENDING, None, 0.0

    def found(self, ref: str, flow: Flow, contact: NameAddr) -> None:
        """Hear over which flow a SUBSCRIBE leaves, and what our Contact is there."""
        one = self._asked(ref)
        if one is not None:
            one.flow, one.contact, self.changed = flow, contact, True

    def move(self, old: Flow, new: Flow, contact: NameAddr) -> None:
        """Let what goes to a phone follow it to another flow (RFC 5626), where `contact` is ours."""
        for one in self._all.values():
            self.changed |= one.flow == old
            if one.road.flow == old:
                one.road = replace(one.road, flow=new, contact=contact)
            if one.flow == old:
                one.flow, one.contact = new, contact

    def receive(
        self, event: RequestArrived | ResponseArrived | TransactionFailed, now: float
    ) -> list[Item] | None:
        """Take a NOTIFY, or what became of a SUBSCRIBE. None: a request that is none of ours. Raises SipError."""
        match event:
            case RequestArrived():
                return self._notified(event, now)
            case ResponseArrived(ref, response):
                one = self._asked(ref)
                self.changed |= one is not None
                return [] if one is None or response.status < 200 else self._answered(one, response, now)
            case TransactionFailed(ref, why):
                one = self._asked(ref)
                self.changed |= one is not None
                return [] if one is None else self._refused(one, 408, f"SUBSCRIBE failed: {why}", now)

    def _asked(self, ref: str) -> Subscription | None:
        one = self._all.get(int(ref.split("/")[1]))
        return one if one is not None and one.ref == ref else None

    # --- SUBSCRIBE ------------------------------------------------------------------------------------------------

    def _ask(self, one: Subscription, now: float) -> list[Item]:
        self._by_call_id.pop(one.call_id, None)
        one.call_id, one.tag = self._mint("sip_call"), self._mint("tag")
        self._by_call_id[one.call_id] = one.id
        one.state, one.dialog, one.flow, one.contact = State.ASKED, None, one.road.flow, one.road.contact
        one.refresh_at, one.due = None, now + NOTIFY_SECONDS
        one.number += 1
        if one.flow is not None:
            return [SendRequest(one.ref, one.request(), one.flow)]
        return [SendElsewhere(one.ref, one.request())]

    def _again(self, one: Subscription) -> list[Item]:
        """Refresh, or while ENDING end, what stands."""
        assert one.dialog is not None, "there is a dialog"
        assert one.flow is not None, "a dialog has a flow"
        if one.contact is not None:
            one.dialog.contact = one.contact
        one.number += 1
        return [SendRequest(one.ref, one.dialog.request("SUBSCRIBE", headers=one.headers), one.flow)]

    def _answered(self, one: Subscription, response: Response, now: float) -> list[Item]:
        status = response.status
        if one.state is State.ENDING and (one.said or status >= 300):
            # RFC 6665 §4.4.1: the NOTIFY with "terminated" ends it, not this answer; without a dialog none will come.
            if status >= 300:
                self._forget(one)
            return []
        if status >= 300:
            least = grammar.number(response.headers.get("Min-Expires") or "", MAX_EXPIRES)
            if status == 423 and least is not None and least > one.seconds:
                # RFC 6665 §4.2.1.1 by RFC 3261 §10.2.8: ask for as long as Min-Expires says.
                one.seconds = least
                return self._ask(one, now)
            return self._refused(one, status, f"SUBSCRIBE was answered {status}", now)
        if one.dialog is None:
            one.dialog = Dialog.uac(one.request(), response)
        elif one.dialog.key == response_key(response):
            one.dialog.refresh(response)
        if one.state is State.ENDING:
            return self._say_goodbye(one, now)
        patience = one.due if one.state is State.ASKED else None
        # RFC 6665 §4.1.2.1: the 2xx states the time that was granted, never more than was asked for.
        one.granted(one.seconds if response.expires is None else response.expires, now)
        if patience is not None:
            one.refresh_at, one.due = None, patience  # a NOTIFY is still to come, and tells what is left
        return []

    def _refused(self, one: Subscription, status: int, why: str, now: float) -> list[Item]:
        if one.state is State.ENDING:
            self._forget(one)
            return []
        if one.state is State.ACTIVE and status not in ENDS:
            one.refresh_at = None
            return [_unusable(one.call, one.uri, why)]
        return self._failed(one, why, now, again=status in PASSING)

    def _failed(
        self, one: Subscription, why: str, now: float, *, again: bool, wait: float = 0.0
    ) -> list[Item]:
        self._by_call_id.pop(one.call_id, None)
        one.dialog, one.refresh_at, one.due = None, None, None
        if again and one.tries < RETRIES:
            one.tries += 1
            one.state, one.due = State.WAITING, now + max(RETRY_SECONDS, min(wait, MAX_RETRY))
        else:
            one.state = State.OVER
        return [_unusable(one.call, one.uri, why)]

    def _say_goodbye(self, one: Subscription, now: float) -> list[Item]:
        # RFC 6665 §4.1.2.3: a subscription is ended by a SUBSCRIBE with an Expires of 0; one last NOTIFY follows.
        one.due = now + GOODBYE_SECONDS
        if one.dialog is None:
            return []  # nobody has answered yet; it is said to whoever does
        one.said = True
        return self._again(one)

    def _forget(self, one: Subscription) -> None:
        self._all.pop(one.id, None)
        self._by_call_id.pop(one.call_id, None)

    # --- NOTIFY ---------------------------------------------------------------------------------------------------

    def _notified(self, event: RequestArrived, now: float) -> list[Item] | None:
        request, flow = event.request, event.flow
        one = self._all.get(self._by_call_id.get(request.call_id, 0))
        # RFC 6665 §4.4.1: a NOTIFY is matched by Call-ID, both tags and the event. Of ours it also comes from where the
        # SUBSCRIBE went: tags that somebody read on the way are no right to tell where a caller is.
        if one is None or request.method != "NOTIFY" or request.to.tag != one.tag or one.flow is None:
            return None
        if flow.remote[0] != one.flow.remote[0] or _token(request.headers.get("Event")) != "presence":
            return None
        # RFC 3856 §6.9: one dialog only comes of a SUBSCRIBE, that of the NOTIFY or 2xx that came first.
        if one.dialog is not None and one.dialog.remote_tag != (request.from_.tag or ""):
            return None
        acceptance.check_require(request)
        if acceptance.encodings(request):
            raise SipError(415, headers=(acceptance.NO_ENCODING,))
        stated = request.headers.get("Subscription-State")
        if stated is None:
            raise SipError(400, "Missing Subscription-State")
        fresh = one.dialog is None or one.dialog.remote_seq != request.cseq.number
        self.changed = True
        if one.dialog is None:
            one.dialog = notified_dialog(one, request)
        one.dialog.receive(request)
        ok = request.response(200)
        if not fresh:
            return [Respond(event.transaction, ok)]  # the same words again: they were taken
        if one.state is State.ENDING:
            return [Respond(event.transaction, ok), *self._last(one, stated, now)]
        items, good = _read(one, request)
        if not good:
            # RFC 6442 §4.3: who told an unusable location hears so; it costs neither the subscription nor the call.
            ok = request.response(200, headers=(geolocation_error("cannot_process"),))
        return [Respond(event.transaction, ok), *items, *self._state(one, stated, now)]

    def _last(self, one: Subscription, stated: str, now: float) -> list[Item]:
        if _token(stated) == "terminated":
            self._forget(one)
            return []
        return [] if one.said else self._say_goodbye(one, now)

    def _state(self, one: Subscription, stated: str, now: float) -> list[Item]:
        """Obey the Subscription-State of a NOTIFY (RFC 6665 §4.1.3)."""
        try:
            params = grammar.parse_params(stated, stated.index(";"), "state") if ";" in stated else ()
        except SipError:
            params = ()
        said = {grammar.lower(name): grammar.unquote(value or "") for name, value in params}
        if _token(stated) == "terminated":
            reason = grammar.lower(said.get("reason", "giveup"))
            wait = grammar.number(said.get("retry-after", ""), 86_400) or 0
            return self._failed(
                one, f"the server ended it: {reason[:40]}", now, again=reason in AGAIN, wait=wait
            )
        # RFC 6665 §4.1.2.1: an "expires" of the NOTIFY is the time that is left.
        left = grammar.number(said.get("expires", ""), 4_294_967_295)
        if one.state is State.ASKED or left is not None:
            one.granted(one.seconds if left is None else left, now)
        one.state = State.ACTIVE
        return []

    # --- time -----------------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        if not self._all:
            return None  # asked a dozen times in a call
        return earliest(*(one.next_due for one in self._all.values()))

    def expire(self, now: float) -> list[Item]:
        """Ask, refresh, end, and give up."""
        out: list[Item] = []
        for one in list(self._all.values()):
            if (due := one.next_due) is not None and due <= now:
                self.changed = True
                out += self._expired(one, now)
        return out

    def _expired(self, one: Subscription, now: float) -> list[Item]:
        match one.state:
            case State.WAITING:
                return self._ask(one, now)
            case State.ENDING if one.due == 0.0:
                return self._say_goodbye(one, now)
            case State.ENDING:
                self._forget(one)
                return []
            case State.ASKED:
                return self._failed(one, f"no NOTIFY within {NOTIFY_SECONDS:g} s", now, again=True)
        if one.due is not None and one.due <= now:
            return self._failed(one, "the subscription expired", now, again=True)
        one.refresh_at = None
        return self._again(one)

    # --- what stands ----------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {"count": self._count, "all": [pack(one) for one in self._all.values()]}

    @classmethod
    def restore(cls, data: dict[str, Any], mint: Mint) -> Self:
        """Make the machine that `snapshot` described."""
        self = cls(mint)
        self._count = data["count"]
        for packed in data["all"]:
            one = unpack(packed)
            self._all[one.id] = one
            if one.state is not State.ENDING:
                self._calls.setdefault(one.call, []).append(one.id)
            if one.state in {State.ASKED, State.ACTIVE, State.ENDING}:
                self._by_call_id[one.call_id] = one.id
        return self


def _unusable(call: str, uri: str, why: str) -> Note:
    return Note("location_unusable", call, {"uri": uri, "why": why})


def _token(value: str | None) -> str:
    return "" if value is None else grammar.lower(value.partition(";")[0].strip(" \t"))


def _read(one: Subscription, request: Request) -> tuple[list[Item], bool]:
    """Read the documents of a NOTIFY; (items, whether they could be used). One without a body says nothing yet."""
    if not request.body:
        return [], True
    said = [part for part in geolocation(request).said if part.found or part.fault]
    found = tuple(located for part in said for located in part.found)
    fault = next((part.fault for part in said if part.fault), None if found else "no location in the NOTIFY")
    items: list[Item] = []
    if found:
        one.tries = 0
        items.append(Told(one.call, one.uri, one.road.by, found))
    if fault is not None:
        items.append(_unusable(one.call, one.uri, fault))
    return items, fault is None
