"""Phones in one thread, whose SIP and RTP live where the test says: other addresses, other ports, other namespaces.

They speak SIP over UDP from texts of their own and send marked sound every 20 ms while a call is up.
"""

import secrets
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.live.kit import wire
from tests.live.kit.namespaces import Namespace
from tests.live.kit.wire import Message

Address = tuple[str, int]
FRAME = 0.02


class Pump:
    """Serves all phones while the test waits for something."""

    def __init__(self) -> None:
        self.readers = selectors.DefaultSelector()
        self.phones: list[Phone] = []
        self.failures: list[str] = []

    def add(self, sock: socket.socket, take: Callable[[bytes, Address], None]) -> None:
        self.readers.register(sock, selectors.EVENT_READ, take)

    def until(self, found: Callable[[], object], complaint: str, timeout: float = 20.0) -> float:
        """Let time pass until something is true; the seconds it took. Raises AssertionError."""
        began = time.monotonic()
        while not found():
            assert time.monotonic() - began < timeout, f"{complaint} after {timeout:g} s"
            self.turn()
        return time.monotonic() - began

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()

    def turn(self) -> None:
        for key, _ in self.readers.select(0.004):
            assert isinstance(key.fileobj, socket.socket)
            for _ in range(64):
                try:
                    data, source = key.fileobj.recvfrom(65535)
                except OSError:
                    break
                key.data(data, source)
        now = time.monotonic()
        for phone in self.phones:
            phone.tick(now)


