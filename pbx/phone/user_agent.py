"""A scripted phone's SIP: registering, one call at a time, and polite answers to all that may be asked inside it.

Its owner gives it the media's offers and answers and hears what happened; sockets and transactions are `signalling`'s.
"""

import asyncio
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import structs

from pbx.phone.signalling import NoAnswerError, OnProvisional, Signalling
from pbx.sip.body import find_part
from pbx.sip.dialog import Dialog, request_key
from pbx.sip.digest import authorize, choose_challenge
from pbx.sip.errors import SipError
from pbx.sip.message import Request, Response
from pbx.sip.timers import Timers
from pbx.sip.uri import NameAddr, Uri, parse_uri
from pbx.tasks import Tasks

SDP: Final = "application/sdp"
ALLOW: Final = ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE")
EXPIRES: Final = 300  # seconds; short, so that an exchange forgets a phone that was killed
MAX_TEXT: Final = 64 * 1024  # characters of a message that are kept
TIMERS: Final = Timers()
_FAST_UPDATE: Final = re.compile(rb"<(?:[A-Za-z0-9_.-]+:)?picture_fast_update\b")
_CHALLENGES: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str


class Owner(Protocol):
    """What the phone does besides SIP."""

    def offer(self) -> bytes:
        """Make an offer (SDP)."""

    def accept(self, answer: bytes) -> None:
        """Take the answer to it; raises SipError."""

    def answer(self, offer: bytes) -> bytes:
        """Answer an offer; raises SipError."""

    def take_call(self) -> bool:
        """Tell whether a call that comes in is answered."""

    def talking(self) -> None:
        """A call that came in was answered."""

    def text(self, text: str) -> None:
        """A message came."""

    def fast_update(self) -> None:
        """The peer wants a key frame."""

    def ended(self, by: str) -> None:
        """The call is over: `peer`, or `timeout` when our answer was never acknowledged."""


