"""Which machine wants to be woken when: one timer for all.

in → out: (key, due) of every machine that was touched → the keys that are due.
"""

from collections.abc import Iterable
from heapq import heappop, heappush


class Agenda:
    """A heap of wake-ups; an entry that a later `set` made void is dropped when it comes up."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, key: str, due: float | None) -> None:
        """State when `key` wants to be woken, None for never. `due` in monotonic seconds."""
        if due is None:
            self._due.pop(key, None)
        elif self._due.get(key) != due:
            self._due[key] = due
            heappush(self._heap, (due, key))

    @property
    def next_due(self) -> float | None:
        """The earliest wake-up."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def expired(self, now: float) -> Iterable[str]:
        """Take out the keys that are due, in order of time."""
        while (due := self.next_due) is not None and due <= now:
            _, key = heappop(self._heap)
            del self._due[key]
            yield key
