"""What the machines of a call want done. `control` carries these out and decides nothing.

Frozen structs, not dataclasses: a call makes a hundred of them, and this way each at a third of the price.
"""

from typing import Any, Final

from msgspec import Struct, field

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.uri import Uri
from rtp.control import Command

_OF_EVERY_RESPONSE: Final = frozenset({"Via", "From", "To", "Call-ID", "CSeq", "Content-Length"})


class Respond(Struct, frozen=True):
    """Send a response on a server transaction."""

    transaction: str
    response: Response


class AnswerOnce(Struct, frozen=True):
    """Answer a request with a final response without body and forget it at once: whoever sent it shall cost nothing (RFC 3261 §8.2.7, bars L8)."""

    transaction: str
    response: Response

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers the answer adds to those every response has."""
        return [item for item in self.response.headers.items() if item[0] not in _OF_EVERY_RESPONSE]


class SendRequest(Struct, frozen=True):
    """Start a client transaction; its outcome comes back under `ref`."""

    ref: str
    request: Request
    flow: Flow


class SendElsewhere(Struct, frozen=True):
    """Send a request to where `target`, else its first Route or its Request-URI, leads (RFC 3263), hop after hop until one
    answers.

    Only for servers that the settings name: what a stranger wrote into a message chooses no destination (bars S9). Its
    Contact, if it has one, is made to fit the flow it leaves on; the outcome comes back under `ref`.
    """

    ref: str
    request: Request
    target: Uri | None = None
    patience: float | None = None
    """Seconds a hop may say nothing while there is another; None: as long as its transaction lives."""


class SendAck(Struct, frozen=True):
    """Send the ACK of a 2xx; it is no transaction (RFC 3261 §13.2.2.4)."""

    request: Request
    flow: Flow


class SendCancel(Struct, frozen=True):
    """Cancel the pending INVITE that was sent under `ref`."""

    ref: str
    headers: tuple[tuple[str, str], ...] = ()
    """What the CANCEL says besides: its Reason (RFC 3326)."""


class MoveFlow(Struct, frozen=True):
    """A phone is reached over another flow now: what is under way goes there."""

    old: Flow
    new: Flow


class ToMedia(Struct, frozen=True):
    """Send a command to the media process."""

    command: Command


class Note(Struct, frozen=True):
    """Something happened that evidence, database and the live feed must know.

    `call` is None when it belongs to no call (a desk signed in).
    """

    event: str
    call: str | None
    fields: dict[str, Any] = field(default_factory=dict)


class FetchLocation(Struct, frozen=True):
    """Fetch a call's location from the server that keeps it (RFC 6753)."""

    call: str
    uri: str


class AskDistrict(Struct, frozen=True):
    """Ask the LoST server which district serves a place (RFC 5222). Latitude and longitude in degrees."""

    call: str
    place: tuple[float, float]


class AskFacts(Struct, frozen=True):
    """Ask what others know of a caller: the operator of its number, the calls there were before."""

    call: str
    account: str | None
    """Only one that is proven."""
    number: str | None
    """Only one that somebody else than the caller vouches for."""
    trunk: str | None
    """Whose word the number is."""


class CallFinished(Struct, frozen=True):
    """The call's capture is closed: hand the folder to the recorder."""

    call: str


Effect = (
    Respond
    | AnswerOnce
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


class LegReady(Struct, frozen=True):
    """The ports are bound; the leg can be answered or placed."""

    leg: str


class LegUp(Struct, frozen=True):
    """The dialog is confirmed on both sides."""

    leg: str


class LegNegotiated(Struct, frozen=True):
    """An offer/answer exchange ended; the media process was told."""

    leg: str
    held: bool
    """The peer wants to hear nothing of us (hold)."""


class LegEnded(Struct, frozen=True):
    """The leg is over for its owner; its dialog may still be saying goodbye."""

    leg: str
    cause: str
    """`bye`, `cancelled`, `hung_up`, `unreachable`, `no_ack`, `refused`, `no_answer`, `no_media_ports` …"""
    status: int | None = None
    """The SIP status that ended it, if one did."""
    reason: tuple[Reason, ...] = ()
    """What the peer gave as its reason (RFC 3326), if it did."""


class LegGone(Struct, frozen=True):
    """The dialog has said goodbye too: no message of it is expected any more."""

    leg: str


class LegText(Struct, frozen=True):
    """The peer wrote (RFC 3428)."""

    leg: str
    text: str


class LegTextDelivered(Struct, frozen=True):
    """Outcome of a text we sent."""

    leg: str
    delivered: bool


class LegDigit(Struct, frozen=True):
    """The peer pressed a key."""

    leg: str
    digit: str


class LegUnacked(Struct, frozen=True):
    """Our answer has been repeated for `seconds` and no ACK has come; the leg is given up after 64·T1."""

    leg: str
    seconds: float


class LegFree(Struct, frozen=True):
    """A re-INVITE of ours crossed one of the peer's; the time has come to ask again, if it is still wanted."""

    leg: str


class LegRefer(Struct, frozen=True):
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
