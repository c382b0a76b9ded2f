"""Whether a process hangs, or is only kept waiting by a busy machine. Pure, but for `seen`, which looks at the kernel's account.

in → out: its last beat, and, once that is late, what its threads do → why it is to be killed, or None.

That no beat comes says nothing by itself: with thirty others that want the two processors a loop is late by seconds, and a kill would cost
all its calls 300 ms of sound for nothing. So what counts is the time that was the process's own, not what the machine kept from it:

    a thread wants the processor (R)   the processor time it was given meanwhile: none, as long as it only waits for it
    it is stopped (T, t)               all of it, and soon: no load stops a process, somebody does
    a thread waits for a disk (D)      all of it, against a bound of its own: a page that was swapped out, or a disk that hangs
    nobody in it wants anything (S)    all of it: a loop that goes round would have beaten
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbx.pulse import LATE_SECONDS

__all__ = ["PATIENCE", "Patience", "Seen", "Watchdog", "patience", "seen"]

MOST_SECONDS: Final = 0.1
"""What one look counts for at most, two of the supervisor's: while the whole machine slept, was frozen or moved, nobody could beat."""
START_SECONDS: Final = 30.0
"""Of its own time, to the first beat: libraries are loaded, and live calls taken up."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, in seconds beyond `LATE_SECONDS`, a process may go without a beat."""

    stopped: float
    own: float
    """Running, or waiting for nothing."""
    disk: float


PATIENCE: Final = {
    # A turn of the media loop takes some milliseconds, 25 at worst: to be wrong by a factor of 60 takes an endless one.
    "media": Patience(stopped=0.5, own=1.5, disk=10.0),
    # Some of its turns do take long (live calls are taken up), and phones repeat what they say for 32 s.
    "signalling": Patience(stopped=0.5, own=4.5, disk=10.0),
    # Nobody waits for it, and a capture of gigabytes is hashed without a beat.
    "recorder": Patience(stopped=30.0, own=300.0, disk=300.0),
}


def patience(role: str) -> Patience:
    """Return how long a process of this role may go without a beat."""
    return PATIENCE[role.partition("-")[0]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process does, by the kernel's account."""

    states: str
    """A letter for each thread, as proc_pid_stat(5) has them."""
    worked: float
    """Processor time of all threads since its start, seconds."""


class Watchdog:
    """Watches one process after another, each from its start."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Watch a process that starts now, and has not beaten yet."""
        self._beat = 0
        self._beat_at = self._looked = now
        self._worked: float | None = None
        self._spent = 0.0
        self._why: dict[str, float] = {}
        self._told = False

    def look(self, beat: int, now: float, threads: Callable[[], Seen | None]) -> dict[str, float] | None:
        """Look once; what it is to be killed for, seconds by kind, or None; once for each process. `now`: monotonic seconds.

        `beat`: changes with each beat, 0: none yet; `threads` is asked only while it is late.
        """
        span, self._looked = min(now - self._looked, MOST_SECONDS), now
        if beat != self._beat:
            self._beat, self._beat_at = beat, now
            self._worked, self._spent, self._why = None, 0.0, {}
            return None
        if self._told or now - self._beat_at < LATE_SECONDS or (found := threads()) is None:
            return None
        before, self._worked = self._worked, found.worked
        if before is None:
            return None
        kind, bound = self._kind(found)
        counted = min(found.worked - before, span) if kind == "ran" else span
        self._why[kind] = self._why.get(kind, 0.0) + counted
        self._spent += counted / bound
        if self._spent < 1.0:
            return None
        self._told = True
        return {kind: round(seconds, 2) for kind, seconds in self._why.items() if seconds}

    def _kind(self, found: Seen) -> tuple[str, float]:
        own = self._patience.own if self._beat else max(self._patience.own, START_SECONDS)
        if "T" in found.states or "t" in found.states:
            return "stopped", self._patience.stopped
        if "R" in found.states:
            return "ran", own
        if "D" in found.states:
            return "disk", self._patience.disk
        return "waited", own


def seen(pid: int) -> Seen | None:
    """Look at a process; None: it is no more."""
    try:
        folder = Path(f"/proc/{pid}")
        states = "".join(_fields(task / "stat")[0] for task in (folder / "task").iterdir())
        fields = _fields(folder / "stat")
    except (OSError, IndexError):
        return None
    return Seen(states, (int(fields[11]) + int(fields[12])) / _TICKS)


def _fields(path: Path) -> list[str]:
    """The fields from the third on: the second is a name, in which anything may stand."""
    return path.read_text().rpartition(")")[2].split()
