"""How much of what comes is turned away, and of what rank.

in → out: how late the event loop is and how full the socket's queue is, ten times a second → the share of each rank that is
shed. Pressure rises quickly and falls slowly enough not to swing: from 0 to 1 it sheds rank 5, then rank 4, then rank 3;
ranks 1 and 2 never.
"""

from typing import Final

from pbx.guard.glance import Rank

TARGET_LAG: Final = 0.05
"""Seconds the loop may be late: the bar of every test (p99 of GI3)."""
TARGET_BACKLOG: Final = 0.1
"""Share of the receive buffer that may be full: of 4 MiB that is about 600 datagrams, 60 ms of work."""
RISE: Final = 0.1
"""Pressure gained per probe at the target, and in proportion above it: ten times late turns all of a rank away at once."""
FALL: Final = 0.08
"""Pressure lost per calm probe: from the top to nothing in 4 s (bars L4: back to normal in 5 s)."""
TOP: Final = 3.0
CALM: Final = 0.5
"""Share of the target below which it is calm; between, pressure stays as it is."""


class Load:
    """One number, `pressure`, 0 to 3."""

    def __init__(self) -> None:
        self.pressure = 0.0

    def probe(self, lag: float, backlog: float) -> None:
        """Take one measurement: seconds the loop was late, share 0…1 of the receive queue in use."""
        strain = max(lag / TARGET_LAG, backlog / TARGET_BACKLOG)
        if strain >= 1.0:
            self.pressure = min(TOP, self.pressure + min(1.0, RISE * strain))
        elif strain < CALM:
            self.pressure = max(0.0, self.pressure - FALL)

    def share(self, rank: Rank) -> float:
        """Return which share 0…1 of a rank is to be turned away now."""
        # bars.md section 5: "Shed from 5 upwards; never 1-2."
        if rank <= Rank.EMERGENCY:
            return 0.0
        return min(1.0, max(0.0, self.pressure - (Rank.OTHER - rank)))
