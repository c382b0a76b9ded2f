"""Two requests that crossed (RFC 3261 §14.1): how long to wait before ours is tried again."""

from typing import Final

STEP: Final = 0.01
"""RFC 3261 §14.1: "in units of 10 ms"."""

_OWNER: Final = (210, 400)
_OTHER: Final = (0, 200)


def backoff(*, owner: bool, draw: int) -> float:
    """Return the seconds to wait after a 491. `owner`: we made the Call-ID. `draw`: a random number ≥ 0, drawn by who calls.

    §14.1: "1. If the UAC is the owner of the Call-ID of the dialog ID …, T has a randomly chosen value between 2.1 and 4
    seconds in units of 10 ms. 2. If the UAC is not the owner …, T has a randomly chosen value of between 0 and 2 seconds".
    """
    first, last = _OWNER if owner else _OTHER
    return (first + draw % (last - first + 1)) * STEP
