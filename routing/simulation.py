"""A day of arrivals replayed through the same `Acd` that serves the real ones, in simulated time.

in → out: a plan and a source of chance → the events of the day (`statistics` computes the figures) and how many waited.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from routing.acd import (
    DEFAULT,
    Acd,
    CallEnds,
    CallWaits,
    DeskChanged,
    DeskHeard,
    DeskSignsIn,
    PutThrough,
    Rules,
)
from routing.acd_events import AcdEffect
from routing.statistics import ARRIVED, DESK, ENDED, HEARD, THROUGH, Event

Draw = Callable[[], float]
"""Gives numbers 0 ≤ x < 1."""

HOURS = (
    0.5, 0.35, 0.3, 0.25, 0.25, 0.35, 0.6, 0.9, 1.1, 1.2, 1.2, 1.2, 1.15, 1.1, 1.1, 1.15, 1.25, 1.4, 1.5, 1.6, 1.6,
    1.45, 1.15, 0.8,
)  # fmt: skip
"""How busy each hour of a day is against the mean: quiet before dawn, busiest in the evening."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of day it is. Seconds."""

    calls: float = 20_000.0
    """Expected arrivals of the day, the burst not counted."""
    seats: int = 300
    talk: float = 150.0
    """Mean of a talk; exponentially distributed."""
    patience: float = 300.0
    """Mean time after which a waiting caller gives up."""
    burst: int = 200
    burst_at: float = 19.0 * 3600
    burst_seconds: float = 60.0
    day: float = 86_400.0


@dataclass(slots=True)
class Day:
    """What came of it."""

    events: list[Event] = field(default_factory=list)
    waiting: list[tuple[float, int]] = field(default_factory=list)
    """How many waited, whenever that changed."""
    lost: int = 0
    """Callers who were neither served nor gave up: always 0."""


def arrivals(plan: Plan, draw: Draw) -> list[float]:
    """Return the moments at which callers arrive: a Poisson process that follows the hours, and the burst."""
    times: list[float] = []
    peak = max(HOURS) * plan.calls / plan.day
    at = 0.0
    while plan.calls > 0:
        at += _exponential(1 / peak, draw)
        if at >= plan.day:
            break
        # Thinning (Lewis and Shedler 1979): a process of the peak rate, of which each hour keeps its share.
        if draw() * max(HOURS) < HOURS[int(at * 24 / plan.day) % 24]:
            times.append(at)
    times += [plan.burst_at + draw() * plan.burst_seconds for _ in range(plan.burst)]
    return sorted(times)


def _exponential(mean: float, draw: Draw) -> float:
    return -mean * math.log(1.0 - draw())


class Simulation:
    """One day. `run()` once."""

    def __init__(self, plan: Plan, rules: Rules, draw: Draw) -> None:
        self._plan, self._draw = plan, draw
        self._acd = Acd(rules)
        self._day = Day()
        self._agenda: list[tuple[float, int, str, str]] = []  # (when, number, what, call)
        self._number = 0
        self._live: set[str] = set()
        self._waits: set[str] = set()

    def run(self) -> Day:
        """Live the day, and let whoever is there at midnight finish."""
        for number in range(self._plan.seats):
            self._apply(self._acd.receive(DeskSignsIn(f"seat-{number:03}"), 0.0), 0.0)
        for number, at in enumerate(arrivals(self._plan, self._draw)):
            self._plan_for(at, "arrives", f"call-{number}")
        for now, what, call in self._steps():
            if what == "due":
                self._apply(self._acd.expire(now), now)
            else:
                self._happens(what, call, now)
            if not self._day.waiting or self._day.waiting[-1][1] != len(self._waits):
                self._day.waiting.append((now, len(self._waits)))
        self._day.lost = len(self._live)
        return self._day

    def _steps(self) -> Iterator[tuple[float, str, str]]:
        while True:
            due, planned = self._acd.next_due, self._agenda[0][0] if self._agenda else None
            if due is not None and (planned is None or due <= planned):
                yield due, "due", ""
            elif planned is not None:
                now, _, what, call = heapq.heappop(self._agenda)
                yield now, what, call
            else:
                return

    def _happens(self, what: str, call: str, now: float) -> None:
        if what == "arrives":
            self._live.add(call)
            self._waits.add(call)
            self._day.events.append(Event(now, ARRIVED, call, DEFAULT))
            self._plan_for(now + _exponential(self._plan.patience, self._draw), "gives_up", call)
            self._apply(self._acd.receive(CallWaits(call), now), now)
        elif call in self._live and (what == "hangs_up" or call in self._waits):
            self._live.discard(call)
            self._waits.discard(call)
            self._day.events.append(Event(now, ENDED, call, DEFAULT))
            self._apply(self._acd.receive(CallEnds(call), now), now)

    def _apply(self, effects: list[AcdEffect], now: float) -> None:
        for effect in effects:
            match effect:
                case PutThrough(call, desk):
                    self._waits.discard(call)
                    self._day.events += [
                        Event(now, THROUGH, call, DEFAULT, desk),
                        Event(now, HEARD, call, DEFAULT, desk),
                    ]
                    self._plan_for(now + _exponential(self._plan.talk, self._draw), "hangs_up", call)
                    self._apply(self._acd.receive(DeskHeard(desk), now), now)
                case DeskChanged(desk, state):
                    name = "" if state is None else str(state)
                    self._day.events.append(Event(now, DESK, desk=desk, state=name))

    def _plan_for(self, at: float, what: str, call: str) -> None:
        self._number += 1
        heapq.heappush(self._agenda, (at, self._number, what, call))
