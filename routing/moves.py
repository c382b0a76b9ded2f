"""What dispatchers do with desks by their own hand, beside `ToHead` and `Seize`: visit a room, call somebody, be joined.

in → out: a `Move` → a desk that the queue gives no caller meanwhile.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from routing.desks import Desk, DeskState
from routing.floor import Floor, Out
from routing.queues import Waiting


@dataclass(frozen=True, slots=True)
class DeskVisits:
    """A desk without a caller lends its leg to another room: no caller for it meanwhile."""

    desk: str


@dataclass(frozen=True, slots=True)
class DeskReturns:
    """It is back in its own room."""

    desk: str


@dataclass(frozen=True, slots=True)
class PartyJoins:
    """Somebody outside has answered our call: a caller can be seized for it, the queue itself never gives it one."""

    desk: str


@dataclass(frozen=True, slots=True)
class DeskCalls:
    """A desk without a caller calls somebody, who is its caller from now on."""

    desk: str
    call: str


Move = DeskVisits | DeskReturns | PartyJoins | DeskCalls


def take(floor: Floor, move: Move, number: int, now: float, out: Out) -> None:
    """Take one move; one that does not fit what the desk is does nothing. `number`: of the place a call gets."""
    desk = floor.desks.get(move.desk)
    match move:
        case PartyJoins(name) if desk is None:
            floor.set_desk(Desk(name, DeskState.VISITING, now, name, pausing=True), out)
        case DeskVisits() if desk is not None and desk.place is None and desk.state is not DeskState.VISITING:
            pausing = desk.state is DeskState.PAUSED
            floor.set_desk(replace(desk, state=DeskState.VISITING, since=now, pausing=pausing), out)
        case DeskReturns() if desk is not None and desk.state is DeskState.VISITING:
            state = DeskState.PAUSED if desk.pausing else DeskState.IDLE
            floor.set_desk(replace(desk, state=state, since=now, pausing=False), out)
        case DeskCalls(_, call) if desk is not None and desk.place is None and not floor.knows(call):
            # Whoever is called may take long to pick up, so no sound from the desk proves nothing.
            place = Waiting(call, now, number, now)
            pausing = desk.pausing or desk.state is DeskState.PAUSED
            calling = replace(
                desk, state=DeskState.TALKING, since=now, place=place, pausing=pausing, heard=True
            )
            floor.set_desk(calling, out)
