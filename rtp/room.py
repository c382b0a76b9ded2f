"""The rooms of one media process: one host, at most one guest, any number of staff each. Pure.

Join, Leave, SetGates, SetStaff, CloseLeg ─▶ Rooms.receive ─▶ [Rewire | Entered | RefusedEntry]
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rtp.control import CloseLeg, Join, Leave, Role, SetGates, SetStaff, StaffMode
from rtp.wiring import UNSET, Edge, Gates, Roads, roads, wiring


@dataclass(frozen=True, slots=True)
class Rewire:
    """The edges of these legs may have changed."""

    legs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Entered:
    """The leg is in the room (again, for a repeated Join: `fresh` is False)."""

    room: str
    leg: str
    role: Role
    fresh: bool


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """The room's place is taken; the leg stays where it was."""

    room: str
    leg: str
    reason: Literal["second_host", "second_guest"]


Effect = Rewire | Entered | RefusedEntry


class Rooms:
    """Who is where, with which gates, and what staff may do."""

    next_due: None = None
    """Nothing here waits for a time."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, Role]] = {}
        self._where: dict[str, str] = {}
        self._gates: dict[str, Gates] = {}
        self._modes: dict[str, StaffMode] = {}

    def receive(self, event: Join | Leave | SetGates | SetStaff | CloseLeg, now: float) -> list[Effect]:  # noqa: ARG002  # house shape
        """Apply a command about a leg that exists; `now`: monotonic seconds."""
        match event:
            case Join(room, leg, role):
                return self._join(room, leg, role)
            case Leave(leg):
                return self._leave(leg)
            case SetGates(leg, silent, host_picture, held, still):
                gates = Gates(silent=silent, host_picture=host_picture and not still, held=held, still=still)
                if gates == self.gates(leg):
                    return []
                self._gates[leg] = gates
                return [Rewire(frozenset(self._members(leg) or {leg}))]
            case SetStaff(leg, mode):
                if mode == self.mode(leg):
                    return []
                self._modes[leg] = mode
                return [Rewire(frozenset(self._members(leg) or {leg}))]
            case CloseLeg(leg):
                effects = self._leave(leg)
                self._gates.pop(leg, None)
                self._modes.pop(leg, None)
                return effects

    def expire(self, now: float) -> list[Effect]:  # noqa: ARG002  # house shape
        """Nothing is due, ever."""
        return []

    def _join(self, room: str, leg: str, role: Role) -> list[Effect]:
        members = self._rooms.get(room, {})
        if members.get(leg) == role:
            return [Entered(room, leg, role, fresh=False)]
        if role != "staff" and any(other != leg and taken == role for other, taken in members.items()):
            return [RefusedEntry(room, leg, "second_host" if role == "host" else "second_guest")]
        effects = self._leave(leg)
        self._rooms.setdefault(room, {})[leg] = role
        self._where[leg] = room
        return [*effects, Rewire(frozenset(self._rooms[room])), Entered(room, leg, role, fresh=True)]

    def _leave(self, leg: str) -> list[Effect]:
        legs = frozenset(self._members(leg))
        if not legs:
            return []
        room = self._where.pop(leg)
        del self._rooms[room][leg]
        if not self._rooms[room]:
            del self._rooms[room]
        return [Rewire(legs)]

    def _members(self, leg: str) -> Iterable[str]:
        return self._rooms.get(self._where.get(leg, ""), {})

    def gates(self, leg: str) -> Gates:
        """The gates of a leg; all open when none were set."""
        return self._gates.get(leg, UNSET)

    def place(self, leg: str) -> tuple[str, Role] | None:
        """The room a leg is in, and as what."""
        room = self._where.get(leg)
        return None if room is None else (room, self._rooms[room][leg])

    def mode(self, leg: str) -> StaffMode:
        """What a leg may do as staff; `listen` when nothing was set."""
        return self._modes.get(leg, "listen")

    def partner(self, leg: str) -> str | None:
        """The other of host and guest, whatever the gates say; None for staff."""
        place = self.place(leg)
        if place is None or place[1] == "staff":
            return None
        return self._having(place[0], "guest" if place[1] == "host" else "host")

    def company(self, leg: str) -> tuple[str, ...]:
        """Everybody else in the room a leg is in."""
        return tuple(other for other in self._members(leg) if other != leg)

    def guest(self, leg: str) -> str | None:
        """The guest of the room a leg is in, itself too."""
        return self._having(self._where.get(leg, ""), "guest")

    def _having(self, room: str, role: Role) -> str | None:
        return next((leg for leg, taken in self._rooms.get(room, {}).items() if taken == role), None)

    def members(self, room: str) -> Mapping[str, Role]:
        """Legs of a room with their roles."""
        return self._rooms.get(room, {})

    def edges(self, leg: str) -> frozenset[Edge]:
        """All edges of the room a leg is in."""
        return wiring(self._rooms.get(self._where.get(leg, ""), {}), self._gates, self._modes)

    def roads(self, leg: str) -> Roads:
        """How the open edges of the room a leg is in are travelled."""
        members = self._rooms.get(self._where.get(leg, ""), {})
        return roads(members, wiring(members, self._gates, self._modes))

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data."""
        return {
            "rooms": {room: dict(members) for room, members in self._rooms.items()},
            "gates": {leg: asdict(gates) for leg, gates in self._gates.items()},
            "modes": dict(self._modes),
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "Rooms":
        """Make rooms that go on where `snapshot` was taken."""
        rooms = cls()
        rooms._rooms = {room: dict(members) for room, members in data["rooms"].items()}
        rooms._where = {leg: room for room, members in rooms._rooms.items() for leg in members}
        rooms._gates = {leg: Gates(**gates) for leg, gates in data["gates"].items()}
        rooms._modes = dict(data["modes"])
        return rooms
