"""Arithmetic on counters that wrap: sequence numbers (16 bits), timestamps (32 bits), NTP middle words (32 bits). Pure.

Integers only; a time in seconds becomes ticks in one place, `ticks`.
"""

from typing import Final

MASK16: Final = 0xFFFF
MASK32: Final = 0xFFFF_FFFF
WRAP16: Final = 0x1_0000
WRAP32: Final = 0x1_0000_0000
HALF16: Final = 0x8000
HALF32: Final = 0x8000_0000

MAX_DROPOUT: Final = 3000
"""Packets a sequence may leap forward and still be the same stream (RFC 3550 A.1): one minute of sound."""
MAX_MISORDER: Final = 100
"""Packets one may come late and still belong to the stream (RFC 3550 A.1)."""


def forward16(older: int, newer: int) -> int:
    """Steps from `older` up to `newer`, 0…65535."""
    return (newer - older) & MASK16


def forward32(older: int, newer: int) -> int:
    """Steps from `older` up to `newer`, 0…2^32−1."""
    return (newer - older) & MASK32


def signed32(older: int, newer: int) -> int:
    """Steps from `older` to `newer` by the shorter way, −2^31…2^31−1."""
    return ((newer - older + HALF32) & MASK32) - HALF32


def newer16(candidate: int, than: int) -> bool:
    """Whether `candidate` lies in the half circle after `than` (RFC 1982); a number is not newer than itself."""
    return 0 < forward16(than, candidate) < HALF16


def ticks(seconds: float, clock_rate: int) -> int:
    """A span of time in units of a clock of `clock_rate` Hz, rounded down; not wrapped."""
    return int(seconds * clock_rate)
