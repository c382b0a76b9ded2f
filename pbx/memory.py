"""Gives memory back to the system after a rush: what it needed is free again, but the C library keeps it.

in → out: whether there is time to do so → resident memory as small as what is in use. Where the C library knows no
`malloc_trim` (it is glibc's) nothing happens.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

EVERY: Final = 10
"""Calm looks in a row before an attempt, one a second: it takes some milliseconds, 26 after a rush that took 150 MiB."""
GROWN: Final = 1.05
GROWN_BYTES: Final = 8 << 20
"""Resident memory this much above what it was after the last time is worth the milliseconds it takes."""
AGAIN: Final = 3
"""So many times `EVERY` calm looks after that it is tried once more, for what still stood then: transactions of the rush end 32 s
after it (RFC 3261: 64·T1), and what they leave is free inside of what is resident, where it can't be seen."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return the bytes of this process that are in memory; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Memory:
    """What the process had in memory when it last gave back what it could."""

    def __init__(self) -> None:
        self._least = 0
        self._looks = 0
        self._again = 0

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
        if now > GROWN * self._least + GROWN_BYTES:
            self._again = AGAIN
        elif self._again:
            self._again -= 1
            if self._again:
                return False
        else:
            return False
        _give_back()
        self._least = resident()
        return True
