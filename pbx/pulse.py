"""The pulse of each process: when its loop last went round, in memory that the supervisor shares with all of them.

in → out: a process's loop → `Pulses.beat`, every quarter of a second → the supervisor's `watchdog`; and signalling, which gives a media
process that is late no new call, says so on `/healthz`, and states in the evidence from when on there was nobody.

An open file without a name, as the key of the journal is (`live.key`): no message has to be sent, taken or answered, so a pulse costs
two hundred nanoseconds, and nobody's reading can hold it up.
"""

import asyncio
import mmap
import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

__all__ = ["BEAT_SECONDS", "LATE_SECONDS", "Pulses", "beats", "make", "own", "take"]

VARIABLE: Final = "AT110_PULSE_FD"
"""Names the file in a child's environment …"""
PLACE: Final = "AT110_PULSE"
"""… and this its own place in it."""
BEAT_SECONDS: Final = 0.25
"""Between two beats of a loop that goes round."""
LATE_SECONDS: Final = 0.5
"""Age of the last beat from which on a process is late: it missed one. No more follows from it than that new calls go elsewhere."""

_BEAT, _ENDED, _HANGS, _HUNG = range(4)
_PLACE: Final = struct.Struct("=4q")
"""One process: its last beat (monotonic ns; 0: none yet); that of the one it replaces; how many were killed because they hung; whether
the one it replaces did."""
_NUMBER: Final = struct.Struct("=q")


class Pulses:
    """All of them, by place."""

    def __init__(self, descriptor: int, places: int) -> None:
        """`descriptor`: the file of `make`, open as long as this is used."""
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, places * _PLACE.size)
        self.places = range(places)

    def beat(self, place: int) -> None:
        """Say that the loop of a process goes round."""
        self._put(place, _BEAT, time.monotonic_ns())

    def last(self, place: int) -> int:
        """Return when it last did, monotonic ns; 0: never."""
        return self._get(place, _BEAT)

    def age(self, place: int, now: float) -> float:
        """Return how long ago that is, seconds; 0 when it never did. `now`: monotonic seconds."""
        last = self.last(place)
        return max(0.0, now - last / 1e9) if last else 0.0

    def ended(self, place: int, *, hung: bool) -> None:
        """Say that a process has ended: its last beat is kept, and the next one has none yet. `hung`: it was killed for that."""
        self._put(place, _ENDED, self.last(place) or self._get(place, _ENDED))
        self._put(place, _HUNG, hung)
        self._put(place, _HANGS, self.hangs(place) + hung)
        self._put(place, _BEAT, 0)

    def hangs(self, place: int) -> int:
        """Return how many processes of a place hung and were killed, since the supervisor's start."""
        return self._get(place, _HANGS)

    def outage(self, places: Sequence[int]) -> tuple[int, bool] | None:
        """Give the last beat (monotonic ns) of the one of these processes that went last, and whether it hung; None: none went."""
        at, hung = max((self._get(place, _ENDED), bool(self._get(place, _HUNG))) for place in places)
        return (at, hung) if at else None

    def _put(self, place: int, what: int, value: int) -> None:
        _NUMBER.pack_into(self._memory, place * _PLACE.size + what * _NUMBER.size, value)

    def _get(self, place: int, what: int) -> int:
        value: int = _NUMBER.unpack_from(self._memory, place * _PLACE.size + what * _NUMBER.size)[0]
        return value


def make(places: int) -> Pulses:
    """Make the memory for so many processes; the supervisor does."""
    descriptor = os.memfd_create("at110-pulses", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, places * _PLACE.size)
    return Pulses(descriptor, places)


def take(environment: Mapping[str, str]) -> Pulses | None:
    """Return the supervisor's memory; None for a process that nobody watches."""
    number = environment.get(VARIABLE, "")
    if not (number.isdecimal() and number.isascii()):
        return None
    try:
        places = os.fstat(int(number)).st_size // _PLACE.size
        os.set_inheritable(int(number), False)
        return Pulses(int(number), places)
    except (OSError, ValueError):
        return None


def own(environment: Mapping[str, str]) -> Callable[[], None]:
    """Return what a process calls every `BEAT_SECONDS`; it does nothing where nobody watches."""
    pulses, place = take(environment), environment.get(PLACE, "")
    if pulses is None or not place.isdecimal() or int(place) not in pulses.places:
        return lambda: None
    number, beat = int(place), pulses.beat
    return lambda: beat(number)


def beats(loop: asyncio.AbstractEventLoop, beat: Callable[[], None]) -> None:
    """Have a loop of asyncio beat as long as it goes round; nothing holds it up but the loop itself."""
    beat()
    loop.call_later(BEAT_SECONDS, beats, loop, beat)
