"""What an engine is made of: the Python parts, or the native ones that `rtp.native` gives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from rtp.activity import FILL_SECONDS, Activity, Restlessness
from rtp.call_evidence import MakeHead, Tape
from rtp.jitter import Buffer, JitterBuffer
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

    def stirred(self, now: float, quiet: float) -> list[Leg]:
        """Give the legs a sweep may find something to do at; `quiet`: seconds of silence that are none of it."""


class LookingPhase:
    """Asks each leg's activity."""

    def __init__(self) -> None:
        self._legs: dict[str, tuple[Leg, Restlessness]] = {}

    def __len__(self) -> int:
        return len(self._legs)

    def put(self, leg: Leg) -> None:
        """See `Phase`."""
        self._legs[leg.leg] = (leg, leg.activity)

    def drop(self, leg: Leg) -> None:
        """See `Phase`."""
        self._legs.pop(leg.leg, None)

    def restless(self, now: float) -> list[Leg]:
        """See `Phase`. What `Restlessness.content` says, without a call for each of 10,000 beats a second."""
        return [
            leg
            for leg, activity in self._legs.values()
            if (out := activity.out) is not None
            and (not out.relaying or activity.busy or now - (out.at or 0.0) > FILL_SECONDS)
        ]

    def stirred(self, now: float, quiet: float) -> list[Leg]:
        """See `Phase`."""
        return stirred((leg for leg, _ in self._legs.values()), now, quiet)


def stirred(legs: Iterable[Leg], now: float, quiet: float) -> list[Leg]:
    """Give those among these legs at which a sweep may find something to do; `quiet`: seconds of silence that are none of it."""
    found = []
    for leg in legs:
        activity = leg.activity
        if now < activity.rtcp_due and now < activity.report_due:
            for track in leg.tracks.values():
                if not track.calm(now, quiet):
                    break
            else:
                continue
        found.append(leg)
    return found


Restless = Callable[[list[Leg], float, float], None]
"""Told of legs that have a beat to do: (legs, now, seconds this beat is late)."""


def by_timers(
    _loop: Loop, _phases: tuple[Phase, ...], _started: float, _step: float, _tell: Restless
) -> bool:
    """Leave the beats to whoever asks."""
    return False


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes of one engine."""

    name: str
    """`python` or `native`."""
    loop: type[Loop]
    track: type[Track]
    out: type[Numbering]
    tape: Callable[[MakeHead], Tape] | None = None
    """What evidence of a call waits in; None: in the sink itself."""
    activity: Callable[[], Restlessness] = Activity
    buffer: Callable[[], Buffer[tuple[str, bytes]]] = JitterBuffer
    swift: Callable[[], Swift] | None = None
    phase: Callable[[], Phase] = LookingPhase
    keep_beats: Callable[[Loop, tuple[Phase, ...], float, float, Restless], bool] = by_timers
    """Let the loop itself keep the beats of these phases, one each `step` seconds from `started` on, and tell only of legs that have
    one to do; False when this one can't."""


PYTHON = Parts("python", Loop, Track, OutStream)
