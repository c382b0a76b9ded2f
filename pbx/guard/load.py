"""How much of what comes is turned away, and of what rank.

in → out: how late the event loop is, how full the socket's queue, how busy the processor, ten times a second → the share of
each rank that is shed. Rank 5 goes first, all of it before anything of rank 4, then rank 3; ranks 1 and 2 never. What was shed
comes back in the opposite order.

At each probe the acceptance is multiplied by target ÷ measurement, so it settles where a measurement is at its target instead
of swinging between all and nothing.
"""

from collections import deque
from typing import Final

from pbx.guard.glance import Rank

TARGET_LAG: Final = 0.05
"""Seconds the loop may be late: the bar of every test (p99 of GI3)."""
TARGET_BACKLOG: Final = 0.1
"""Share of the receive buffer that may be full: of 4 MiB that is about 600 datagrams, 60 ms of work."""
TARGET_BUSY: Final = 0.99
"""Share of the time the loop may be at work."""
LEAST_BUSY: Final = 0.5
"""Whoever is late while the processor was elsewhere has nothing to shed: lateness counts from this share at work on."""
PATIENCE: Final = 5
"""Probes in a row that must show strain before anything is shed: a stall of the machine is no overload."""
AGREEING: Final = 2
"""Probes in a row that must agree for a change once something is shed."""
LEAST_STEP: Final = 0.7
"""By how much acceptance falls at one probe at most."""
MOST_STEP: Final = 1.3
"""By how much it rises at most: from nothing to all in 1.5 s per rank (bars L4: back to normal 5 s after the load)."""
FLOOR: Final = 0.02
"""Below this acceptance a rank is shed whole, and the next one begins."""

_SHED: Final = (Rank.OTHER, Rank.REGISTER, Rank.OWNER)


class Load:
    """See the module."""

    def __init__(self) -> None:
        self._accepted = dict.fromkeys(_SHED, 1.0)
        self._strains: deque[float] = deque(maxlen=PATIENCE)

    def probe(self, lag: float, backlog: float, busy: float) -> None:
        """Take one measurement: seconds the loop was late, share 0…1 of the receive queue in use and of the time at work."""
        late = lag / TARGET_LAG if busy >= LEAST_BUSY else 0.0
        self._strains.append(max(late, backlog / TARGET_BACKLOG, busy / TARGET_BUSY))
        step = self._step()
        for rank in _SHED if step < 1.0 else reversed(_SHED):
            accepted = self._accepted[rank]
            if step < 1.0 and accepted > 0.0:
                self._accepted[rank] = accepted * step if accepted * step >= FLOOR else 0.0
                return
            if step > 1.0 and accepted < 1.0:
                self._accepted[rank] = min(1.0, max(FLOOR, accepted * step))
                return

    def _step(self) -> float:
        """Return what acceptance is multiplied by."""
        asked = AGREEING if self.shedding else PATIENCE
        latest = list(self._strains)[-asked:]
        if len(latest) == asked and (least := min(latest)) > 1.0:
            return max(LEAST_STEP, 1.0 / least)
        most = max(latest)
        if most < 1.0:
            return min(MOST_STEP, 1.0 / most) if most > 0.0 else MOST_STEP
        return 1.0

    @property
    def pressure(self) -> float:
        """0: nothing is shed; 1: all of rank 5; 3: everything that may be."""
        return sum(1.0 - accepted for accepted in self._accepted.values())

    @property
    def shedding(self) -> bool:
        """Whether anything is shed."""
        return self._accepted[Rank.OTHER] < 1.0

    def share(self, rank: Rank) -> float:
        """Return which share 0…1 of a rank is to be turned away now."""
        # bars.md section 5: "Shed from 5 upwards; never 1-2."
        return 1.0 - self._accepted.get(rank, 1.0)
