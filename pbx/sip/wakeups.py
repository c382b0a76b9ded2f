"""When which transaction wants to be woken: one heap for thousands, so that the rim arms one timer.

in → out: `note(item)` after anything that may have changed its `next_due`; `first()` gives the earliest, `pop()` takes
it off. Entries whose item thought better of it are skipped, not searched for.
"""

import heapq
from typing import Generic, Protocol, TypeVar


class Sleeper(Protocol):
    """What can be noted."""

    scheduled: float | None
    """The earliest entry in the heap; ours to write."""

    @property
    def order(self) -> int:
        """Tie-break between equal times."""

    @property
    def next_due(self) -> float | None:
        """When it wants to be woken; None: not any more."""


S = TypeVar("S", bound=Sleeper)


def earliest(*dues: float | None) -> float | None:
    """Return the first of several times, None when there is none."""
    first = None
    for due in dues:
        if due is not None and (first is None or due < first):
            first = due
    return first


class Wakeups(Generic[S]):
    """A heap of (due, order, serial number, item)."""

    __slots__ = ("_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, S]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def note(self, item: S) -> None:
        """Make sure that `item` is woken in time."""
        due = item.next_due
        if due is not None and (item.scheduled is None or due < item.scheduled):
            item.scheduled = due
            self._serial += 1  # two entries of one item never compare the item itself
            heapq.heappush(self._heap, (due, item.order, self._serial, item))

    def first(self) -> tuple[float, S] | None:
        """The earliest wake-up and whose it is."""
        heap = self._heap
        while heap:
            due, _, _, item = heap[0]
            if item.next_due == due:
                return due, item
            heapq.heappop(heap)
            if item.scheduled == due:
                item.scheduled = None
                self.note(item)
        return None

    def pop(self) -> None:
        """Take off what `first` gave; `note` it again after waking it."""
        heapq.heappop(self._heap)[3].scheduled = None
