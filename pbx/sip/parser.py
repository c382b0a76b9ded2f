"""Bytes to messages: one datagram by `parse()`, a byte stream by `StreamFramer` (RFC 3261 §7, §18.3).

in → out: bytes → `Request` | `Response` | `ParseError` (which carries the answer to send, or none) | `Ping`. Here is decided what
is well-formed (RFC 3261 §7, §8.1.1, §8.2, §25; RFC 4475, RFC 5118). Whether a well-formed request can be served (405, 415, 416, 420,
481, 501 of an unknown method) is decided above.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

from pbx.sip import grammar
from pbx.sip.errors import SipError
from pbx.sip.headers import COMPACT, Headers
from pbx.sip.message import Request, Response
from pbx.sip.uri import Via, parse_uri, parse_via

MAX_START_LINE: Final = 8 * 1024
"""Characters of the start line (bars B7): RFC 3261 §8.1.1.1 knows no longer URI than a Replaces inside a Refer-To."""

MAX_HEAD: Final = 64 * 1024
"""Bytes of start line and headers (bars B7): what fits one UDP datagram, so UDP and TCP agree."""

MAX_BODY: Final = 64 * 1024
"""Bytes of the body (bars B7): an SDP is 2 KiB, a PIDF-LO with a polygon 8 KiB."""

MAX_VIAS: Final = 70
"""Via values (bars B7): RFC 3261 §8.1.1.6 starts Max-Forwards at 70, so no honest request has passed more hops."""

MAX_CONTACTS: Final = 10
"""Contact values of a request (bars B7): RFC 3261 §10 allows more, no phone has more."""

# A request with a method of these and another in CSeq is malformed (400); with any other method it is first of all unknown (501).
# fmt: off
KNOWN_METHODS: Final = frozenset({
    "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK",
    "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE",
})
# fmt: on

# RFC 3261 §7.3.1 with §20: these have one value; a second, different one is an attempt to be read two ways (RFC 4475 §3.3.8, §3.3.9).
_SINGLE: Final = {
    name.lower(): name
    for name in ("From", "To", "Call-ID", "CSeq", "Content-Length", "Max-Forwards", "Content-Type")
}
_STATUS_LINE: Final = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: ([^\r\n]*+))?", re.IGNORECASE | re.ASCII)
_VERSION: Final = re.compile(r"SIP/[0-9]++\.[0-9]++", re.IGNORECASE | re.ASCII)
_CALL_ID: Final = re.compile(r"[^\x00-\x20\x7f]++")
_TAGGED: Final = re.compile(r";[ \t]*+tag[ \t]*+=", re.IGNORECASE | re.ASCII)
_ECHOED: Final = frozenset({"via", "from", "to", "call-id", "cseq", "content-length"})


class ParseError(SipError):
    """A malformed message. `fatal`: the bytes after it can't be told from it, the stream must be closed."""

    def __init__(self, error: SipError, head: str, *, fatal: bool = False) -> None:
        super().__init__(error.status, error.reason)
        self.fatal = fatal
        start, _, fields = head.partition("\r\n")
        self.method = start.partition(" ")[0]
        """First word of the start line."""
        self._echo = _echo(fields)
        # RFC 3261 §8.2.7 wants a stateless answer to have the same To tag each time: it is made from the request.
        digest = hashlib.blake2s(head.encode("utf-8", "surrogateescape"), digest_size=6)
        self._tag = digest.hexdigest()

    @property
    def via(self) -> Via | None:
        """The topmost Via if it can be read: says where the answer goes (RFC 3261 §18.2.2). None: to the source."""
        lines = self._echo.get("via")
        try:
            return parse_via(grammar.split_list(lines[0])[0]) if lines else None
        except SipError:
            return None

    @property
    def response(self) -> bytes | None:
        """The stateless answer, made of what could be read; None: drop in silence (a response, an ACK, no Via)."""
        return self.answer()

    @property
    def mute(self) -> bool:
        """A request that can't be answered for want of a Via: on a stream, closing it is the answer."""
        return "via" not in self._echo and self.method != "ACK" and grammar.is_token(self.method)

    def answer(self, received: str | None = None, rport: int | None = None) -> bytes | None:
        """The answer with the source's address and port stamped into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4)."""
        vias = self._echo.get("via")
        if vias is None or self.method == "ACK" or not grammar.is_token(self.method):
            return None
        fields = [("Via", line) for line in vias]
        via = self.via
        if via is not None and received is not None:
            if via.wants_rport and rport is not None:
                via = via.with_param("rport", str(rport)).with_param("received", received)
            elif via.host != received:
                via = via.with_param("received", received)
            fields[0] = ("Via", ", ".join([str(via), *grammar.split_list(vias[0])[1:]]))
        for key, name in (("from", "From"), ("to", "To"), ("call-id", "Call-ID"), ("cseq", "CSeq")):
            for value in self._echo.get(key, ())[:1]:
                tagged = key != "to" or _TAGGED.search(value) is not None
                fields.append((name, value if tagged else f"{value};tag={self._tag}"))
        return Response(self.status, self.reason, Headers(fields)).encode()

    def body_length(self) -> int | None:
        """The Content-Length, when there is one clear value."""
        lines = self._echo.get("content-length", [])
        return grammar.number(lines[0]) if lines and lines.count(lines[0]) == len(lines) else None


