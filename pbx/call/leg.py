"""One leg: a dialog made by INVITE, and its media. What stands, and what every verb needs.

in → out: an INVITE → a leg that asks for its ports. What happens to it then comes through `leg_events`; its verbs are
`answer`, `ringing`, `place`, `early`, `hold`, `modify`, `probe` and `hangup`. The owner (a call or a room) hears `LegEvent`s
and never sees a SIP message.

    OPENING ─ports─▶ READY ─answer─▶ ANSWERED ─ACK─▶ CONFIRMED ─hang up─▶ LEAVING ─answered─▶ TERMINATED
                       └─place─▶ CALLING ─2xx──────────▲
    any ─BYE, failure─▶ TERMINATED

What a state does not expect is ignored; a request always gets an answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from msgspec import structs

from pbx.call import indialog
from pbx.call.effects import (
    Effect,
    LegEnded,
    LegEvent,
    LegGone,
    LegNegotiated,
    Reason,
    Respond,
    SendRequest,
    ToMedia,
)
from pbx.call.negotiation import IN_THE_CLEAR, Negotiation
from pbx.call.unacked import Unacked
from pbx.sdp.addresses import NOTHING, Own, unicast
from pbx.sdp.capabilities import Capabilities
from pbx.sdp.encryption import Encryption
from pbx.sip.body import find_part
from pbx.sip.dialog import Dialog, request_key
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.reliable import Reliable
from pbx.sip.session_timer import SessionSettings, SessionTimer
from pbx.sip.timers import Timers
from pbx.sip.uri import NameAddr
from pbx.sip.wakeups import earliest
from pbx.trunks.line import Line
from rtp.control import CloseLeg, ConfigureLeg, Medium, OpenLeg, Stream, StreamReport

PROBE_SECONDS = 4.0
"""How long a peer may take to answer an OPTIONS sent because its media stopped: three retransmissions."""

RINGING_SECONDS = 1.0
"""A caller whose ports take longer than this hears ringing: nobody hangs up on a phone that rings."""

SDP = "application/sdp"

DEFAULT_TIMERS = Timers()
DEFAULT_SESSION = SessionSettings()


class State(StrEnum):
    """What a leg is."""

    OPENING = "opening"
    READY = "ready"
    CALLING = "calling"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    LEAVING = "leaving"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class LegSetup:
    """What every leg of a site shares."""

    capabilities: Capabilities
    address: str
    """IP address stated in SDP."""
    bind: str
    """IP address the media process binds to."""
    timers: Timers = DEFAULT_TIMERS
    ring_seconds: float = 30.0
    """How long a desk's phone may ring before the leg is given up."""
    session: SessionSettings = DEFAULT_SESSION
    languages: tuple[str, ...] = ()
    """Languages (BCP 47) that can be spoken with callers, best first; empty: the question is not answered."""
    loopback_ok: bool = True
    """Media may go to this machine itself; only where we listen on loopback."""
    own: Own = NOTHING
    """Our own ports, where nobody's media goes."""
    encryption: Encryption = IN_THE_CLEAR
    """What is encrypted, and the secret its keys are made of."""
    urgent: bool = False
    """It may have the last ports (bar F24): a call for help, or the permanent leg of a desk that takes them."""
    asymmetric: bool = False
    """Its phone does not hear where it sends from: media go where its SDP says."""

    def negotiation(self, session: int) -> Negotiation:
        """Begin one; `session`: its number for the o= line."""
        return Negotiation(
            self.capabilities,
            self.address,
            session,
            self.languages,
            loopback_ok=self.loopback_ok,
            own=self.own,
            encryption=self.encryption,
            asymmetric=self.asymmetric,
        )


