"""When the interpreter's collector looks for garbage: often and through little; through all that is kept only in quiet times.

in → out: each second how much the loop's thread has worked → milliseconds of the collector, or none.

Left to itself the collector looks through everything now and then: with 3,000 phones a tenth of a second, in which nobody is served
(bars GI3, L11). What is made here dies without it nearly always, so whatever outlived two looks is set aside (`gc.freeze`) and looked
at again when there is nothing else to do.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final, Literal

import structlog

YOUNG: Final = 4_000
"""New objects until the collector looks through them: 2 ms or so."""
MIDDLE: Final = 2
"""Such looks until what outlived them is looked through once more: 12,000 objects, some 10 ms."""
NEVER: Final = 1_000_000_000
"""The collector itself never looks through what is older: that is ours to decide."""

EVERY: Final = 1.0
"""Seconds between two decisions."""
ROUNDS: Final = 2
"""Second looks until what outlived them is set aside, in calm times after a third look: 24,000 objects, some 20 ms."""
MOST: Final = 5
"""Such looks in one second after which it is set aside unseen: 60,000 objects would take 50 ms."""
LATE: Final = 0.05
"""Seconds by which our own timer is late at most in a calm second: where others have the processor, working little is not calm."""
CALM: Final = 0.3
"""Share of a second the loop's thread works at most when there is time for such a look."""
QUIET: Final = 0.1
QUIET_SECONDS: Final = 60
"""Seconds in a row of at most such a share before all that is kept is looked through: phones that are merely registered take less."""
WHOLE_EVERY: Final = 3600.0
"""Seconds between two such looks: 50 ms for the program alone, 45 more for each thousand of phones."""
WHOLE_AT_LAST: Final = 24 * 3600.0
"""Seconds after which a calm second is quiet enough."""

What = Literal["nothing", "aside", "new", "whole"]

log = structlog.get_logger("garbage")


class Garbage:
    """Decides what is looked through."""

    def __init__(self, now: float) -> None:
        """All that is kept was looked through `now`; seconds of any monotonic clock."""
        self._whole = now
        self._quiet = 0
        """Quiet seconds in a row."""

    def decide(self, rounds: int, busy: float, now: float) -> What:
        """Say what is to be done in this second: set aside what is old (`aside`), after a look at it (`new`), or look through all
        (`whole`).

        `rounds`: second looks of the collector since something was set aside; `busy`: share of the last second in which the
        loop's thread worked, 1.0 when it was late.
        """
        self._quiet = self._quiet + 1 if busy <= QUIET else 0
        since = now - self._whole
        if (since >= WHOLE_EVERY and self._quiet >= QUIET_SECONDS) or (
            since >= WHOLE_AT_LAST and busy <= CALM
        ):
            self._whole, self._quiet = now, 0
            return "whole"
        if rounds < ROUNDS:
            return "nothing"
        return "new" if busy <= CALM and rounds < MOST else "aside"


def look(what: What) -> None:
    """Have the collector do it."""
    if what == "nothing":
        return
    began = time.thread_time()
    found = 0
    if what == "whole":
        gc.unfreeze()
    if what != "aside":
        found = gc.collect()
    gc.freeze()
    if what == "whole":
        log.info(
            "garbage_looked_for", found=found, kept=gc.get_freeze_count(), seconds=time.thread_time() - began
        )


class Keeper:
    """The collector of a process whose loop runs."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, worked: Callable[[], float] = time.thread_time
    ) -> None:
        """`worked`: seconds of processor time the loop's thread has had. What was made by now stays for good."""
        look("new")
        gc.set_threshold(YOUNG, MIDDLE, NEVER)
        self._clock, self._worked = clock, worked
        self._at, self._before = clock(), worked()
        self._garbage = Garbage(self._at)

    def start(self) -> None:
        """Look each second, for as long as the loop runs."""
        asyncio.get_running_loop().call_later(EVERY, self._look)

    def _look(self) -> None:
        self.start()
        now, worked = self._clock(), self._worked()
        passed = now - self._at
        busy = (worked - self._before) / max(passed, EVERY) if passed - EVERY <= LATE else 1.0
        look(self._garbage.decide(gc.get_count()[2], busy, now))
        self._at, self._before = now, self._worked()
