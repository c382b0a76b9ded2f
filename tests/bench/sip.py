"""Lean phones: one UDP socket, messages from templates, times taken by the kernel. Thousands of calls cost one process little.

    Phones.invite ─▶ exchange ─▶ Phones.pump: each message ─▶ its Line (a call) ─▶ ACK, 200 to whatever is asked of us

They do not retransmit by themselves: what is lost shows as a call that was not answered. Who wants phones that do calls `again`.
"""

import re
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pbx.sip.digest import authorize, choose_challenge

Address = tuple[str, int]

SO_TIMESTAMPNS: Final = 35
"""Linux's number (asm-generic/socket.h); the socket module names it only from Python 3.14 on."""
_TIME: Final = struct.Struct("@qq")
_CALL_ID: Final = re.compile(rb"\r\nCall-ID: *([^\r\n]+)", re.IGNORECASE)
_CSEQ: Final = re.compile(rb"\r\nCSeq: *([0-9]{1,10}) ([A-Z]+)")
_TO: Final = re.compile(rb"\r\nTo: *([^\r\n]+)")
_CONTACT: Final = re.compile(rb"\r\nContact: *<([^>\r\n]+)>")
_AUDIO: Final = re.compile(rb"\r\nm=audio ([0-9]{1,5}) ")
_EVIDENCE: Final = re.compile(rb"\r\nX-At110-Evidence: *([^\r\n]+)")
_CHALLENGE: Final = re.compile(rb"\r\nWWW-Authenticate: *([^\r\n]+)")
_COPIED: Final = re.compile(rb"^(?:Via|From|To|Call-ID|CSeq):[^\r\n]*\r\n", re.MULTILINE | re.IGNORECASE)

_INVITE: Final = (
    "INVITE sip:{user}@{host}:{port} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {here}:{this};branch=z9hG4bK{branch};rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:{who}@{here}:{this}>;tag={tag}\r\n"
    "To: <sip:{user}@{host}:{port}>\r\n"
    "Call-ID: {call_id}\r\n"
    "CSeq: {cseq} INVITE\r\n"
    "Contact: <sip:{who}@{here}:{this}>\r\n"
    "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE\r\n"
    "{extra}"
    "Content-Type: application/sdp\r\n"
    "Content-Length: {length}\r\n\r\n{sdp}"
)
_SDP: Final = (
    "v=0\r\no=phone 1 1 IN IP4 {here}\r\ns=-\r\nc=IN IP4 {here}\r\nt=0 0\r\n"
    "m=audio {media} RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-15\r\na=rtcp:{media}\r\na=sendrecv\r\n"
)
_IN_DIALOG: Final = (
    "{method} {target} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {here}:{this};branch=z9hG4bK{branch};rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:{who}@{here}:{this}>;tag={tag}\r\n"
    "To: {to}\r\n"
    "Call-ID: {call_id}\r\n"
    "CSeq: {cseq} {method}\r\n"
    "Content-Length: 0\r\n\r\n"
)


@dataclass(slots=True)
class Line:
    """One call of one of our phones. Times are wall clock, ns; 0: has not happened."""

    who: str
    user: str
    """Whom it calls: `110`, `*10`."""
    media: int
    """Our RTP port."""
    call_id: str
    password: str | None = None
    cseq: int = 1
    to: str = ""
    target: str = ""
    remote_media: int = 0
    invited: int = 0
    repeated: int = 0
    """How often its INVITE was sent again."""
    cancelled: int = 0
    first: int = 0
    """The first answer of any kind."""
    answered: int = 0
    bye_sent: int = 0
    ended: int = 0
    refused: int = 0
    """The status of a final refusal."""
    evidence: str = ""
    """Name of the call's evidence folder, as the answer told it."""
    asked: list[str] = field(default_factory=list)
    """Methods of the requests the exchange sent in the dialog."""


