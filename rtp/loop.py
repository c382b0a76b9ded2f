"""The media process's own loop: epoll, a heap of timers, one clock reading for each round.

No asyncio: it reads one datagram for each readiness event through three layers of callbacks, and here every
microsecond is paid 44,000 times a second. A handler is called with nothing, reads one datagram and returns; what is
left is ready again in the next round, so no socket can starve another. Descriptors that are served together have no
handler each: those that are ready are given to one function, all at once.
"""

import heapq
import itertools
import math
import select
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

MAX_WAIT: Final = 1.0
"""Seconds without a timer or packet after which the loop looks around anyway."""
MAX_READY: Final = 512
"""Descriptors served in one round, before timers get their turn."""
GATHER_RATE: Final = 4000
"""Datagrams a second above which the loop lets some gather before it serves them. A round for each single one is
mostly the price of waking up, with every cache cold: together they cost half."""
GATHER_SECONDS: Final = 0.001
"""From one round to the next while they gather: half of it is the delay a packet gets by it."""
MUCH_RATE: Final = 12_000
"""Datagrams a second, some sixty calls of sound and picture, above which they gather for longer: there a processor's share is what
runs out first, and 160 µs of each round are spent before its first packet."""
MUCH_SECONDS: Final = 0.002
"""As `GATHER_SECONDS`, at such rates; the native engine keeps to one millisecond."""
GATHER_ENOUGH: Final = 128
"""So many in one round need no gathering."""
DEFERRED_ROUNDS: Final = 3
"""Datagrams of one deferred descriptor read at once: what a stall of 60 ms leaves; the rest comes with the next call."""
LOOK_SECONDS: Final = 0.1
"""Between two looks at the rate."""
LOGGED_FAILURES: Final = 1000
"""Of the failures of one handler the first is logged, and then every so-many-th: a packet may repeat it 50 times a second."""

Handler = Callable[[], None]
Together = Callable[[list[Any], "Loop"], None]
"""Serves members whose descriptors are ready: one datagram of each."""
_monotonic: Final = time.monotonic
log = structlog.get_logger("media")


