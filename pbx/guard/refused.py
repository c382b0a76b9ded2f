"""Calls for help that heard 503: who repeats one of them hears the same again, for as long as a phone repeats it.

in → out: the bytes of an INVITE and how long its phone is to wait → what was said when they came first, if they did.

RFC 3261 §8.2.7 wants the same answer for each repetition, and more hangs on it than order: a phone may send an INVITE twice before it
hears us. If the second were taken in, because there is room by then, a call would begin for a phone that has given up, ring for
nobody for half a minute, and take a port and the time of people who wait.
"""

from typing import Final

LIFE: Final = 32.0
"""Seconds for which phones repeat an INVITE (RFC 3261 timer B, 64·T1)."""
MAX: Final = 20_000
"""Remembered of each of two such times, some 2 MiB; beyond, the oldest are forgotten."""


class Refused:
    """See the module. What is repeated is the same to the last byte (RFC 3261 §17.1.1.2), so its hash is enough; times are
    monotonic seconds.
    """

    __slots__ = ("_before", "_new", "_since")

    def __init__(self) -> None:
        self._new: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self._since = 0.0
        """When `_new` was begun."""

    def __len__(self) -> int:
        return len(self._new) + len(self._before)

    def said(self, data: bytes, now: float) -> int | None:
        """Tell how many seconds its phone was told to wait; None: it was not refused, or long ago."""
        if not (self._new or self._before):
            return None
        self._age(now)
        name = hash(data)
        found = self._new.get(name)
        return self._before.get(name) if found is None else found

    def add(self, data: bytes, wait: int, now: float) -> None:
        """Remember that its phone was told to wait so many seconds."""
        self._age(now)
        self._new[hash(data)] = wait

    def _age(self, now: float) -> None:
        passed = now - self._since
        if passed >= 2 * LIFE:
            self._before, self._new, self._since = {}, {}, now
        elif passed >= LIFE or len(self._new) >= MAX:
            self._before, self._new = self._new, {}
            self._since = self._since + LIFE if passed >= LIFE else now