@dataclass
class Phone:
    """One phone with one call. `media`: where its RTP leaves from, `told`: where its SDP says it is."""

    pump: Pump
    net: Namespace
    user: str
    mark: int
    exchange: Address
    host: str
    media: str = ""
    told: Address | None = None
    key: bytes = b""
    seal: Callable[[bytes], bytes] | None = None
    """Encrypts what is sent; `key` stands in the SDP then."""
    open: Callable[[bytes], bytes] | None = None
    heard: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    invites: int = 0
    """INVITEs that came."""
    sent: int = 0
    speaking: bool = True
    up: bool = False
    up_at: float = 0.0
    """Wall clock."""
    rate: int = 1
    """Packets each 20 ms."""
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    first: int = field(default_factory=lambda: secrets.randbits(16))

    def __post_init__(self) -> None:
        self.sip = self.net.udp(self.host)
        self.pump.add(self.sip, self._take_sip)
        self.rtp = self._bind(self.media or self.host)
        self.call_id, self.tag = secrets.token_hex(12), secrets.token_hex(6)
        self.uri, self.to, self.number = "", "", 0
        self.port = 0
        self.direction, self.version = "sendrecv", 1
        self.answers: list[Message] = []
        self._pending: dict[str, tuple[bytes, float]] = {}
        self._due, self._again = 0.0, float("inf")
        self.pump.phones.append(self)

    def _bind(self, host: str) -> socket.socket:
        made = self.net.udp(host)
        self.pump.add(made, self._take_rtp)
        return made

    def rebind(self, host: str | None = None) -> None:
        """Let the RTP leave by another port, or another address."""
        before = self.rtp
        self.rtp = self._bind(host or str(before.getsockname()[0]))
        self.pump.readers.unregister(before)
        before.close()

    # --- SIP ---

    def sdp(self) -> str:
        host, port = self.told or self.rtp.getsockname()
        text = wire.offer(audio=port, video=None, direction=self.direction, version=self.version)
        text = text.replace("IN IP4 127.0.0.1", f"IN IP4 {host}")
        if self.key:
            import base64

            line = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(self.key).decode()}\r\n"
            text = text.replace("RTP/AVP", "RTP/SAVP") + line
        return text

    def answer_to(self, offer: str) -> str:
        """The description that answers an offer: sound alone."""
        return self.sdp() + "m=video 0 RTP/AVP 96\r\n" * offer.count("m=video ")

    def ask(self, method: str, *headers: str, body: str = "", number: int | None = None) -> None:
        if number is None:
            self.number += 1
            number = self.number
        host, port = self.sip.getsockname()
        lines = [
            f"{method} {self.uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(8)};rport",
            "Max-Forwards: 70",
            f"From: <sip:{self.user}@at110>;tag={self.tag}",
            f"To: {self.to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:{self.user}@{host}:{port}>",
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        data = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
        if method != "ACK":
            self._pending[f"{number} {method}"] = (data, time.monotonic() + 0.5)
        self.sip.sendto(data, self.exchange)

    def invite(self, target: str = "110") -> None:
        self.uri = f"sip:{target}@{self.exchange[0]}:{self.exchange[1]}"
        self.to = f"<{self.uri}>"
        self.ask("INVITE", body=self.sdp())

    def reinvite(self, direction: str = "sendrecv") -> None:
        self.direction, self.version = direction, self.version + 1
        self.ask("INVITE", body=self.sdp())

    def register(self, password: str) -> None:
        """Register with digest, and wait for it."""
        call_id, self.call_id = self.call_id, secrets.token_hex(8)
        self.uri, self.to = "sip:at110", f"<sip:{self.user}@at110>"
        self.ask("REGISTER", "Expires: 300")
        self.pump.until(self.answered, f"{self.user}: no challenge")
        value = wire.digest(
            self.answers[-1].all("www-authenticate"), user=self.user, password=password, method="REGISTER",
            uri=self.uri, algorithm="SHA-256",
        )  # fmt: skip
        self.ask("REGISTER", "Expires: 300", f"Authorization: {value}")
        self.pump.until(self.answered, f"{self.user}: not registered")
        assert self.answers[-1].status == 200, self.answers[-1].start
        self.call_id = call_id

    def answered(self) -> bool:
        """Whether the newest request has its final answer."""
        return any(answer.sequence == self.number for answer in self.answers)

    def _take_sip(self, data: bytes, _source: Address) -> None:
        message = wire.parse(data)
        if message is None:
            return
        if message.status:
            self._take_answer(message)
        elif message.method != "ACK":
            self._answer(message)

    def _take_answer(self, message: Message) -> None:
        if message.status < 200:
            return
        if (
            self._pending.pop(f"{message.sequence} {message.method}", None) is None
            and message.method != "INVITE"
        ):
            return
        self.answers.append(message)
        if message.method == "INVITE" and message.status == 200:
            self.to, self.uri = message.get("to"), message.contact
            self.port = wire.media_port(message.body)
            if not self.up:
                self.up, self.up_at = True, time.time()
            self.ask("ACK", number=message.sequence)
        elif message.method == "INVITE" and self.up and message.sequence == self.number:
            self._again = time.monotonic() + 0.7  # it crossed one of the exchange's (RFC 3261 §14.1)

    def refuse(self, request: Message, status: str) -> None:
        """Answer a request with nothing but a status."""
        lines = [f"SIP/2.0 {status}", *(f"Via: {via}" for via in request.all("via"))]
        lines += [f"{name}: {request.get(name.lower())}" for name in ("From", "To", "Call-ID", "CSeq")]
        self.sip.sendto(("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode(), self.exchange)

    def _answer(self, request: Message) -> None:
        body = ""
        if request.method == "MESSAGE":
            self.texts.append(request.body)
        elif request.method == "BYE":
            self.up = False
        elif request.method == "INVITE":
            self.invites += 1
            self.port = wire.media_port(request.body) or self.port
            self.up, self.up_at = True, self.up_at or time.time()
            body = self.answer_to(request.body)
        host, port = self.sip.getsockname()
        to = request.get("to") if request.tag_to else f"{request.get('to')};tag={self.tag}"
        lines = ["SIP/2.0 200 OK", *(f"Via: {via}" for via in request.all("via"))]
        lines += [f"From: {request.get('from')}", f"To: {to}", f"Call-ID: {request.get('call-id')}"]
        lines += [f"CSeq: {request.get('cseq')}", f"Contact: <sip:{self.user}@{host}:{port}>"]
        lines += ["Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO"]
        lines += ["Content-Type: application/sdp"] if body else []
        lines += [f"Content-Length: {len(body)}"]
        self.sip.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self.exchange)

    # --- sound ---

    def _take_rtp(self, data: bytes, _source: Address) -> None:
        if len(data) > 12 and not 192 <= data[1] <= 223:
            self.heard.append(data if self.open is None else self.open(data))

    def numbers(self, mark: int) -> list[int]:
        """The numbers of the packets of somebody that were heard, in the order they came."""
        owners = (wire.owner(data[12:]) for data in self.heard)
        return [owner[1] for owner in owners if owner is not None and owner[0] == mark]

    @property
    def sequence(self) -> int:
        """Of the packet sent last."""
        return self.first + self.sent - 1 & 0xFFFF

    def tick(self, now: float) -> None:
        """Say what is due, and repeat what has no answer."""
        for key, (data, again) in list(self._pending.items()):
            if now >= again:
                self._pending[key] = (data, now + 0.5)
                self.sip.sendto(data, self.exchange)
        if now >= self._again:
            self._again = float("inf")
            self.ask("INVITE", body=self.sdp())
        if now < self._due:
            return
        self._due = self._due + FRAME if now - self._due < 1 else now + FRAME
        if self.up and self.speaking and self.port:
            for _ in range(self.rate):
                self.say()

    def say(self) -> None:
        number = self.sent
        head = bytes([0x80, 8]) + (self.first + number & 0xFFFF).to_bytes(2)
        head += (number * wire.FRAME & 0xFFFFFFFF).to_bytes(4) + self.ssrc.to_bytes(4)
        packet = head + wire.marked(self.mark, number)
        try:
            self.rtp.sendto(packet if self.seal is None else self.seal(packet), (self.exchange[0], self.port))
        except OSError:  # a full queue of the system
            return
        self.sent += 1

    def hang_up(self) -> None:
        if self.up:
            self.speaking = False
            self.ask("BYE")
            self.pump.until(self.answered, f"{self.user}: no answer to BYE")
            self.up = False
