"""A dict that remembers which of its entries were looked at, for they may have been changed."""

from typing import TypeVar, overload

V = TypeVar("V")
D = TypeVar("D")


class Marked(dict[str, V]):
    """Every way to one entry marks it; walking through all of them does not: who changes something there says so."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: set[str] = set()
        """Keys, for whoever keeps a journal; it takes them out."""

    def mark(self, key: str) -> None:
        """Say that an entry changed."""
        self.changed.add(key)

    def peek(self, key: str) -> V | None:
        """Return an entry only to read it: it is not marked."""
        return super().get(key)

    def __getitem__(self, key: str) -> V:
        self.changed.add(key)
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: V) -> None:
        self.changed.add(key)
        super().__setitem__(key, value)

    def setdefault(self, key: str, default: V) -> V:
        """Return an entry, made when it is not there."""
        self.changed.add(key)
        return super().setdefault(key, default)

    @overload
    def get(self, key: str, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: str, default: V, /) -> V: ...
    @overload
    def get(self, key: str, default: D, /) -> V | D: ...

    def get(self, key: str, default: V | D | None = None, /) -> V | D | None:
        """Return an entry."""
        if key in self:
            self.changed.add(key)
        return super().get(key, default)

    @overload
    def pop(self, key: str, /) -> V: ...
    @overload
    def pop(self, key: str, default: V, /) -> V: ...
    @overload
    def pop(self, key: str, default: D, /) -> V | D: ...

    def pop(self, key: str, *default: V | D) -> V | D:
        """Take an entry out."""
        self.changed.add(key)
        return super().pop(key, *default)
