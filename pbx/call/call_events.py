"""What happens to a call, and what it asks of its neighbours: plain values (see `call`)."""

from dataclasses import dataclass
from typing import Any

from pbx.call.effects import Reason
from routing.acd import AcdEvent
from routing.moves import Move

# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """The leg's ports are bound."""


@dataclass(frozen=True, slots=True)
class CaptureOpened:
    """The capture is open (`fault` is None), or can't be opened and why."""

    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The caller's phone sent its ACK."""


@dataclass(frozen=True, slots=True)
class PlaceTold:
    """The queue gave a new place."""

    position: int
    expected: float | None = None
    """Seconds the wait is expected to take; None when nobody can say."""


@dataclass(frozen=True, slots=True)
class GivenTo:
    """The queue gave the caller to a desk."""

    desk: str
    room: str
    waited: float
    agent: str = ""
    """Who sits there, if that is not the desk's own dispatcher."""


@dataclass(frozen=True, slots=True)
class DeskLost:
    """The desk has the caller no more; the queue has taken it back."""

    desk: str
    why: str = "desk_lost"
    """See `routing.acd.BackToQueue`."""


@dataclass(frozen=True, slots=True)
class BelongsTo:
    """The call is part of an incident that began with another call of the same person."""

    incident: str


@dataclass(frozen=True, slots=True)
class HeldByHost:
    """The dispatcher puts the caller on hold (`on`), or takes it back."""

    on: bool
    by: str


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """The caller did something that only somebody does who is still there."""

    by: str
    """`key` or `text`."""


@dataclass(frozen=True, slots=True)
class LegOver:
    """The leg ended."""

    cause: str
    status: int | None
    reason: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class LegGone:
    """The leg's last message has come: the capture holds the whole dialog."""


@dataclass(frozen=True, slots=True)
class CaptureClosed:
    """The capture is on disk."""

    packets: int
    size: int


@dataclass(frozen=True, slots=True)
class HostEnds:
    """The dispatcher ends the call."""

    desk: str


@dataclass(frozen=True, slots=True)
class ShowHost:
    """Show the caller something in the host's place: `on`, `off` or `still` (`gates.HostPicture`)."""

    mode: str
    by: str


@dataclass(frozen=True, slots=True)
class SilentOn:
    """The dispatcher switches silent mode on; at once."""

    by: str


@dataclass(frozen=True, slots=True)
class SilentOffAsked:
    """First of the two acts that switch it off."""

    by: str


@dataclass(frozen=True, slots=True)
class SilentOffConfirmed:
    """Second of the two acts."""

    by: str


@dataclass(frozen=True, slots=True)
class FactsTold:
    """Somebody else said what is known of the caller, or why nothing is."""

    source: str
    """`history`, `subscriber`."""
    found: dict[str, Any]
    why: str | None


CallEvent = (
    Opened | CaptureOpened | Confirmed | PlaceTold | GivenTo | DeskLost | HeldByHost | BelongsTo | LegOver | LegGone
    | CaptureClosed | HostEnds | ShowHost | SignOfLife | SilentOn | SilentOffAsked | SilentOffConfirmed
    | FactsTold
)  # fmt: skip


# --- commands to the neighbours -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerLeg:
    """Send the 200."""

    leg: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ProgressLeg:
    """Send the 183 that lets the caller hear us; the 200 comes when a dispatcher takes the call."""

    leg: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PlaceLeg:
    """Send the INVITE of a call of ours."""

    leg: str


@dataclass(frozen=True, slots=True)
class RefuseLeg:
    """Send a final refusal: only when no port could be had."""

    leg: str
    status: int


@dataclass(frozen=True, slots=True)
class EndLeg:
    """Hang up."""

    leg: str


@dataclass(frozen=True, slots=True)
class Say:
    """Send a text in the dialog, if the phone takes it."""

    leg: str
    text: str


@dataclass(frozen=True, slots=True)
class ToAcd:
    """Tell the queue."""

    event: AcdEvent | Move


CallCommand = AnswerLeg | ProgressLeg | PlaceLeg | RefuseLeg | EndLeg | Say | ToAcd
