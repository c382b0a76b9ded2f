"""One leg: a dialog made by INVITE, and its media.

in → out: requests and responses of the dialog, ports, commands of its owner → SIP effects, media commands, `LegEvent`s
for the owner. The owner (a call or a room) never sees a SIP message.

A row that a state does not expect is ignored; a request always gets an answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from pbx.call import indialog
from pbx.call.effects import (
    Effect,
    LegDigit,
    LegEnded,
    LegEvent,
    LegGone,
    LegNegotiated,
    LegReady,
    LegText,
    LegTextDelivered,
    LegUp,
    Respond,
    SendAck,
    SendCancel,
    SendRequest,
    ToMedia,
)
from pbx.call.negotiation import Negotiation
from pbx.call.unacked import Unacked
from pbx.sdp.offer_answer import Capabilities
from pbx.sip.body import find_part
from pbx.sip.dialog import Dialog
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow, restore_flow
from pbx.sip.headers import Headers
from pbx.sip.message import Request, Response
from pbx.sip.timers import Timers
from pbx.sip.uri import NameAddr, parse_name_addr, parse_uri
from rtp.control import CloseLeg, ConfigureLeg, Medium, OpenLeg, PortPair

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
        self._setup = setup
        self._contact = contact
        self.local_tag = local_tag
        self.transaction: str | None = None
        self._unacked: Unacked | None = None
        self._waiting: tuple[str, Request] | None = None  # a re-INVITE that waits for ports
        self._count = 0
        self._probe_deadline: float | None = None
        self._ring_deadline: float | None = None
        self._evidence: str | None = None
        self._allow: frozenset[str] = frozenset()  # methods the peer's INVITE or 2xx said it takes
        self._patience = 1
        self.asked: tuple[Medium, ...] = ()
        """The media ports were last asked for."""
        self._missed = 0  # probes in a row that got no answer

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
        negotiation = Negotiation(setup.capabilities, setup.address, session)
        self = cls(leg, flow, contact=contact, local_tag=local_tag, negotiation=negotiation, setup=setup)
        self.invite = request
        self.transaction = transaction
        self._evidence = evidence
        self._patience = patience
        self._allow = _methods(request)
        wanted = negotiation.wanted(find_part(request, SDP))
        return self, [self._open(wanted)]

    @classmethod
    def outgoing(
        cls, leg: str, invite: Request, flow: Flow, *, session: int, contact: NameAddr, setup: LegSetup
    ) -> tuple[Self, list[Effect]]:
        """Prepare to send `invite` (without its body); `place` sends it when the ports are bound."""
        negotiation = Negotiation(setup.capabilities, setup.address, session)
        tag = invite.from_.tag or ""
        self = cls(leg, flow, contact=contact, local_tag=tag, negotiation=negotiation, setup=setup)
        self.invite = invite
        return self, [self._open(negotiation.wanted(None))]

    def _open(self, media: tuple[Medium, ...]) -> Effect:
        self.asked = media
        return ToMedia(OpenLeg(self.id, media, self._setup.bind, self._evidence))

    # --- commands of the owner --------------------------------------------------------------------------------

    def ports(self, pairs: tuple[PortPair, ...], now: float) -> list[Effect | LegEvent]:
        """Take the ports that were bound."""
        self.negotiation.opened(pairs)
        if self.state is State.OPENING:
            self.state = State.READY
            return [LegReady(self.id)]
        if self._waiting is not None:
            transaction, request = self._waiting
            self._waiting = None
            return self._answer_reinvite(transaction, request, now)
        return []

    def no_ports(self) -> list[Effect | LegEvent]:
        """Hear that no port is to be had."""
        if self.state is State.OPENING:
            return [
                *self.reject(503, (("Retry-After", "2"),)),
                LegEnded(self.id, "no_media_ports", 503),
                LegGone(self.id),
            ]
        if self._waiting is not None:
            transaction, request = self._waiting
            self._waiting = None
            return [Respond(transaction, request.response(488, to_tag=self.local_tag))]
        return []

    def answer(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> list[Effect | LegEvent]:
        """Send the 200 that answers the INVITE."""
        if self.state is not State.READY or self.invite is None or self.transaction is None:
            return []
        body = find_part(self.invite, SDP)
        try:
            sdp = self.negotiation.offer() if body is None else self.negotiation.answer(body)
        except SipError as error:
            return [
                *self.reject(error.status),
                ToMedia(CloseLeg(self.id)),
                LegEnded(self.id, "refused", error.status),
                LegGone(self.id),
            ]
        self.dialog = Dialog.uas(self.invite, local_tag=self.local_tag, contact=self._contact)
        self.dialog.confirm()
        response = self.invite.response(
            200,
            to_tag=self.local_tag,
            headers=(("Contact", str(self._contact)), *indialog.CAPABILITIES, *headers),
            body=sdp,
            content_type=SDP,
        )
        self.state = State.ANSWERED
        self._unacked = Unacked.start(
            self.transaction, response, now, self._setup.timers, awaits_answer=body is None
        )
        out: list[Effect | LegEvent] = [] if body is None else self._configure()
        return [*out, Respond(self.transaction, response)]

    def reject(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> list[Effect | LegEvent]:
        """Refuse the INVITE; its owner is not told, because it is the one who refuses."""
        if self.state not in {State.OPENING, State.READY} or self.transaction is None or self.invite is None:
            return []
        self.state = State.TERMINATED
        response = self.invite.response(status, to_tag=self.local_tag, headers=headers)
        return [Respond(self.transaction, response)]

    def place(self, now: float) -> list[Effect | LegEvent]:
        """Send the INVITE of an outgoing leg."""
        if self.state is not State.READY or self.invite is None or self.transaction is not None:
            return []
        headers = self.invite.headers.copy()
        headers.set("Content-Type", SDP)
        self.invite = Request(self.invite.method, self.invite.uri, headers, self.negotiation.offer())
        self.state = State.CALLING
        self._ring_deadline = now + self._setup.ring_seconds
        return [SendRequest(f"{self.id}/invite/{self.invite.cseq.number}", self.invite, self.flow)]

    def hang_up(self, headers: Iterable[tuple[str, str]] = ()) -> list[Effect | LegEvent]:
        """End the leg in the way its state asks for; its owner is done with it at once."""
        if self.state in {State.LEAVING, State.TERMINATED}:
            return []
        before = self.state
        out: list[Effect | LegEvent] = []
        if before is State.CONFIRMED:
            out += self._bye(headers)
        elif before is State.ANSWERED:
            # RFC 3261 §15: "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK
            # for its 2xx response or until the server transaction times out."
            self.state = State.LEAVING
        elif before is State.CALLING:
            # The layer holds the CANCEL back until a provisional came (RFC 3261 §9.1).
            self.state = State.LEAVING
            out.append(SendCancel(self._invite_ref))
        else:
            out += self.reject(480, headers)
            self.state = State.TERMINATED
        gone = [LegGone(self.id)] if self.state is State.TERMINATED else []
        return [*out, ToMedia(CloseLeg(self.id)), LegEnded(self.id, "hung_up"), *gone]

    def probe(self, now: float) -> list[Effect | LegEvent]:
        """Ask the peer whether it lives, because its media stopped."""
        if self.state is not State.CONFIRMED or self._probe_deadline is not None or self.dialog is None:
            return []
        self._probe_deadline = now + PROBE_SECONDS
        return [self._request("probe", "OPTIONS", (("Accept", SDP),))]

    @property
    def live(self) -> bool:
        """Whether it needs its ports."""
        return self.state not in {State.LEAVING, State.TERMINATED}

    def alive(self) -> None:
        """Hear that media flows: what was missed before is forgotten."""
        self._missed = 0

    def text(self, text: str) -> list[Effect | LegEvent]:
        """Send a text in the dialog (RFC 3428) if the phone takes MESSAGE; nothing happens if it does not."""
        if self.state is not State.CONFIRMED or not self.takes_text:
            return []
        return [self._request("text", "MESSAGE", (), text.encode(), "text/plain;charset=UTF-8")]

    def want_picture(self) -> list[Effect | LegEvent]:
        """Ask for a key frame by INFO (RFC 5168), for phones that know no RTCP feedback."""
        if self.state is not State.CONFIRMED or not self._allows("INFO"):
            return []
        body = indialog.PICTURE_FAST_UPDATE
        return [self._request("picture", "INFO", (), body, "application/media_control+xml")]

    @property
    def takes_text(self) -> bool:
        """Whether the peer's Allow named MESSAGE."""
        return self._allows("MESSAGE")

    def _allows(self, method: str) -> bool:
        return method in self._allow

    # --- requests of the peer ---------------------------------------------------------------------------------

    def request(self, transaction: str, request: Request, flow: Flow, now: float) -> list[Effect | LegEvent]:
        """Take a request inside the dialog."""
        if self.dialog is None:
            return [Respond(transaction, request.response(481))]
        try:
            self.dialog.receive(request)
        except SipError as error:
            return [Respond(transaction, request.response(error.status))]
        self.flow = flow
        match request.method:
            case "BYE":
                return self._bye_received(transaction, request)
            case "INVITE":
                return self._reinvite(transaction, request, now)
            case "MESSAGE":
                return self._text_received(transaction, request)
            case "INFO":
                response, digit = indialog.info(request)
                events: list[Effect | LegEvent] = [] if digit is None else [LegDigit(self.id, digit)]
                return [Respond(transaction, response), *events]
        return [Respond(transaction, indialog.other(request))]

    def ack(self, request: Request, flow: Flow) -> list[Effect | LegEvent]:
        """Take the ACK of a 2xx."""
        unacked = self._unacked
        if unacked is None or request.cseq.number != unacked.cseq:
            return []
        self._unacked = None
        self.flow = flow
        out: list[Effect | LegEvent] = []
        if unacked.awaits_answer and self.state is not State.LEAVING:
            out += self._take_answer(request)
        if self.state is State.LEAVING:
            return [*out, *self._bye(())]
        if self.state is State.ANSWERED:
            self.state = State.CONFIRMED
            out.append(LegUp(self.id))
        return out

    def _take_answer(self, ack: Request) -> list[Effect | LegEvent]:
        try:
            self.negotiation.accept(find_part(ack, SDP) or b"")
        except SipError:
            # An ACK can't be refused; the leg stays without media, which the owner sees as media that never starts.
            return []
        return self._configure()

    def cancelled(self) -> list[Effect | LegEvent]:
        """Hear that the INVITE was cancelled before it was answered."""
        if self.state not in {State.OPENING, State.READY}:
            return []
        return [
            *self.reject(487),
            ToMedia(CloseLeg(self.id)),
            LegEnded(self.id, "cancelled", 487),
            LegGone(self.id),
        ]

    def _bye_received(self, transaction: str, request: Request) -> list[Effect | LegEvent]:
        out: list[Effect | LegEvent] = [Respond(transaction, request.response(200))]
        if self._waiting is not None:
            # RFC 3261 §15.1.2: pending requests of the dialog are answered 487.
            pending, reinvite = self._waiting
            self._waiting = None
            out.append(Respond(pending, reinvite.response(487)))
        return [*out, *self._end("bye")]

    def _text_received(self, transaction: str, request: Request) -> list[Effect | LegEvent]:
        response, text = indialog.message(request)
        events: list[Effect | LegEvent] = [] if text is None else [LegText(self.id, text)]
        return [Respond(transaction, response), *events]

    def _reinvite(self, transaction: str, request: Request, now: float) -> list[Effect | LegEvent]:
        if self._waiting is not None or self._unacked is not None:
            # RFC 3261 §14.2: "MUST return a 500 … Retry-After … between 0 and 10 seconds".
            return [Respond(transaction, request.response(500, headers=(("Retry-After", "1"),)))]
        try:
            wanted = self.negotiation.wanted(find_part(request, SDP))
        except SipError as error:
            return [Respond(transaction, request.response(error.status))]
        if self.negotiation.missing(wanted):
            self._waiting = (transaction, request)
            return [self._open(tuple(dict.fromkeys((*self.negotiation.open_media, *wanted))))]
        return self._answer_reinvite(transaction, request, now)

    def _answer_reinvite(self, transaction: str, request: Request, now: float) -> list[Effect | LegEvent]:
        body = find_part(request, SDP)
        try:
            sdp = self.negotiation.offer() if body is None else self.negotiation.answer(body)
        except SipError as error:
            return [Respond(transaction, request.response(error.status))]
        headers = (("Contact", str(self._contact)), *indialog.CAPABILITIES)
        response = request.response(200, headers=headers, body=sdp, content_type=SDP)
        self._unacked = Unacked.start(
            transaction, response, now, self._setup.timers, awaits_answer=body is None
        )
        out: list[Effect | LegEvent] = [] if body is None else self._configure()
        return [*out, Respond(transaction, response)]

    # --- answers of the peer ----------------------------------------------------------------------------------

    def response(self, ref: str, response: Response, flow: Flow) -> list[Effect | LegEvent]:
        """Take a response to a request of ours."""
        kind = ref.split("/")[1]
        if kind == "invite":
            return self._invite_answered(response, flow)
        if response.status < 200:
            return []
        if kind == "bye":
            return self._end("hung_up")
        if kind == "text":
            return [LegTextDelivered(self.id, delivered=response.status < 300)]
        if kind == "probe":
            self._probe_deadline = None
            self._missed = 0
            # RFC 3261 §12.2.1.2: on 481 or 408 "the UAC SHOULD terminate the dialog".
            return self._end("unreachable") if response.status in {481, 408} else []
        return []

    def failed(self, ref: str, why: str) -> list[Effect | LegEvent]:
        """Hear that a request of ours got no answer, or could not be sent."""
        kind = ref.split("/")[1]
        if kind == "bye":
            return self._end("hung_up")
        if kind == "text":
            return [LegTextDelivered(self.id, delivered=False)]
        if kind == "invite" and self.state in {State.CALLING, State.LEAVING}:
            return self._end("no_answer" if why == "timeout" else "unreachable")
        return self._probe_missed() if kind == "probe" else []

    def _probe_missed(self) -> list[Effect | LegEvent]:
        pending, self._probe_deadline = self._probe_deadline, None
        if pending is None or self.state is not State.CONFIRMED:
            return []
        self._missed += 1
        return self._end("unreachable") if self._missed >= self._patience else []

    def stray(self, response: Response, flow: Flow) -> list[Effect | LegEvent]:
        """Take a 2xx that no transaction wanted: a repeated one gets its ACK again."""
        return self._invite_answered(response, flow) if response.cseq.method == "INVITE" else []

    def _invite_answered(self, response: Response, flow: Flow) -> list[Effect | LegEvent]:
        if self.invite is None or self.transaction is not None:
            return []
        if response.status < 200:
            return []
        if response.status >= 300:
            waiting = self.state in {State.CALLING, State.LEAVING}
            return self._end("refused", response.status) if waiting else []
        dialog = Dialog.uac(self.invite, response)
        ack = SendAck(dialog.ack(self.invite.cseq.number), flow)
        if self.dialog is not None:
            if self.dialog.key == dialog.key:
                return [ack]
            # A second phone answered too (forking): it gets its ACK and a BYE (RFC 3261 §13.2.2.4).
            self._count += 1
            return [ack, SendRequest(f"{self.id}/fork/{self._count}", dialog.request("BYE"), flow)]
        self.dialog = dialog
        self.flow = flow
        self._allow = _methods(response)
        if self.state is State.LEAVING:
            return [ack, *self._bye(())]
        self.state = State.CONFIRMED
        self._ring_deadline = None
        try:
            self.negotiation.accept(response.body)
        except SipError as error:
            end = self._bye((("Reason", f'SIP;cause={error.status};text="Unusable answer"'),))
            return [ack, *end, ToMedia(CloseLeg(self.id)), LegEnded(self.id, "refused", error.status)]
        return [ack, *self._configure(), LegUp(self.id)]

    # --- time -------------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        if self.state is State.TERMINATED:
            return None
        dues = [self._probe_deadline, self._ring_deadline]
        if self._unacked is not None:
            dues.append(self._unacked.next_due)
        return min((d for d in dues if d is not None), default=None)

    def expire(self, now: float) -> list[Effect | LegEvent]:
        """Do what is due."""
        out: list[Effect | LegEvent] = []
        if self._unacked is not None:
            out += self._expire_unacked(self._unacked, now)
        if self._ring_deadline is not None and now >= self._ring_deadline:
            self._ring_deadline = None
            if self.state is State.CALLING:
                self.state = State.LEAVING
                out += [
                    SendCancel(self._invite_ref),
                    ToMedia(CloseLeg(self.id)),
                    LegEnded(self.id, "no_answer"),
                ]
        if self._probe_deadline is not None and now >= self._probe_deadline:
            out += self._probe_missed()
        return out

    def _expire_unacked(self, unacked: Unacked, now: float) -> list[Effect | LegEvent]:
        if now >= unacked.deadline:
            self._unacked = None
            if self.state is State.LEAVING:
                return self._bye(())
            if self.state is State.ANSWERED:
                # RFC 3261 §13.3.1.4: "the dialog is confirmed, but the session SHOULD be terminated … with a BYE".
                return [*self._bye(()), ToMedia(CloseLeg(self.id)), LegEnded(self.id, "no_ack")]
            return []  # a re-INVITE whose ACK never came: the call was fine before, it stays
        if unacked.repeat(now, self._setup.timers):
            return [Respond(unacked.transaction, unacked.response)]
        return []

    # --- small pieces -----------------------------------------------------------------------------------------

    @property
    def _invite_ref(self) -> str:
        assert self.invite is not None, "an outgoing leg has its INVITE"
        return f"{self.id}/invite/{self.invite.cseq.number}"

    def _request(
        self,
        kind: str,
        method: str,
        headers: Iterable[tuple[str, str]],
        body: bytes = b"",
        content_type: str | None = None,
    ) -> SendRequest:
        assert self.dialog is not None, "requests go inside the dialog"
        request = self.dialog.request(method, headers=headers, body=body, content_type=content_type)
        return SendRequest(f"{self.id}/{kind}/{request.cseq.number}", request, self.flow)

    def _bye(self, headers: Iterable[tuple[str, str]]) -> list[Effect | LegEvent]:
        self.state = State.LEAVING
        return [self._request("bye", "BYE", headers)]

    def _end(self, cause: str, status: int | None = None) -> list[Effect | LegEvent]:
        if self.state is State.TERMINATED:
            return []
        told = self.state is State.LEAVING
        self.state = State.TERMINATED
        if told:
            return [LegGone(self.id)]
        return [ToMedia(CloseLeg(self.id)), LegEnded(self.id, cause, status), LegGone(self.id)]

    def _configure(self) -> list[Effect | LegEvent]:
        streams = self.negotiation.streams
        sources = self.negotiation.sources(self.flow.remote[0])
        return [
            ToMedia(ConfigureLeg(self.id, streams, sources)),
            LegNegotiated(self.id, held=self.negotiation.held),
        ]

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        waiting = self._waiting
        return {
            "leg": self.id,
            "flow": self.flow.snapshot(),
            "state": str(self.state),
            "negotiation": self.negotiation.snapshot(),
            "dialog": None if self.dialog is None else self.dialog.snapshot(),
            "invite": None if self.invite is None else _pack(self.invite),
            "contact": str(self._contact),
            "local_tag": self.local_tag,
            "transaction": self.transaction,
            "unacked": None if self._unacked is None else self._unacked.snapshot(),
            "waiting": None if waiting is None else [waiting[0], _pack(waiting[1])],
            "count": self._count,
            "probe_deadline": self._probe_deadline,
            "ring_deadline": self._ring_deadline,
            "evidence": self._evidence,
            "allow": sorted(self._allow),
            "patience": self._patience,
            "missed": self._missed,
            "asked": list(self.asked),
        }

    @classmethod
    def restore(cls, data: dict[str, Any], setup: LegSetup) -> Self:
        """Make the leg that `snapshot` described."""
        negotiation = Negotiation.restore(data["negotiation"], setup.capabilities)
        contact = parse_name_addr(data["contact"])
        flow, tag = restore_flow(data["flow"]), data["local_tag"]
        self = cls(data["leg"], flow, contact=contact, local_tag=tag, negotiation=negotiation, setup=setup)
        self.state = State(data["state"])
        self.dialog = None if data["dialog"] is None else Dialog.restore(data["dialog"])
        self.invite = None if data["invite"] is None else _unpack(data["invite"])
        self.transaction = data["transaction"]
        self._unacked = None if data["unacked"] is None else Unacked.restore(data["unacked"])
        self._waiting = (
            None if data["waiting"] is None else (data["waiting"][0], _unpack(data["waiting"][1]))
        )
        self._count = data["count"]
        self._probe_deadline = data["probe_deadline"]
        self._ring_deadline = data["ring_deadline"]
        self._evidence = data["evidence"]
        self._allow = frozenset(data["allow"])
        self._patience = data["patience"]
        self._missed = data["missed"]
        self.asked = tuple(data["asked"])
        return self


def _methods(message: Request | Response) -> frozenset[str]:
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
