"""Find the moment each packet belongs to, from when it arrived and what its sender's clock said.

in → out: arrival times and media times of one sender, in order of sequence → moments on the wall clock.

Arrival alone carries the jitter of the network, the RTP timestamp alone drifts, restarts and may stand still while a
phone is on hold. The difference of both is transit time plus a constant; its smallest value in the neighbourhood is
the packet that was not delayed. So a moment is the media time plus that minimum. Where the difference jumps and stays
there, the sender's clock was set anew, and the neighbourhood ends.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Nanoseconds = NDArray[np.int64]

SECOND: Final = 1_000_000_000
NEIGHBOURHOOD: Final = 5
"""Seconds each way in which the least delayed packet is looked for; 100 ppm of drift makes 1 ms of it."""
JUMP: Final = 400_000_000
"""ns; a lasting change of the difference by more is a clock set anew, a smaller one is left to the minimum."""
LASTING: Final = 100
"""Packets looked at on both sides of a jump, two seconds of sound: a stalled network catches up within them."""
MAX_JUMPS: Final = 1000
"""Of one sender. A clock set anew more often than that says nothing, and packets stay where they arrived."""
MAX_STEP_BACK: Final = SECOND
MAX_STEP_ON: Final = 3600 * SECOND
"""Between two packets of a call; beyond these the wall clock was set (bars F9), and the film runs on regardless."""


class Steady:
    """Take the steps of a wall clock that was set out of a row of arrival times."""

    def __init__(self) -> None:
        self.steps = 0
        self._last: int | None = None
        self._offset = 0

    def at(self, at_ns: int) -> int:
        """Give the arrival time without the steps before it."""
        at = at_ns + self._offset
        if self._last is not None and not -MAX_STEP_BACK <= at - self._last <= MAX_STEP_ON:
            self._offset += self._last - at
            self.steps += 1
            at = self._last
        self._last = at
        return at


def place(arrival: Nanoseconds, media: Nanoseconds) -> Nanoseconds:
    """Give the moment of each packet in ns; both arguments have one entry per packet, in order of sequence."""
    if len(arrival) == 0:
        return arrival
    lag = arrival - media
    moments = np.empty_like(media)
    jumps = _jumps(lag)
    if len(jumps) > MAX_JUMPS:
        return arrival
    bounds = [0, *jumps, len(lag)]
    for start, end in pairwise(bounds):
        part = slice(start, end)
        moments[part] = media[part] + _floor(arrival[part], lag[part])
    return moments


def unwrap(previous: int, timestamp: int) -> int:
    """Continue a 32-bit RTP timestamp beyond its wrap: the value nearest to `previous` that ends in it."""
    return previous + ((timestamp - previous + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _jumps(lag: Nanoseconds) -> list[int]:
    found: list[int] = []
    for index in (np.flatnonzero(np.abs(np.diff(lag)) > JUMP) + 1).tolist():
        before = lag[max(found[-1] if found else 0, index - LASTING) : index].min()
        after = lag[index : index + LASTING].min()
        if abs(int(after) - int(before)) > JUMP:
            found.append(index)
            if len(found) > MAX_JUMPS:
                break
    return found


def _floor(arrival: Nanoseconds, lag: Nanoseconds) -> Nanoseconds:
    """Give for each packet the smallest lag within the seconds around it."""
    seconds, where = np.unique(arrival // SECOND, return_inverse=True)
    least = np.full(len(seconds), np.iinfo(np.int64).max, dtype=np.int64)
    np.minimum.at(least, where, lag)
    first = np.searchsorted(seconds, seconds - NEIGHBOURHOOD)
    last = np.searchsorted(seconds, seconds + NEIGHBOURHOOD, side="right")
    floor = np.array([least[a:b].min() for a, b in zip(first, last, strict=True)], dtype=np.int64)
    result: Nanoseconds = floor[where]
    return result
