"""Who watches what: the notifier of RFC 6665 as a machine. It finds subscriptions and forwards to them.

in → out: SUBSCRIBEs of proved accounts with what they ask about, changes of what is watched, answers to NOTIFYs, time →
responses and NOTIFYs. Who may watch what is decided before (`identity.RULES`); what a document says stands in `packages`.

Not done: several subscriptions in one dialog (RFC 6665 §4.5.2 has them die out), PUBLISH, subscriptions made by REFER.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from pbx.call.agenda import Agenda
from pbx.call.effects import Respond, SendRequest
from pbx.packages.table import ALLOW_EVENTS, Document, Wish
from pbx.sip.dialog import Dialog, request_key
from pbx.sip.effects import RequestArrived, ResponseArrived, TransactionFailed
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr
from pbx.subscription import Subscription, Topic

MAX_SUBSCRIPTIONS: Final = 20_000
"""All together: 100 phones with 200 lamps each; about 6 KiB a piece."""
MAX_PER_USER: Final = 1_024
"""Of one account: three lamps for each of 300 seats. A phone that forgets its subscriptions at every crash comes here; the
oldest ones give way, for refusing the new ones would leave the dispatcher without lamps."""
BATCH: Final = 16
"""NOTIFYs of one change that leave at once, about 3 ms of work; the others follow in steps, so that a seat all are watching
holds up no call."""
STEP_SECONDS: Final = 0.005
RETRY_SECONDS: Final = 10
"""After a planned stop watchers come back between this and three times this many seconds later."""

REF: Final = "notify/"
"""Begins the `ref` of every request sent here."""

NOBODY: Final[frozenset[str]] = frozenset()

Effect = Respond | SendRequest
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Watch:
    """What an accepted SUBSCRIBE is about."""

    user: str
    topic: Topic
    wish: Wish
    document: Document
    """What the resource is now."""
    contact: NameAddr
    """Ours, in this dialog."""


class Notifier:
    """See the module."""

    def __init__(self) -> None:
        self._count = 0
        self._subscriptions: dict[str, Subscription] = {}
        self._dialogs: dict[tuple[str, str, str], str] = {}
        self._topics: dict[Topic, dict[str, None]] = {}
        self._users: dict[str, dict[str, None]] = {}
        self._agenda = Agenda()

    def __len__(self) -> int:
        return len(self._subscriptions)

    # --- SUBSCRIBE --------------------------------------------------------------------------------------------------

    def holds(self, request: Request) -> bool:
        """Whether a request with a To tag belongs to the dialog of a subscription."""
        return request_key(request) in self._dialogs

    def subscribe(self, event: RequestArrived, watch: Watch, now: float, *, tag: str) -> list[Effect]:
        """Take a SUBSCRIBE without To tag. `tag`: fresh random text. Raises SipError 400 or 503."""
        request = event.request
        dialog = Dialog.uas(request, local_tag=tag, contact=watch.contact)
        if not dialog.remote_target.is_sip:
            raise SipError(400, "Contact Is No SIP URI")
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise SipError(503, headers=[("Retry-After", "60")])
        dialog.confirm()
        self._count += 1
        made = Subscription(
            id=str(self._count),
            user=watch.user,
            topic=watch.topic,
            event=watch.wish.event,
            dialog=dialog,
            flow=event.flow,
            expires_at=now + watch.wish.seconds,
            current=watch.document,
        )
        out: list[Effect] = []
        mine = self._users.get(watch.user, {})
        if len(mine) >= MAX_PER_USER and watch.wish.seconds:
            # "rejected" keeps the watcher from asking again at once, which would drive out the next one, and so on.
            out += self._end(self._subscriptions[next(iter(mine))], "rejected", now)
        accepted = self._accepted(event, watch, tag=tag)
        if watch.wish.seconds == 0:
            return [*out, accepted, made.end("timeout", now)]
        self._add(made)
        return [*out, accepted, *self._told(made, made.tell_all(now))]

    def refresh(self, event: RequestArrived, watch: Watch, now: float) -> list[Effect]:
        """Take a SUBSCRIBE inside the dialog of a subscription. Raises SipError 403, 481 or 500."""
        request = event.request
        found = self._subscriptions.get(self._dialogs.get(request_key(request), ""))
        if found is None:
            raise SipError(481)
        if found.user != watch.user or (found.topic, found.event) != (watch.topic, watch.wish.event):
            raise SipError(403)
        found.dialog.receive(request)
        found.flow = event.flow
        found.expires_at = now + watch.wish.seconds
        found.current = watch.document
        accepted = self._accepted(event, watch, tag=found.dialog.local_tag)
        if watch.wish.seconds == 0:
            return [accepted, *self._end(found, "timeout", now)]
        return [accepted, *self._told(found, found.tell_all(now))]

    def _accepted(self, event: RequestArrived, watch: Watch, *, tag: str) -> Respond:
        # RFC 6665 §4.2.1.1: the 200 states the granted Expires; it makes a dialog, so it has our Contact.
        headers = (("Expires", str(watch.wish.seconds)), ("Contact", str(watch.contact)), ALLOW_EVENTS)
        return Respond(event.transaction, event.request.response(200, to_tag=tag, headers=headers))

    def move(self, old: Flow, new: Flow) -> None:
        """Let the subscriptions of a phone that went from one flow to another follow it (RFC 5626)."""
        for found in self._subscriptions.values():
            if found.flow == old:
                found.flow = new

    # --- changes ----------------------------------------------------------------------------------------------------

    def watched(self, topic: Topic) -> bool:
        """Say whether anybody watches something; if not, nobody need look at it."""
        return bool(self._topics.get(topic))

    def watchers(self, topic: Topic) -> frozenset[str]:
        """Return the users who watch something."""
        keys = self._topics.get(topic)
        return frozenset(self._subscriptions[key].user for key in keys) if keys else NOBODY

    def change(self, topic: Topic, document: Document | None, now: float) -> list[Effect]:
        """Hear what a resource is now, None when it is no more. What changed nothing tells nobody."""
        out: list[Effect] = []
        for number, key in enumerate(list(self._topics.get(topic, ()))):
            found = self._subscriptions[key]
            if document is None:
                out += self._end(found, "noresource", now)
                continue
            if found.current == document:
                continue
            waits = found.pending
            found.current = document
            if number >= BATCH and not waits:  # who waits already is not put off again
                found.earliest = max(found.earliest, now + number // BATCH * STEP_SECONDS)
            out += self._told(found, found.tell(now))
        return out

    @property
    def topics(self) -> Collection[Topic]:
        """What anybody watches; it changes as they come and go."""
        return self._topics.keys()

    def forbid(self, user: str, now: float, topic: Topic | None = None) -> list[Effect]:
        """End what an account watches, or only this: it may not any more."""
        mine = [key for key in self._users.get(user, ()) if topic in {None, self._subscriptions[key].topic}]
        return self._end_all(mine, "rejected", now)

    def close(self, now: float) -> list[Effect]:
        """End everything: the exchange is being stopped. Watchers come back spread out."""
        out: list[Effect] = []
        for number, key in enumerate(list(self._subscriptions)):
            wait = RETRY_SECONDS + number % (2 * RETRY_SECONDS)
            out += self._end(self._subscriptions[key], f"probation;retry-after={wait}", now)
        return out

    # --- answers and time -------------------------------------------------------------------------------------------

    def outcome(self, event: ResponseArrived | TransactionFailed, now: float) -> list[Effect]:
        """Hear what became of a NOTIFY."""
        found = self._subscriptions.get(event.ref.split("/")[1])
        if found is None:
            return []
        # RFC 6665 §4.2.2: a NOTIFY that nobody answers ends the subscription: the phone is gone.
        if isinstance(event, TransactionFailed) or not found.answered(event.response, now):
            self._drop(found)
            return []
        return self._told(found, found.tell(now))

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        return self._agenda.next_due

    def expire(self, now: float) -> list[Effect]:
        """Tell what had to wait; end what was not refreshed."""
        out: list[Effect] = []
        for key in list(self._agenda.expired(now)):
            found = self._subscriptions[key]
            if now >= found.expires_at:
                out += self._end(found, "timeout", now)
            else:
                out += self._told(found, found.tell(now))
        return out

    # --- small pieces -----------------------------------------------------------------------------------------------

    def _add(self, made: Subscription) -> None:
        self._subscriptions[made.id] = made
        self._dialogs[made.dialog.key] = made.id
        self._topics.setdefault(made.topic, {})[made.id] = None
        self._users.setdefault(made.user, {})[made.id] = None

    def _told(self, found: Subscription, effects: Sequence[SendRequest]) -> list[Effect]:
        """Look at a subscription's wake-up again after something happened to it."""
        self._agenda.set(found.id, found.next_due)
        return [*effects]

    def _end(self, found: Subscription, reason: str, now: float) -> list[Effect]:
        self._drop(found)
        return [found.end(reason, now)]

    def _end_all(self, keys: Iterable[str], reason: str, now: float) -> list[Effect]:
        return [e for key in list(keys) for e in self._end(self._subscriptions[key], reason, now)]

    def _drop(self, found: Subscription) -> None:
        del self._subscriptions[found.id], self._dialogs[found.dialog.key]
        _discard(self._topics, found.topic, found.id)
        _discard(self._users, found.user, found.id)
        self._agenda.set(found.id, None)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "count": self._count,
            "subscriptions": [found.snapshot() for found in self._subscriptions.values()],
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Make the notifier that `snapshot` described."""
        self = cls()
        self._count = data["count"]
        for packed in data["subscriptions"]:
            found = Subscription.restore(packed)
            self._add(found)
            self._told(found, ())
        return self


def _discard(index: dict[K, dict[str, None]], key: K, member: str) -> None:
    del index[key][member]
    if not index[key]:
        del index[key]
