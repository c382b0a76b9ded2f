"""What a site decides about its queues and its people, and one place in a queue. Pure values.

in → out: settings → `Rules`; a caller who waits → `Waiting`, whose `key` is the order in which callers are served.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal, Self

from msgspec import Struct
from msgspec.structs import asdict

DEFAULT: Final = "default"
"""The queue of whoever is not sent to another, and of an agent without a profile."""

Strategy = Literal["longest-idle", "fewest-calls", "round-robin"]


class Priority(IntEnum):
    """The class of a waiting caller; a smaller number is served first. Within a class arrival decides, strictly."""

    HEAD = 0
    """Had a dispatcher, or was sent to one, and waits again."""
    DANGER = 1
    """Silent, or said to be in danger."""
    AUTHORITY = 2
    """RFC 4412 Resource-Priority of a trusted peer."""
    RAISED = 3
    """By a supervisor's hand."""
    NORMAL = 4
    HELD = 5
    """Held back by a supervisor's hand: served when nobody else waits."""


@dataclass(frozen=True, slots=True)
class Skill:
    """What a skill counts for in one queue."""

    weight: float = 1.0
    """Among desks that may take a caller, those with the larger sum of the skills needed are taken first."""
    relax_after: float = 30.0
    """Seconds a caller waits for the skill; then any desk of the queue will do. 0: only ever a preference."""


@dataclass(frozen=True, slots=True)
class QueueRule:
    """One queue."""

    name: str = DEFAULT
    strategy: Strategy = "longest-idle"
    skills: Mapping[str, Skill] = field(default_factory=dict)
    overflow_to: tuple[str, ...] = ()
    """Neighbour queues, the first to be asked first."""
    overflow_after: float | None = None
    """Seconds after which the first neighbour's desks may take the caller too; each further one as much later."""
    overflow_length: int | None = None
    """Whoever stands behind this place may go to the neighbours at once."""
    trunk: str | None = None
    """Where callers go whom nobody took: the 110 trunk, as last resort."""
    trunk_after: float | None = None
    """Seconds after which the trunk is asked; None: only when no seat is staffed."""
    trunk_number: str = "110"
    """What is dialled there."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What one dispatcher may take. Without a profile: every queue, level 1, no skill."""

    queues: Mapping[str, int] = field(default_factory=dict)
    """Queue → level; 1 is asked first. Empty: every queue at level 1."""
    skills: frozenset[str] = frozenset()

    def level(self, queue: str) -> int | None:
        """Return the level in a queue, None when its callers are not for this person."""
        return self.queues.get(queue) if self.queues else 1


EVERYTHING: Final = Profile()
ORDINARY: Final = QueueRule()
ANY_SKILL: Final = Skill()


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a site decides about who gets the call. Times in seconds."""

    wrap_up: float = 0.0
    queues: Mapping[str, QueueRule] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    redial: float = 120.0
    """How long the place of a caller who dropped is kept."""
    no_sound: float | None = None
    """After this a desk that was given a caller and sent no sound is put away."""

    def queue(self, name: str) -> QueueRule:
        """Return the rule of a queue; one nobody wrote a rule for is an ordinary queue."""
        return self.queues.get(name, ORDINARY)

    def serves(self, queue: str) -> bool:
        """Return whether a queue is known here: it has a rule, or somebody's profile names it, or nobody has one."""
        named = (profile.queues for profile in self.profiles.values())
        return queue in self.queues or not self.profiles or any(queue in queues for queues in named)

    def profile(self, agent: str) -> Profile:
        """Return what a dispatcher may take."""
        return self.profiles.get(agent, EVERYTHING)

    def skill(self, queue: str, name: str) -> Skill:
        """Return what a skill counts for in a queue."""
        return self.queue(queue).skills.get(name, ANY_SKILL)


class Waiting(Struct, frozen=True):
    """One place in the queue. Two hundred may change at once, whenever the first of them leaves."""

    call: str
    since: float
    """What the order goes by, monotonic seconds: arrival, kept through lost desks and redialling."""
    number: int
    """Counts the places; decides between arrivals of the same moment."""
    joined: float
    """When this call began to wait; relaxation and overflow count from here."""
    queue: str = DEFAULT
    priority: Priority = Priority.NORMAL
    asked: Priority = Priority.NORMAL
    """The class it had before it was held back."""
    told: int = 0
    """The position last told; 0 when none was."""
    needs: frozenset[str] = frozenset()
    identity: str | None = None
    """Who waits, if it is proven: one person has one place."""
    origin: str = ""
    """Identity, or the number the call says it comes from; what a supervisor may hold back."""
    reach: tuple[str, ...] = ()
    """Neighbour queues whose desks may take the caller too."""
    only: str | None = None
    """Waits for this desk alone, until `until`."""
    until: float | None = None
    fallback: str | None = None
    """Queue the caller goes to, at its head, when the desk did not come."""
    prefers: str | None = None
    """Was with this desk before: it is asked first."""
    avoids: str | None = None
    """Came from this desk: it is asked only when there is no other."""
    trunked: bool = False
    """The trunk was asked for."""
    trunk_from: float = 0.0
    """Not before this the trunk is asked again: it failed."""

    @property
    def key(self) -> tuple[int, float, int]:
        """The order in which callers are served."""
        return (self.priority, self.since, self.number)

    @property
    def returned(self) -> bool:
        """Whether it stands before everybody who did not have a dispatcher."""
        return self.priority is Priority.HEAD

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues whose desks may take the caller, its own first."""
        return (self.queue, *self.reach)

    def pack(self) -> dict[str, Any]:
        """Return plain data."""
        data = asdict(self)
        plain = {"priority": int(self.priority), "asked": int(self.asked), "needs": sorted(self.needs)}
        return {**data, **plain, "reach": list(self.reach)}

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> Self:
        """Make the place that `pack` described."""
        priority, asked = Priority(data["priority"]), Priority(data["asked"])
        needs, reach = frozenset(data["needs"]), tuple(data["reach"])
        return cls(**{**data, "priority": priority, "asked": asked, "needs": needs, "reach": reach})
