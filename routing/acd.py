"""Automatic call distribution: the queues and the desks as one machine.

in → out: a caller waits, a desk becomes free (events) → `PutThrough`, `PositionChanged`, `BackToQueue` … (effects).

The one rule: while somebody waits for whom a desk is allowed, no allowed desk is idle. Callers are served in the order of
`Waiting.key` (class, then arrival), each by the best desk that may take it (`assignment`). Nobody is lost: a caller leaves
the machine by `CallEnds` alone.

An event about an unknown call or desk, or one that a state does not expect, is ignored: the queue must survive every
order of events, because hang-ups race with everything. Time is monotonic seconds.
"""

from collections.abc import Iterator
from typing import Any, Self

from msgspec.structs import replace

from routing import moves
from routing.acd_events import (
    AcdEffect,
    AcdEvent,
    BackToQueue,
    CallEnds,
    CallWaits,
    Candidate,
    DeskAlive,
    DeskChanged,
    DeskHeard,
    DeskNotComing,
    DeskPauses,
    DeskResumes,
    DeskSignsIn,
    DeskSignsOut,
    DeskSilent,
    HoldBack,
    Overflowed,
    OverflowToTrunk,
    PositionChanged,
    Prioritise,
    PutThrough,
    Requeue,
    Routed,
    SameIncident,
    Seize,
    SeizeFailed,
    ToHead,
    TrunkFailed,
)
from routing.assignment import Scene
from routing.desks import Desk, DeskState
from routing.floor import Change, Floor, Out, Parts, assembled
from routing.moves import DeskCalls, DeskReturns, DeskVisits, Move, PartyJoins
from routing.persons import Person, kept
from routing.queues import DEFAULT, Priority, Profile, QueueRule, Rules, Skill, Waiting

__all__ = [
    "DEFAULT", "Acd", "AcdEffect", "AcdEvent", "BackToQueue", "CallEnds", "CallWaits", "Candidate", "Desk", "DeskAlive", "DeskChanged",
    "DeskHeard", "DeskNotComing", "DeskPauses", "DeskResumes", "DeskSignsIn", "DeskSignsOut", "DeskSilent", "DeskState",
    "HoldBack", "OverflowToTrunk", "Overflowed", "PositionChanged", "Prioritise", "Priority", "Profile", "PutThrough",
    "QueueRule", "Requeue", "Routed", "Rules", "SameIncident", "Seize", "SeizeFailed", "Skill", "ToHead",
    "TrunkFailed", "Waiting",
]  # fmt: skip


_ELSEWHERE = frozenset({DeskState.TALKING, DeskState.VISITING})
"""What a pause waits for the end of."""