class Loop:
    """Runs handlers of ready descriptors and due timers until `stop`."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        """Monotonic seconds at the beginning of this round."""
        self.looked = self.now
        """When the newest look before this one that saw every descriptor was over: one that was not read then or since was empty …"""
        self.vacant = self.now
        """… and what it has now came later than this (see `flood`)."""
        self.failures = 0
        """Exceptions of handlers and timers since the start."""
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._later = select.epoll()
        self._later_looked = self._later_vacant = self.now  # the same of deferred descriptors
        self._deferred: set[int] = set()
        self._handlers: dict[int, Handler] = {}
        self._members: list[Any] = []
        """By descriptor, None where there is none: a dictionary would have to be fetched from memory in four places for each packet."""
        self._together: Together
        self._names: dict[int, str] = {}
        self._failed: dict[str, int] = {}
        self._timers: list[tuple[float, int, str, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._running = True

    def add(self, fd: int, handler: Handler, name: str) -> None:
        """Call `handler` whenever `fd` is readable (or in error); `name` says in the log whose it is."""
        self._epoll.register(fd, select.EPOLLIN)
        self._handlers[fd] = handler
        self._names[fd] = name
        while len(self._members) <= fd:
            self._members.append(None)

    def replace(self, fd: int, handler: Handler, name: str | None = None) -> None:
        """Let another handler have a descriptor that was added."""
        self._members[fd] = None
        self._handlers[fd] = handler
        if name is not None:
            self._names[fd] = name

    def join(self, fd: int, member: Any, serve: Together) -> None:
        """Give `member` to `serve` with all others that are ready, instead of calling the handler of `fd`; one `serve` for all."""
        self._members[fd] = member
        self._together = serve

    def want_write(self, fd: int, *, wanted: bool) -> None:
        """Call the handler also when `fd` is writable."""
        self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def defer(self, fd: int, *, deferred: bool) -> None:
        """Serve a descriptor when `serve_deferred` is called, and not whenever it is readable; or as any other again."""
        if deferred != (fd in self._deferred):
            (self._epoll if deferred else self._later).unregister(fd)
            (self._later if deferred else self._epoll).register(fd, select.EPOLLIN)
            self._deferred.symmetric_difference_update({fd})

    def serve_deferred(self) -> None:
        """Read what waits at deferred descriptors: many in a row cost half of as many wake-ups."""
        looks = self.looked, self.vacant
        self.looked, self.vacant = self._later_looked, self._later_vacant
        empty = False
        for _ in range(DEFERRED_ROUNDS):
            empty = not self._take_deferred()
            if empty:
                break
        self.looked, self.vacant = looks
        # Whatever was read now counts as empty too where none had more.
        self._later_looked = math.nextafter(self.now, math.inf) if empty else self.now
        self._later_vacant = self.now

    def _take_deferred(self) -> int:
        """Read one datagram of each deferred descriptor; how many had one."""
        ready = self._later.poll(0, MAX_READY)
        self._serve(ready)
        return len(ready)

    def remove(self, fd: int) -> None:
        """Forget a descriptor; to be called before it is closed."""
        self.defer(fd, deferred=False)
        self._epoll.unregister(fd)
        self._members[fd] = None
        del self._handlers[fd]
        self._failed.pop(self._names.pop(fd), None)

    def at(self, due: float, callback: Callable[[float], None], name: str) -> None:
        """Call `callback(now)` once, at or after `due` (monotonic seconds)."""
        heapq.heappush(self._timers, (due, next(self._order), name, callback))

    def stop(self) -> None:
        """Let `run` return after this round."""
        self._running = False

    def run(self) -> None:
        """Go round until stopped."""
        served = 0
        look_at = self.now
        gather = 0.0
        while self._running:
            ready = self.turn(MAX_WAIT)
            served += ready
            if self.now >= look_at:
                gather = _gathering(served / LOOK_SECONDS)
                served = 0
                look_at = self.now + LOOK_SECONDS
            if gather and ready < GATHER_ENOUGH:
                time.sleep(max(0.0, self.now + gather - _monotonic()))

    def turn(self, wait: float) -> int:
        """One round: wait for at most `wait` seconds, serve what is ready, then what is due; how many were ready."""
        timers = self._timers
        if timers:
            # Counted from the last round's clock reading: late by what that round took, and one reading cheaper.
            wait = min(wait, max(0.0, timers[0][0] - self.now))
        before = self.now
        ready = self._poll(wait, MAX_READY)
        self.now = _monotonic()
        self._serve(ready)
        if timers and timers[0][0] <= self.now:
            self._run_timers()
        if len(ready) < MAX_READY:
            # Not `now`: between the look and the clock this process may have stood still.
            self.looked, self.vacant = self.now, before
        return len(ready)

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        handlers, members = self._handlers, self._members
        together = [member for fd, _ in ready if (member := members[fd]) is not None]
        if together:
            try:
                self._together(together, self)
            except Exception as error:  # noqa: BLE001  # as below; `serve` keeps its members apart
                self.failed("together", error)
            if len(together) == len(ready):
                return
        for fd, _ in ready:
            handler = handlers.get(fd)
            if handler is None or members[fd] is not None:
                continue  # removed by a handler earlier in this round, or served above
            try:
                handler()
            except Exception as error:  # noqa: BLE001  # logged and counted: one leg's failure must not end the others
                self.failed(self._names.get(fd, "removed"), error)

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            _, _, name, callback = heapq.heappop(self._timers)
            try:
                callback(self.now)
            except Exception as error:  # noqa: BLE001  # as above
                self.failed(name, error)

    def failed(self, name: str, error: Exception) -> None:
        """Count and log an exception of a handler; the others go on. It is a bug of ours, always."""
        self.failures += 1
        count = self._failed[name] = self._failed.get(name, 0) + 1
        if count % LOGGED_FAILURES == 1:
            log.error("handler_failed", owner=name, count=count, exc_info=error)

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()
        self._later.close()


def _gathering(rate: float) -> float:
    """Return seconds from one round to the next at `rate` datagrams a second; 0: each is served when it comes."""
    if rate > MUCH_RATE:
        return MUCH_SECONDS
    return GATHER_SECONDS if rate > GATHER_RATE else 0.0