class UserAgent:
    """See the module."""

    def __init__(
        self,
        signalling: Callable[["UserAgent"], Signalling],
        server: Uri,
        account: Account | None,
        owner: Owner,
        tasks: Tasks,
    ) -> None:
        """`signalling` makes the rim for this agent; `server` is sip:HOST:PORT."""
        self._signalling = signalling(self)
        self._server = server
        self._account = account
        self._owner = owner
        self._tasks = tasks
        self._user = account.user if account else f"caller-{secrets.token_hex(4)}"
        self._dialog: Dialog | None = None
        self._ack_headers: tuple[tuple[str, str], ...] = ()
        self._unacked: dict[int, bool] = {}
        """CSeq of an INVITE we answered → whether its ACK will carry the answer to our offer."""
        self._register_call_id = secrets.token_hex(12)
        self._register_seq = 0
        self.registered = False
        self.call_id: str | None = None
        """Of the present call, or the last one."""

    @property
    def signalling(self) -> Signalling:
        return self._signalling

    @property
    def contact(self) -> NameAddr:
        """Where we are reached."""
        return NameAddr(None, Uri("sip", self._user, None, self._signalling.host, self._signalling.port))

    @property
    def address(self) -> NameAddr:
        """Our address-of-record."""
        return NameAddr(None, Uri("sip", self._user, None, self._server.host))

    @property
    def in_call(self) -> bool:
        return self._dialog is not None

    # --- registering ------------------------------------------------------------------------------------------------

    async def register(self, expires: int = EXPIRES) -> Response:
        """REGISTER, or with 0 unregister; the final response. Raises NoAnswerError."""
        self._register_seq += 1
        request = Request.build(
            "REGISTER",
            Uri("sip", None, None, self._server.host, self._server.port),
            from_=self.address.with_tag(secrets.token_hex(6)),
            to=self.address,
            call_id=self._register_call_id,
            cseq=self._register_seq,
            contact=self.contact,
            headers=(("Expires", str(expires)), ALLOW),
        )
        sent, response = await self._send(request)
        self._register_seq = sent.cseq.number
        self.registered = expires > 0 and response.status == 200
        return response

    async def stay_registered(self) -> None:
        """Refresh the registration at half of its time until cancelled."""
        while True:
            await asyncio.sleep(EXPIRES / 2)
            try:
                await self.register()
            except NoAnswerError:
                continue  # the exchange is away: the call, if any, shows it; try again in its turn

    # --- a call of ours ---------------------------------------------------------------------------------------------

    async def invite(
        self,
        target: Uri,
        body: bytes,
        content_type: str,
        *,
        ref: str,
        headers: tuple[tuple[str, str], ...] = (),
        on_provisional: OnProvisional | None = None,
    ) -> Response:
        """Call `target`; the final response. A 2xx is acknowledged and makes the call. Raises NoAnswerError, SipError.

        `ref` is for `cancel`. When the answer does not fit our offer the call is ended and SipError raised.
        """
        request = Request.build(
            "INVITE",
            target,
            from_=self.address.with_tag(secrets.token_hex(6)),
            to=NameAddr(None, target),
            call_id=f"{secrets.token_hex(12)}@{self._signalling.host}",
            cseq=1,
            contact=self.contact,
            headers=(ALLOW, ("Accept", SDP), ("User-Agent", "at110 scripted phone"), *headers),
            body=body,
            content_type=content_type,
        )
        self.call_id = request.call_id
        sent, response = await self._send(request, ref=ref, on_provisional=on_provisional)
        if not 200 <= response.status < 300:
            return response
        dialog = Dialog.uac(sent, response)
        credentials = tuple(
            (name, value) for _, name in _CHALLENGES.values() for value in sent.headers.lines(name)
        )
        self._signalling.ack(dialog.ack(sent.cseq.number, headers=credentials))
        self._dialog = dialog
        try:
            self._owner.accept(find_part(response, SDP) or b"")
        except SipError:
            await self.hang_up()
            raise
        return response

    def cancel(self, ref: str) -> None:
        """Give up the call that `invite` is making."""
        self._signalling.cancel(ref)

    async def hang_up(self) -> None:
        """BYE, if there is a call; its answer is waited for but not needed."""
        dialog, self._dialog = self._dialog, None
        if dialog is None:
            return
        try:
            await self._send(dialog.request("BYE"))
        except NoAnswerError:
            pass  # the peer is gone, which is what we wanted

    async def _send(
        self, request: Request, *, ref: str | None = None, on_provisional: OnProvisional | None = None
    ) -> tuple[Request, Response]:
        """Send, and once more with credentials when they are asked for: what was sent last, and its answer."""
        ref = ref or secrets.token_hex(6)
        response = await self._signalling.request(request, ref=ref, on_provisional=on_provisional)
        again = self._authorized(request, response)
        if again is None:
            return request, response
        return again, await self._signalling.request(again, ref=ref, on_provisional=on_provisional)

    def _authorized(self, request: Request, response: Response) -> Request | None:
        if response.status not in _CHALLENGES or self._account is None:
            return None
        asked, given = _CHALLENGES[response.status]
        challenge = choose_challenge(response.headers.all(asked))
        if challenge is None:
            return None
        value = authorize(
            challenge,
            user=self._account.user,
            password=self._account.password,
            method=request.method,
            uri=str(request.uri),
            cnonce=secrets.token_hex(8),
            nc=1,
            body=request.body,
        )
        again = request.copy()
        # RFC 3261 §22.2: the UAC "MUST increment the CSeq header field value as it would normally when sending an
        # updated request."
        number = request.cseq.number + 1
        again.headers.set("CSeq", f"{number} {request.method}")
        again.headers.set(given, value)
        if self._dialog is not None and self._dialog.call_id == request.call_id:
            self._dialog.local_seq = number
        return again

    # --- what is asked of us (`signalling.Peer`) --------------------------------------------------------------------

    def requested(self, transaction: str, request: Request) -> None:
        """Answer one request."""
        try:
            response = self._answer_to(transaction, request)
        except SipError as error:
            response = request.response(error.status, error.reason, to_tag=_tag(), headers=error.headers)
        if response is not None:
            self._signalling.respond(transaction, response)

    def _answer_to(self, transaction: str, request: Request) -> Response | None:
        if request.to.tag is not None:
            if self._dialog is None or request_key(request) != self._dialog.key:
                raise SipError(481)
            self._dialog.receive(request)
        match request.method:
            case "INVITE":
                return self._invited(transaction, request)
            case "BYE" if request.to.tag is not None:
                self._dialog = None
                # After the answer is on its way: the owner may stop the phone at once.
                asyncio.get_running_loop().call_soon(self._owner.ended, "peer")
            case "MESSAGE":
                self._owner.text(request.body.decode("utf-8", "replace")[:MAX_TEXT])
            case "INFO":
                if _FAST_UPDATE.search(request.body):
                    self._owner.fast_update()
            case "OPTIONS":
                return request.response(200, to_tag=_tag(), headers=(ALLOW, ("Accept", SDP)))
            case "BYE":
                raise SipError(481)
            case _:
                raise SipError(405, headers=(ALLOW,))
        return request.response(200, to_tag=_tag())

    def _invited(self, transaction: str, request: Request) -> Response | None:
        offer = find_part(request, SDP)
        if request.to.tag is None:
            if self._dialog is not None or not self._owner.take_call():
                raise SipError(486)
            dialog = Dialog.uas(request, local_tag=_tag(), contact=self.contact)
        else:
            assert self._dialog is not None, "looked up by the caller"
            dialog = self._dialog
        body = self._owner.offer() if offer is None else self._owner.answer(offer)
        response = request.response(
            200,
            to_tag=dialog.local_tag,
            headers=(("Contact", str(self.contact)), ALLOW),
            body=body,
            content_type=SDP,
        )
        if self._dialog is None:
            dialog.confirm()
            self._dialog = dialog
            self.call_id = dialog.call_id
            asyncio.get_running_loop().call_soon(self._owner.talking)
        self._unacked[request.cseq.number] = offer is None
        self._tasks.spawn(self._repeat(transaction, response), name="repeat")
        return response

    async def _repeat(self, transaction: str, response: Response) -> None:
        # RFC 3261 §13.3.1.4: the 2xx is passed "to the transport with an interval that starts at T1 seconds and doubles
        # for each retransmission until it reaches T2 seconds".
        number, interval, waited = response.cseq.number, TIMERS.t1, 0.0
        while waited < 64 * TIMERS.t1:
            await asyncio.sleep(interval)
            if number not in self._unacked or self._dialog is None:
                return
            self._signalling.respond(transaction, response)
            waited, interval = waited + interval, min(2 * interval, TIMERS.t2)
        self._unacked.pop(number, None)
        await self.hang_up()
        self._owner.ended("timeout")

    def acknowledged(self, request: Request) -> None:
        """Stop repeating the 2xx; an ACK may carry the answer to our offer."""
        if self._dialog is None or request_key(request) != self._dialog.key:
            return
        if self._unacked.pop(request.cseq.number, False):
            try:
                self._owner.accept(find_part(request, SDP) or b"")
            except SipError:
                return  # an answer that does not fit: media stay as they were


def _tag() -> str:
    return secrets.token_hex(6)


def dialled(text: str, server: Uri, *, silent: bool = False) -> Uri:
    """What a person types → Request-URI: a whole URI, or a number at the server. Raises SipError.

    `silent` asks for silent mode: 110 becomes 110-silent, any other target gets `;mode=silent`.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text) is None:
        text = f"sip:{text}@{server.host}" if "@" not in text else f"sip:{text}"
    uri = parse_uri(text)
    if not silent:
        return uri
    if uri.user == "110":
        return structs.replace(uri, user="110-silent")
    return uri.with_params(mode="silent")
