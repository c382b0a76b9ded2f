"""Requests that open something new: an emergency call, a desk dialling in, a registration, a question, a text.

in → out: a request and who its sender is → the machine it makes or concerns, or a refusal that says what the RFC wants
said. Default deny; an emergency INVITE is never refused for who sends it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import structs

from pbx import claims, identity, proxied
from pbx.binding import Binding
from pbx.call import (
    emergency_call,
    half_open,
    indialog,
    owners,
    refer,
    referral,
    seats,
    texting,
    trunk_arrival,
)
from pbx.call import room as rooms
from pbx.call.effects import AnswerOnce, Effect, Item, MoveFlow, Note, Respond, SendRequest
from pbx.call.emergency_call import Said
from pbx.call.exchange import Exchange
from pbx.call.leg import Leg
from pbx.call.moved import fitted, hops, reroute
from pbx.call.moved import move as move_dialogs
from pbx.call.newcomer import with_contact
from pbx.call.owner import Owner
from pbx.call.watching import Watching
from pbx.flows import FlowMoved, Flows
from pbx.guard.buckets import Buckets, Limit
from pbx.packages import table
from pbx.proxied import is_direct
from pbx.registrar import BindingAdded, BindingRefreshed, Registrar
from pbx.registrar import Effect as BindingChange
from pbx.sip import acceptance
from pbx.sip import refer as read_refer
from pbx.sip.effects import RequestArrived, ResponseArrived, TransactionFailed
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.outgoing import MAX_DATAGRAM, VIA_BYTES
from pbx.sip.wakeups import earliest
from pbx.targets import FeatureCode, feature_code
from pbx.ways import Again, Reached, Ways

SCHEMES: Final = frozenset({"sip", "sips", "tel", "urn"})

PER_IDENTITY: Final = Limit(20, 100)
"""Requests of one account, wherever from; a desk's phone sends one a minute."""
MAX_IDENTITIES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Registrations:
    """Who may register and where phones are."""

    registrar: Registrar
    gate: identity.Authenticator
    jitter: Callable[[], float]
    """Draws −1…1 for each registration, to spread the refreshes."""
    changed: Callable[[Sequence[BindingChange]], None]
    """Hears of bindings that came and went."""
    per_identity: Limit = PER_IDENTITY
    flows: Flows = field(default_factory=Flows)
    """Which flow leads to a phone now."""
    is_proxy: Callable[[str], bool] = lambda _host: False
    """Tells whether an IP address is that of a proxy in front of us, whose Path is followed."""


