"""Automatic call distribution: the queue and the desks as one machine.

in → out: a caller waits, a desk becomes free (events) → `PutThrough`, `PositionChanged`, `BackToQueue` (effects).

The one rule: while somebody waits no desk is idle. The caller who has waited longest goes to the desk that has been
idle longest. A caller whose desk was lost goes to the head and keeps the arrival time.

An event about an unknown call or desk, or one that a state does not expect, is ignored: the queue must survive every
order of events, because hang-ups race with everything. Time is monotonic seconds.
"""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self


class DeskState(StrEnum):
    """What a desk is. A signed-out desk is not in the machine at all."""

    IDLE = "idle"
    TALKING = "talking"
    WRAP_UP = "wrap_up"
    PAUSED = "paused"


# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallWaits:
    """A caller joins the end of the queue."""

    call: str


@dataclass(frozen=True, slots=True)
class CallEnds:
    """A caller is gone, from the queue or from a desk."""

    call: str


@dataclass(frozen=True, slots=True)
class DeskSignsIn:
    """A desk's permanent leg is up."""

    desk: str


@dataclass(frozen=True, slots=True)
class DeskSignsOut:
    """A desk's permanent leg is gone, by intent or not."""

    desk: str


@dataclass(frozen=True, slots=True)
class DeskPauses:
    """The dispatcher takes no further caller; a present one stays."""

    desk: str


@dataclass(frozen=True, slots=True)
class DeskResumes:
    """The dispatcher takes callers again; ends wrap-up early too."""

    desk: str


AcdEvent = CallWaits | CallEnds | DeskSignsIn | DeskSignsOut | DeskPauses | DeskResumes


# --- effects ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PutThrough:
    """Make the caller the guest of this desk's room, now."""

    call: str
    desk: str
    waited: float
    """Seconds since the caller arrived."""


@dataclass(frozen=True, slots=True)
class PositionChanged:
    """Tell a waiting caller the place in the queue; 1 is the next."""

    call: str
    position: int


@dataclass(frozen=True, slots=True)
class BackToQueue:
    """The caller lost the desk and waits again, at the head."""

    call: str
    desk: str


@dataclass(frozen=True, slots=True)
class DeskChanged:
    """A desk is something else than before; `state` is None when it signed out."""

    desk: str
    state: DeskState | None
    call: str | None


AcdEffect = PutThrough | PositionChanged | BackToQueue | DeskChanged


@dataclass(frozen=True, slots=True)
class Waiting:
    """One place in the queue."""

    call: str
    since: float
    """Arrival, monotonic seconds; kept when the caller comes back to the queue."""
    returned: bool
    """Came back from a lost desk: stands before everybody who did not."""
    told: int
    """The position last told; 0 when none was."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One desk that is signed in."""

    desk: str
    state: DeskState
    since: float
    """When it entered this state."""
    call: str | None = None
    arrived: float = 0.0
    """Arrival of its caller, so that the place is kept if the desk is lost."""
    pausing: bool = False
    """Will be paused when its caller is gone."""


