"""The key frames a peer may have asked for in vain: its road to us lost packets, so its requests may be among them.

gaps in the picture a peer sends ┄ 0.3 s without one ┄▶ whoever sends it its picture is asked, as if the peer had

RFC 4585 leaves it to the peer to ask again, and not every phone does: one that asked once and was not heard shows a damaged
picture until the next key frame comes by itself, which may be ten seconds.
"""

from collections.abc import Callable
from typing import Final

from rtp.loop import Loop

QUIET_SECONDS: Final = 0.3
"""Without a gap before the road counts as good again: at 5 % loss a picture of 30 packets a second has one every 0.7 s."""


class LostWishes:
    """Of one leg."""

    def __init__(self, loop: Loop, gaps: Callable[[], int], wish: Callable[[float], None]) -> None:
        """`gaps`: of what the peer has sent so far; `wish(now)`: ask on its behalf."""
        self._loop = loop
        self._gaps = gaps
        self._wish = wish
        self._known = 0
        self._lost_at = 0.0
        self._waiting = False

    def look(self, now: float) -> None:
        """See whether something was lost; with every sweep that has something to see."""
        gaps = self._gaps()
        if gaps == self._known:
            return
        self._known = gaps
        self._lost_at = now
        if not self._waiting:
            self._waiting = True
            self._loop.at(now + QUIET_SECONDS, self._come_back, "lost wishes")

    def _come_back(self, now: float) -> None:
        self.look(now)
        due = self._lost_at + QUIET_SECONDS
        if now < due:
            self._loop.at(due, self._come_back, "lost wishes")
            return
        self._waiting = False
        self._wish(now)
