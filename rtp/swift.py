"""What an engine may do for all voices and ears of a mix at once; without it they are served one after the other (`rtp.mixing`)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rtp.voices import Ear, Voice

Samples = NDArray[np.int16]
"""A row for each voice or ear, 20 ms at 8000 Hz."""


class Swift(Protocol):
    """Does what `Voice.take` and `Ear.send` would, for those in G.711 that need no second look."""

    def arrange(self, voices: "Iterable[Voice]", ears: "Iterable[Ear]") -> None:
        """Serve these from now on, row by row; to be called too when one of them was tuned."""

    def take(self, frames: Samples) -> list[int]:
        """Put the next 20 ms of each voice into its row; gives the rows that are left, to be taken one by one."""

    def send(self, mixed: Samples, now: float) -> tuple[int, list[int]]:
        """Send each ear its row: (how many were sent, the rows that are left)."""
