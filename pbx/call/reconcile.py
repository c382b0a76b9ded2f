"""Compares seats, dialogs, rooms and calls, mends what differs and says so: a seat stuck in a state is impossible.

in → out: the exchange as it stands → what makes it consistent again, each thing with a `reconciled` note. In an exchange
without bugs there is nothing to do; a bug costs a second instead of a caller or a seat.

The dialog is the fact: what the SIP leg says wins over the room, the room over the queue, the queue over the call.
"""

from collections.abc import Iterator

from pbx.call import call_events as events
from pbx.call import room as rooms
from pbx.call import talks
from pbx.call.call import Call, State
from pbx.call.calling import CallOfOurs
from pbx.call.effects import Effect, Item, Note
from pbx.call.exchange import Exchange
from pbx.call.leg import State as LegState
from pbx.call.room import Room
from routing.acd import CallEnds, DeskSignsIn, DeskSignsOut, DeskState, ToHead
from routing.moves import DeskReturns, PartyJoins

_OVER = frozenset({LegState.LEAVING, LegState.TERMINATED})


def reconcile(exchange: Exchange, now: float) -> list[Effect]:
    """Look at everything once; call it every second."""
    out = _mended(exchange, _strangers(exchange, now), now)
    for room in list(exchange.rooms.values()):
        out += _mended(exchange, _of_room(exchange, room), now)
    out += _mended(exchange, _of_queue(exchange), now)
    for desk in list(exchange.acd.desks):
        if desk.call is not None:
            out += _mended(exchange, _of_guest(exchange, desk.desk, now), now)
    for call in list(exchange.calls.values()):
        out += _mended(exchange, _of_call(exchange, call), now)
    return out + _mended(exchange, iter(talks.overdue(exchange, now)), now)


def _mended(exchange: Exchange, items: Iterator[Item], now: float) -> list[Effect]:
    """Run what mends something; nearly always there is nothing."""
    found = list(items)
    return exchange.run(found, now) if found else []


def _note(what: str, *, call: str | None = None, desk: str | None = None) -> Note:
    return Note("reconciled", call, {"what": what, "desk": desk})


def _strangers(exchange: Exchange, now: float) -> Iterator[Item]:
    """Nobody is in a room, or thinks so, whom the queue did not send there: first of all, for a room has one guest."""
    acd = exchange.acd
    for room in exchange.rooms.values():
        seat = acd.desk(room.desk)
        if room.guest is not None and (seat is None or seat.call != room.guest):
            yield _note(
                "strange_guest", call=room.guest if room.guest in exchange.calls else None, desk=room.desk
            )
            exchange.rooms.mark(room.desk)
            yield from room.receive(rooms.GuestOut(room.guest))
    for call in list(exchange.calls.values()):
        seat = acd.desk(call.desk or "")
        if call.state is State.TALKING and (seat is None or seat.call != call.id):
            yield _note("not_at_desk", call=call.id, desk=call.desk)
            yield from exchange.to_call(call.id, events.DeskLost(call.desk or "", "reconciled"), now)


def _of_room(exchange: Exchange, room: Room) -> Iterator[Item]:
    """A room stands and falls with its leg; a desk is in the queue while its room is present."""
    seat = exchange.acd.desk(room.desk)
    leg = exchange.legs.get(room.leg or "")
    if room.leg is not None and (leg is None or leg.state in _OVER):
        exchange.rooms.mark(room.desk)
        yield _note("leg_gone", desk=room.desk)
        yield from room.receive(rooms.HostGone(room.leg, "leg_gone"))
    elif leg is not None and room.state is rooms.State.JOINING and leg.state is LegState.CONFIRMED:
        exchange.rooms.mark(room.desk)
        yield _note("leg_up", desk=room.desk)
        yield from room.receive(rooms.HostUp(leg.id))
    elif room.present and seat is None:
        yield _note("not_in_queue", desk=room.desk)
        yield events.ToAcd(PartyJoins(room.desk) if room.outside else DeskSignsIn(room.desk))
    elif not room.present and seat is not None:
        yield _note("no_leg", desk=room.desk)
        yield events.ToAcd(DeskSignsOut(room.desk))


def _of_queue(exchange: Exchange) -> Iterator[Item]:
    """Everybody the queue knows has a live call, and every desk of it a room."""
    acd = exchange.acd
    held = [place.call for place in acd.queue] + [desk.call for desk in acd.desks if desk.call is not None]
    for call in (*held, *acd.attached):
        found = exchange.calls.get(call)
        if found is None or found.state not in _held_states(found):
            yield _note("call_over", call=None if found is None else call)
            yield events.ToAcd(CallEnds(call))
    for desk in acd.desks:
        if desk.desk not in exchange.rooms:
            yield _note("no_room", desk=desk.desk)
            yield events.ToAcd(DeskSignsOut(desk.desk))
        elif desk.state is DeskState.VISITING and _at_home(exchange, desk.desk):
            yield _note("visits_nobody", desk=desk.desk)
            yield events.ToAcd(DeskReturns(desk.desk))


def _at_home(exchange: Exchange, desk: str) -> bool:
    return desk not in exchange.hands.visits and not exchange.rooms[desk].outside


def _held_states(call: Call | None) -> frozenset[State]:
    """Return what a call may be while the queue knows it; one of ours has its desk before anybody picks up."""
    if call is None:
        return frozenset()
    ours = {State.ARRIVING, State.RINGING} if isinstance(call, CallOfOurs) else set()
    return frozenset({State.WAITING, State.TALKING, *ours})


def _of_guest(exchange: Exchange, desk: str, now: float) -> Iterator[Item]:
    """The guest of a room is the caller the queue gave its desk."""
    seat, room = exchange.acd.desk(desk), exchange.rooms.peek(desk)
    if seat is None or room is None or not room.present:
        return
    call = exchange.calls.get(seat.call or "")
    if call is None or room.guest == seat.call:
        return
    # The queue says the caller sits here and the room does not: begin again, at the head, and nobody is passed over.
    yield _note("guest_not_in_room", call=call.id, desk=desk)
    yield from exchange.to_call(call.id, events.DeskLost(call.desk or desk, "reconciled"), now)
    yield events.ToAcd(ToHead(call.id))


def _of_call(exchange: Exchange, call: Call) -> Iterator[Item]:
    """A waiting call is in line or attached; a talking one is where the queue says (see `_strangers`)."""
    acd = exchange.acd
    if call.state is not State.WAITING or acd.place(call.id) is not None or call.id in acd.attached:
        return
    yield _note("call_misplaced", call=call.id, desk=call.desk)
    if all(desk.call != call.id for desk in acd.desks):
        yield events.ToAcd(call.entry.waits(call.id))
    yield events.ToAcd(ToHead(call.id))
