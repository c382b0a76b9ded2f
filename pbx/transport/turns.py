"""Turns of the loop for connections: what thousands of them bring in one breath is taken a little at a time (bars GI3, L11).

in → out: work that comes in one pass of the loop → done now, while the pass has time for it, or in the next passes, in the order
in which it came. Between two passes everybody else is served: timers, datagrams, media, calls. What one connection may have
done at once is for `link` to say.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

__all__ = ["PASS_SECONDS", "Turns", "each"]

PASS_SECONDS: Final = 0.01
"""What connections may have of one pass: a fifth of what the loop may be late (bars GI3), for there are others in it."""

LOOKS: Final = 200
"""Connections looked at in one pass of the loop: a millisecond."""

Work = Callable[[], None]
T = TypeVar("T")


async def each(things: Iterable[T], look: Callable[[T], None]) -> None:
    """Look at each of `things`, which may be thousands and may change meanwhile, some in each pass of the loop."""
    for number, thing in enumerate(list(things), 1):
        look(thing)
        if number % LOOKS == 0:
            await asyncio.sleep(0)


class Turns:
    """Who waits for the loop. Everything runs on one event loop."""

    def __init__(
        self, seconds: float = PASS_SECONDS, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """`seconds` of each pass are given away; `clock` measures them."""
        self._seconds = seconds
        self._clock = clock
        self._waiting: deque[Work] = deque()
        self._until = 0.0
        """When this pass has given away its time."""
        self._asked = False
        """The next pass is asked for."""
        self.waited = 0
        """How often somebody ever had to wait."""

    def __len__(self) -> int:
        return len(self._waiting)

    def free(self) -> bool:
        """Tell whether something that came just now may be done now: nobody is in front of it, and there is time."""
        if not self._asked:
            self._begin()
        return not self._waiting and self._clock() < self._until

    def later(self, work: Work) -> None:
        """Do `work` when those in front of it have had their turn: in the next pass at the earliest."""
        self._waiting.append(work)
        self.waited += 1
        if not self._asked:
            self._begin()

    def finish(self) -> None:
        """Do all that waits, now: the end has come and nobody else is served any more."""
        while self._waiting:
            self._waiting.popleft()()

    def _begin(self) -> None:
        self._asked = True
        self._until = self._clock() + self._seconds
        asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        if not self._waiting:
            self._asked = False
            return
        self._begin()  # first of all: whatever fails below, those behind it have their turn
        while self._waiting:
            self._waiting.popleft()()
            if self._clock() >= self._until:
                return
