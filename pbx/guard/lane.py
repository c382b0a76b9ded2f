"""Emergency INVITEs that come faster than their source may: none is thrown away while a port is free for it.

in → out: an INVITE over its source's limit → go on, wait, or there is no place; time → those whose turn it is, and those that
had to make room.

A limit by source can't tell a flood from a hundred people behind one address. So what is over it waits here, and the sources
take turns: who floods waits behind itself, everybody else behind one call of the flood at most. The pace gives away the free
ports over the life of an INVITE, and who lately took more than are left waits too: the fewer are left, the slower, so that a
flood never takes the last.

Nothing is answered before its turn, not even 100: a phone that heard one stops repeating its INVITE and gives up no more, but what
waits here stands in no journal, and a CANCEL finds no transaction. Silence leaves it to the phone to come again.

What is repeated costs nothing, whether it waits or had its turn. What waits is bounded in bytes; when that is reached, the newest of
a source that holds more than its share makes room, and is told of so that it can be answered.
"""

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import Final, Literal

from pbx.guard.buckets import Limit
from pbx.sip.flow import Flow

MAX_BYTES: Final = 16 * 1024 * 1024
"""Held by all that wait: some 6,000 calls with an offer and a location."""
OVERHEAD: Final = 512
"""Bytes one that waits costs beside its own, so that tiny ones are counted too."""
LIFE: Final = 32.0
"""Seconds after which the caller's phone has given up (RFC 3261 timer B, 64·T1)."""
REPEATS: Final = 10
"""Repetitions of one INVITE let through to its transaction, which answers them: a phone sends seven over UDP (RFC 3261 §17.1.1.2)."""
MAX_SEEN: Final = 20_000
"""INVITEs whose repetitions are known, about 4 MiB; beyond, the oldest is taken for a new one."""

Key = tuple[tuple[str, int], str, bytes]
"""Where an INVITE came from, its Call-ID and its branch: what makes a repetition one."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: Key
    data: bytes
    flow: Flow
    since: float

    @property
    def size(self) -> int:
        return len(self.data) + OVERHEAD


class Lane:
    """See the module."""

    def __init__(self, limit: Limit) -> None:
        """`limit`: calls a second, of all sources together, however many ports are free; and how many at once."""
        self._most = limit
        self._tokens = limit.burst
        self._at: float | None = None
        self._hosts: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        """Those that wait by source; the source whose turn is next comes first."""
        self._held: dict[str, int] = {}
        """Bytes of each source."""
        self._bytes = 0
        self._keys: set[Key] = set()
        self._seen: OrderedDict[Key, tuple[float, int]] = OrderedDict()
        """Those that went on: when, and how often they came since."""
        self._recent: Counter[str] = Counter()
        """How many of them each source had."""
        self._displaced: list[tuple[bytes, Flow]] = []
        self.late = 0
        """How many waited until their phones had given up."""

    def __len__(self) -> int:
        return len(self._keys)

    def repeated(self, key: Key, now: float) -> Literal["no", "heard", "over"]:
        """Tell whether an INVITE came before: `heard` for its transaction to answer, `over` when there is nothing to say."""
        if key in self._keys:
            return "over"
        at, times = self._seen.get(key, (-LIFE, 0))
        if now - at >= LIFE:
            return "no"
        self._seen[key] = (at, times + 1)
        return "heard" if times < REPEATS else "over"

    def recent(self, host: str, now: float) -> int:
        """Tell how many INVITEs of a source went on within the life of one."""
        while self._seen:
            key, (at, _) = next(iter(self._seen.items()))
            if now - at < LIFE and len(self._seen) <= MAX_SEEN:
                break
            del self._seen[key]
            self._recent[key[0][0]] -= 1
            if not self._recent[key[0][0]]:
                del self._recent[key[0][0]]
        return self._recent[host]

    def passed(self, key: Key, now: float) -> None:
        """Hear that an INVITE goes on, so that its repetitions are known."""
        host = key[0][0]
        if self._seen.pop(key, None) is None:
            self._recent[host] += 1
        self._seen[key] = (now, 0)
        self.recent(host, now)

    def offer(
        self, data: bytes, flow: Flow, key: Key, free: int, now: float
    ) -> Literal["go", "waits", "full"]:
        """Take an INVITE that is no repetition. `go`: it is its turn now. `free`: calls there are media ports for."""
        if not self._keys and self._take(free, now):
            self.passed(key, now)
            return "go"
        one = _Waiting(key, data, flow, now)
        host = flow.remote[0]
        if not self._make_room(host, one.size):
            return "full"
        self._hosts.setdefault(host, deque()).append(one)
        self._keys.add(key)
        self._count(host, one.size)
        return "waits"

    def turns(self, free: int, now: float) -> list[tuple[bytes, Flow]]:
        """Return those whose turn it is, one of each source after the other; `free`: calls there are media ports for."""
        out: list[tuple[bytes, Flow]] = []
        while self._hosts:
            host, waiting = next(iter(self._hosts.items()))
            late = now - waiting[0].since >= LIFE
            if not late and (len(out) >= free or not self._take(free - len(out), now)):
                break
            one = waiting.popleft()
            self._forget(host, one)
            if late:
                self.late += 1  # its phone gave up; the source keeps its turn
            else:
                self.passed(one.key, now)
                out.append((one.data, one.flow))
                if waiting:
                    self._hosts.move_to_end(host)
        return out

    def displaced(self) -> list[tuple[bytes, Flow]]:
        """Return those that made room for others since the last question."""
        displaced, self._displaced = self._displaced, []
        return displaced

    def _take(self, free: int, now: float) -> bool:
        if free <= 0:
            return False
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        pace = min(self._most.rate, free / LIFE)
        self._tokens = min(max(self._most.burst, 1.0), self._tokens + passed * pace)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _make_room(self, host: str, size: int) -> bool:
        """Displace the newest of sources that hold more than their share; False when `host` itself is one."""
        while self._bytes + size > MAX_BYTES:
            share = MAX_BYTES // (len(self._hosts) + (host not in self._hosts))
            if self._held.get(host, 0) + size > share:
                return False
            # The others hold more than their shares together, so one of them does.
            greedy = next(other for other, held in self._held.items() if held > share)
            one = self._hosts[greedy].pop()
            self._forget(greedy, one)
            self._displaced.append((one.data, one.flow))
        return True

    def _count(self, host: str, size: int) -> None:
        self._bytes += size
        self._held[host] = self._held.get(host, 0) + size

    def _forget(self, host: str, one: _Waiting) -> None:
        self._keys.discard(one.key)
        self._count(host, -one.size)
        if not self._hosts[host]:
            del self._hosts[host], self._held[host]
