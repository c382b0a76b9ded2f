"""How much of a bar a test run lives through: a part in every run, all of it in `make bars`."""

import os
from typing import Final

FULL: Final = os.environ.get("AT110_BARS") == "full"
"""Whether the numbers are those of the bars."""


def times(part: int, whole: int) -> int:
    """Return how often something is done: `part` in every run, `whole` at the size of the bar."""
    return whole if FULL else part
