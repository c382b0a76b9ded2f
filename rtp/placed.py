"""What placement is told and tells, and what it knows of each leg and of legs on their way. Pure."""

from dataclasses import dataclass, field

from rtp.control import Command, Event, PortPair, Role


@dataclass(frozen=True, slots=True)
class Said:
    """A process said something."""

    process: int
    event: Event


@dataclass(frozen=True, slots=True)
class Gone:
    """The connection to a process is lost."""

    process: int


@dataclass(frozen=True, slots=True)
class To:
    """Give a command to a process."""

    process: int
    command: Command


@dataclass(frozen=True, slots=True)
class Up:
    """Tell signalling."""

    event: Event


Effect = To | Up


@dataclass(slots=True)
class Move:
    """Legs, and the captures that go with them, on their way."""

    source: int
    target: int
    legs: frozenset[str]
    captures: frozenset[str]
    waiting: list[Command] = field(default_factory=list)
    """What was said about them meanwhile, in order."""
    doubt: str | None = None
    """One of the two processes was lost meanwhile; the `ref` of the question what the other holds."""
    behind: set[str] = field(default_factory=set)
    """Legs that are to be opened beside them, when they have arrived."""
    left: bool = False
    """The source has said since that they are not there."""


@dataclass(slots=True)
class Placed:
    """One leg."""

    process: int
    evidence: str | None
    talk: str | None = None
    """The capture of a talk without a caller that it is recorded in."""
    room: str | None = None
    role: Role | None = None
    before: tuple[str | None, Role | None] = (None, None)
    """Where it was before its last Join, should that be refused."""
    joins: int = 0
    """How many were not answered yet."""
    ports: tuple[PortPair, ...] = ()
    held: bool = True
    """Its process holds it, as far as is known."""

    @property
    def captures(self) -> set[str]:
        """The captures that have to be where it is."""
        return {call for call in (self.evidence, self.talk) if call is not None}