class Leg:
    """See the module."""

    def __init__(
        self,
        leg: str,
        flow: Flow,
        *,
        contact: NameAddr,
        local_tag: str,
        negotiation: Negotiation,
        setup: LegSetup,
    ) -> None:
        """Use `incoming` or `outgoing`."""
        self.id = leg
        self.flow = flow
        self.state = State.OPENING
        self.negotiation = negotiation
        self.dialog: Dialog | None = None
        self.invite: Request | None = None
        self.setup = setup
        self.contact = contact
        self.local_tag = local_tag
        self.transaction: str | None = None
        self.unacked: Unacked | None = None
        self.waiting: tuple[str, Request] | None = None  # a re-INVITE or UPDATE that waits for ports
        self.count = 0
        self.probe_deadline: float | None = None
        self.ring_deadline: float | None = None
        self.evidence: str | None = None
        self.allow: frozenset[str] = frozenset()  # methods the peer's INVITE or 2xx said it takes
        self.patience = 1
        self.asked: tuple[Medium, ...] = ()
        """The media ports were last asked for."""
        self.renegotiating = False  # a re-INVITE of ours is out
        self.missed = 0  # probes in a row that got no answer
        self.losses: dict[str, float] = {}  # media that do not come though they should, and since when
        self.asked_after = 0.0  # seconds of silence after which the peer was last asked where it is
        self.emergency = False
        """A caller in need: it is never refused and given up last."""
        self.vouched = True
        """Whether the peer proved who it is, or belongs to whom we called."""
        self.session = SessionTimer(setup.session)
        self.reliable: Reliable | None = None  # a provisional response of ours that wants a PRACK
        self.ringing_at: float | None = None
        self.early: dict[str, tuple[Dialog, int | None]] = {}
        """Early dialogs our INVITE made, by the peer's tag, with the RSeq taken last."""
        self.early_answer: str | None = None  # whose reliable provisional response brought the answer
        self.again: tuple[float, str] | None = (
            None  # when a request of ours that crossed another is tried again
        )
        self.goodbye: tuple[tuple[str, str], ...] = ()  # headers of the BYE that is still to come
        self.progress: bytes | None = None  # the description in our 183
        self.report: tuple[StreamReport, ...] = ()
        """What the media process counted of it last; not kept through restarts, the next one comes in seconds."""
        self.line: Line | None = None
        """What a leg over a trunk remembers of it."""

    # --- making one -------------------------------------------------------------------------------------------

    @classmethod
    def incoming(
        cls,
        leg: str,
        request: Request,
        flow: Flow,
        transaction: str,
        *,
        local_tag: str,
        session: int,
        contact: NameAddr,
        setup: LegSetup,
        evidence: str | None,
        now: float,
        patience: int = 1,
        emergency: bool = False,
    ) -> tuple[Self, list[Effect]]:
        """Take an INVITE; the leg is ready when its ports are bound. Raises `SipError` when its SDP is unusable, or its
        session interval too short (422, never for an emergency).

        `patience`: how many probes in a row may go unanswered before the leg is given up.
        """
        negotiation = setup.negotiation(session)
        self = cls(leg, flow, contact=contact, local_tag=local_tag, negotiation=negotiation, setup=setup)
        self.invite = request
        self.transaction = transaction
        self.evidence = evidence
        self.patience = patience
        self.allow = indialog.methods(request)
        self.emergency = emergency
        self.session = SessionTimer(setup.session, patient=emergency)
        self.session.check(request)
        wanted = negotiation.wanted(find_part(request, SDP))
        self.ringing_at = now + RINGING_SECONDS
        return self, [self.open(wanted)]

    @classmethod
    def outgoing(
        cls,
        leg: str,
        invite: Request,
        flow: Flow,
        *,
        session: int,
        contact: NameAddr,
        setup: LegSetup,
        evidence: str | None = None,
    ) -> tuple[Self, list[Effect]]:
        """Prepare to send `invite` (without its body); `place` sends it when the ports are bound.

        `evidence`: the open capture its media is written to.
        """
        negotiation = setup.negotiation(session)
        tag = invite.from_.tag or ""
        self = cls(leg, flow, contact=contact, local_tag=tag, negotiation=negotiation, setup=setup)
        self.invite = invite
        self.evidence = evidence
        return self, [self.open(negotiation.wanted(None))]

    def open(self, media: tuple[Medium, ...]) -> Effect:
        """Ask the media process for ports."""
        self.asked = media
        return ToMedia(OpenLeg(self.id, media, self.setup.bind, self.evidence, urgent=self.setup.urgent))

    # --- what every verb needs --------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether it needs its ports."""
        return self.state not in {State.LEAVING, State.TERMINATED}

    def alive(self) -> None:
        """Hear that media flows: what was missed before is forgotten."""
        self.missed = 0
        if self.unacked is not None:
            self.unacked.heard = True

    def text(self, text: str) -> list[Effect | LegEvent]:
        """Send a text in the dialog (RFC 3428) if the phone takes MESSAGE; nothing happens if it does not."""
        if self.state is not State.CONFIRMED or not self.takes_text:
            return []
        # A name out of a From header may hold bytes that are no UTF-8; whoever waits is put through all the same.
        body = text.encode(errors="replace")
        return [self.ask("text", "MESSAGE", (), body, "text/plain;charset=UTF-8")]

    def want_picture(self) -> list[Effect | LegEvent]:
        """Ask for a key frame by INFO (RFC 5168), for phones that know no RTCP feedback."""
        if self.state is not State.CONFIRMED or not self.allows("INFO"):
            return []
        body = indialog.PICTURE_FAST_UPDATE
        return [self.ask("picture", "INFO", (), body, "application/media_control+xml")]

    @property
    def takes_text(self) -> bool:
        """Whether the peer's Allow named MESSAGE."""
        return self.allows("MESSAGE")

    def allows(self, method: str) -> bool:
        """Whether the peer said it takes a method."""
        return method in self.allow

    @property
    def offering(self) -> bool:
        """Whether an offer of ours waits for its answer."""
        return self.negotiation.offering and self.early_answer is None

    @property
    def owner(self) -> bool:
        """Whether the Call-ID is ours: we sent the INVITE."""
        return self.transaction is None

    def dialog_of(self, request: Request) -> Dialog | None:
        """Find the dialog of a request that carries our tag. All of Call-ID and both tags must fit (RFC 3261 §12.2.2)."""
        key = request_key(request)
        if self.dialog is not None:
            return self.dialog if self.dialog.key == key else None
        found = self.early.get(key[2])
        return None if found is None or found[0].key != key else found[0]

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        if self.state is State.TERMINATED:
            return None
        dues = [self.probe_deadline, self.ring_deadline, self.ringing_at]
        if self.line is not None:
            dues.append(self.line.deadline)
        if self.unacked is not None:
            dues.append(self.unacked.next_due)
        if self.reliable is not None:
            dues.append(self.reliable.next_due)
        if self.state is State.CONFIRMED:
            dues += [self.session.next_due, None if self.again is None else self.again[0]]
        return earliest(*dues)

    def reject(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> list[Effect | LegEvent]:
        """Refuse the INVITE; its owner is not told, because it is the one who refuses."""
        if self.state not in {State.OPENING, State.READY} or self.transaction is None or self.invite is None:
            return []
        self.state = State.TERMINATED
        if self.reliable is not None:
            self.reliable.settle()
        response = self.invite.response(status, to_tag=self.local_tag, headers=headers)
        return [Respond(self.transaction, response)]

    @property
    def invite_ref(self) -> str:
        """Under which the INVITE of an outgoing leg was sent."""
        assert self.invite is not None, "an outgoing leg has its INVITE"
        return f"{self.id}/invite/{self.invite.cseq.number}"

    def ask(
        self,
        kind: str,
        method: str,
        headers: Iterable[tuple[str, str]],
        body: bytes = b"",
        content_type: str | None = None,
    ) -> SendRequest:
        """Send a request in the dialog; its outcome comes back under `<leg>/<kind>/<CSeq>`."""
        assert self.dialog is not None, "requests go inside the dialog"
        request = self.dialog.request(method, headers=headers, body=body, content_type=content_type)
        return SendRequest(f"{self.id}/{kind}/{request.cseq.number}", request, self.flow)

    def end(
        self, cause: str, status: int | None = None, reason: tuple[Reason, ...] = ()
    ) -> list[Effect | LegEvent]:
        """Be over; the owner hears of it unless it was the one who wanted it."""
        if self.state is State.TERMINATED:
            return []
        told = self.state is State.LEAVING
        self.state = State.TERMINATED
        if told:
            return [LegGone(self.id)]
        return [ToMedia(CloseLeg(self.id)), LegEnded(self.id, cause, status, reason), LegGone(self.id)]

    def configure(self) -> list[Effect | LegEvent]:
        """Tell the media process what was agreed."""
        return [ToMedia(self.agreed()), LegNegotiated(self.id, held=self.negotiation.held)]

    def agreed(self) -> ConfigureLeg:
        """Return what the media process is told of what was agreed."""
        sources = self.negotiation.sources(self.flow.remote[0])
        streams = self.negotiation.streams
        if not self.vouched:
            streams = tuple(structs.replace(stream, unproven=not self._reaches(stream)) for stream in streams)
        return ConfigureLeg(self.id, streams, sources, self.vouched)

    def _reaches(self, stream: Stream) -> bool:
        """Whether what goes where a stranger says it hears comes to that stranger (bar S9).

        It is heard of there alone where its signalling comes from, and a source address over UDP is its own only once it has
        acknowledged what was sent to it. All others are sent to when their own media came.
        """
        here = unicast(self.flow.remote[0])
        named = {address[0] for address in (stream.remote, stream.remote_rtcp) if address is not None}
        return named <= {here} and (
            self.flow.transport != "udp" or self.state in {State.CONFIRMED, State.LEAVING}
        )
