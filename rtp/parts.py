"""What an engine is made of: the Python parts, or the native ones that `rtp.native` gives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from rtp.activity import Activity, Restlessness
from rtp.call_evidence import Tape
from rtp.jitter import Buffer, JitterBuffer
from rtp.latch import QUIET_SECONDS
from rtp.leg import Leg
from rtp.loop import Loop
from rtp.outstream import Numbering, OutStream
from rtp.swift import Swift
from rtp.track import Track


class Phase(Protocol):
    """The legs that have their beat at the same moment."""

    def __len__(self) -> int: ...

    def put(self, leg: Leg) -> None:
        """Take a leg."""

    def drop(self, leg: Leg) -> None:
        """Forget a leg, if it is here."""

    def restless(self, now: float) -> list[Leg]:
        """Give the legs that have a beat to do."""


class LookingPhase:
    """Asks each leg's activity."""

    def __init__(self) -> None:
        self._legs: dict[str, tuple[Leg, Callable[[float], bool]]] = {}

    def __len__(self) -> int:
        return len(self._legs)

    def put(self, leg: Leg) -> None:
        """See `Phase`."""
        self._legs[leg.leg] = (leg, leg.activity.content)

    def drop(self, leg: Leg) -> None:
        """See `Phase`."""
        self._legs.pop(leg.leg, None)

    def restless(self, now: float) -> list[Leg]:
        """See `Phase`."""
        return [leg for leg, content in self._legs.values() if not content(now)]


def stirred(legs: Iterable[Leg], now: float, loss_seconds: float) -> list[Leg]:
    """See `Parts.stirred`."""
    quiet = min(QUIET_SECONDS, loss_seconds)
    found = []
    for leg in legs:
        if now < leg.rtcp_due and now < leg.report_due:
            for track in leg.tracks.values():
                if not track.calm(now, quiet):
                    break
            else:
                continue
        found.append(leg)
    return found


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes of one engine."""

    name: str
    """`python` or `native`."""
    loop: type[Loop]
    track: type[Track]
    out: type[Numbering]
    tape: Callable[[], Tape] | None = None
    """What evidence of a call waits in; None: in the sink itself."""
    activity: Callable[[], Restlessness] = Activity
    buffer: Callable[[], Buffer[tuple[str, bytes]]] = JitterBuffer
    swift: Callable[[], Swift] | None = None
    phase: Callable[[], Phase] = LookingPhase
    stirred: Callable[[Iterable[Leg], float, float], Iterable[Leg]] = stirred
    """The legs among which a sweep may find something to do: (legs, now, seconds after which silence is a loss)."""


PYTHON = Parts("python", Loop, Track, OutStream)