def _echo(fields: str) -> dict[str, list[str]]:
    """What an answer needs of header lines that may be malformed: key → values, lines with a bare CR or LF left out."""
    found: dict[str, list[str]] = {}
    if "\r\n " in fields or "\r\n\t" in fields:
        fields = fields.replace("\r\n ", " ").replace("\r\n\t", " ")
    for line in fields.split("\r\n"):
        name, colon, value = line.partition(":")
        key = grammar.lower(name.rstrip(" \t"))
        key = COMPACT[key].lower() if key in COMPACT else key
        if colon and key in _ECHOED and "\r" not in value and "\n" not in value:
            lines = found.setdefault(key, [])
            if (
                len(lines) <= MAX_VIAS
            ):  # an answer never grows beyond what was sent: it must fit a datagram too
                lines.append(value.strip(" \t"))
    return found


def parse(data: bytes) -> Request | Response:
    """Read one datagram. Raises ParseError.

    RFC 3261 §7.5: "MUST ignore any CRLF appearing before the start-line"; §18.3: bytes beyond Content-Length are discarded, without
    Content-Length the body is the rest, and a datagram that ends before the body does is an error.
    """
    data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    if end < 0:
        raise ParseError(SipError(400, "Header section does not end"), _text(data))
    text = _text(data[:end])
    try:
        message = _read(text)
        length = _body_length(message.headers, len(data) - end - 4)
    except SipError as error:
        raise ParseError(error, text) from None
    message.body = data[end + 4 : end + 4 + length]
    return message


def _text(head: bytes) -> str:
    return head.decode("utf-8", "surrogateescape")


def _read(text: str) -> Request | Response:
    """Read start line and headers and judge them. Raises SipError."""
    if len(text) > MAX_HEAD:
        raise SipError(513)
    start, _, fields = text.partition("\r\n")
    if fields[:1] in (" ", "\t"):
        raise SipError(400, "Folded start line")
    message: Request | Response
    if start[:4].upper() == "SIP/":
        status_line = _STATUS_LINE.fullmatch(start)
        if status_line is None:
            raise SipError(400, "Malformed status line")
        message = Response(int(status_line[1]), status_line[2] or "", Headers.parse(fields))
        _judge(message)
        return message
    if len(start) > MAX_START_LINE:
        raise SipError(513, "Request line too long")
    words = start.rstrip(" ").split(" ")
    if len(words) != 3 or (words[0] not in KNOWN_METHODS and not grammar.is_token(words[0])):
        raise SipError(400, "Malformed request line")
    method, target, version = words
    if version != "SIP/2.0" and grammar.lower(version) != "sip/2.0":
        raise SipError(505 if _VERSION.fullmatch(version) else 400)
    uri = parse_uri(target)
    # RFC 3261 §19.1.1: embedded headers are not allowed in a Request-URI (RFC 4475 §3.1.2.11).
    if uri.headers:
        raise SipError(400, "Headers in Request-URI")
    message = Request(method, uri, Headers.parse(fields))
    via = _judge(message)
    if message.cseq.method != method:
        raise SipError(400, "CSeq method does not match") if method in KNOWN_METHODS else SipError(501)
    for _, value in via.params:
        if value is not None and len(value) in _BARE_BRANCH:
            _check_branch(via)
    if len(message.contacts) > MAX_CONTACTS:
        raise SipError(400, "Too many Contact values")
    return message


def _check_branch(via: Via) -> None:
    # RFC 3261 §8.1.1.7: the branch "MUST always begin with" z9hG4bK; alone it tells nobody apart (RFC 4475 §3.2.1).
    if (branch := via.branch) is not None and len(branch) == 7 and grammar.lower(branch) == "z9hg4bk":
        raise SipError(400, "Empty Via branch")


_BARE_BRANCH: Final = (7, 9)
"""Characters of a branch that is nothing but the magic cookie, without and with quotes."""


def _judge(message: Request | Response) -> Via:
    """Check what requests and responses share; the typed values read here stay cached. Returns the topmost Via. Raises
    SipError(400).
    """
    headers = message.headers
    fields, _ = headers.opened()
    if len(fields) < len(headers):
        for key, lines in fields.items():
            if len(lines) > 1 and key in _SINGLE and lines.count(lines[0]) != len(lines):
                raise SipError(400, f"More than one {_SINGLE[key]}")
    vias = message.read()
    if len(vias) > MAX_VIAS:
        raise SipError(400, "Too many Via values")
    if not vias:
        raise SipError(400, "Missing Via")
    call_id = fields.get("call-id")
    if call_id is None or not call_id[0]:
        raise SipError(400, "Missing Call-ID")
    if _CALL_ID.fullmatch(call_id[0]) is None:
        raise SipError(400, "Malformed Call-ID")
    return vias[0]


