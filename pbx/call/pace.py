"""How fast calls for help begin, while somebody waits for it; so how many can begin before the last of them loses patience.

in → out: each call that began, and whether others still wait → calls a second; seconds → calls. Pure.
"""

from math import exp
from typing import Final

MEMORY: Final = 5.0
"""Seconds of a rush that count; what was before fades."""
SUPPOSED: Final = 50.0
"""Calls a second until a rush has shown more or less: what two cores did when they were last measured (bars L4)."""
STILL: Final = 1.0
"""Seconds between two calls beyond which the machine stood still: one begins every 50 ms however much there is to be heard, and what
stood still goes on at the pace it had."""
LEAST: Final = 200
"""Calls that may wait whatever the pace: a machine that stood still for some seconds is no reason to send away who just came."""


class Pace:
    """See the module. Times are monotonic seconds."""

    __slots__ = ("_begun", "_seconds", "_since")

    def __init__(self) -> None:
        self._begun, self._seconds = SUPPOSED * MEMORY, MEMORY
        self._since: float | None = None
        """When a call began last, if others waited then: from there on each second counts."""

    def began(self, now: float, *, more: bool) -> None:
        """Hear that a call began; `more`: others wait still. A time in which nobody waits tells nothing of the pace."""
        if self._since is not None:
            passed = _between(self._since, now)
            kept = exp(-passed / MEMORY)
            self._begun, self._seconds = self._begun * kept + 1.0, self._seconds * kept + passed
        self._since = now if more else None

    def rate(self, now: float) -> float:
        """Calls a second."""
        idle = 0.0 if self._since is None else _between(self._since, now)
        return self._begun / (self._seconds + idle)

    def within(self, seconds: float, now: float) -> int:
        """How many calls begin within so many seconds, at the pace of now."""
        return max(LEAST, int(self.rate(now) * seconds))


def _between(since: float, now: float) -> float:
    return min(STILL, max(0.0, now - since))
