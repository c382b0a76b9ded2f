"""What happens to a call, and what it asks of its neighbours: plain values (see `call`)."""

from typing import Any

from msgspec import Struct

from pbx.call.effects import Reason
from routing.acd import AcdEvent
from routing.moves import Move

# --- events -----------------------------------------------------------------------------------------------------


class Opened(Struct, frozen=True):
    """The leg's ports are bound."""


class CaptureOpened(Struct, frozen=True):
    """The capture is open (`fault` is None), or can't be opened and why."""

    fault: str | None = None


class Confirmed(Struct, frozen=True):
    """The caller's phone sent its ACK."""


class PlaceTold(Struct, frozen=True):
    """The queue gave a new place."""

    position: int
    expected: float | None = None
    """Seconds the wait is expected to take; None when nobody can say."""


class GivenTo(Struct, frozen=True):
    """The queue gave the caller to a desk."""

    desk: str
    room: str
    waited: float
    agent: str = ""
    """Who sits there, if that is not the desk's own dispatcher."""


class DeskLost(Struct, frozen=True):
    """The desk has the caller no more; the queue has taken it back."""

    desk: str
    why: str = "desk_lost"
    """See `routing.acd.BackToQueue`."""


class BelongsTo(Struct, frozen=True):
    """The call is part of an incident that began with another call of the same person."""

    incident: str


class HeldByHost(Struct, frozen=True):
    """The dispatcher puts the caller on hold (`on`), or takes it back."""

    on: bool
    by: str


class SignOfLife(Struct, frozen=True):
    """The caller did something that only somebody does who is still there."""

    by: str
    """`key` or `text`."""


class LegOver(Struct, frozen=True):
    """The leg ended."""

    cause: str
    status: int | None
    reason: tuple[Reason, ...] = ()


class LegGone(Struct, frozen=True):
    """The leg's last message has come: the capture holds the whole dialog."""


class CaptureClosed(Struct, frozen=True):
    """The capture is on disk; or, with a fault, nobody can tell any more what is."""

    packets: int
    size: int
    fault: str | None = None


class HostEnds(Struct, frozen=True):
    """The dispatcher ends the call."""

    desk: str


class ShowHost(Struct, frozen=True):
    """Show the caller something in the host's place: `on`, `off` or `still` (`gates.HostPicture`)."""

    mode: str
    by: str


class SilentOn(Struct, frozen=True):
    """The dispatcher switches silent mode on; at once."""

    by: str


class SilentOffAsked(Struct, frozen=True):
    """First of the two acts that switch it off."""

    by: str


class SilentOffConfirmed(Struct, frozen=True):
    """Second of the two acts."""

    by: str


class FactsTold(Struct, frozen=True):
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


class AnswerLeg(Struct, frozen=True):
    """Send the 200."""

    leg: str
    headers: tuple[tuple[str, str], ...]


class ProgressLeg(Struct, frozen=True):
    """Send the 183 that lets the caller hear us; the 200 comes when a dispatcher takes the call."""

    leg: str
    headers: tuple[tuple[str, str], ...]


class PlaceLeg(Struct, frozen=True):
    """Send the INVITE of a call of ours."""

    leg: str


class RefuseLeg(Struct, frozen=True):
    """Send a final refusal: only when no port could be had."""

    leg: str
    status: int


class EndLeg(Struct, frozen=True):
    """Hang up."""

    leg: str


class Say(Struct, frozen=True):
    """Send a text in the dialog, if the phone takes it."""

    leg: str
    text: str


class ToAcd(Struct, frozen=True):
    """Tell the queue."""

    event: AcdEvent | Move


CallCommand = AnswerLeg | ProgressLeg | PlaceLeg | RefuseLeg | EndLeg | Say | ToAcd
