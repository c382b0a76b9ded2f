"""One person, one place: which calls belong to one proven identity, and what is kept for whoever dials again.

in → out: identities and calls come and go → the incident they belong to, and the place that was left.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from msgspec.structs import replace

from routing.queues import Priority, Waiting


@dataclass(frozen=True, slots=True)
class Gone:
    """What is kept of a caller who dropped."""

    at: float
    since: float
    number: int
    priority: Priority
    queue: str
    desk: str | None
    """The dispatcher's desk, None while it waited."""


@dataclass(slots=True)
class Person:
    """One identity. Of its calls one, the lead, stands in the queue or talks; the others are attached to it."""

    incident: str
    calls: list[str] = field(default_factory=list)
    """Live ones, in the order they came."""
    gone: Gone | None = None

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


class Persons:
    """All identities that have a call, or had one so recently that their place is kept."""

    def __init__(self) -> None:
        self._persons: dict[str, Person] = {}
        self._who: dict[str, str] = {}
        self.changed: set[str] = set()
        """Identities that came, changed or went, for whoever keeps a journal; it takes them out."""

    def __len__(self) -> int:
        return len(self._persons)

    def find(self, identity: str | None) -> Person | None:
        """Return a person, None when nothing is known or nobody proved who it is."""
        return None if identity is None else self._persons.get(identity)

    def of(self, call: str) -> Person | None:
        """Return the person a live call belongs to."""
        return self.find(self._who.get(call))

    def add(self, identity: str, call: str) -> Person:
        """Take in a live call."""
        person = self._persons.setdefault(identity, Person(call))
        person.calls.append(call)
        person.gone = None
        self._who[call] = identity
        self.changed.add(identity)
        return person

    def attached(self, lead: str) -> tuple[str, ...]:
        """Return the calls that wait with this one."""
        person = self.of(lead)
        return () if person is None else tuple(call for call in person.calls if call != lead)

    def end(self, call: str) -> Person | None:
        """Drop a call; a person without calls is forgotten unless `keep` follows."""
        identity = self._who.pop(call, None)
        person = self.find(identity)
        if person is None or identity is None:
            return None
        person.calls.remove(call)
        self.changed.add(identity)
        if not person.calls:
            del self._persons[identity]
        return person

    def keep(self, place: Waiting, incident: str, desk: str | None, now: float) -> None:
        """Keep the place of a caller who dropped."""
        assert place.identity is not None, "nothing is kept for people nobody knows"
        gone = Gone(now, place.since, place.number, place.priority, place.queue, desk)
        self._persons[place.identity] = Person(incident, [], gone)
        self.changed.add(place.identity)

    def kept_since(self) -> list[float]:
        """Return when those dropped whose places are kept."""
        return [person.gone.at for person in self._persons.values() if person.gone is not None]

    def expire(self, now: float, kept: float) -> None:
        """Forget the places that were kept for `kept` seconds."""
        late = [who for who, p in self._persons.items() if p.gone is not None and p.gone.at + kept <= now]
        for who in late:
            del self._persons[who]
        self.changed.update(late)

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        return {who: person.pack() for who, person in self._persons.items()}

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> Self:
        """Make what `pack` described."""
        self = cls()
        for who, packed in data.items():
            gone = packed["gone"]
            if gone is not None:
                gone = Gone(**{**gone, "priority": Priority(gone["priority"])})
            self._persons[who] = Person(packed["incident"], list(packed["calls"]), gone)
            self._who.update(dict.fromkeys(packed["calls"], who))
        return self


def kept(place: Waiting, gone: Gone) -> Waiting:
    """Give whoever dialled again the place that was left."""
    left = Priority.HEAD if gone.desk is not None else gone.priority
    priority = place.priority if place.priority is Priority.HELD else min(place.priority, left)
    return replace(
        place,
        since=gone.since,
        number=gone.number,
        priority=priority,
        queue=gone.queue,
        prefers=gone.desk,
    )
