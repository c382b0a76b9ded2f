"""The floor: who waits and which desks are there, with the few moves everything else is made of.

in → out: a move (join, put through, send back …) → changed state, and what must be told is added to `out`.

`acd` says which moves an event makes. Moves keep every caller at exactly one place: in line, at a desk, or attached to
another call of the same person.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec.structs import replace

from routing import overflow
from routing.acd_events import (
    AcdEffect,
    BackToQueue,
    DeskChanged,
    DeskNotComing,
    PositionChanged,
    PutThrough,
    Routed,
)
from routing.assignment import Choice, Scene
from routing.desks import Desk, Desks, DeskState
from routing.line import Line
from routing.persons import Persons
from routing.queues import Priority, Rules, Waiting

HANDLING: Final = 120.0
"""Seconds a caller keeps a desk, until there is experience; only for the expected wait that callers are told."""
NEWEST: Final = 0.1
"""What the newest call counts in the average of these."""
TELL_SECONDS: Final = 1.0
"""Callers who moved up are told at most so often: whoever leaves a queue of hundreds moves all of them, and the desk that became
free, and who is next, must not wait for that."""

Out = list[AcdEffect]
Change = tuple[str, str, dict[str, Any] | None]
"""Kind, name and plain data of one part of the machine; None: it is no more."""
Parts = Mapping[str, Mapping[str, dict[str, Any]]]
"""Kind → name → plain data."""


class Floor:
    """See the module."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.line = Line()
        self.desks = Desks()
        self.persons = Persons()
        self._last: dict[str, str] = {}
        self._handling = HANDLING
        self._alarms: list[float] = []  # a heap of moments at which something may be due
        self._told_at = -TELL_SECONDS
        self.tell_at: float | None = None
        """When those who moved up are told; None while everybody knows his place."""

    # --- what stands ---

    def scene(self, now: float) -> Scene:
        """Return the desks as they stand, to ask who may take whom."""
        return Scene(self.rules, self.desks, now, self._last)

    def knows(self, call: str) -> bool:
        """Say whether a caller is here, in line, at a desk or attached."""
        return (
            self.line.find(call) is not None
            or self.desks.at(call) is not None
            or self.persons.of(call) is not None
        )

    # --- time ---

    @property
    def next_due(self) -> float | None:
        """When something may be due."""
        dues = self._alarms[:1] if self.tell_at is None else [*self._alarms[:1], self.tell_at]
        return min(dues, default=None)

    def alarm(self, due: float) -> None:
        """Ask to be looked at then."""
        if due not in self._alarms[:1]:
            heapq.heappush(self._alarms, due)

    def rung(self, now: float) -> None:
        """Drop the alarms that are over."""
        while self._alarms and self._alarms[0] <= now:
            heapq.heappop(self._alarms)

    # --- moves ---

    def join(self, place: Waiting, now: float) -> None:
        """Put a caller in line."""
        self.line.add(place)
        for due in overflow.dues(self.rules, place):
            if due > now:
                self.alarm(due)

    def put(
        self, place: Waiting, desk: Desk, rule: str, now: float, out: Out, *, choice: Choice | None = None
    ) -> None:
        """Give a caller who is in line no more to a desk without caller; `choice`: how that was found."""
        seen = choice or self.scene(now).choose(place)
        out.append(
            Routed(
                place.call,
                place.queue,
                desk.desk,
                rule,
                place.priority,
                place.told,
                seen.candidates,
                seen.others,
            )
        )
        self._last[place.queue] = desk.desk
        taken = replace(
            desk,
            state=DeskState.TALKING,
            since=now,
            place=replace(place, trunked=False),
            pausing=desk.pausing or desk.state is DeskState.PAUSED,
            heard=False,
            served=desk.served + 1,
        )
        self.set_desk(taken, out)
        out.append(PutThrough(place.call, desk.desk, now - place.joined))
        if self.rules.no_sound is not None:
            self.alarm(now + self.rules.no_sound)

    def back(self, place: Waiting, desk: str, why: str, now: float, out: Out) -> None:
        """Take a caller back, to the head; of several the one who arrived first stands first."""
        again = replace(place, priority=Priority.HEAD, told=0, only=None, until=None, prefers=None)
        self.join(again, now)
        out.append(BackToQueue(place.call, desk, why))

    def take_out(self, call: str, why: str, now: float, out: Out) -> tuple[Waiting | None, str | None]:
        """Take a caller out of line or from its desk; return the place and the desk it had."""
        place = self.line.remove(call)
        desk = self.desks.at(call)
        if place is not None or desk is None or desk.place is None:
            return place, None
        out.append(BackToQueue(call, desk.desk, why))
        self.set_desk(self.after_call(desk, now), out)
        return desk.place, desk.desk

    def gives_up(self, place: Waiting, desk: str, now: float, out: Out) -> None:
        """Wait no longer for one desk: stand at the head of the fallback."""
        queue = place.fallback or place.queue
        self.line.remove(place.call)
        again = replace(place, queue=queue, only=None, until=None, told=0, joined=now)
        if place.only is not None and place.fallback is None:
            # Nobody said where to go instead: whoever sent the caller on is the way back.
            again = replace(again, prefers=place.avoids, avoids=None)
        self.join(again, now)
        out.append(DeskNotComing(place.call, desk, queue))

    def after_call(self, desk: Desk, now: float) -> Desk:
        """Return what a desk is when its caller is gone."""
        self._handling += NEWEST * (now - desk.since + self.rules.wrap_up - self._handling)
        state = DeskState.WRAP_UP if self.rules.wrap_up > 0 else DeskState.IDLE
        if desk.pausing:
            state = DeskState.PAUSED
        return replace(desk, state=state, since=now, place=None, pausing=False, heard=False)

    def set_desk(self, desk: Desk, out: Out) -> None:
        """Change a desk, and say so."""
        self.desks.set(desk)
        if desk.state is DeskState.WRAP_UP:
            self.alarm(desk.since + self.rules.wrap_up)
        out.append(DeskChanged(desk.desk, desk.state, desk.call, desk.reason if desk.place is None else ""))

    # --- the rule ---

    def settle(self, now: float, out: Out, *, due: bool = False) -> None:
        """Let nobody wait for whom a desk is allowed and idle; tell who is new where he stands, the others when that is `due`."""
        if not len(self.line):
            self.tell_at = None
            return
        scene = self.scene(now)
        for old, new, told in list(overflow.widen(self.line, scene)):
            self.line.change(old, new)
            out += told
        self._assign(scene, now, out)
        self._tell(now, out, everybody=due and self.tell_at is not None and self.tell_at <= now)

    def _assign(self, scene: Scene, now: float, out: Out) -> None:
        for place in tuple(self.line) if self.desks.idle else ():
            choice = scene.choose(place)
            if choice.desk is not None:
                self.line.remove(place.call)
                self.put(place, choice.desk, self.rules.queue(place.queue).strategy, now, out, choice=choice)
            if not self.desks.idle:
                break

    def _tell(self, now: float, out: Out, *, everybody: bool) -> None:
        if everybody:
            self._told_at, self.tell_at = now, None
        scene = self.scene(now)
        ahead: Counter[str] = Counter()
        pace: dict[str, float | None] = {}
        for index, place in enumerate(tuple(self.line)):
            ahead[place.queue] += 1
            position = ahead[place.queue]
            if place.told == position:
                continue
            if place.told and not everybody:
                if self.tell_at is None:
                    self.tell_at = max(now, self._told_at + TELL_SECONDS)
                continue
            if place.queue not in pace:
                staff = scene.staffed(place.queue)
                pace[place.queue] = self._handling / staff if staff else None
            if place.told == 0:
                seen = scene.choose(place)
                out.append(
                    Routed(
                        place.call,
                        place.queue,
                        None,
                        "waits",
                        place.priority,
                        position,
                        seen.candidates,
                        seen.others,
                    )
                )
            self.line.update(index, replace(place, told=position))
            each = pace[place.queue]
            expected = None if each is None else round(position * each, 1)
            calls = (place.call, *self.persons.attached(place.call))
            out += [PositionChanged(call, position, expected) for call in calls]

    # --- for the journal ---

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "queue": [place.pack() for place in self.line],
            "desks": [desk.pack() for desk in self.desks],
            "idle": list(self.desks.idle),
            "persons": self.persons.pack(),
            "alarms": sorted(self._alarms),
            **self.rest(),
        }

    def rest(self) -> dict[str, Any]:
        """Return what is no place, desk, person or alarm."""
        return {
            "last": dict(self._last),
            "handling": self._handling,
            "told_at": self._told_at,
            "tell_at": self.tell_at,
        }

    def changes(self) -> Iterator[Change]:
        """Give places, desks and persons that came, changed or went since this was asked last."""
        for call in _taken(self.line.changed):
            place = self.line.find(call)
            yield "place", call, None if place is None else place.pack()
        for name in _taken(self.desks.changed):
            desk = self.desks.get(name)
            yield "desk", name, None if desk is None else {**desk.pack(), "rank": self.desks.rank(name)}
        for who in _taken(self.persons.changed):
            person = self.persons.find(who)
            yield "person", who, None if person is None else person.pack()

    def _rearm(self) -> None:
        """Set every alarm anew from what stands: they are not in a journal."""
        rules = self.rules
        alarms = [due for place in self.line for due in overflow.dues(rules, place)]
        alarms += [place.until for place in self.line if place.until is not None]
        alarms += [desk.since + rules.wrap_up for desk in self.desks.resting.values()]
        if rules.no_sound is not None:
            alarms += [desk.since + rules.no_sound for desk in self.desks.unheard.values()]
        alarms += [gone + rules.redial for gone in self.persons.kept_since()]
        self._alarms = sorted(alarms)

    def unpack(self, data: dict[str, Any]) -> None:
        """Take in what `pack` described."""
        self.line = Line(Waiting.unpack(place) for place in data["queue"])
        desks = [Desk.unpack(packed) for packed in data["desks"]]
        self.desks = Desks(desks, data["idle"], data.get("ranks"))
        self.persons = Persons.unpack(data["persons"])
        self._last = dict(data["last"])
        self._handling = data["handling"]
        self._told_at, self.tell_at = data["told_at"], data["tell_at"]
        if data["alarms"] is None:
            self._rearm()
        else:
            self._alarms = list(data["alarms"])  # sorted, and so a heap


def assembled(parts: Parts) -> dict[str, Any]:
    """Put together what `Acd.changes` gave bit by bit; the order of line and desks follows from what stands in them."""
    desks = {name: dict(desk) for name, desk in parts.get("desk", {}).items()}
    ranks = {name: tuple(desk.pop("rank")) for name, desk in desks.items()}
    idle = [name for name, desk in desks.items() if desk["state"] == DeskState.IDLE]
    return {
        "wrap_up": 0.0,
        "held": (),
        "number": 0,
        "last": {},
        "handling": HANDLING,
        "told_at": -TELL_SECONDS,
        "tell_at": None,
        **parts.get("acd", {}).get("", {}),
        "queue": list(parts.get("place", {}).values()),
        "desks": [desks[name] for name in sorted(desks, key=lambda name: ranks[name][0])],
        "idle": sorted(idle, key=lambda name: ranks[name][1]),
        "ranks": ranks,
        "persons": parts.get("person", {}),
        "alarms": None,
    }


def _taken(names: set[str]) -> list[str]:
    taken = sorted(names)
    names.clear()
    return taken
