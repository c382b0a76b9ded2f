"""One desk that is signed in. Pure values."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import asdict

from routing.queues import Waiting


class DeskState(StrEnum):
    """What a desk is. A signed-out desk is not in the machine at all."""

    IDLE = "idle"
    TALKING = "talking"
    WRAP_UP = "wrap_up"
    PAUSED = "paused"
    VISITING = "visiting"
    """Its leg is lent to another desk's room; or it is an outside party, which the queue never serves."""


class Desk(Struct, frozen=True):
    """One desk that is signed in."""

    desk: str
    state: DeskState
    since: float
    """When it entered this state."""
    agent: str = ""
    """Who sits there: whose profile counts."""
    place: Waiting | None = None
    """The place its caller had, so that it is kept if the desk is lost."""
    pausing: bool = False
    """Will be paused when its caller is gone."""
    reason: str = ""
    """Why it is away, or will be."""
    heard: bool = False
    """It sent sound since it was given its caller."""
    served: int = 0
    """Callers since it signed in."""
    alive: float = 0.0
    """When its phone last showed that it is there, though without sound."""

    @property
    def call(self) -> str | None:
        """Its caller."""
        return None if self.place is None else self.place.call

    @property
    def staffed(self) -> bool:
        """Whether somebody sits there who takes callers, now or soon."""
        return self.state is not DeskState.PAUSED and not self.pausing

    def overdue(self, no_sound: float | None, now: float) -> bool:
        """Say whether it has had its caller for more than `no_sound` seconds without a sound of its own."""
        return not self.heard and no_sound is not None and max(self.since, self.alive) + no_sound <= now

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        data = asdict(self)
        place = None if self.place is None else self.place.pack()
        return {**data, "state": str(self.state), "place": place}

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> Self:
        """Make the desk that `pack` described."""
        place = None if data["place"] is None else Waiting.unpack(data["place"])
        return cls(**{**data, "state": DeskState(data["state"]), "place": place})


class Desks:
    """The desks that are signed in, found by name, by caller, and by what they are."""

    def __init__(
        self,
        desks: Iterable[Desk] = (),
        idle: Iterable[str] = (),
        ranks: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        """`idle`: names in the order they became idle; `ranks`: as `rank` gave them."""
        self._desks: dict[str, Desk] = {}
        self._calls: dict[str, str] = {}
        self.idle: dict[str, Desk] = {}
        """Longest idle first."""
        self.resting: dict[str, Desk] = {}
        self.unheard: dict[str, Desk] = {}
        """With a caller, and without sound since."""
        self.states: Counter[DeskState] = Counter()
        self.changed: set[str] = set()
        """Desks that came, changed or went, for whoever keeps a journal; it takes them out."""
        self._ranks: dict[str, tuple[int, int]] = {}
        self._count = 0
        for desk in desks:
            self.set(desk)
        self.idle = {name: self._desks[name] for name in idle}
        if ranks is not None:
            self._ranks = dict(ranks)
            self.resting, self.unheard = (
                dict(sorted(kept.items(), key=lambda one: ranks[one[0]][1]))
                for kept in (self.resting, self.unheard)
            )
            self._count = max((last for _, last in ranks.values()), default=0)

    def __iter__(self) -> Iterator[Desk]:
        return iter(self._desks.values())

    def __len__(self) -> int:
        return len(self._desks)

    def get(self, name: str | None) -> Desk | None:
        """Return one desk."""
        return None if name is None else self._desks.get(name)

    def at(self, call: str) -> Desk | None:
        """Return the desk that has this caller."""
        return self.get(self._calls.get(call))

    def rank(self, name: str) -> tuple[int, int]:
        """Return two numbers: the order in which desks came, and in which they became what they are."""
        return self._ranks[name]

    def set(self, desk: Desk) -> None:
        """Take a desk in, or what it is now."""
        name = desk.desk
        self._forget(name)
        self._count += 1
        self._ranks[name] = (self._ranks.get(name, (self._count, 0))[0], self._count)
        self._desks[name] = desk
        self.states[desk.state] += 1
        if desk.call is not None:
            self._calls[desk.call] = name
        match desk.state:
            case DeskState.IDLE:
                self.idle[name] = desk
            case DeskState.WRAP_UP:
                self.resting[name] = desk
            case DeskState.TALKING if not desk.heard:
                self.unheard[name] = desk

    def remove(self, name: str) -> None:
        """Forget a desk."""
        self._forget(name)
        del self._desks[name], self._ranks[name]

    def _forget(self, name: str) -> None:
        self.changed.add(name)
        old = self._desks.get(name)
        if old is None:
            return
        self.states[old.state] -= 1
        if old.call is not None:
            self._calls.pop(old.call, None)
        for kept in (self.idle, self.resting, self.unheard):
            kept.pop(name, None)
