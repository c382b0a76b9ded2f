"""One party whose every message points elsewhere, by one of its fields (bar S9)."""

import secrets
import socket
from collections import Counter
from dataclasses import dataclass, field

from tests.live.kit import wire
from tests.live.kit.namespaces import Namespace
from tests.live.kit.wire import Message


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass
class Pointing:
    """One party whose every message points at `host`:`port` by one field; `number` names it."""

    number: int
    by: str
    host: str
    port: int
    stream: bool
    user: str
    own: str
    """Its own address."""
    tag: str = field(default_factory=lambda: secrets.token_hex(6))
    cseq: int = 0
    to: str = ""
    answers: list[Message] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    """What the exchange asked of it."""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes, by method."""
    came: Counter[str] = field(default_factory=Counter)
    """Bytes of answers."""
    rtp: int = 0

    def __post_init__(self) -> None:
        self.call_id = f"{self.number}-{secrets.token_hex(8)}"
        self.buffer = b""

    def begin(self, net: Namespace, server: tuple[str, int]) -> list[socket.socket]:
        """Open the sockets: SIP, then the one its description names unless that points elsewhere too."""
        self.server = server
        kind = socket.SOCK_STREAM if self.stream else socket.SOCK_DGRAM
        with net.inside():
            self.sip = socket.socket(socket.AF_INET, kind)
            self.sip.bind((self.own, 0))
            self.sip.connect(server)
            self.media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.media.bind((self.own, 0))
        for sock in (self.sip, self.media):
            sock.setblocking(False)
        return [self.sip, self.media]

    # --- what it says ----------------------------------------------------------------------------------------------

    def description(self) -> str:
        """SDP; `sdp` names the other place for all, `sdp-rtcp` for RTCP beside it, `sdp-own-rtcp` for RTCP alone."""
        own, port = self.media.getsockname()
        text = wire.offer(audio=port, video=None, direction="sendrecv", version=1)
        family = "IP6" if ":" in self.host else "IP4"
        there = f"IN {family} {self.host}"
        if self.by in {"sdp", "sdp-rtcp"}:
            text = text.replace("IN IP4 127.0.0.1", there).replace(
                f"m=audio {port} ", f"m=audio {self.port} "
            )
        if self.by != "sdp" and "rtcp" in self.by:
            text += f"a=rtcp:{self.port + 1} {there}\r\n"
        return text.replace("IN IP4 127.0.0.1", f"IN IP4 {own}") if self.by != "sdp" else text

    def lines(self) -> dict[str, str]:
        """Header lines, of which one points elsewhere."""
        own, port = self.sip.getsockname()[:2]
        place = f"{bracketed(self.host)}:{self.port}"
        protocol = "TCP" if self.stream else "UDP"
        branch = f"branch=z9hG4bK{secrets.token_hex(8)}"
        lines = {
            "Via": f"SIP/2.0/{protocol} {own}:{port};{branch};rport",
            "Contact": f"<sip:{self.user}@{own}:{port}>",
        }
        match self.by:
            case "via":
                lines["Via"] = f"SIP/2.0/{protocol} {place};{branch}"
            case "via-maddr":
                lines["Via"] += f";maddr={bracketed(self.host)}"
            case "via-received":
                lines["Via"] = (
                    f"SIP/2.0/{protocol} {own}:{port};{branch};received={bracketed(self.host)};rport={self.port}"
                )
            case "contact":
                lines["Contact"] = f"<sip:{self.user}@{place}>"
            case "contact-maddr":
                lines["Contact"] = f"<sip:{self.user}@{own}:{self.port};maddr={bracketed(self.host)}>"
            case "route":
                lines["Route"] = f"<sip:{place};lr>"
            case "route-maddr":
                lines["Route"] = f"<sip:{self.server[0]}:{self.port};maddr={bracketed(self.host)};lr>"
            case "record-route" | "path":
                lines[self.by.title()] = f"<sip:{place};lr>"
            case "replaces":
                lines["Replaces"] = f"x@{bracketed(self.host)};to-tag=1;from-tag=2"
            case "geolocation" | "refer-to" | "referred-by" | "call-info" | "alert-info" | "reply-to":
                lines[self.by.title()] = f"<sip:x@{place}>"
        return lines

    def ask(self, method: str, uri: str, *more: str, body: str = "", number: int | None = None) -> None:
        """Send a request; in its dialog once there is one."""
        if number is None:
            self.cseq += 1
        lines = self.lines()
        to = self.to or (f"<sip:{self.user}@at110>" if method == "REGISTER" else f"<{uri}>")
        if method == "REFER":
            lines.setdefault("Refer-To", f"<sip:x@{bracketed(self.host)}:{self.port}>")
        text = [
            f"{method} {uri} SIP/2.0",
            *(f"{name}: {value}" for name, value in lines.items()),
            "Max-Forwards: 70", f"From: <sip:{self.user}@at110>;tag={self.tag}", f"To: {to}",
            f"Call-ID: {self.call_id}", f"CSeq: {number or self.cseq} {method}", "Supported: path, replaces",
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO", *more,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]  # fmt: skip
        self._send(method, ("\r\n".join(text) + "\r\n\r\n" + body).encode())

    def _send(self, method: str, data: bytes) -> None:
        self.sent[method] += len(data)
        self.sip.send(data)

    # --- what it hears ---------------------------------------------------------------------------------------------

    def hear(self, sock: socket.socket) -> None:
        """Take what came on one of its sockets."""
        try:
            data = sock.recv(65535)
        except OSError:
            return
        if sock is self.media:
            self.rtp += 1
            return
        self.buffer = self.buffer + data if self.stream else data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            message = wire.parse(self.buffer[: end + 4])
            size = end + 4 + (int(message.get("content-length") or "0") if message else 0)
            if len(self.buffer) < size:
                return
            whole, self.buffer = wire.parse(self.buffer[:size]), self.buffer[size:]
            if whole is not None:
                self._take(whole, size)

    def _take(self, message: Message, size: int) -> None:
        if message.status:
            self.came[message.method] += size
        if not message.status:
            self.requests.append(message)
            if message.method != "ACK":
                self.respond(message)
        elif message.status >= 200:
            self.answers.append(message)
            if message.method == "INVITE":
                if message.status < 300:
                    self.to = message.get("to")
                self.ask("ACK", "sip:110@at110", number=message.sequence)

    def respond(self, request: Message) -> None:
        """Take what is asked of it; its answers point elsewhere too."""
        body = self.description() if request.method == "INVITE" else ""
        if request.method == "INVITE":
            body += "m=video 0 RTP/AVP 96\r\n" * request.body.count("m=video ")
        lines = self.lines()
        del lines["Via"]
        to = request.get("to") if request.tag_to else f"{request.get('to')};tag={self.tag}"
        text = ["SIP/2.0 200 OK", *(f"Via: {via}" for via in request.all("via"))]
        text += [f"From: {request.get('from')}", f"To: {to}", f"Call-ID: {request.get('call-id')}"]
        text += [f"CSeq: {request.get('cseq')}", *(f"{name}: {value}" for name, value in lines.items())]
        text += ["Content-Type: application/sdp"] if body else []
        text += [f"Content-Length: {len(body)}"]
        self._send(f"{request.method} answered", ("\r\n".join(text) + "\r\n\r\n" + body).encode())

    def last(self, method: str) -> Message | None:
        """The newest final answer to a method."""
        return next((answer for answer in reversed(self.answers) if answer.method == method), None)