class Phones:
    """All phones of one load, behind one socket."""

    def __init__(self, exchange: Address, *, label: str) -> None:
        """`label` makes Call-IDs of this load its own."""
        self._exchange = exchange
        self._label = label
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.connect(exchange)
        self._socket.setblocking(False)
        self._here, self._port = self._socket.getsockname()
        self._poll = select.epoll()
        self._poll.register(self._socket.fileno(), select.EPOLLIN)
        self._made = 0
        self.lines: dict[str, Line] = {}
        self.on_answer: Callable[[Line], None] = _nothing
        """Called when a call was answered and the ACK has left."""
        self.on_end: Callable[[Line], None] = _nothing
        """Called when our BYE was answered, or the exchange hung up."""

    def close(self) -> None:
        """Give the socket back."""
        self._poll.close()
        self._socket.close()

    # --- out ------------------------------------------------------------------------------------------------------

    def invite(self, who: str, user: str, media: int, *, password: str | None = None) -> Line:
        """Call `user` with sound at our port `media`; with a password a challenge is answered."""
        self._made += 1
        line = Line(who, user, media, f"{self._label}-{self._made}", password)
        self.lines[line.call_id] = line
        self._send_invite(line, "")
        return line

    def bye(self, line: Line) -> None:
        """Hang up."""
        line.cseq += 1
        data = self._in_dialog(line, "BYE", line.cseq, "b")
        line.bye_sent = time.time_ns()
        self._put(data)

    def again(self, line: Line) -> None:
        """Send an INVITE again, as it was."""
        invited = line.invited
        self._send_invite(line, "")
        line.invited, line.repeated = invited, line.repeated + 1

    def cancel(self, line: Line) -> None:
        """Give up an INVITE (RFC 3261 §9.1): everything but the method is as it was there."""
        host, port = self._exchange
        line.target, line.to = f"sip:{line.user}@{host}:{port}", f"<sip:{line.user}@{host}:{port}>"
        line.cancelled = time.time_ns()
        self._put(self._in_dialog(line, "CANCEL", line.cseq, "i"))

    def _send_invite(self, line: Line, extra: str) -> None:
        sdp = _SDP.format(here=self._here, media=line.media)
        host, port = self._exchange
        data = _INVITE.format(
            user=line.user, host=host, port=port, here=self._here, this=self._port, who=line.who,
            branch=f"{line.call_id}i{line.cseq}", tag=f"t{line.call_id}", call_id=line.call_id, cseq=line.cseq,
            extra=extra, length=len(sdp), sdp=sdp,
        ).encode()  # fmt: skip
        line.invited = time.time_ns()
        self._put(data)

    def _in_dialog(self, line: Line, method: str, cseq: int, mark: str) -> bytes:
        return _IN_DIALOG.format(
            method=method, target=line.target, here=self._here, this=self._port, who=line.who,
            branch=f"{line.call_id}{mark}{cseq}", tag=f"t{line.call_id}", to=line.to, call_id=line.call_id, cseq=cseq,
        ).encode()  # fmt: skip

    def _put(self, data: bytes) -> None:
        while True:
            try:
                self._socket.send(data)
            except BlockingIOError:
                time.sleep(0.0005)  # the way to the exchange is full: a phone waits as well
            else:
                return

    # --- in -------------------------------------------------------------------------------------------------------

    def pump(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Serve messages until monotonic time `until`, or until `stop` says so after one: whether it did."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return False
            # epoll rounds up to whole ms: in the last one it is looked at without sleep.
            if not self._poll.poll(left if left > 0.001 else 0):
                continue
            for _ in range(64):
                try:
                    data, ancillary, _, _ = self._socket.recvmsg(65535, 64)
                except BlockingIOError:
                    break
                except ConnectionRefusedError:
                    continue
                seconds, nanoseconds = _TIME.unpack(ancillary[0][2])
                self._receive(data, seconds * 1_000_000_000 + nanoseconds)
            if stop is not None and stop():
                return True

    def _receive(self, data: bytes, at: int) -> None:
        found = _CALL_ID.search(data)
        line = self.lines.get(found[1].decode()) if found else None
        if line is None:
            return
        if data.startswith(b"SIP/2.0 "):
            self._response(line, data, at)
        elif not data.startswith(b"ACK "):
            self._request(line, data, at)

    def _response(self, line: Line, data: bytes, at: int) -> None:
        status = int(data[8:11])
        cseq = _CSEQ.search(data)
        if cseq is None:
            return
        if cseq[2] == b"BYE":
            if status >= 200 and not line.ended:
                line.ended = at
                self.on_end(line)
            return
        if cseq[2] == b"CANCEL":
            return
        line.first = line.first or at
        if status < 200:
            return
        to = _TO.search(data)
        line.to = to[1].decode() if to else ""
        number = int(cseq[1])
        if status >= 300:
            self._refused(line, data, status, number)
            return
        contact, audio = _CONTACT.search(data), _AUDIO.search(data)
        line.target = contact[1].decode() if contact else f"sip:{self._exchange[0]}:{self._exchange[1]}"
        line.remote_media = int(audio[1]) if audio else 0
        evidence = _EVIDENCE.search(data)
        line.evidence = evidence[1].decode() if evidence else ""
        self._put(self._in_dialog(line, "ACK", number, "k"))
        if not line.answered:
            line.answered = at
            self.on_answer(line)

    def _refused(self, line: Line, data: bytes, status: int, number: int) -> None:
        host, port = self._exchange
        target, line.target = line.target, f"sip:{line.user}@{host}:{port}"
        # RFC 3261 §17.1.1.3: the ACK of a refusal has the branch of its INVITE.
        self._put(self._in_dialog(line, "ACK", number, "i"))
        line.target = target
        challenge = choose_challenge([value.decode() for value in _CHALLENGE.findall(data)])
        if status == 401 and line.password is not None and challenge is not None and number == 1:
            line.cseq = 2
            value = authorize(
                challenge, user=line.who, password=line.password, method="INVITE",
                uri=f"sip:{line.user}@{host}:{port}", cnonce="110110110", nc=1,
            )  # fmt: skip
            self._send_invite(line, f"Authorization: {value}\r\n")
            return
        line.refused = status

    def forget(self, line: Line) -> None:
        """Hear nothing more of a call that is over."""
        self.lines.pop(line.call_id, None)

    def _request(self, line: Line, data: bytes, at: int) -> None:
        method = data[: data.index(b" ")].decode()
        line.asked.append(method)
        self._put(b"SIP/2.0 200 OK\r\n" + b"".join(_COPIED.findall(data)) + b"Content-Length: 0\r\n\r\n")
        if method == "BYE" and not line.ended:
            line.ended = at
            self.on_end(line)


def _nothing(_line: Line) -> None:
    return
