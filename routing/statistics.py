"""How well callers were served, computed from the events alone: the same events always give the same figures.

in → out: `Event`s in the order they happened → `Figures` for everybody, each queue, district and dispatcher, each hour, day or month.

Definitions, both of them in use:

* *answered within T*: of the callers who arrived, the share put through to a desk within T seconds of arrival. Callers who
  gave up before T are left out, those who gave up later count against it.
* *picked up within T*: of the callers given to a seat, the share to whom the dispatcher's sound came within T seconds of
  that moment. A seat that never sent sound counts against it.

Times are wall-clock seconds. A caller belongs to the bucket of its arrival, a dispatcher's time to the buckets in which it
passed. Who dials again while the first call still stands is one caller, for the calls share one place: it arrived with the first, and
is gone when the last of them is. Nothing is sampled or rounded before the end. A caller's district is the last one found before a desk had the caller. The
occupancy of a queue or district is that of the dispatchers who serve it: whoever serves two counts in both.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Literal

WITHIN: Final = 15.0
"""Seconds: 90 % of emergency calls within 15 s is the standard of the NENA and of EENA alike."""

Period = Literal["hour", "day", "month"]
ARRIVED, THROUGH, HEARD, LOST, ENDED, DESK = "arrived", "through", "heard", "lost", "ended", "desk"
DISTRICT: Final = "district"
ATTACHED, REDIALLED = "attached", "redialled"
AGAIN: Final = (ATTACHED, REDIALLED)
START: Final = "start"
"""The exchange began: whatever a desk was before, it is so no more."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: float
    what: str
    """`arrived`, `through` (put through to `desk`), `heard` (the desk's first sound), `lost` (left the desk, waits
    again), `ended`, `district` (the caller is in `district`), `attached` (to another call of the same person, both being of
    `incident`), `redialled` (the last call of `incident` is over), and `desk` (`desk` is `state` now)."""
    call: str = ""
    queue: str = ""
    desk: str = ""
    agent: str = ""
    state: str = ""
    """Of a desk: `idle`, `talking`, `wrap_up`, `paused`; empty: signed out."""
    district: str = ""
    serves: tuple[str, ...] = ()
    """Queues of whoever sits at the desk; none: every queue."""
    incident: str = ""
    """What the calls of one person belong to; that of a call alone is its own id."""


@dataclass(slots=True)
class Caller:
    """One caller, as the events tell it."""

    arrived: float
    queue: str
    first: float | None = None
    """First put through."""
    agent: str = ""
    given: float | None = None
    heard: float | None = None
    ended: float | None = None
    district: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """What a desk was for some time; wall seconds."""

    agent: str
    state: str
    serves: tuple[str, ...]
    begin: float
    end: float

    def serves_any(self, queues: Collection[str]) -> bool:
        """Whether its dispatcher takes callers of one of these queues."""
        return not self.serves or any(queue in queues for queue in self.serves)


@dataclass(slots=True)
class Figures:
    """What is counted of one group of callers or dispatchers. Seconds."""

    arrived: int = 0
    answered: int = 0
    abandoned: int = 0
    abandoned_soon: int = 0
    """Gave up within the time callers are to be answered in: nobody's fault."""
    within: int = 0
    """Answered in time."""
    given: int = 0
    picked_within: int = 0
    picked: int = 0
    waits: list[float] = field(default_factory=list)
    """Arrival to put through, of those answered."""
    pick_ups: list[float] = field(default_factory=list)
    talking: float = 0.0
    wrap_up: float = 0.0
    idle: float = 0.0
    paused: float = 0.0

    @property
    def service_level(self) -> float | None:
        """The share answered in time; None when nobody called."""
        counted = self.answered + self.abandoned - self.abandoned_soon
        return self.within / counted if counted else None

    @property
    def pick_up_level(self) -> float | None:
        """The share picked up in time."""
        return self.picked_within / self.given if self.given else None

    @property
    def speed_of_answer(self) -> float | None:
        """Mean seconds from arrival to the desk."""
        return math.fsum(self.waits) / len(self.waits) if self.waits else None

    @property
    def abandoned_share(self) -> float | None:
        """The share of callers who gave up."""
        over = self.answered + self.abandoned
        return self.abandoned / over if over else None

    @property
    def occupancy(self) -> float | None:
        """The share of the time dispatchers were there for callers in which they had one, or were wrapping up."""
        there = self.talking + self.wrap_up + self.idle
        return (self.talking + self.wrap_up) / there if there else None

    def view(self) -> dict[str, Any]:
        """Return plain data, rounded for people."""
        counts = {k: v for k, v in asdict(self).items() if isinstance(v, int)}
        seconds = {k: round(getattr(self, k), 3) for k in ("talking", "wrap_up", "idle", "paused")}
        shares = {k: _rounded(getattr(self, k)) for k in SHARES}
        waits = sorted(self.waits)
        tails = {f"wait_p{p}": _rounded(percentile(waits, p)) for p in (50, 90, 99)}
        return {**counts, **seconds, **shares, **tails, "wait_max": _rounded(waits[-1] if waits else None)}


