"""What the machines of a call want done. `control` carries these out and decides nothing."""

from dataclasses import dataclass, field
from typing import Any, Final

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.uri import Uri
from rtp.control import Command

_OF_EVERY_RESPONSE: Final = frozenset({"Via", "From", "To", "Call-ID", "CSeq", "Content-Length"})


@dataclass(frozen=True, slots=True)
class Respond:
    """Send a response on a server transaction."""

    transaction: str
    response: Response


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse a request and forget it at once: whoever sent it shall cost nothing (RFC 3261 §8.2.7, bars L8)."""

    transaction: str
    response: Response

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers the refusal adds to those every response has."""
        return [item for item in self.response.headers.items() if item[0] not in _OF_EVERY_RESPONSE]


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Start a client transaction; its outcome comes back under `ref`."""

    ref: str
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class SendElsewhere:
    """Send a request to where `target`, else its first Route or its Request-URI, leads (RFC 3263), hop after hop until one
    answers.

    Only for servers that the settings name: what a stranger wrote into a message chooses no destination (bars S9). Its
    Contact, if it has one, is made to fit the flow it leaves on; the outcome comes back under `ref`.
    """

    ref: str
    request: Request
    target: Uri | None = None


@dataclass(frozen=True, slots=True)
class SendAck:
    """Send the ACK of a 2xx; it is no transaction (RFC 3261 §13.2.2.4)."""

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class SendCancel:
    """Cancel the pending INVITE that was sent under `ref`."""

    ref: str
    headers: tuple[tuple[str, str], ...] = ()
    """What the CANCEL says besides: its Reason (RFC 3326)."""


@dataclass(frozen=True, slots=True)
class MoveFlow:
    """A phone is reached over another flow now: what is under way goes there."""

    old: Flow
    new: Flow


@dataclass(frozen=True, slots=True)
class ToMedia:
    """Send a command to the media process."""

    command: Command


@dataclass(frozen=True, slots=True)
class Note:
    """Something happened that evidence, database and the live feed must know.

    `call` is None when it belongs to no call (a desk signed in).
    """

    event: str
    call: str | None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FetchLocation:
    """Fetch a call's location from the server that keeps it (RFC 6753)."""

    call: str
    uri: str


@dataclass(frozen=True, slots=True)
class AskDistrict:
    """Ask the LoST server which district serves a place (RFC 5222). Latitude and longitude in degrees."""

    call: str
    place: tuple[float, float]


@dataclass(frozen=True, slots=True)
class AskFacts:
    """Ask what others know of a caller: the operator of its number, the calls there were before."""

    call: str
    account: str | None
    """Only one that is proven."""
    number: str | None
    """Only one that somebody else than the caller vouches for."""
    trunk: str | None
    """Whose word the number is."""


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The call's capture is closed: hand the folder to the recorder."""

    call: str


Effect = (
    Respond
    | Refuse
    | SendRequest
    | SendElsewhere
    | SendAck
    | SendCancel
    | MoveFlow
    | ToMedia
    | Note
    | FetchLocation
    | AskDistrict
    | AskFacts
    | CallFinished
)


Reason = dict[str, str | int | None]
"""What a peer gave as its reason (`pbx.sip.reason.read`)."""

# --- what a leg tells the call or the room it belongs to ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LegReady:
    """The ports are bound; the leg can be answered or placed."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegUp:
    """The dialog is confirmed on both sides."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegNegotiated:
    """An offer/answer exchange ended; the media process was told."""

    leg: str
    held: bool
    """The peer wants to hear nothing of us (hold)."""


@dataclass(frozen=True, slots=True)
class LegEnded:
    """The leg is over for its owner; its dialog may still be saying goodbye."""

    leg: str
    cause: str
    """`bye`, `cancelled`, `hung_up`, `unreachable`, `no_ack`, `refused`, `no_answer`, `no_media_ports` …"""
    status: int | None = None
    """The SIP status that ended it, if one did."""
    reason: tuple[Reason, ...] = ()
    """What the peer gave as its reason (RFC 3326), if it did."""


@dataclass(frozen=True, slots=True)
class LegGone:
    """The dialog has said goodbye too: no message of it is expected any more."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegText:
    """The peer wrote (RFC 3428)."""

    leg: str
    text: str


@dataclass(frozen=True, slots=True)
class LegTextDelivered:
    """Outcome of a text we sent."""

    leg: str
    delivered: bool


@dataclass(frozen=True, slots=True)
class LegDigit:
    """The peer pressed a key."""

    leg: str
    digit: str
    by_info: bool = False
    """It came by INFO; else in the sound (RFC 4733), where it goes on by itself."""


@dataclass(frozen=True, slots=True)
class LegUnacked:
    """Our answer has been repeated for `seconds` and no ACK has come; the leg is given up after 64·T1."""

    leg: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LegFree:
    """A re-INVITE of ours crossed one of the peer's; the time has come to ask again, if it is still wanted."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegRefer:
    """The peer sent a REFER in the dialog; it is still to be answered."""

    leg: str
    transaction: str
    request: Request


LegEvent = (
    LegReady
    | LegUp
    | LegNegotiated
    | LegEnded
    | LegGone
    | LegText
    | LegTextDelivered
    | LegDigit
    | LegUnacked
    | LegFree
    | LegRefer
)

Item = Any
"""What machines hand each other: an effect, a `LegEvent`, or a command one machine has for another (`Exchange._take`)."""
