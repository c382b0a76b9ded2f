"""How soon a process that ended is started again.

in → out: how long each process of a role ran → seconds until the next one may begin.

Callers hear nothing until it is back, so the first that end young are followed at once: two faults close to each other, or a
hand that kills twice, are no crash loop. What goes on ending young is one, and leaves the processors to the others.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["AT_ONCE", "FIRST_PAUSE", "LAST_PAUSE", "STEADY_SECONDS", "Backoff"]

STEADY_SECONDS: Final = 10.0
"""A process that ran this long did not end young: the count begins anew."""
AT_ONCE: Final = 3
"""So many that end young, one after the other, are followed at once."""
FIRST_PAUSE: Final = 0.2
LAST_PAUSE: Final = 5.0


@dataclass(slots=True)
class Backoff:
    """How many in a row ended young."""

    young: int = 0

    def pause(self, ran: float) -> float:
        """Return the seconds to wait after a process that ran for so many; 0.0 at the very start counts as young."""
        if ran > STEADY_SECONDS:
            self.young = 0
            return 0.0
        self.young += 1
        if self.young <= AT_ONCE:
            return 0.0
        # More doublings than bring it to its bound are not counted out: a loop may go on for days.
        return min(FIRST_PAUSE * 2.0 ** min(self.young - AT_ONCE - 1, 16), LAST_PAUSE)
