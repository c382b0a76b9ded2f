"""Whether a leg gets ports: of those that are left, and of the files the process may open, a part is kept for emergencies. Pure.

    capacity = min(port pairs of the range, (files the process may open − those it always needs − captures) / 3)

Asked before anything is bound: a range that is full is not searched again for each call that comes, and no call that has its
ports finds that there is no file left for its evidence.
"""

import math
from dataclasses import dataclass
from typing import Final

FIXED_FILES: Final = 64
"""Open files beside ports and captures: control and handover sockets, epoll, logs, prompts, folders that are being synced."""

FILES_OF_A_PAIR: Final = 3
"""RTP, RTCP, and the socket beside RTP that counts strangers."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """The limits of one media process."""

    pairs: int
    """Of its port range."""
    files: int
    """It may open at once (RLIMIT_NOFILE)."""
    share: float
    """Kept for legs that are urgent, 0 … 1."""

    def capacity(self, captures: int) -> int:
        """How many pairs there can be while so many captures are open."""
        return max(0, min(self.pairs, (self.files - FIXED_FILES - captures) // FILES_OF_A_PAIR))

    def admits(self, wanted: int, *, used: int, captures: int, urgent: bool) -> bool:
        """Whether `wanted` more pairs may be bound while `used` are, draining ones among them."""
        capacity = self.capacity(captures)
        kept = 0 if urgent else math.ceil(self.share * capacity)
        return used + wanted <= capacity - kept
