"""What happens to queue and desks, and what they want done: plain values (see `acd`)."""

from msgspec import Struct

from routing.desks import DeskState
from routing.queues import DEFAULT, Priority

# --- events -----------------------------------------------------------------------------------------------------


class CallWaits(Struct, frozen=True):
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


class CallEnds(Struct, frozen=True):
    """A caller is gone, from the queue or from a desk."""

    call: str
    returns: bool = False
    """Was dropped rather than ended: whoever dials again gets place and dispatcher back."""


class DeskSignsIn(Struct, frozen=True):
    """A desk's permanent leg is up."""

    desk: str
    agent: str | None = None
    """Who sits there; None: the desk's own name."""
    away: str | None = None
    """Signs in, but takes nobody yet, for this reason."""


class DeskSignsOut(Struct, frozen=True):
    """A desk's permanent leg is gone, by intent or not."""

    desk: str


class DeskPauses(Struct, frozen=True):
    """The dispatcher takes no further caller; a present one stays."""

    desk: str
    reason: str = ""


class DeskResumes(Struct, frozen=True):
    """The dispatcher takes callers again; ends wrap-up early too."""

    desk: str


class DeskHeard(Struct, frozen=True):
    """The desk sent sound since it was given its caller."""

    desk: str


class DeskAlive(Struct, frozen=True):
    """The desk sends no sound, but its phone is there and has sent some before: nobody speaks."""

    desk: str


class ToHead(Struct, frozen=True):
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


class Seize(Struct, frozen=True):
    """Give a caller, waiting or with another desk, to this desk now. It must be signed in and without a caller."""

    call: str
    desk: str


class Requeue(Struct, frozen=True):
    """Put a waiting caller into another queue, in the order of arrival: its place became known. Whoever talks stays."""

    call: str
    queue: str


class Prioritise(Struct, frozen=True):
    """Put a waiting caller into another class, by a supervisor's hand or because silent mode was switched on."""

    call: str
    priority: Priority
    lower: bool = True
    """Whether it may also be put back; otherwise a better class is kept."""


class TrunkFailed(Struct, frozen=True):
    """The trunk did not take a waiting caller: it is asked again after so many seconds, if there is still reason to."""

    call: str
    seconds: float


class HoldBack(Struct, frozen=True):
    """Serve callers whose origin begins with this only when nobody else waits; `on=False` ends it."""

    prefix: str
    on: bool = True


AcdEvent = (
    CallWaits | CallEnds | DeskSignsIn | DeskSignsOut | DeskPauses | DeskResumes | DeskHeard | DeskAlive | ToHead | Seize
    | Prioritise | HoldBack | Requeue | TrunkFailed
)  # fmt: skip


# --- effects ----------------------------------------------------------------------------------------------------


class PutThrough(Struct, frozen=True):
    """Make the caller the guest of this desk's room, now."""

    call: str
    desk: str
    waited: float
    """Seconds since the caller arrived."""


class PositionChanged(Struct, frozen=True):
    """Tell a waiting caller the place in the queue; 1 is the next."""

    call: str
    position: int
    expected: float | None = None
    """Seconds the wait is expected to take from now; None when nobody can say."""


class BackToQueue(Struct, frozen=True):
    """The caller lost the desk and waits again, at the head."""

    call: str
    desk: str
    why: str = "desk_lost"
    """`desk_lost`, `no_sound`, `transferred` or `seized` (another desk follows at once)."""


class DeskChanged(Struct, frozen=True):
    """A desk is something else than before; `state` is None when it signed out."""

    desk: str
    state: DeskState | None
    call: str | None
    reason: str = ""
    """Why it is away."""


class Candidate(Struct, frozen=True):
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


class Routed(Struct, frozen=True):
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


class SameIncident(Struct, frozen=True):
    """A call belongs to an incident that began with another call of the same person."""

    call: str
    incident: str
    """The id of the call it began with."""
    why: str
    """`redialled` (place kept) or `attached` (the other call is still there)."""


class Overflowed(Struct, frozen=True):
    """The desks of a neighbour queue may take the caller too."""

    call: str
    queue: str
    to: str
    why: str
    """`time`, `length` or `unstaffed`."""


class OverflowToTrunk(Struct, frozen=True):
    """The last resort: offer the caller to this trunk. The caller keeps waiting here until that succeeds."""

    call: str
    trunk: str
    why: str
    """`time` or `unstaffed`."""
    number: str = "110"
    """What is dialled there."""


class DeskSilent(Struct, frozen=True):
    """A desk was given a caller and sent no sound for so long: it is put away."""

    desk: str
    call: str
    seconds: float
    put_away: bool = True
    """False: its caller would have nobody else, so it keeps the caller."""


class SeizeFailed(Struct, frozen=True):
    """The desk can't have the caller: `unknown_call`, `signed_out` or `busy`."""

    call: str
    desk: str
    why: str


class DeskNotComing(Struct, frozen=True):
    """The desk a caller waited for did not take it: the caller stands at the head of `queue` now."""

    call: str
    desk: str
    queue: str


AcdEffect = (
    PutThrough | PositionChanged | BackToQueue | DeskChanged | Routed | SameIncident | Overflowed | OverflowToTrunk
    | DeskSilent | SeizeFailed | DeskNotComing
)  # fmt: skip
