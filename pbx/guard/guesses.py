"""Who guesses passwords: wrong digests, counted per identity and source address.

in → out: a failure → counted; a question → how long this pair must wait. The identity is what was claimed, whether it exists or
not, so that the answer betrays nothing (bars S4, S5). The true owner elsewhere is never locked out: another address is another
pair, and `pbx.identity` does not ask for the flow an account is registered from, nor for emergency calls.
"""

from collections import OrderedDict, deque
from typing import Final

WINDOW: Final = 60.0
"""Seconds a failure counts."""
MAX_PAIRS: Final = 20_000
"""Pairs remembered, about 8 MiB; the one that failed longest ago is forgotten first."""


class Guesses:
    """See the module."""

    def __init__(self, limit: int = 10, *, size: int = MAX_PAIRS) -> None:
        """`limit`: failures within `WINDOW` after which a pair is not listened to."""
        self._limit = limit
        self._size = size
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, identity: str, source: str, now: float) -> None:
        """Count one failure. `source`: IP address; `now`: monotonic seconds."""
        key = (identity, source)
        times = self._failures.setdefault(key, deque(maxlen=self._limit))
        times.append(now)
        self._failures.move_to_end(key)
        if len(self._failures) > self._size:
            self._failures.popitem(last=False)

    def wait(self, identity: str, source: str, now: float) -> float:
        """Return the seconds until this pair is listened to again, 0 when it is now."""
        times = self._failures.get((identity, source))
        if times is None or len(times) < self._limit:
            return 0.0
        return max(0.0, times[0] + WINDOW - now)
