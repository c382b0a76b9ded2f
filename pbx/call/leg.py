"""One leg: a dialog made by INVITE, and its media. What stands, and what every verb needs.

in → out: an INVITE → a leg that asks for its ports. What happens to it then comes through `leg_events`; its verbs are
`answer`, `place`, `hold`, `probe` and `hangup`. The owner (a call or a room) hears `LegEvent`s and never sees a SIP message.

    OPENING ─ports─▶ READY ─answer─▶ ANSWERED ─ACK─▶ CONFIRMED ─hang up─▶ LEAVING ─answered─▶ TERMINATED
                       └─place─▶ CALLING ─2xx──────────▲
    any ─BYE, failure─▶ TERMINATED

What a state does not expect is ignored; a request always gets an answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from pbx.call import indialog
from pbx.call.effects import (
    Effect,
    LegEnded,
    LegEvent,
    LegGone,
    LegNegotiated,
    Respond,
    SendRequest,
    ToMedia,
)
from pbx.call.negotiation import Negotiation
from pbx.call.unacked import Unacked
from pbx.sdp.addresses import NOTHING, Own
from pbx.sdp.offer_answer import Capabilities
from pbx.sip.body import find_part
from pbx.sip.dialog import Dialog
from pbx.sip.flow import Flow, restore_flow
from pbx.sip.headers import Headers
from pbx.sip.message import Request, Response
from pbx.sip.timers import Timers
from pbx.sip.uri import NameAddr, parse_name_addr, parse_uri
from rtp.control import CloseLeg, ConfigureLeg, Medium, OpenLeg

PROBE_SECONDS = 4.0
"""How long a peer may take to answer an OPTIONS sent because its media stopped: three retransmissions."""

SDP = "application/sdp"

DEFAULT_TIMERS = Timers()


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
    loopback_ok: bool = True
    """Media may go to this machine itself; only where we listen on loopback."""
    own: Own = NOTHING
    """Our own ports, where nobody's media goes."""

    def negotiation(self, session: int) -> Negotiation:
        """Begin one; `session`: its number for the o= line."""
        return Negotiation(
            self.capabilities, self.address, session, loopback_ok=self.loopback_ok, own=self.own
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
        self.waiting: tuple[str, Request] | None = None  # a re-INVITE that waits for ports
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
        patience: int = 1,
    ) -> tuple[Self, list[Effect]]:
        """Take an INVITE; the leg is ready when its ports are bound. Raises `SipError` when its SDP is unusable.

        `patience`: how many probes in a row may go unanswered before the leg is given up.
        """
        negotiation = setup.negotiation(session)
        self = cls(leg, flow, contact=contact, local_tag=local_tag, negotiation=negotiation, setup=setup)
        self.invite = request
        self.transaction = transaction
        self.evidence = evidence
        self.patience = patience
        self.allow = methods(request)
        wanted = negotiation.wanted(find_part(request, SDP))
        return self, [self.open(wanted)]

    @classmethod
    def outgoing(
        cls, leg: str, invite: Request, flow: Flow, *, session: int, contact: NameAddr, setup: LegSetup
    ) -> tuple[Self, list[Effect]]:
        """Prepare to send `invite` (without its body); `place` sends it when the ports are bound."""
        negotiation = setup.negotiation(session)
        tag = invite.from_.tag or ""
        self = cls(leg, flow, contact=contact, local_tag=tag, negotiation=negotiation, setup=setup)
        self.invite = invite
        return self, [self.open(negotiation.wanted(None))]

    def open(self, media: tuple[Medium, ...]) -> Effect:
        """Ask the media process for ports."""
        self.asked = media
        return ToMedia(OpenLeg(self.id, media, self.setup.bind, self.evidence))

    # --- what every verb needs --------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether it needs its ports."""
        return self.state not in {State.LEAVING, State.TERMINATED}

    def alive(self) -> None:
        """Hear that media flows: what was missed before is forgotten."""
        self.missed = 0

    def text(self, text: str) -> list[Effect | LegEvent]:
        """Send a text in the dialog (RFC 3428) if the phone takes MESSAGE; nothing happens if it does not."""
        if self.state is not State.CONFIRMED or not self.takes_text:
            return []
        return [self.ask("text", "MESSAGE", (), text.encode(), "text/plain;charset=UTF-8")]

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
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        if self.state is State.TERMINATED:
            return None
        dues = [self.probe_deadline, self.ring_deadline]
        if self.unacked is not None:
            dues.append(self.unacked.next_due)
        return min((d for d in dues if d is not None), default=None)

    def reject(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> list[Effect | LegEvent]:
        """Refuse the INVITE; its owner is not told, because it is the one who refuses."""
        if self.state not in {State.OPENING, State.READY} or self.transaction is None or self.invite is None:
            return []
        self.state = State.TERMINATED
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

    def end(self, cause: str, status: int | None = None) -> list[Effect | LegEvent]:
        """Be over; the owner hears of it unless it was the one who wanted it."""
        if self.state is State.TERMINATED:
            return []
        told = self.state is State.LEAVING
        self.state = State.TERMINATED
        if told:
            return [LegGone(self.id)]
        return [ToMedia(CloseLeg(self.id)), LegEnded(self.id, cause, status), LegGone(self.id)]

    def configure(self) -> list[Effect | LegEvent]:
        """Tell the media process what was agreed."""
        streams = self.negotiation.streams
        sources = self.negotiation.sources(self.flow.remote[0])
        return [
            ToMedia(ConfigureLeg(self.id, streams, sources)),
            LegNegotiated(self.id, held=self.negotiation.held),
        ]

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        waiting = self.waiting
        return {
            "leg": self.id,
            "flow": self.flow.snapshot(),
            "state": str(self.state),
            "negotiation": self.negotiation.snapshot(),
            "dialog": None if self.dialog is None else self.dialog.snapshot(),
            "invite": None if self.invite is None else _pack(self.invite),
            "contact": str(self.contact),
            "local_tag": self.local_tag,
            "transaction": self.transaction,
            "unacked": None if self.unacked is None else self.unacked.snapshot(),
            "waiting": None if waiting is None else [waiting[0], _pack(waiting[1])],
            "count": self.count,
            "probe_deadline": self.probe_deadline,
            "ring_deadline": self.ring_deadline,
            "evidence": self.evidence,
            "allow": sorted(self.allow),
            "patience": self.patience,
            "missed": self.missed,
            "renegotiating": self.renegotiating,
            "asked": list(self.asked),
        }

    @classmethod
    def restore(cls, data: dict[str, Any], setup: LegSetup) -> Self:
        """Make the leg that `snapshot` described."""
        negotiation = Negotiation.restore(
            data["negotiation"], setup.capabilities, loopback_ok=setup.loopback_ok, own=setup.own
        )
        contact = parse_name_addr(data["contact"])
        flow, tag = restore_flow(data["flow"]), data["local_tag"]
        self = cls(data["leg"], flow, contact=contact, local_tag=tag, negotiation=negotiation, setup=setup)
        self.state = State(data["state"])
        self.dialog = None if data["dialog"] is None else Dialog.restore(data["dialog"])
        self.invite = None if data["invite"] is None else _unpack(data["invite"])
        self.transaction = data["transaction"]
        self.unacked = None if data["unacked"] is None else Unacked.restore(data["unacked"])
        self.waiting = None if data["waiting"] is None else (data["waiting"][0], _unpack(data["waiting"][1]))
        self.count = data["count"]
        self.probe_deadline = data["probe_deadline"]
        self.ring_deadline = data["ring_deadline"]
        self.evidence = data["evidence"]
        self.allow = frozenset(data["allow"])
        self.patience = data["patience"]
        self.missed = data["missed"]
        self.renegotiating = data["renegotiating"]
        self.asked = tuple(data["asked"])
        return self


def methods(message: Request | Response) -> frozenset[str]:
    """Return the methods a peer says it takes."""
    return frozenset(m.strip(" \t") for value in message.headers.all("Allow") for m in value.split(","))


def _pack(request: Request) -> dict[str, Any]:
    """Keep a request as plain data. Our own has no Via before it is sent, so the parser would not take its bytes."""
    return {
        "method": request.method,
        "uri": str(request.uri),
        "headers": [list(item) for item in request.headers.items()],
        "body": request.body,
    }


def _unpack(data: dict[str, Any]) -> Request:
    headers = Headers((name, value) for name, value in data["headers"])
    return Request(data["method"], parse_uri(data["uri"]), headers, data["body"])
