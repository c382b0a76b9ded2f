"""Gives memory back to the system after a rush: what it needed is free again, but the C library keeps it.

in → out: whether there is time to do so → resident memory as small as what is in use. Where the C library knows no
`malloc_trim` and `mallopt` (they are glibc's) nothing happens.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

EVERY: Final = 10
"""Calm looks in a row before an attempt, one a second: it takes some milliseconds, 26 after a rush that took 150 MiB."""
GROWN: Final = 1.05
GROWN_BYTES: Final = 8 << 20
"""Resident memory this much above what it was after the last time is worth the milliseconds it takes."""
FALLEN: Final = 0.05
"""Share of the interpreter's objects that has gone since it was tried last, after which it is tried once more: transactions of the rush
stand for 32 s after it (RFC 3261: 64·T1), and what they leave is free inside of what is resident, where it can't be seen."""
WORTH_BYTES: Final = 1 << 20
"""Who gets less than this back for objects that have gone lets more calm looks go by before the next attempt of that kind, twice as
many each time: where calls come and go evenly, objects fall all the time and nothing is to be had."""
RAREST: Final = 16
"""As many times `EVERY` at most."""

OWN_BYTES: Final = 256 << 10
"""What is as large as this has pages of its own, which go back when it is free: the journal being rewritten, films of a second of many
calls. By itself glibc puts ever larger pieces among what stays, up to 32 MiB, once one of that size was free (mallopt(3))."""
TOP_BYTES: Final = 1 << 20
"""What is free at the end of the heap goes back at once beyond this."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return the bytes of this process that are in memory; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def keep_together() -> None:
    """Have the C library spread what is kept over as little as it can; call it before there are threads.

    All threads share one heap: each with one of its own (glibc's way) keeps free what another needs, and the interpreter lets one
    thread run at a time anyhow.
    """
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    if choose is not None:
        for what, value in (
            (_M_ARENA_MAX, 1),
            (_M_MMAP_THRESHOLD, OWN_BYTES),
            (_M_TRIM_THRESHOLD, TOP_BYTES),
        ):
            choose(what, value)


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Memory:
    """What the process had in memory when it last gave back what it could."""

    def __init__(self) -> None:
        self._least = 0
        self._looks = 0
        self._most = 0
        """Objects there were at most, since it was tried last."""
        self._rests = self._resting = 0
        """How many times `EVERY` objects that have gone are let go by after an attempt in vain, and how many of them are left."""

    def look(self, *, calm: bool) -> bool:
        """Give back what is free if that may be much; call it every second. `calm`: nobody waits for us meanwhile.

        Returns whether it was tried.
        """
        now = resident()
        self._least = min(self._least or now, now)
        self._looks = self._looks + 1 if calm else 0
        if self._looks < EVERY:
            return False
        self._looks = 0
        objects = _objects()
        self._most = max(self._most, objects)
        grown = now > GROWN * self._least + GROWN_BYTES
        if not grown and (objects >= (1.0 - FALLEN) * self._most or self._rest()):
            return False
        _give_back()
        self._least, self._most = resident(), objects
        vain = now - self._least < WORTH_BYTES
        self._rests = self._resting = min(2 * self._rests or 1, RAREST) if vain else 0
        return True

    def _rest(self) -> bool:
        self._resting -= 1
        return self._resting >= 0


def _objects() -> int:
    return sys.getallocatedblocks()
