"""A seat as its watchers may see it: the facts every package draws on."""

from dataclasses import dataclass
from typing import Literal

SeatState = Literal["signed_out", "free", "busy", "wrap_up", "paused", "visiting"]

Media = tuple[tuple[str, str], ...]
"""Of one phone in a room: each medium (`audio`, `video`) and its direction, `sendrecv` … `inactive`, as that phone has it."""


@dataclass(frozen=True, slots=True)
class Guest:
    """The caller in front of a seat."""

    id: str
    """Names the call to watchers and tells them nothing: the call's own id opens its evidence."""
    uri: str
    """The caller's number as a SIP URI of ours."""
    label: str
    """Name or number, and whether it is verified; may hold anything a phone can write."""
    held: bool
    """The caller put us on hold."""
    media: Media = ()


@dataclass(frozen=True, slots=True)
class Staff:
    """Somebody in a seat's room besides host and guest."""

    id: str
    """Names the visit."""
    uri: str
    label: str
    role: str
    """`dispatcher`, `supervisor`, `interpreter`, `fire` …"""
    mode: str
    """`listen`, `whisper` or `barge`."""
    up: bool
    """In the room; False: still being called."""
    media: Media = ()


@dataclass(frozen=True, slots=True)
class Seat:
    """A desk and what goes on in its room."""

    uri: str
    """The seat's address-of-record."""
    room: str
    """URI of its permanent conference, the focus."""
    name: str
    """The dispatcher's display name, or the user name."""
    state: SeatState
    guest: Guest | None
    staff: tuple[Staff, ...] = ()
    media: Media = ()
    """Of the dispatcher's own phone."""
