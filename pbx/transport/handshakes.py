"""TLS handshakes in turn: a flood of them takes a part of the loop's time, and no source another's turn (bars S11).

in → out: a piece of a handshake and the time → take it now, or wait; what taking it cost → how long the others wait.

The dear piece is the client's hello, to which we answer with keys and a signature: from half a millisecond with the certificate made
here to five with a large RSA key. So it is time that is rationed, not a number, and of every piece, however a hello is cut. Who has
to wait waits in the line of its address, and the addresses take turns: a flood from one of them waits behind itself. A connection
is read no further meanwhile, and the patience with a handshake (`StreamLimits.handshake`) ends its wait. How many may wait is for
`crowd` to say.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

__all__ = ["SHARE", "HandshakeQueue", "Handshakes"]

SHARE: Final = 0.25
"""Part of the loop's time for handshakes: some 300 a second with the certificate made here; 0.75 are left for calls."""
BURST: Final = 0.01
"""Seconds of such time at once: a fifth of what the loop may be late (bars GI3), for what comes in the same breath adds to it."""
SOON: Final = 0.001
"""Seconds between two looks at least."""
LEAST_COST: Final = 0.0001
"""Seconds taken for granted when a clock too coarse measured nothing."""

Go = Callable[[], None]


class Handshakes:
    """Whose turn it is."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._left = BURST
        self._at: float | None = None
        self._lines: OrderedDict[str, deque[Go]] = OrderedDict()
        """Those that wait, by address; the address whose turn is next comes first."""
        self.waited = 0
        """How many ever had to wait."""

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def may(self, host: str, go: Go, now: float) -> bool:
        """Tell whether a piece from `host` may be taken now; if not, `go` comes out of `turns` when it may."""
        if not self._lines and self._has_time(now):
            return True
        self._lines.setdefault(host, deque()).append(go)
        self.waited += 1
        return False

    def spent(self, seconds: float) -> None:
        """Hear what taking one cost."""
        self._left -= max(seconds, LEAST_COST)

    def turns(self, now: float) -> list[Go]:
        """Return whose turn it is: one at most, since what it costs is known only afterwards; empty: not yet."""
        if not self._lines or not self._has_time(now):
            return []
        host, line = next(iter(self._lines.items()))
        go = line.popleft()
        if line:
            self._lines.move_to_end(host)
        else:
            del self._lines[host]
        return [go]

    def due(self, now: float) -> float | None:
        """Return in how many seconds `turns` is to be asked again; None: nobody waits."""
        self._has_time(now)
        return max(SOON, -self._left / self._share) if self._lines else None

    def _has_time(self, now: float) -> bool:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._left = min(BURST, self._left + passed * self._share)
        return self._left > 0.0


class HandshakeQueue:
    """`Handshakes` with the loop's clock: calls who had to wait."""

    def __init__(self, share: float = SHARE) -> None:
        self._turns = Handshakes(share)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waited(self) -> int:
        """How many ever had to wait."""
        return self._turns.waited

    def begin(self, host: str, go: Go) -> bool:
        """Call `go` now, or when its turn comes; tell whether it was now."""
        loop = asyncio.get_running_loop()
        if not self._turns.may(host, go, loop.time()):
            self._arm(loop)
            return False
        self._run(go)
        return True

    def _run(self, go: Go) -> None:
        began = time.thread_time()  # what this thread worked, whatever else the processor did
        go()
        self._turns.spent(time.thread_time() - began)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._turns.due(loop.time())
        if due is not None and self._timer is None:
            self._timer = loop.call_later(due, self._next)

    def _next(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        for go in self._turns.turns(loop.time()):
            self._run(go)
        self._arm(loop)