class Answering:
    """See the module."""

    def __init__(self, exchange: Exchange, registrations: Registrations) -> None:
        self._exchange = exchange
        self._phones = registrations
        self.watching = Watching(exchange, registrations.registrar, registrations.gate)
        exchange.directory = self
        self._ways = Ways(registrations.registrar.lookup)
        self._identities: Buckets[str] = Buckets(registrations.per_identity, MAX_IDENTITIES)

    def bindings(self, account: identity.Account, now: float) -> tuple[Binding, ...]:
        """Return the phones of an account, the newest first."""
        return self._phones.registrar.lookup(account.aor, now)

    def account(self, user: str) -> identity.Account | None:
        """Return an account by its user name."""
        return self._phones.gate.account(user)

    def phones(self, user: str, now: float) -> Sequence[Binding]:
        """Return the phones of a user, the newest first."""
        account = self.account(user)
        return () if account is None else self.bindings(account, now)

    def flow_failed(self, flow: Flow, now: float) -> list[Effect]:
        """Forget the bindings behind a broken connection; dialogs go over another flow of the same phone, if there is
        one. What came through a proxy is reached over a new connection to that.
        """
        if not flow.id:
            # No connection but a road, of datagrams or to a proxy that is being restarted: what could not be sent now says
            # nothing of the next attempt, and a phone that is gone ends its registration by silence.
            return []
        registrar = self._phones.registrar
        moved = self._phones.flows.failed(flow, now)
        new = proxied.way_back(flow, [*registrar.paths(flow), *hops(self._exchange, flow)])
        if new is not None:
            registrar.move(flow, new)
            moved.append(FlowMoved(flow, new))
        changed = self._bindings_changed(registrar.flow_failed(flow), now)
        return [*self._moved(moved), *changed]

    def _is_proxy(self, flow: Flow) -> bool:
        """Tell whether a proxy of ours is at the other end. Behind a WebSocket stands a web server at most: what it passes on
        is a phone's own words.
        """
        return not flow.web and self._phones.is_proxy(flow.remote[0])

    def adopt(self, bindings: Sequence[Binding], now: float) -> list[Effect]:
        """Take in phones that were registered before a restart; nothing is written of them, for it stands there already."""
        added = self._phones.registrar.adopt(bindings, now)
        for change in added:
            self._phones.flows.registered(change.binding, direct=change.binding.direct)
            self._ways.registered(change.binding)
        return self.watching.registered(added, now)

    def _bindings_changed(self, changes: Sequence[BindingChange], now: float) -> list[Effect]:
        self._phones.changed(changes)
        return self.watching.registered(changes, now)

    def road(self, request: Request, flow: Flow) -> Flow:
        """Return the flow a request of ours takes to where `flow` leads.

        RFC 3261 §18.1.1: "If a request is within 200 bytes of the path MTU, or if it is larger than 1300 bytes and the
        path MTU is unknown, the request MUST be sent using an RFC 2914 congestion controlled transport protocol, such as
        TCP." It is, when the phone has such a flow; to open one that its NAT will not let in would cost the call.
        """
        if flow.reliable or len(request.encode()) + VIA_BYTES <= MAX_DATAGRAM:
            return flow
        return self._phones.flows.reliable(flow) or flow

    def leaves(self, ref: str, request: Request, flow: Flow) -> Flow:
        """Return the flow a request of ours takes, and remember that it takes it."""
        road = self.road(request, flow)
        self._ways.sent(ref, request, road)
        return road

    def cancelled(self, ref: str) -> None:
        """Hear that a request of ours is wanted no more."""
        self._ways.cancelled(ref)

    def other_way(self, event: ResponseArrived | TransactionFailed, now: float) -> SendRequest | None:
        """Return the request again, over another way to its phone; None: how it ended is for whoever sent it."""
        match self._ways.ended(event, now):
            case Again(ref, request, phone):
                return SendRequest(ref, fitted(self._exchange, request, phone.flow), phone.flow)
            case Reached(ref, phone):
                reroute(self._exchange, ref.split("/")[0], phone)
        return None

    def _moved(self, moved: Sequence[FlowMoved]) -> list[Effect]:
        for move in moved:
            move_dialogs(self._exchange, move.old, move.new)
            self.watching.notifier.move(move.old, move.new)
        return [MoveFlow(move.old, move.new) for move in moved]

    @property
    def next_due(self) -> float | None:
        """When the next registration or subscription ends."""
        return earliest(self._phones.registrar.next_due, self.watching.next_due)

    def expire(self, now: float) -> list[Effect]:
        """Forget registrations and subscriptions that ended; tell watchers what had to wait."""
        ended = self._phones.registrar.expire(now)
        for change in ended:
            self._phones.flows.removed(change.binding, now)
        return [*self._bindings_changed(ended, now), *self.watching.expire(now)]

    # --- requests -------------------------------------------------------------------------------------------------

    def help_from(self, event: RequestArrived) -> str | None:
        """Return the IP address a call for help comes from, the phone's own where a proxy of ours tells; None: it is none."""
        request, flow = event.request, event.flow
        if request.method != "INVITE" or request.to.tag is not None:
            return None
        trunk = trunk_arrival.trunk_of(self._exchange, flow, ())
        meant = request if trunk is None else trunk_arrival.called(request, trunk)
        if not self._phones.gate.is_for_help(meant.uri):
            return None
        heard = proxied.heard(request) if self._is_proxy(flow) else None
        return flow.remote[0] if heard is None else heard[1]

    def request(self, event: RequestArrived, now: float, wall: float) -> list[Effect]:
        """Answer a request; those in a call's dialog go to their leg. `wall`: seconds since 1970."""
        said = event.request
        request, ignored = claims.strip(said)
        if ignored:
            event = structs.replace(event, request=request)
        made = referral.in_own_dialog(self._exchange, request)
        if request.to.tag is not None and made is None and not self.watching.holds(request):
            return self._exchange.in_dialog(event, now)
        try:
            items = (
                self._open(event, now, wall, Said(said, ignored))
                if made is None
                else referral.subscribed(self._exchange, made, event.transaction, request)
            )
        except SipError as error:
            items = [Respond(event.transaction, self._refusal(request, error.status, error.headers))]
        return self._exchange.run([self._finished(item) for item in items], now)

    def _finished(self, item: Item) -> Item:
        """Turn into an answer that leaves no trace here what refuses something new, or says what we can do to whoever asks: either
        can be said again. Give what opens no dialog its tag all the same.
        """
        match item:
            case Respond(transaction, response) if (
                response.status >= 300 or response.cseq.method == "OPTIONS"
            ):
                return AnswerOnce(transaction, response)
            case Respond(_, response) if response.to.tag is None:
                response.tag(self._exchange.mint("tag"))
        return item

    def _refusal(self, request: Request, status: int, headers: Sequence[tuple[str, str]] = ()) -> Response:
        return request.response(status, to_tag=self._exchange.mint("tag"), headers=headers)

    def _open(self, event: RequestArrived, now: float, wall: float, said: Said) -> list[Item]:
        request = event.request
        if request.uri.scheme not in SCHEMES and request.method in indialog.OPENING:
            return [Respond(event.transaction, self._refusal(request, 416))]
        read_refer.check_method(request)
        if request.method == "SUBSCRIBE":
            table.read(request)  # what nobody could have is refused before anybody is asked for a password
        source = event.flow.remote[0]
        heard = proxied.heard(request) if self._is_proxy(event.flow) else None
        registered = self._phones.registrar.speaking(event.flow, heard, now)
        trunk = trunk_arrival.trunk_of(self._exchange, event.flow, registered)
        if trunk is not None:
            request = trunk_arrival.called(request, trunk)
            event = structs.replace(event, request=request)
        verdict = self._phones.gate.check(
            request,
            now,
            source if heard is None else heard[1],
            to_tag=self._exchange.mint("tag"),
            registered=registered,
            trunk=trunk is not None,
        )
        trunk = trunk or trunk_arrival.proved(self._exchange, verdict)
        if isinstance(verdict, identity.Authenticated) and request.method == "INVITE" and verdict.emergency:
            # An emergency call may ask for any extension: it gets the call without it.
            return emergency_call.begin(
                self._exchange, event, verdict, verdict.emergency, now, said=said, trunk=trunk
            )
        acceptance.check_require(request)
        if trunk is not None and request.method == "INVITE":
            return [Respond(event.transaction, self._refusal(request, 404, (trunk_arrival.UNKNOWN_NUMBER,)))]
        if not isinstance(verdict, identity.Authenticated):
            return [Respond(event.transaction, verdict.response)]
        if request.method == "OPTIONS" and self._exchange.draining:
            # RFC 3261 §11.2: the answer is the one an INVITE would get.
            return [Respond(event.transaction, self._refusal(request, 503, (("Retry-After", "10"),)))]
        if request.method == "OPTIONS":
            return [Respond(event.transaction, indialog.other(request))]
        assert verdict.account is not None, "everything but OPTIONS and emergency calls needs an account"
        user = verdict.account.user
        if not self._identities.take(user, now):
            return [Respond(event.transaction, self._refusal(request, 503, (("Retry-After", "5"),)))]
        told = {"user": user, "headers": list(said.ignored)}
        notes = [Note("claims_ignored", None, told)] if said.ignored else []
        return [*notes, *self._allowed(event, verdict.account, now, wall)]

    def _allowed(
        self, event: RequestArrived, account: identity.Account, now: float, wall: float
    ) -> list[Item]:
        request = event.request
        match request.method:
            case "REGISTER":
                response, effects = self._phones.registrar.register(
                    request,
                    event.flow,
                    account.aor,
                    now,
                    wall,
                    to_tag=self._exchange.mint("tag"),
                    jitter=self._phones.jitter(),
                    trusted=self._is_proxy(event.flow),
                )
                followed = self._follow(request, effects, now)
                changed = self._bindings_changed(effects, now)
                return [Respond(event.transaction, response), *followed, *changed]
            case "INVITE":
                acceptance.check_body(request)
                return self._from_desk(event, account, now)
            case "MESSAGE":
                return self._text(event, account, now)
            case "SUBSCRIBE":
                return self.watching.subscribe(event, account, now)
            case "REFER":
                _, desk = self._phones.gate.seat(request.uri)
                refer.check_may(self._exchange, account.user, desk)
                return refer.to_focus(self._exchange, structs.replace(event, request=request), desk, now)
        # What opens nothing and belongs to no dialog (RFC 3261 §12.2.2).
        return [Respond(event.transaction, self._refusal(request, 481))]

    def _follow(self, request: Request, changes: Sequence[BindingChange], now: float) -> list[Effect]:
        """Let the dialogs of a phone go where it registered from."""
        moved = []
        for change in changes:
            if isinstance(change, BindingAdded | BindingRefreshed):
                moved += self._phones.flows.registered(change.binding, direct=is_direct(request))
                self._ways.registered(change.binding)
            else:
                self._phones.flows.removed(change.binding, now)
        return self._moved(moved)

    # --- INVITE -----------------------------------------------------------------------------------------------------

    def _from_desk(self, event: RequestArrived, account: identity.Account, now: float) -> list[Item]:
        """Take the INVITE of a dispatcher's phone: a feature code, another desk, or a dialog of its own to replace."""
        exchange, request = self._exchange, event.request
        replaced = read_refer.replaces_of(request)
        if replaced is not None:
            refer.check_permanent(exchange, account.user, replaced)
            half_open.check_others(exchange, account.user)
            request = with_contact(request, event.flow)
            return seats.dial_in(exchange, account.user, event.transaction, request, event.flow, now=now)
        if feature_code(request.uri) is None:
            target, desk = self._phones.gate.seat(request.uri)
            if target == "room":
                raise SipError(403)
            second = structs.replace(event, request=with_contact(request, event.flow))
            call = refer.second_call if target == "seat" else refer.second_call_outside
            return call(exchange, second, account.user, desk, now)
        return self._feature(event, account, now)

    def _feature(self, event: RequestArrived, account: identity.Account, now: float) -> list[Item]:
        exchange, request = self._exchange, event.request
        code = feature_code(request.uri)
        if code is None:
            return [Respond(event.transaction, self._refusal(request, 404))]
        half_open.check_others(exchange, account.user)
        request = with_contact(request, event.flow)
        if code is FeatureCode.SIGN_IN:
            return seats.dial_in(exchange, account.user, event.transaction, request, event.flow, now=now)
        room = exchange.room(account.user)
        if not room.present:
            return [Respond(event.transaction, self._refusal(request, 480))]
        # The phone hears the short tone that says "done" and is hung up.
        leg, opening = Leg.incoming(
            exchange.mint("leg"),
            request,
            event.flow,
            event.transaction,
            local_tag=exchange.mint("tag"),
            session=exchange.session(),
            contact=exchange.contact(room.id, event.flow, secure=request.uri.scheme == "sips"),
            setup=exchange.setup(event.flow, account.user),
            evidence=None,
            now=now,
        )
        exchange.add_leg(leg, Owner("feature", account.user), event.transaction)
        return [*opening, *room.receive(rooms.Feature(code.value))]

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _text(self, event: RequestArrived, account: identity.Account, now: float) -> list[Item]:
        """Give a text to the call of the same person; without a call nobody would read it, and the sender is told."""
        response, text = indialog.message(acceptance.unpacked(event.request, patient=True))
        target, desk = self._phones.gate.seat(event.request.uri)
        if target == "room" and desk != account.user:
            raise SipError(403)
        call = next((c for c in self._exchange.calls.values() if c.caller.user == account.user), None)
        if call is None and account.kind == "dispatcher" and text is not None:
            passed = texting.outside(self._exchange, account.user, text)
            return [Respond(event.transaction, response), *passed]
        if call is None and response.status == 200:
            return [Respond(event.transaction, self._refusal(event.request, 480))]
        if call is None or response.status != 200:
            return [Respond(event.transaction, response)]
        written = [] if text is None else owners.texted(self._exchange, call.id, text)
        told = self._exchange.whereabouts.heard(call.id, event.request, now)
        return [Respond(event.transaction, response), *written, *told]