def _body_length(headers: Headers, available: int | None) -> int:
    """How long the body is; `available`: bytes behind the head of a datagram, None for a stream. Raises SipError(400, 413)."""
    text = headers.get("Content-Length")
    if text is not None:
        length = grammar.number(text)
        if length is None:
            raise SipError(400, "Malformed Content-Length")
    elif available is not None:
        length = available
    else:
        # RFC 3261 §20.14: "If a stream-based protocol (such as TCP) is used as transport, then the header field MUST be used."
        raise SipError(400, "Missing Content-Length")
    if available is not None and length > available:
        raise SipError(400, "Body shorter than Content-Length")
    if length > MAX_BODY:
        raise SipError(413)
    return length


@dataclass(frozen=True, slots=True)
class Ping:
    """A double CRLF between messages: answer with one CRLF (RFC 5626 §3.5.1, §4.4.1)."""


Item = Request | Response | ParseError | Ping


class StreamFramer:
    """Cuts one byte stream into messages (RFC 3261 §18.3). Once `fatal` is set, nothing more comes out: close the stream."""

    __slots__ = ("_buffer", "_message", "_need", "_scanned", "fatal")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # no end of headers begins before this index
        self._message: Request | Response | None = None  # its head is read, its body is coming
        self._need = 0  # bytes of body still to come, of `_message` or to be thrown away
        self.fatal = False

    @property
    def awaiting(self) -> Literal["nothing", "head", "body"]:
        """What an unfinished message lacks; "nothing" between messages (also within a keep-alive)."""
        if self._message is not None or self._need:
            return "body"
        return "head" if bytes(self._buffer[:3]) not in (b"", b"\r", b"\r\n", b"\r\n\r") else "nothing"

    @property
    def buffered(self) -> int:
        """Bytes held of an unfinished message."""
        return len(self._buffer) if self.awaiting != "nothing" else 0

    def feed(self, data: bytes) -> list[Item]:
        """Take what arrived; return what became whole, in order."""
        items: list[Item] = []
        if self.fatal:
            return items
        self._buffer += data
        while self._take_body(items) if self._need or self._message else self._take_head(items):
            pass
        return items

    def _take_body(self, items: list[Item]) -> bool:
        """Finish the message in hand, or throw away the body of a refused one. False: more bytes are needed."""
        if self._message is None:
            thrown = min(self._need, len(self._buffer))
            del self._buffer[:thrown]
            self._need -= thrown
            return self._need == 0
        if len(self._buffer) < self._need:
            return False
        self._message.body = bytes(self._buffer[: self._need])
        del self._buffer[: self._need]
        items.append(self._message)
        self._message, self._need = None, 0
        return True

    def _take_head(self, items: list[Item]) -> bool:
        """Take a keep-alive or the head of the next message. False: more bytes are needed."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n"):
            if buffer.startswith(b"\r\n\r\n"):
                items.append(Ping())
                del buffer[:4]
                return True
            if len(buffer) == 2 or (len(buffer) == 3 and buffer[2] == 13):
                return False  # perhaps the first half of a ping
            del buffer[:2]  # the answer to a ping of ours, or CRLF before a start-line (RFC 3261 §7.5)
            return True
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0 and len(buffer) <= MAX_HEAD:
            self._scanned = len(buffer)
            return False
        if end < 0 or end > MAX_HEAD:
            whole_lines = bytes(buffer[:MAX_HEAD]).rpartition(b"\r\n")[0]
            return self._refuse(ParseError(SipError(513), _text(whole_lines), fatal=True), items)
        text = _text(bytes(buffer[:end]))
        del buffer[: end + 4]
        self._scanned = 0
        try:
            message = _read(text)
        except SipError as error:
            refused = ParseError(error, text)
            length = refused.body_length()
            # One line alone is noise between messages, such as what a too small Content-Length left over (RFC 4475 §3.1.1.8).
            noise = "\r\n" not in text
            refused.fatal = not noise and (length is None or length > MAX_BODY or refused.mute)
            self._need = length or 0
            return self._refuse(refused, items)
        try:
            self._need = _body_length(message.headers, None)
        except SipError as error:
            return self._refuse(ParseError(error, text, fatal=True), items)
        self._message = message
        return True

    def _refuse(self, error: ParseError, items: list[Item]) -> bool:
        """Hand out the error; tell whether the stream can go on."""
        items.append(error)
        if error.fatal:
            self.fatal = True
            self._buffer.clear()
            self._need = 0
        return not error.fatal
