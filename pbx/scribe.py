"""One thread that writes down what happens: event logs, the routing log, lines of the log. Nobody who talks waits for a disk.

in → out: `put(sheet, item)` returns at once; within `GATHER_SECONDS` the thread hands each sheet all its items, oldest first.

What a kill of the process takes with it is what came in those last milliseconds; what the disk refuses stays whole up to
there, and is said. A disk that hangs holds up this thread only: `MAX_WAITING` items wait, later ones are counted as lost.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

__all__ = ["Scribe", "Sheet"]

GATHER_SECONDS: Final = 0.05
"""What one burst of calls brings goes to each file in one write: a call's set-up in one, and its end in another."""
MAX_WAITING: Final = 200_000
"""Items, some 100 MB: minutes of the busiest centre with a disk that answers nothing."""


class Sheet(Protocol):
    """What is written on."""

    def write(self, items: Sequence[Any]) -> None:
        """Write all items, in this order. Called in the scribe's thread; handles its own errors."""


class _Nothing:
    def write(self, items: Sequence[Any]) -> None:
        """Nothing is put here."""


_NOTHING: Final = _Nothing()


class Scribe:
    """See the module. `put` and `then` may be called by any thread."""

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        """`on_fault` hears, in the scribe's thread, of a sheet that raised: a bug, and no other sheet suffers."""
        self._on_fault = on_fault
        self._waiting: deque[tuple[Sheet, Any, Callable[[], None] | None]] = deque()
        self._something = threading.Event()
        self._awake = False
        self._closed = False
        self._in_hand = 0
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self.lost = 0
        """Items dropped because too many waited."""
        self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)
        self._thread.start()

    def put(self, sheet: Sheet, item: Any) -> None:
        """Have an item written; it must not be changed any more. Never waits."""
        self._take(sheet, item, None)

    def then(self, sheet: Sheet, work: Callable[[], None]) -> None:
        """Have `work` done, in the scribe's thread, once all that was put for `sheet` so far is written."""
        self._take(sheet, None, work)

    def _take(self, sheet: Sheet, item: Any, work: Callable[[], None] | None) -> None:
        if len(self._waiting) >= MAX_WAITING and work is None:
            self.lost += 1
            return
        self._waiting.append((sheet, item, work))
        if self._closed:
            self._write()  # the thread has ended: who still has something to say waits for the disk
        elif not self._awake:
            self._awake = True
            self._something.set()

    @property
    def waiting(self) -> int:
        """Items that are not on the disk yet: those that wait and those being written."""
        return len(self._waiting) + self._in_hand

    def flush(self) -> None:
        """Wait until everything put so far is written. Blocks."""
        done = threading.Event()
        self.then(_NOTHING, done.set)
        done.wait()

    def close(self) -> None:
        """Write everything that waits, and end; what is put later is written at once. Blocks."""
        self._closing.set()
        self._something.set()
        self._thread.join()
        self._closed = True
        self._write()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._something.wait()
            self._closing.wait(GATHER_SECONDS)
            self._something.clear()
            self._awake = False
            self._write()

    def _write(self) -> None:
        """Give each sheet what waits for it, in the order they were first named."""
        with self._writing:
            # First, so that nobody who looks in between takes what is being written for written.
            self._in_hand = len(self._waiting)
            items, works = self._gather(self._in_hand)
            for sheet, some in items.items():
                self._guarded(partial(sheet.write, some))
            for work in works:
                self._guarded(work)
            self._in_hand = 0

    def _gather(self, count: int) -> tuple[dict[Sheet, list[Any]], list[Callable[[], None]]]:
        waiting = self._waiting
        items: dict[Sheet, list[Any]] = {}
        works: list[Callable[[], None]] = []
        for _ in range(count):
            sheet, item, work = waiting.popleft()
            if work is None:
                items.setdefault(sheet, []).append(item)
            else:
                works.append(work)
        return items, works

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - one sheet's bug must not silence the others
            self._on_fault(error)
