"""One desk: the dispatcher's permanent leg and the guest who is in front.

in → out: signing in and out, what happened to the permanent leg, keys pressed on it, guests → commands to the leg, the
queue and the media process.

    ABSENT ─sign in─▶ JOINING ─leg up─▶ PRESENT ─leg ended─▶ ABSENT

The room has the id of the desk. Two callers are never in one room: the queue gives a desk one caller at a time, and the
media process refuses a second guest.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from pbx.call.call_events import EndLeg, ToAcd
from pbx.call.effects import Effect, Note, Reason, ToMedia
from pbx.identity import ROOM
from routing.acd import DeskPauses, DeskResumes, DeskSignsIn, DeskSignsOut
from routing.moves import PartyJoins
from rtp.control import Join, Play


class State(StrEnum):
    """What a desk's permanent leg is."""

    ABSENT = "absent"
    JOINING = "joining"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class SignsIn:
    """A permanent leg is being set up, called by us or dialled in."""

    leg: str
    agent: str | None = None
    """Who sits there; None: the desk's own dispatcher."""


@dataclass(frozen=True, slots=True)
class HostUp:
    """The permanent leg is up."""

    leg: str


@dataclass(frozen=True, slots=True)
class HostGone:
    """The permanent leg ended."""

    leg: str
    cause: str
    status: int | None = None
    reason: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class GuestIn:
    """The queue gave this desk a caller."""

    call: str


@dataclass(frozen=True, slots=True)
class GuestOut:
    """The caller is gone."""

    call: str


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A key of the desk's phone: `*10` … `*13` typed inside the permanent leg."""

    digit: str


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature code: `*10` sign in, `*11` pause, `*12` resume, `*13` end the call, `sign_out`."""

    code: str


RoomEvent = SignsIn | HostUp | HostGone | GuestIn | GuestOut | KeyPressed | Feature


@dataclass(frozen=True, slots=True)
class EndGuest:
    """Ask the call to end because its host wants it."""

    call: str
    desk: str


RoomCommand = EndLeg | ToAcd | EndGuest


class Room:
    """See the module."""

    def __init__(self, desk: str, *, outside: bool = False, user: str | None = None) -> None:
        """`desk`: the dispatcher's user name, or the id of an outside party.

        `outside`: it is somebody we called, or a second call of a desk's phone (`user`: whose); it is no desk of the queue,
        its keys do nothing, and it is gone with its leg.
        """
        self.desk = desk
        self.outside = outside
        self.user = user
        self.state = State.ABSENT
        self.leg: str | None = None
        self.guest: str | None = None
        self.fault: str | None = None
        """Why the last sign-in failed or the last leg was lost."""
        self.agent: str | None = None
        """Who sits there; None: the desk's own dispatcher."""
        self._keys = ""

    @property
    def id(self) -> str:
        """The id the media process knows the room by."""
        return f"{ROOM}{self.desk}"

    @property
    def present(self) -> bool:
        """Whether the permanent leg is up."""
        return self.state is State.PRESENT

    def receive(self, event: RoomEvent) -> list[Effect | RoomCommand]:
        """Take one event; return what must happen."""
        match event:
            case SignsIn(leg, agent):
                return self._signs_in(leg, agent)
            case HostUp(leg) if leg == self.leg and self.state is State.JOINING:
                return self._host_up(leg)
            case HostGone(leg, cause, status, reason) if leg == self.leg:
                return self._host_gone(cause, status, reason)
            case GuestIn(call) if self.state is State.PRESENT and self.leg is not None:
                self.guest = call
                return [ToMedia(Play(self.leg, f"{self.id}/{call}", ("tone:zip",)))]
            case GuestOut(call) if call == self.guest:
                self.guest = None
            case KeyPressed(digit) if not self.outside:
                return self._key(digit)
            case Feature(code):
                return self._feature(code)
        return []

    def _signs_in(self, leg: str, agent: str | None) -> list[Effect | RoomCommand]:
        if self.state is not State.ABSENT and self.leg is not None:
            # The dispatcher sits down elsewhere or dials in again: the new leg replaces the old one.
            old = self.leg
            return [*self._host_gone("replaced", None), EndLeg(old), *self._signs_in(leg, agent)]
        self.state = State.JOINING
        self.leg = leg
        self.agent = agent
        self.fault = None
        return []

    def _host_up(self, leg: str) -> list[Effect | RoomCommand]:
        self.state = State.PRESENT
        if self.outside:
            # Who calls from a desk's phone hosts at once; who was called goes where it is wanted.
            home = [] if self.user is None else [ToMedia(Join(self.id, leg, "host"))]
            return [*home, Note("party_joined", None, {"party": self.desk}), ToAcd(PartyJoins(self.desk))]
        return [
            ToMedia(Join(self.id, leg, "host")),
            Note("desk_signed_in", None, {"desk": self.desk}),
            ToAcd(DeskSignsIn(self.desk)),
        ]

    def _host_gone(
        self, cause: str, status: int | None, reason: tuple[Reason, ...] = ()
    ) -> list[Effect | RoomCommand]:
        was = self.state
        self.state = State.ABSENT
        self.leg = None
        self.guest = None
        self._keys = ""
        self.fault = None if cause in {"bye", "hung_up", "replaced"} else cause
        noted: dict[str, Any] = {"desk": self.desk, "cause": cause, "status": status}
        if reason:
            noted["reason"] = list(reason)
        if self.outside:
            noted["party"] = noted.pop("desk")
            event = "party_failed" if was is State.JOINING else "party_left"
            return [Note(event, None, noted), ToAcd(DeskSignsOut(self.desk))]
        if was is State.JOINING:
            return [Note("desk_sign_in_failed", None, noted)]
        return [Note("desk_signed_out", None, noted), ToAcd(DeskSignsOut(self.desk))]

    def _key(self, digit: str) -> list[Effect | RoomCommand]:
        self._keys = "*" if digit == "*" else (self._keys + digit if self._keys else "")
        if len(self._keys) < 3:
            return []
        code, self._keys = self._keys, ""
        return self._feature(code)

    def _feature(self, code: str) -> list[Effect | RoomCommand]:
        match code:
            case "*11":
                return [Note("desk_pauses", None, {"desk": self.desk}), ToAcd(DeskPauses(self.desk))]
            case "*12":
                return [Note("desk_resumes", None, {"desk": self.desk}), ToAcd(DeskResumes(self.desk))]
            case "*13" if self.guest is not None:
                return [EndGuest(self.guest, self.desk)]
            case "sign_out" if self.leg is not None:
                return [EndLeg(self.leg)]
        return []

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "desk": self.desk,
            "outside": self.outside,
            "user": self.user,
            "state": str(self.state),
            "leg": self.leg,
            "guest": self.guest,
            "fault": self.fault,
            "agent": self.agent,
            "keys": self._keys,
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Make the room that `snapshot` described."""
        self = cls(data["desk"], outside=data["outside"], user=data["user"])
        self.state = State(data["state"])
        self.leg = data["leg"]
        self.guest = data["guest"]
        self.fault = data["fault"]
        self.agent = data["agent"]
        self._keys = data["keys"]
        return self
