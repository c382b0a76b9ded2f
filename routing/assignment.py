"""Which desk takes which caller: pure questions about one moment.

in → out: (rules, desks, now) → `Scene`; it says whether a desk may take a caller, chooses the best, and explains itself.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from routing.acd_events import Candidate
from routing.desks import Desk, Desks, DeskState
from routing.queues import Profile, Rules, Waiting

SHOWN: Final = 8
"""Candidates that are kept with a decision; three hundred would make every event log a list of the staff."""
NEIGHBOUR: Final = 1000
"""Added to the level of a desk for each step away from the caller's own queue: its own desks come first."""

_NOT_IDLE: Final = {
    DeskState.TALKING: "busy",
    DeskState.WRAP_UP: "wrap_up",
    DeskState.PAUSED: "away",
    DeskState.VISITING: "visiting",
}

Rank = tuple[bool, float, int, tuple[float, float, str]]


@dataclass(frozen=True, slots=True)
class Choice:
    """A desk, and out of which it was chosen."""

    desk: Desk | None
    candidates: tuple[Candidate, ...]
    """The best, best first."""
    others: tuple[tuple[str, int], ...]
    """How many further desks there are, by verdict."""


class Scene:
    """The desks at one moment."""

    def __init__(self, rules: Rules, desks: Desks, now: float, last: Mapping[str, str]) -> None:
        """`last`: the desk each queue gave its newest caller to, for round-robin."""
        self.rules = rules
        self.now = now
        self.desks = desks
        self._last = last
        self._skills: dict[str, frozenset[str]] = {}

    # --- who is there ---

    def staffed(self, queue: str) -> int:
        """Count the desks that serve a queue, now or when their present caller is gone."""
        return sum(1 for d in self.desks if d.staffed and self._profile(d).level(queue) is not None)

    def replaceable(self, place: Waiting, desk: str) -> bool:
        """Say whether another desk than this one serves the caller's queues."""
        return any(d.desk != desk and d.staffed and self._level(place, d) is not None for d in self.desks)

    def _profile(self, desk: Desk) -> Profile:
        return self.rules.profile(desk.agent)

    def _level(self, place: Waiting, desk: Desk) -> int | None:
        profile = self.rules.profiles.get(desk.agent)
        if profile is None or not profile.queues:
            return 1
        for step, queue in enumerate(place.queues):
            level = profile.level(queue)
            if level is not None:
                return level + step * NEIGHBOUR
        return None

    def _staffed_skills(self, queue: str) -> frozenset[str]:
        if queue not in self._skills:
            profiles = (self._profile(d) for d in self.desks if d.staffed)
            self._skills[queue] = frozenset(
                s for p in profiles if p.level(queue) is not None for s in p.skills
            )
        return self._skills[queue]

    # --- may it ---

    def verdict(self, place: Waiting, desk: Desk) -> str:
        """Return `free` when the desk may take the caller now, otherwise why not."""
        if desk.state is not DeskState.IDLE:
            return _NOT_IDLE[desk.state]
        if place.only is not None:
            return "free" if desk.desk == place.only else "reserved"
        if self._level(place, desk) is None:
            return "other_queue"
        if place.avoids == desk.desk and self.replaceable(place, desk.desk):
            return "came_from"
        if place.needs and not all(self._can(place, desk, need) for need in place.needs):
            return "skill"
        return "free"

    def _can(self, place: Waiting, desk: Desk, need: str) -> bool:
        if need in self._profile(desk).skills:
            return True
        if place.joined + self.rules.skill(place.queue, need).relax_after <= self.now:
            return True
        # A skill nobody has who sits there is no reason to wait.
        return not any(need in self._staffed_skills(queue) for queue in place.queues)

    # --- which one ---

    def rank(self, place: Waiting, desk: Desk) -> Rank:
        """Return the order of desks for a caller, the best the smallest."""
        return (
            place.prefers != desk.desk,
            -self._score(place, desk),
            self._level(place, desk) or 0,
            self._by_strategy(place.queue, desk),
        )

    def _by_strategy(self, queue: str, desk: Desk) -> tuple[float, float, str]:
        match self.rules.queue(queue).strategy:
            case "longest-idle":
                return (desk.since, 0.0, "")
            case "fewest-calls":
                return (desk.served, desk.since, "")
            case "round-robin":
                return (float(desk.desk <= self._last.get(queue, "")), 0.0, desk.desk)

    def _score(self, place: Waiting, desk: Desk) -> float:
        if not place.needs:
            return 0.0
        skills = self._profile(desk).skills
        return sum(self.rules.skill(place.queue, need).weight for need in place.needs if need in skills)

    def choose(self, place: Waiting) -> Choice:
        """Return the best desk for the caller, and how it was found."""
        idle = self.desks.idle
        if self._plain(place):
            best = tuple(islice(idle.values(), SHOWN))
            others = Counter({"free": len(idle) - len(best)})
        else:
            verdicts = [(self.verdict(place, desk), desk) for desk in idle.values()]
            others = Counter(verdict for verdict, _ in verdicts)
            free = (desk for verdict, desk in verdicts if verdict == "free")
            best = tuple(heapq.nsmallest(SHOWN, free, key=lambda desk: self.rank(place, desk)))
            others["free"] -= len(best)
        for state, verdict in _NOT_IDLE.items():
            others[verdict] = self.desks.states[state]
        counts = tuple(sorted((verdict, count) for verdict, count in others.items() if count))
        shown = tuple([self._candidate(place, desk) for desk in best])
        return Choice(best[0] if best else None, shown, counts)

    def _plain(self, place: Waiting) -> bool:
        """Say whether the desk that was idle longest is the best of all, as in a house where everybody takes everything."""
        special = place.needs or place.only or place.prefers or place.avoids or self.rules.profiles
        return not special and self.rules.queue(place.queue).strategy == "longest-idle"

    def _candidate(self, place: Waiting, desk: Desk) -> Candidate:
        return Candidate(
            desk.desk,
            "free",
            self._score(place, desk),
            self._level(place, desk) or 0,
            round(self.now - desk.since, 3),
            desk.served,
        )
