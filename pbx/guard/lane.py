"""Emergency INVITEs that come faster than their source may: none is thrown away while it can still be taken.

in → out: an INVITE over its source's limit → go on, wait, or there is no place; time → those whose turn it is.

A limit by source can't tell a flood from a hundred people behind one address. So what is over it is still taken, at a rate of
its own for all sources together, which a flood can't raise; what comes faster waits here, once for each call however often it
is repeated. One source has at most a quarter of the places, so it can't take those of all others.
"""

from collections import Counter, OrderedDict
from typing import Final, Literal

from pbx.guard.buckets import Buckets, Limit
from pbx.sip.flow import Flow

PLACES: Final = 1000
"""INVITEs waiting: at ten a second the last of them would be taken after 100 s, three times the life of an INVITE."""
SHARE: Final = 4
"""One source has at most this part of the places."""
MAX_BYTES: Final = 16 * 1024
"""Of an INVITE that may wait, so that all of them hold 16 MiB at most; an offer with a location is 4 KiB."""
LIFE: Final = 32.0
"""Seconds after which the caller's phone has given up (RFC 3261 timer B, 64·T1)."""

Key = tuple[tuple[str, int], str]
"""Where an INVITE came from and its Call-ID: what makes a repetition one."""


class Lane:
    """See the module."""

    def __init__(self, limit: Limit) -> None:
        """`limit`: calls a second, of all sources together, beyond what each may have."""
        self._limit: Buckets[None] = Buckets(limit, 1)
        self._waiting: OrderedDict[Key, tuple[bytes, Flow, float]] = OrderedDict()
        self._hosts: Counter[str] = Counter()
        self._taken: OrderedDict[Key, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(
        self, data: bytes, flow: Flow, call_id: str, now: float
    ) -> Literal["go", "waits", "again", "full"]:
        """Take an INVITE. `go`: it is its turn now; `again`: a repetition of one that waits, or that had its turn."""
        key = (flow.remote, call_id)
        if key in self._waiting or now - self._taken.get(key, -LIFE) < LIFE:
            return "again"
        if not self._waiting and self._limit.take(None, now):
            self._remember(key, now)
            return "go"
        host = flow.remote[0]
        if len(self._waiting) >= PLACES or self._hosts[host] >= PLACES // SHARE or len(data) > MAX_BYTES:
            return "full"
        self._waiting[key] = (data, flow, now)
        self._hosts[host] += 1
        return "waits"

    def turns(self, now: float) -> list[tuple[bytes, Flow]]:
        """Return those whose turn it is, the longest waiting first; who gave up meanwhile is forgotten."""
        out = []
        while self._waiting:
            key, (data, flow, since) = next(iter(self._waiting.items()))
            late = now - since >= LIFE
            if not late and not self._limit.take(None, now):
                break
            del self._waiting[key]
            self._hosts[flow.remote[0]] -= 1
            if not late:
                self._remember(key, now)
                out.append((data, flow))
        self._hosts += Counter()  # drop those that have none
        return out

    def _remember(self, key: Key, now: float) -> None:
        self._taken[key] = now
        if len(self._taken) > PLACES:
            self._taken.popitem(last=False)
