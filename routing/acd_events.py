"""What happens to queue and desks, and what they want done: plain values (see `acd`)."""

from dataclasses import dataclass

from routing.desks import DeskState
from routing.queues import DEFAULT, Priority

# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallWaits:
    """A caller joins a queue, behind those of the same or a higher class."""

    call: str
    queue: str = DEFAULT
    priority: Priority = Priority.NORMAL
    needs: frozenset[str] = frozenset()
    """Skills: a language, `silent`, `text`, `video`, `sign` …"""
    identity: str | None = None
    """Who it is, if proven. A second call of the same person has no second place."""
    origin: str = ""
    """Identity or number, for `HoldBack`."""


@dataclass(frozen=True, slots=True)
class CallEnds:
    """A caller is gone, from the queue or from a desk."""

    call: str
    returns: bool = False
    """Was dropped rather than ended: whoever dials again gets place and dispatcher back."""


@dataclass(frozen=True, slots=True)
class DeskSignsIn:
    """A desk's permanent leg is up."""

    desk: str
    agent: str | None = None
    """Who sits there; None: the desk's own name."""
    away: str | None = None
    """Signs in, but takes nobody yet, for this reason."""


@dataclass(frozen=True, slots=True)
class DeskSignsOut:
    """A desk's permanent leg is gone, by intent or not."""

    desk: str


@dataclass(frozen=True, slots=True)
class DeskPauses:
    """The dispatcher takes no further caller; a present one stays."""

    desk: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeskResumes:
    """The dispatcher takes callers again; ends wrap-up early too."""

    desk: str


@dataclass(frozen=True, slots=True)
class DeskHeard:
    """The desk sent sound since it was given its caller."""

    desk: str


@dataclass(frozen=True, slots=True)
class DeskAlive:
    """The desk sends no sound, but its phone is there and has sent some before: nobody speaks."""

    desk: str


@dataclass(frozen=True, slots=True)
class ToHead:
    """Send a caller, waiting or with a desk, to the head of a queue, or have it wait for one desk.

    With `desk` the caller waits `seconds` for it and for nobody else, then stands at the head of `fallback`. Without a
    `fallback` the desk it came from has it back if that is free, else it stands at the head of `queue` (or of the queue it
    came from). A desk that is not signed in is not waited for.
    """

    call: str
    queue: str | None = None
    desk: str | None = None
    seconds: float = 30.0
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Seize:
    """Give a caller, waiting or with another desk, to this desk now. It must be signed in and without a caller."""

    call: str
    desk: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """Put a waiting caller into another queue, in the order of arrival: its place became known. Whoever talks stays."""

    call: str
    queue: str


@dataclass(frozen=True, slots=True)
class Prioritise:
    """Put a waiting caller into another class, by a supervisor's hand or because silent mode was switched on."""

    call: str
    priority: Priority
    lower: bool = True
    """Whether it may also be put back; otherwise a better class is kept."""


@dataclass(frozen=True, slots=True)
class TrunkFailed:
    """The trunk did not take a waiting caller: it is asked again after so many seconds, if there is still reason to."""

    call: str
    seconds: float


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Serve callers whose origin begins with this only when nobody else waits; `on=False` ends it."""

    prefix: str
    on: bool = True


AcdEvent = (
    CallWaits | CallEnds | DeskSignsIn | DeskSignsOut | DeskPauses | DeskResumes | DeskHeard | DeskAlive | ToHead | Seize
    | Prioritise | HoldBack | Requeue | TrunkFailed
)  # fmt: skip


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
    expected: float | None = None
    """Seconds the wait is expected to take from now; None when nobody can say."""


@dataclass(frozen=True, slots=True)
class BackToQueue:
    """The caller lost the desk and waits again, at the head."""

    call: str
    desk: str
    why: str = "desk_lost"
    """`desk_lost`, `no_sound`, `transferred` or `seized` (another desk follows at once)."""


@dataclass(frozen=True, slots=True)
class DeskChanged:
    """A desk is something else than before; `state` is None when it signed out."""

    desk: str
    state: DeskState | None
    call: str | None
    reason: str = ""
    """Why it is away."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A desk as it stood when a decision was made."""

    desk: str
    verdict: str
    """`free` (could have taken the caller), or why not: `busy`, `wrap_up`, `away`, `visiting`, `other_queue`, `skill`, `came_from`,
    `reserved` (waits for another desk)."""
    score: float = 0.0
    """Sum of the weights of the needed skills it has."""
    level: int = 0
    idle: float = 0.0
    """Seconds it had been idle."""
    served: int = 0
    """Callers since it signed in."""


@dataclass(frozen=True, slots=True)
class Routed:
    """A decision, for people: who was chosen out of whom, and why. `desk` None: the caller waits."""

    call: str
    queue: str
    desk: str | None
    rule: str
    """`longest-idle`, `fewest-calls`, `round-robin`, `same-dispatcher`, `by-hand`, or `waits`."""
    priority: Priority
    position: int
    candidates: tuple[Candidate, ...]
    """The best of them, best first; others are counted in `others`."""
    others: tuple[tuple[str, int], ...] = ()
    """How many further desks there were, by verdict."""


@dataclass(frozen=True, slots=True)
class SameIncident:
    """A call belongs to an incident that began with another call of the same person."""

    call: str
    incident: str
    """The id of the call it began with."""
    why: str
    """`redialled` (place kept) or `attached` (the other call is still there)."""


@dataclass(frozen=True, slots=True)
class Overflowed:
    """The desks of a neighbour queue may take the caller too."""

    call: str
    queue: str
    to: str
    why: str
    """`time`, `length` or `unstaffed`."""


@dataclass(frozen=True, slots=True)
class OverflowToTrunk:
    """The last resort: offer the caller to this trunk. The caller keeps waiting here until that succeeds."""

    call: str
    trunk: str
    why: str
    """`time` or `unstaffed`."""
    number: str = "110"
    """What is dialled there."""


@dataclass(frozen=True, slots=True)
class DeskSilent:
    """A desk was given a caller and sent no sound for so long: it is put away."""

    desk: str
    call: str
    seconds: float
    put_away: bool = True
    """False: its caller would have nobody else, so it keeps the caller."""


@dataclass(frozen=True, slots=True)
class SeizeFailed:
    """The desk can't have the caller: `unknown_call`, `signed_out` or `busy`."""

    call: str
    desk: str
    why: str


@dataclass(frozen=True, slots=True)
class DeskNotComing:
    """The desk a caller waited for did not take it: the caller stands at the head of `queue` now."""

    call: str
    desk: str
    queue: str


AcdEffect = (
    PutThrough | PositionChanged | BackToQueue | DeskChanged | Routed | SameIncident | Overflowed | OverflowToTrunk
    | DeskSilent | SeizeFailed | DeskNotComing
)  # fmt: skip
