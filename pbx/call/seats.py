"""Verbs of the desks: sign in, sign out, pause, resume, end the present call.

in → out: (exchange, desk, now) → effects. A verb that can't be done raises `Impossible`.
"""

from pbx.binding import Binding
from pbx.call import room as rooms
from pbx.call import seat_call, visits
from pbx.call.call_events import ToAcd
from pbx.call.effects import Effect, Item, Note
from pbx.call.exchange import DESK_PATIENCE, Exchange
from pbx.call.impossible import REASONS, Impossible
from pbx.call.leg import Leg
from pbx.call.owner import Owner
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from routing.acd import DeskPauses, DeskState

__all__ = [
    "REASONS",
    "Impossible",
    "dial_in",
    "end_call",
    "pause",
    "resume",
    "seat_state",
    "sign_in",
    "sign_out",
]


def sign_in(
    exchange: Exchange, desk: str, bindings: tuple[Binding, ...], now: float, agent: str | None = None
) -> list[Effect]:
    """Call the desk's phone, once; its leg stays for the shift.

    `bindings`: the phones registered for the desk, the newest first; `agent`: who sits there. Raises `Impossible`.
    """
    room = exchange.room(desk)
    if room.state is not rooms.State.ABSENT:
        raise Impossible("signed_in")
    if not bindings:
        raise Impossible("not_registered")
    return exchange.run(seat_call.begin(exchange, desk, bindings[0], now, agent), now)


def dial_in(
    exchange: Exchange, desk: str, transaction: str, request: Request, flow: Flow, *, now: float
) -> list[Item]:
    """Take the call of a desk's phone to `*10` as its permanent leg. Raises `SipError`."""
    room = exchange.room(desk)
    # A leg that this one replaces takes its visitors along, and its own visit.
    gone = visits.leg_ended(exchange, desk, now) if room.present else []
    leg, effects = Leg.incoming(
        exchange.mint("leg"),
        request,
        flow,
        transaction,
        local_tag=exchange.mint("tag"),
        session=exchange.session(),
        contact=exchange.focus(room.id, flow, secure=request.uri.scheme == "sips"),
        setup=exchange.setup(flow, desk, urgent=True),
        evidence=None,
        now=now,
        patience=DESK_PATIENCE,
    )
    exchange.add_leg(leg, Owner("desk", desk), transaction)
    return [*gone, *room.receive(rooms.SignsIn(leg.id)), *effects]


def sign_out(exchange: Exchange, desk: str, now: float) -> list[Effect]:
    """Hang up the permanent leg; a caller in front goes to the head of the queue. Raises `Impossible`."""
    if exchange.room(desk).state is rooms.State.ABSENT:
        raise Impossible("signed_out")
    return exchange.run(exchange.room(desk).receive(rooms.Feature("sign_out")), now)


def pause(exchange: Exchange, desk: str, now: float, reason: str = "") -> list[Effect]:
    """Give the desk no further caller, for this reason. Raises `Impossible`."""
    if not exchange.room(desk).present:
        raise Impossible("signed_out")
    noted = Note("desk_pauses", None, {"desk": desk, "reason": reason})
    return exchange.run([noted, ToAcd(DeskPauses(desk, reason))], now)


def resume(exchange: Exchange, desk: str, now: float) -> list[Effect]:
    """Give the desk callers again. Raises `Impossible`."""
    return _signed_in(exchange, desk, "*12", now)


def end_call(exchange: Exchange, desk: str, now: float) -> list[Effect]:
    """End the desk's present call. Raises `Impossible`."""
    if exchange.room(desk).guest is None:
        raise Impossible("no_call")
    return _signed_in(exchange, desk, "*13", now)


def _signed_in(exchange: Exchange, desk: str, code: str, now: float) -> list[Effect]:
    if not exchange.room(desk).present:
        raise Impossible("signed_out")
    return exchange.run(exchange.room(desk).receive(rooms.Feature(code)), now)


def seat_state(exchange: Exchange, desk: str) -> str:
    """Return what a desk is, derived from its room and the queue: `signed_out`, `calling`, `free` and so on."""
    room = exchange.rooms.peek(desk)
    if room is None or room.state is rooms.State.ABSENT:
        return "signed_out"
    if room.state is rooms.State.JOINING:
        return "calling"
    found = exchange.acd.desk(desk)
    if found is None:
        return "signed_out"
    return {DeskState.IDLE: "free", DeskState.TALKING: "busy"}.get(found.state, str(found.state))
