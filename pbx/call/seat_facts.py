"""What a seat is, derived from what stands: its room, its leg and its place in the queue. Nothing is stored beside them.

in → out: (exchange, desk) → one of `STATES`, and why it is away.
"""

from typing import Final

from pbx.call import room as rooms
from pbx.call.exchange import Exchange
from routing.acd import DeskState

STATES: Final = (
    "signed_out", "unreachable", "calling", "ready", "offered", "talking", "wrap_up", "away",
)  # fmt: skip
"""`unreachable`: its leg was lost, not hung up. `offered`: has a caller and has sent no sound since."""

_OF_QUEUE: Final = {
    DeskState.IDLE: "ready",
    DeskState.WRAP_UP: "wrap_up",
    DeskState.PAUSED: "away",
}


def seat(exchange: Exchange, desk: str) -> tuple[str, str]:
    """Return the state of a seat and the reason it is away for, or is going to be."""
    room = exchange.rooms.get(desk)
    if room is None or room.state is rooms.State.ABSENT:
        lost = room is not None and room.fault is not None
        return ("unreachable" if lost else "signed_out"), ""
    if room.state is rooms.State.JOINING:
        return "calling", ""
    found = exchange.acd.desk(desk)
    if found is None:
        return "unreachable", ""
    if found.state is DeskState.TALKING:
        return ("talking" if found.heard else "offered"), found.reason if found.pausing else ""
    return _OF_QUEUE[found.state], found.reason
