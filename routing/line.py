"""The line of waiting callers, always in the order in which they are served.

in → out: places come, go and change → the line, and who is where in it.
"""

from bisect import insort
from collections.abc import Iterable, Iterator
from operator import attrgetter

from routing.queues import Waiting


class Line:
    """Every place has one call; every call at most one place."""

    def __init__(self, places: Iterable[Waiting] = ()) -> None:
        self._places: list[Waiting] = sorted(places, key=attrgetter("key"))
        self._calls = {place.call: place for place in self._places}
        self.changed: set[str] = set()
        """Calls whose place came, changed or went, for whoever keeps a journal; it takes them out."""

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def find(self, call: str) -> Waiting | None:
        """Return the place of a call."""
        return self._calls.get(call)

    def add(self, place: Waiting) -> None:
        """Put a place where it belongs."""
        assert place.call not in self._calls, "a call has one place"
        insort(self._places, place, key=attrgetter("key"))
        self._calls[place.call] = place
        self.changed.add(place.call)

    def remove(self, call: str) -> Waiting | None:
        """Take a place away; None when the call has none."""
        place = self._calls.pop(call, None)
        if place is not None:
            self._places.remove(place)
            self.changed.add(call)
        return place

    def change(self, old: Waiting, new: Waiting) -> None:
        """Put `new` in place of `old`."""
        if old.key == new.key:
            self._places[self._places.index(old)] = new
            del self._calls[old.call]
            self._calls[new.call] = new
            self.changed |= {old.call, new.call}
            return
        self.remove(old.call)
        self.add(new)

    def update(self, index: int, place: Waiting) -> None:
        """Change what stands at an index without moving it."""
        self._places[index] = place
        self._calls[place.call] = place
        self.changed.add(place.call)
