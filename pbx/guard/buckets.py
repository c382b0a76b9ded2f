"""Token buckets by key, in bounded memory.

in → out: a key and the time → may it have one more. The key seen longest ago is forgotten first: who floods with forged
addresses pushes out addresses, never us; a forgotten key starts again with a full bucket. Nothing is kept over a restart.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_TOKENS: Final = 0
_AT: Final = 1
_BLOCKED: Final = 2


@dataclass(frozen=True, slots=True)
class Limit:
    """How much one key may have."""

    rate: float
    """Requests a second in the long run."""
    burst: float
    """Requests at once."""
    block: float = 0.0
    """Seconds of nothing at all, counted from the last request that was too many; 0: only the excess is lost."""


class Buckets(Generic[K]):
    """One bucket per key, at most `size` of them."""

    def __init__(self, limit: Limit, size: int) -> None:
        self._limit = limit
        self._size = size
        self._entries: OrderedDict[K, list[float]] = OrderedDict()  # → tokens, when, blocked until

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, key: K, now: float) -> bool:
        """Take one token; False when there is none, or while the key is blocked. `now`: monotonic seconds."""
        entry = self._entries.get(key)
        limit = self._limit
        if entry is None:
            self._entries[key] = [limit.burst - 1.0, now, 0.0]
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
            return True
        self._entries.move_to_end(key)
        tokens, passed = entry[_TOKENS], now - entry[_AT]
        if passed > 0.0:
            tokens += passed * limit.rate
            tokens = min(tokens, limit.burst)
        entry[_AT] = now
        if tokens < 1.0:
            entry[_TOKENS] = tokens
            entry[_BLOCKED] = now + limit.block
            return False
        # What comes during a block spends tokens too: the block goes on until the key is quiet enough.
        entry[_TOKENS] = tokens - 1.0
        return entry[_BLOCKED] <= now

    def blocked(self, key: K, now: float) -> bool:
        """Tell whether a key is blocked, without taking anything."""
        entry = self._entries.get(key)
        return entry is not None and entry[_BLOCKED] > now