class Acd:
    """The queue and the desks of one site."""

    def __init__(self, *, wrap_up: float = 0.0) -> None:
        """`wrap_up`: seconds a desk rests after a caller; 0 means none."""
        self._wrap_up = wrap_up
        self._queue: list[Waiting] = []
        self._desks: dict[str, Desk] = {}

    # --- what stands ---

    @property
    def queue(self) -> tuple[Waiting, ...]:
        """The queue, the next caller first."""
        return tuple(self._queue)

    @property
    def desks(self) -> tuple[Desk, ...]:
        """The desks that are signed in."""
        return tuple(self._desks.values())

    def desk(self, name: str) -> Desk | None:
        """Return one desk, None while it is signed out."""
        return self._desks.get(name)

    # --- the machine ---

    def receive(self, event: AcdEvent, now: float) -> list[AcdEffect]:
        """Take one event; return what must happen."""
        out: list[AcdEffect] = []
        match event:
            case CallWaits(call):
                self._call_waits(call, now)
            case CallEnds(call):
                self._call_ends(call, now, out)
            case DeskSignsIn(desk):
                if desk not in self._desks:
                    self._set(Desk(desk, DeskState.IDLE, now), out)
            case DeskSignsOut(desk):
                self._desk_signs_out(desk, out)
            case DeskPauses(desk):
                self._desk_pauses(desk, now, out)
            case DeskResumes(desk):
                self._desk_resumes(desk, now, out)
        self._assign(now, out)
        return out

    @property
    def next_due(self) -> float | None:
        """When the next wrap-up ends."""
        ends = [d.since + self._wrap_up for d in self._desks.values() if d.state is DeskState.WRAP_UP]
        return min(ends, default=None)

    def expire(self, now: float) -> list[AcdEffect]:
        """End the wrap-ups that are over."""
        out: list[AcdEffect] = []
        for desk in list(self._desks.values()):
            if desk.state is DeskState.WRAP_UP and desk.since + self._wrap_up <= now:
                self._set(Desk(desk.desk, DeskState.IDLE, now), out)
        self._assign(now, out)
        return out

    def snapshot(self) -> dict[str, Any]:
        """Return plain data for the journal and the API."""
        return {
            "wrap_up": self._wrap_up,
            "queue": [asdict(w) for w in self._queue],
            "desks": [{**asdict(d), "state": str(d.state)} for d in self._desks.values()],
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Make the machine that `snapshot` described."""
        acd = cls(wrap_up=data["wrap_up"])
        acd._queue = [Waiting(**w) for w in data["queue"]]
        for d in data["desks"]:
            acd._desks[d["desk"]] = Desk(**{**d, "state": DeskState(d["state"])})
        return acd

    # --- one event each ---

    def _call_waits(self, call: str, now: float) -> None:
        if any(w.call == call for w in self._queue) or any(d.call == call for d in self._desks.values()):
            return
        self._queue.append(Waiting(call, now, returned=False, told=0))

    def _call_ends(self, call: str, now: float, out: list[AcdEffect]) -> None:
        self._queue = [w for w in self._queue if w.call != call]
        for desk in list(self._desks.values()):
            if desk.call == call:
                self._set(self._after_call(desk, now), out)

    def _after_call(self, desk: Desk, now: float) -> Desk:
        if desk.pausing:
            return Desk(desk.desk, DeskState.PAUSED, now)
        if self._wrap_up > 0:
            return Desk(desk.desk, DeskState.WRAP_UP, now)
        return Desk(desk.desk, DeskState.IDLE, now)

    def _desk_signs_out(self, name: str, out: list[AcdEffect]) -> None:
        desk = self._desks.pop(name, None)
        if desk is None:
            return
        out.append(DeskChanged(name, None, None))
        if desk.call is None:
            return
        place = Waiting(desk.call, desk.arrived, returned=True, told=0)
        # Several callers may come back at once: among them the one who arrived first stands first.
        index = sum(1 for w in self._queue if w.returned and w.since <= place.since)
        self._queue.insert(index, place)
        out.append(BackToQueue(desk.call, name))

    def _desk_pauses(self, name: str, now: float, out: list[AcdEffect]) -> None:
        desk = self._desks.get(name)
        if desk is None or desk.state is DeskState.PAUSED:
            return
        if desk.state is DeskState.TALKING:
            self._desks[name] = replace(desk, pausing=True)
            return
        self._set(Desk(name, DeskState.PAUSED, now), out)

    def _desk_resumes(self, name: str, now: float, out: list[AcdEffect]) -> None:
        desk = self._desks.get(name)
        if desk is None or desk.state is DeskState.IDLE:
            return
        if desk.state is DeskState.TALKING:
            self._desks[name] = replace(desk, pausing=False)
            return
        self._set(Desk(name, DeskState.IDLE, now), out)

    # --- the rule ---

    def _assign(self, now: float, out: list[AcdEffect]) -> None:
        idle = sorted((d for d in self._desks.values() if d.state is DeskState.IDLE), key=lambda d: d.since)
        for desk, place in zip(idle, self._queue.copy(), strict=False):
            self._queue.remove(place)
            self._set(
                replace(desk, state=DeskState.TALKING, since=now, call=place.call, arrived=place.since), out
            )
            out.append(PutThrough(place.call, desk.desk, now - place.since))
        for index, place in enumerate(self._queue):
            if place.told != index + 1:
                self._queue[index] = replace(place, told=index + 1)
                out.append(PositionChanged(place.call, index + 1))

    def _set(self, desk: Desk, out: list[AcdEffect]) -> None:
        self._desks[desk.desk] = desk
        out.append(DeskChanged(desk.desk, desk.state, desk.call))
