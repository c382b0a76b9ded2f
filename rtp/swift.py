"""What an engine may do for all voices and ears of a mix at once; without it they are served one after the other (`rtp.mixing`)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rtp.voices import Ear, Voice

Codes = NDArray[np.uint8]
"""G.711, a row for each voice or ear, 20 ms long."""


class Swift(Protocol):
    """Both do what `Voice.take` and `Ear.send` would, for those that need no second look."""

    @property
    def names(self) -> Mapping[int, str]:
        """The codecs whose sound `take` gives, by the number it gives them."""

    def take(self, voices: "list[Voice]", codes: Codes, names: Codes) -> list[int]:
        """Put the next 20 ms of each voice into its row of `codes` and the number of its codec into `names`.

        Gives the rows that are left, to be taken one by one; in `names` they are 0.
        """

    def send(self, ears: "list[Ear]", coded: dict[str, Codes], now: float) -> tuple[int, list[int]]:
        """Send each ear its row of the codes of its codec: (how many were sent, the rows that are left)."""
