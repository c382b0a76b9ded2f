"""What a seat is, derived from what stands: its room, its leg and its place in the queue. Nothing is stored beside them.

in → out: (exchange, desk) → one of `STATES`, and why it is away.
"""

from typing import Final

from pbx.call import room as rooms
from pbx.call import visits
from pbx.call.call import State
from pbx.call.exchange import Exchange
from routing.acd import Desk, DeskState

STATES: Final = (
    "signed_out", "unreachable", "calling", "ready", "offered", "talking", "consulting", "calling_out", "visiting", "wrap_up",
    "away",
)  # fmt: skip
"""`unreachable`: its leg was lost, not hung up. `offered`: has a caller and has sent no sound since. `consulting`: its
caller is on hold while it talks with somebody who was asked to come. `calling_out`: calls somebody, who has not picked up yet.
`visiting`: is in another desk's room."""

_OF_QUEUE: Final = {
    DeskState.IDLE: "ready",
    DeskState.WRAP_UP: "wrap_up",
    DeskState.PAUSED: "away",
    DeskState.VISITING: "visiting",
}


def seat(exchange: Exchange, desk: str) -> tuple[str, str]:
    """Return the state of a seat and the reason it is away for, or is going to be."""
    room = exchange.rooms.peek(desk)
    if room is None or room.state is rooms.State.ABSENT:
        lost = room is not None and room.fault is not None
        return ("unreachable" if lost else "signed_out"), ""
    if room.state is rooms.State.JOINING:
        return "calling", ""
    found = exchange.acd.desk(desk)
    if found is None:
        return "unreachable", ""
    if found.state is DeskState.TALKING:
        return _with_caller(exchange, found), found.reason if found.pausing else ""
    return _OF_QUEUE[found.state], found.reason


def _with_caller(exchange: Exchange, desk: Desk) -> str:
    call = exchange.calls.get(desk.call or "")
    if call is not None and call.state in {State.ARRIVING, State.RINGING}:
        return "calling_out"
    visit = visits.consulted(exchange, desk.desk)
    if visit is not None and visit.purpose == "consult" and visit.up:
        return "consulting"
    return "talking" if desk.heard else "offered"