SHARES: Final = ("service_level", "pick_up_level", "speed_of_answer", "abandoned_share", "occupancy")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def percentile(ordered: list[float], p: float) -> float | None:
    """Return the smallest value that `p` % of them do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * p / 100) - 1)] if ordered else None


# --- what happened to each ----------------------------------------------------------------------------------------


def callers(events: Iterable[Event]) -> dict[str, Caller]:
    """Return every caller by call, by the first of its calls where several share a place."""
    found: dict[str, Caller] = {}
    shared: dict[str, str] = {}  # call → the first one of its place
    there: dict[str, dict[str, None]] = {}  # first call of a place → those of its calls that stand
    incidents: dict[str, str] = {}  # incident → the first call of the place its calls share
    for event in events:
        match event.what:
            case "arrived" if event.call not in found:
                found[event.call] = Caller(event.at, event.queue)
                there[event.call] = {event.call: None}
                incidents[event.call] = event.call
            case "attached" if event.call in there:
                first = incidents.get(event.incident, event.call)
                if first in there and first != event.call:
                    there[first] |= there.pop(event.call)
                    shared[event.call] = first
                    del found[event.call]
                else:  # the other was never heard of: this one begins a place
                    incidents[event.incident] = event.call
            case "redialled":
                incidents[event.incident] = event.call
        place = shared.get(event.call, event.call)
        caller = found.get(place)
        if caller is None:
            continue
        match event.what:
            case "through":
                if caller.first is None:
                    caller.first, caller.given, caller.agent = event.at, event.at, event.agent or event.desk
            case "heard" if caller.given is not None and caller.heard is None:
                caller.heard = event.at
            case "ended" if (standing := there.get(place)) is not None:
                standing.pop(event.call, None)
                if not standing:
                    caller.ended = event.at
                    del there[place]
            case "district" if caller.first is None:
                caller.district = event.district
    return found


def spans(events: Iterable[Event], until: float) -> Iterator[Span]:
    """Give what every desk was, for all the time it was signed in; what still lasts ends at `until`."""
    now: dict[str, Event] = {}
    for event in events:
        over: list[Event] = []
        if event.what == START:
            over, now = list(now.values()), {}
        elif event.what == DESK:
            over = [now.pop(event.desk)] if event.desk in now else []
            now[event.desk] = event
        yield from (_span(one, event.at) for one in over if one.state)
    yield from (_span(one, until) for one in now.values() if one.state and one.at < until)


def _span(event: Event, end: float) -> Span:
    return Span(event.agent or event.desk, event.state, event.serves, event.at, end)


# --- the figures ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Statistics:
    """All figures of a stretch of time."""

    total: Figures
    queues: dict[str, Figures]
    agents: dict[str, Figures]
    buckets: dict[str, Figures]
    """By the beginning of each hour, day or month, as `2026-11-22T17`, `2026-11-22`, `2026-11`."""
    districts: dict[str, Figures]

    def view(self) -> dict[str, Any]:
        """Return plain data."""
        groups = {
            "queues": self.queues,
            "districts": self.districts,
            "agents": self.agents,
            "buckets": self.buckets,
        }
        parts = {name: {k: f.view() for k, f in sorted(group.items())} for name, group in groups.items()}
        return {"total": self.total.view(), **parts}


def compute(
    events: Iterable[Event],
    *,
    since: float,
    until: float,
    zone: tzinfo,
    period: Period = "hour",
    within: float = WITHIN,
) -> Statistics:
    """Compute everything for callers who arrived, and time that passed, in since ≤ t < until.

    `events` may begin earlier: what a desk is at `since` follows from them. `zone`: whose hours and days.
    """
    known = sorted(events, key=lambda event: event.at)
    groups = (defaultdict[str, Figures](Figures) for _ in range(4))
    out = Statistics(Figures(), *groups)
    queues: dict[str, set[str]] = defaultdict(set)  # district → queues its callers were in
    for caller in callers(known).values():
        if since <= caller.arrived < until:
            bucket = out.buckets[name_of(caller.arrived, period, zone)]
            counted = [out.total, out.queues[caller.queue], bucket]
            counted += [out.agents[caller.agent]] if caller.agent else []
            if caller.district:
                queues[caller.district].add(caller.queue)
                counted.append(out.districts[caller.district])
            for figures in counted:
                _count(figures, caller, within)
    for span in spans(known, until):
        start, end = max(span.begin, since), min(span.end, until)
        if start >= end:
            continue
        spent = [out.total, out.agents[span.agent]]
        spent += [figures for queue, figures in out.queues.items() if span.serves_any((queue,))]
        spent += [figures for name, figures in out.districts.items() if span.serves_any(queues[name])]
        for figures in spent:
            _spend(figures, span.state, end - start)
        for name, seconds in _cut(start, end, period, zone):
            _spend(out.buckets[name], span.state, seconds)
    return out


def _count(figures: Figures, caller: Caller, within: float) -> None:
    figures.arrived += 1
    if caller.first is not None:
        figures.answered += 1
        wait = caller.first - caller.arrived
        figures.waits.append(wait)
        figures.within += wait <= within
    elif caller.ended is not None:
        figures.abandoned += 1
        figures.abandoned_soon += caller.ended - caller.arrived <= within
    if caller.given is not None:
        figures.given += 1
        if caller.heard is not None:
            figures.picked += 1
            figures.pick_ups.append(caller.heard - caller.given)
            figures.picked_within += caller.heard - caller.given <= within


def _spend(figures: Figures, state: str, seconds: float) -> None:
    if state in {"talking", "wrap_up", "idle", "paused"}:
        setattr(figures, state, getattr(figures, state) + seconds)


def name_of(at: float, period: Period, zone: tzinfo) -> str:
    """Return the name of the bucket a moment belongs to."""
    local = datetime.fromtimestamp(at, zone)
    return local.strftime({"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}[period])


def _cut(start: float, end: float, period: Period, zone: tzinfo) -> Iterator[tuple[str, float]]:
    """Give the buckets a span lies in, each with its seconds."""
    while start < end:
        stop = min(end, _next(start, period, zone))
        yield name_of(start, period, zone), stop - start
        start = stop


def _next(at: float, period: Period, zone: tzinfo) -> float:
    """Return when the next bucket begins."""
    local = datetime.fromtimestamp(at, zone)
    match period:
        case "hour":
            begin = local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        case "day":
            begin = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        case "month":
            first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            begin = (first + timedelta(days=32)).replace(day=1)
    return max(begin.timestamp(), math.nextafter(at, math.inf))


def from_record(record: Mapping[str, Any]) -> Event | None:
    """Read one line of the routing log; None when it is none of ours."""
    at, what = record.get("at"), record.get("what")
    if not isinstance(at, int | float) or not isinstance(what, str):
        return None
    words = {
        k: str(record.get(k, "")) for k in ("call", "queue", "desk", "agent", "state", "district", "incident")
    }
    serves = record.get("serves")
    queues = tuple(str(queue) for queue in serves) if isinstance(serves, list) else ()
    return Event(float(at), what, **words, serves=queues)
