"""Random text nobody can guess, drawn from the kernel in large pieces: a call needs seven, and asking costs more than using.

in → out: how many bytes → hexadecimal text. No byte is given out twice; a forked child must not use what its parent drew.
"""

import os
from typing import Final

__all__ = ["Randomness"]

PIECE: Final = 4096
"""Bytes drawn at once: some fifty calls."""


class Randomness:
    """See the module."""

    def __init__(self) -> None:
        self._left = b""
        self._at = 0

    def hex(self, count: int) -> str:
        """Return `count` random bytes, at most `PIECE`, as text twice as long."""
        start, end = self._at, self._at + count
        if end > len(self._left):
            self._left, start, end = os.urandom(PIECE), 0, count
        self._at = end
        return self._left[start:end].hex()