class Acd:
    """The queues and the desks of one site."""

    def __init__(self, rules: Rules | None = None, *, wrap_up: float = 0.0) -> None:
        """`wrap_up`: seconds a desk rests after a caller, when there are no other rules."""
        self._floor = Floor(rules or Rules(wrap_up=wrap_up))
        self._held: set[str] = set()
        self._number = 0

    # --- what stands ---

    @property
    def rules(self) -> Rules:
        """What the site decided."""
        return self._floor.rules

    @property
    def queue(self) -> tuple[Waiting, ...]:
        """The waiting callers of all queues, the next one first."""
        return tuple(self._floor.line)

    @property
    def desks(self) -> tuple[Desk, ...]:
        """The desks that are signed in."""
        return tuple(self._floor.desks)

    @property
    def attached(self) -> dict[str, str]:
        """Second calls of people who wait or talk already → the call that has the place."""
        leads = [place.call for place in self._floor.line]
        leads += [desk.call for desk in self._floor.desks if desk.call is not None]
        return {call: lead for lead in leads for call in self._floor.persons.attached(lead)}

    @property
    def held_back(self) -> frozenset[str]:
        """Beginnings of identities and numbers that a supervisor holds back."""
        return frozenset(self._held)

    def desk(self, name: str) -> Desk | None:
        """Return one desk, None while it is signed out."""
        return self._floor.desks.get(name)

    def place(self, call: str) -> Waiting | None:
        """Return the place of a waiting caller."""
        return self._floor.line.find(call)

    @property
    def tell_at(self) -> float | None:
        """When callers who moved up are told where they stand now; None while everybody knows."""
        return self._floor.tell_at

    def scene(self, now: float) -> Scene:
        """Return the desks as they stand, to ask who may take whom."""
        return self._floor.scene(now)

    # --- the machine ---

    def receive(self, event: AcdEvent | Move, now: float) -> Out:
        """Take one event; return what must happen."""
        out: Out = []
        match event:
            case CallWaits():
                self._call_waits(event, now, out)
            case CallEnds(call, returns):
                self._call_ends(call, now, out, returns=returns)
            case DeskAlive(name):
                self._alive(name, now)
            case DeskSignsIn() | DeskSignsOut() | DeskPauses() | DeskResumes() | DeskHeard():
                self._desk(event, now, out)
            case DeskVisits() | DeskReturns() | PartyJoins() | DeskCalls():
                self._number += 1
                moves.take(self._floor, event, self._number, now, out)
            case ToHead():
                self._to_head(event, now, out)
            case Seize(call, desk):
                self._seize(call, desk, now, out)
            case Requeue(call, queue):
                self._requeue(call, queue, now)
            case Prioritise():
                self._prioritise(event)
            case TrunkFailed(call, seconds):
                self._trunk_failed(call, seconds, now)
            case HoldBack(prefix, on):
                self._hold_back(prefix, on=on)
        self._floor.settle(now, out)
        return out

    @property
    def next_due(self) -> float | None:
        """When something may be due: the end of a wrap-up, of patience, of a place that was kept."""
        return self._floor.next_due

    def expire(self, now: float) -> Out:
        """Do what is due."""
        out: Out = []
        floor, rules = self._floor, self._floor.rules
        floor.rung(now)
        floor.persons.expire(now, rules.redial)
        for desk in list(floor.desks.resting.values()):
            if desk.since + rules.wrap_up <= now:
                floor.set_desk(replace(desk, state=DeskState.IDLE, since=now), out)
        for desk in list(floor.desks.unheard.values()) if rules.no_sound is not None else ():
            if desk.place is not None and desk.overdue(rules.no_sound, now):
                self._put_away(desk, desk.place, now, out)
        for place in self.queue:
            if place.only is not None and place.until is not None and place.until <= now:
                floor.gives_up(place, place.only, now, out)
        floor.settle(now, out, due=True)
        return out

    def snapshot(self) -> dict[str, Any]:
        """Return plain data for the journal and the API."""
        return {**self._mine(), **self._floor.pack()}

    def changes(self) -> Iterator[Change]:
        """Give what may have changed since this was asked last: (kind, name, plain data, None for what is no more)."""
        yield from self._floor.changes()
        yield "acd", "", {**self._mine(), **self._floor.rest()}

    def _mine(self) -> dict[str, Any]:
        return {"wrap_up": self.rules.wrap_up, "held": sorted(self._held), "number": self._number}

    @classmethod
    def resume(cls, parts: Parts, rules: Rules | None = None) -> Self:
        """Make the machine whose parts `changes` gave."""
        return cls.restore(assembled(parts), rules)

    @classmethod
    def restore(cls, data: dict[str, Any], rules: Rules | None = None) -> Self:
        """Make the machine that `snapshot` described. `rules` come from the settings."""
        acd = cls(rules, wrap_up=data["wrap_up"])
        acd._held = set(data["held"])
        acd._number = data["number"]
        acd._floor.unpack(data)
        return acd

    # --- callers ---

    def _call_waits(self, event: CallWaits, now: float, out: Out) -> None:
        floor = self._floor
        if floor.knows(event.call):
            return
        self._number += 1
        place = Waiting(
            event.call,
            now,
            self._number,
            now,
            event.queue,
            Priority.HELD if self._is_held(event.origin) else event.priority,
            asked=event.priority,
            needs=event.needs,
            identity=event.identity,
            origin=event.origin,
        )
        if event.identity is not None:
            known = floor.persons.find(event.identity)
            leads = () if known is None else tuple(known.calls)
            gone = None if known is None else known.gone
            person = floor.persons.add(event.identity, event.call)
            if leads:
                self._attach(place, leads, person, out)
                return
            if gone is not None:
                out.append(SameIncident(event.call, person.incident, "redialled"))
                place = kept(place, gone)
                desk = floor.desks.get(gone.desk)
                if desk is not None and desk.state in {DeskState.IDLE, DeskState.WRAP_UP}:
                    floor.put(place, desk, "same-dispatcher", now, out)
                    return
        floor.join(place, now)

    def _attach(self, place: Waiting, leads: tuple[str, ...], person: Person, out: Out) -> None:
        """Let a second call of the same person share the place of the first; in the queue the newest holds it."""
        out.append(SameIncident(place.call, person.incident, "attached"))
        for lead in leads:
            if (old := self._floor.line.find(lead)) is not None:
                self._floor.line.change(old, replace(old, call=place.call, told=0, trunked=False))
                return
        out.append(PositionChanged(place.call, 1))

    def _call_ends(self, call: str, now: float, out: Out, *, returns: bool) -> None:
        floor = self._floor
        place, desk = floor.line.find(call), floor.desks.at(call)
        person = floor.persons.end(call)
        heir = person.calls[-1] if person is not None and person.calls else None
        if place is not None and heir is not None:
            floor.line.change(place, replace(place, call=heir, told=0, trunked=False))
        elif place is not None:
            floor.line.remove(call)
        elif desk is not None and desk.place is not None:
            place = desk.place
            floor.set_desk(floor.after_call(desk, now), out)
            if heir is not None:
                again = replace(place, call=heir, told=0)
                free = floor.desks.get(desk.desk)
                assert free is not None, "set two lines above"
                floor.put(again, free, "same-dispatcher", now, out)
        if place is not None and person is not None and heir is None and returns and self.rules.redial > 0:
            floor.persons.keep(place, person.incident, None if desk is None else desk.desk, now)
            floor.alarm(now + self.rules.redial)

    def _requeue(self, call: str, queue: str, now: float) -> None:
        place = self._floor.line.find(call)
        if place is None or place.queue == queue or place.returned or place.only is not None:
            return
        fresh = replace(place, queue=queue, joined=now, told=0, reach=(), trunked=False)
        self._floor.line.change(place, fresh)

    def _trunk_failed(self, call: str, seconds: float, now: float) -> None:
        place = self._floor.line.find(call)
        if place is not None:
            self._floor.line.change(place, replace(place, trunked=False, trunk_from=now + seconds))
            self._floor.alarm(now + seconds)

    def _prioritise(self, event: Prioritise) -> None:
        place = self._floor.line.find(event.call)
        if place is not None and not place.returned and (event.lower or event.priority < place.priority):
            self._floor.line.change(place, replace(place, priority=event.priority, asked=event.priority))

    def _hold_back(self, prefix: str, *, on: bool) -> None:
        (self._held.add if on else self._held.discard)(prefix)
        for place in self.queue:
            held = self._is_held(place.origin)
            if held and place.priority is not Priority.HELD:
                self._floor.line.change(place, replace(place, priority=Priority.HELD, asked=place.priority))
            elif not held and place.priority is Priority.HELD:
                self._floor.line.change(place, replace(place, priority=place.asked))

    def _is_held(self, origin: str) -> bool:
        return bool(origin) and any(origin.startswith(prefix) for prefix in self._held)

    # --- desks ---

    def _desk(
        self,
        event: DeskSignsIn | DeskSignsOut | DeskPauses | DeskResumes | DeskHeard,
        now: float,
        out: Out,
    ) -> None:
        floor, desk = self._floor, self._floor.desks.get(event.desk)
        match event:
            case DeskSignsIn(name, agent, away) if desk is None:
                state = DeskState.IDLE if away is None else DeskState.PAUSED
                floor.set_desk(Desk(name, state, now, agent or name, reason=away or ""), out)
            case DeskSignsOut() if desk is not None:
                self._signs_out(desk, now, out)
            case DeskPauses(_, reason) if desk is not None:
                self._pauses(desk, reason, now, out)
            case DeskResumes() if desk is not None and desk.state in _ELSEWHERE:
                floor.desks.set(replace(desk, pausing=False, reason=""))
            case DeskResumes() if desk is not None and desk.state is not DeskState.IDLE:
                floor.set_desk(replace(desk, state=DeskState.IDLE, since=now, reason=""), out)
            case DeskHeard() if desk is not None and desk.place is not None:
                floor.desks.set(replace(desk, heard=True))

    def _signs_out(self, desk: Desk, now: float, out: Out) -> None:
        self._floor.desks.remove(desk.desk)
        out.append(DeskChanged(desk.desk, None, None))
        for place in self.queue:
            if place.only == desk.desk:
                self._floor.gives_up(place, desk.desk, now, out)
        if desk.place is not None:
            self._floor.back(desk.place, desk.desk, "desk_lost", now, out)

    def _pauses(self, desk: Desk, reason: str, now: float, out: Out) -> None:
        if desk.state in _ELSEWHERE:
            self._floor.desks.set(replace(desk, pausing=True, reason=reason))
        elif desk.state is not DeskState.PAUSED:
            self._floor.set_desk(replace(desk, state=DeskState.PAUSED, since=now, reason=reason), out)
        elif desk.reason != reason:
            self._floor.set_desk(replace(desk, reason=reason), out)

    def _alive(self, name: str, now: float) -> None:
        desk, patience = self._floor.desks.get(name), self.rules.no_sound
        if desk is not None and desk.place is not None and not desk.heard and patience is not None:
            self._floor.desks.set(replace(desk, alive=now))
            self._floor.alarm(now + patience)

    def _put_away(self, desk: Desk, place: Waiting, now: float, out: Out) -> None:
        """Give up a desk that has sent no sound, unless its caller would have nobody else."""
        seconds = now - desk.since
        if not self._floor.scene(now).replaceable(place, desk.desk):
            self._floor.desks.set(replace(desk, heard=True))  # said once: a mute desk beats none
            out.append(DeskSilent(desk.desk, place.call, seconds, put_away=False))
            return
        out.append(DeskSilent(desk.desk, place.call, seconds))
        self._floor.back(place, desk.desk, "no_sound", now, out)
        away = replace(desk, state=DeskState.PAUSED, since=now, place=None, pausing=False, reason="no_sound")
        self._floor.set_desk(away, out)

    # --- hands ---

    def _to_head(self, event: ToHead, now: float, out: Out) -> None:
        place, origin = self._floor.take_out(event.call, "transferred", now, out)
        if place is None:
            return
        queue = event.queue or place.queue
        place = replace(
            place,
            queue=queue,
            priority=Priority.HEAD,
            joined=now,
            told=0,
            reach=(),
            only=None,
            until=None,
            fallback=event.fallback,
            prefers=None,
            avoids=origin,
            trunked=False,
        )
        if self._floor.desks.get(event.desk) is not None:
            place = replace(place, only=event.desk, until=now + event.seconds)
            self._floor.alarm(now + event.seconds)
        self._floor.join(place, now)
        if event.desk is not None and place.only is None:
            self._floor.gives_up(place, event.desk, now, out)

    def _seize(self, call: str, name: str, now: float, out: Out) -> None:
        desk = self._floor.desks.get(name)
        if desk is None or desk.state is DeskState.TALKING:
            out.append(SeizeFailed(call, name, "signed_out" if desk is None else "busy"))
            return
        place, _ = self._floor.take_out(call, "seized", now, out)
        if place is None:
            out.append(SeizeFailed(call, name, "unknown_call"))
            return
        self._floor.put(replace(place, only=None, until=None), desk, "by-hand", now, out)
