"""WebSocket frames as a server sees them (RFC 6455 §5), without a socket.

in → out: bytes → whole messages, pings, the close; messages → bytes. Small, so that every limit is ours: what a frame
says of its length is judged before its payload is waited for (bars S12).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
    |I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
    |N|V|V|V|       |S|             |   (if payload len==126/127)   |
    | |1|2|3|       |K|             |                               |
    +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +

Not done: extensions (none is ever agreed to, so a reserved bit is an error), and the client's side.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pbx.sip.parser import MAX_BODY, MAX_HEAD

MAX_MESSAGE: Final = MAX_HEAD + 4 + MAX_BODY
"""Bytes of a message: the longest head and body the parser takes."""

MAX_FRAGMENTS: Final = 256
"""Frames of one message; browsers cut at 128 KiB, nobody honest into crumbs."""

MAX_CONTROL: Final = 125
"""RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."""


class Opcode(IntEnum):
    """RFC 6455 §5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Close(IntEnum):
    """Why a connection is closed (RFC 6455 §7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    TOO_BIG = 1009


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message; `text`: it was sent as text and is valid UTF-8."""

    data: bytes
    text: bool


@dataclass(frozen=True, slots=True)
class WebPing:
    """The peer wants to know whether we live; answer with `frame(Opcode.PONG, data)`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Closing:
    """Nothing more is read. `reply`: the close frame to send."""

    code: int
    reply: bytes
    asked: bool = False
    """The peer wants it; otherwise it broke the protocol."""


Event = Message | WebPing | Closing


class FrameError(Exception):
    """The peer broke the protocol."""

    def __init__(self, code: Close) -> None:
        super().__init__(code.name)
        self.code = code


class FrameReader:
    """What one client sends."""

    __slots__ = ("_buffer", "_fragments", "_kind", "_length", "closed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fragments: list[bytes] = []
        self._length = 0  # of the fragments
        self._kind: Opcode | None = None  # of the unfinished message
        self.closed = False

    @property
    def unfinished(self) -> bool:
        """Whether a message, or a frame, has begun and is not whole."""
        return not self.closed and (bool(self._buffer) or self._kind is not None)

    def feed(self, data: bytes) -> list[Event]:
        """Take what arrived; a `Closing` is the last event ever."""
        events: list[Event] = []
        if self.closed:
            return events
        self._buffer += data
        try:
            while not self.closed and self._take(events):
                pass
        except FrameError as error:
            self._end(events, error.code)
        return events

    def _end(self, events: list[Event], code: int, *, asked: bool = False) -> None:
        self.closed = True
        self._buffer.clear()
        self._fragments.clear()
        events.append(Closing(code, frame(Opcode.CLOSE, struct.pack(">H", code)), asked))

    def _take(self, events: list[Event]) -> bool:
        """Take one frame. False: more bytes are needed."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        first, second = buffer[0], buffer[1]
        opcode = self._judge(first, second)
        size = second & 0x7F
        at = 2
        if size == 126:
            at, size = 4, int.from_bytes(buffer[2:4])
        elif size == 127:
            at, size = 10, int.from_bytes(buffer[2:10])
        if len(buffer) < at:
            return False
        if opcode < Opcode.CLOSE and self._length + size > MAX_MESSAGE:
            raise FrameError(Close.TOO_BIG)
        if len(buffer) < at + 4 + size:
            return False
        payload = _unmasked(bytes(buffer[at : at + 4]), bytes(buffer[at + 4 : at + 4 + size]))
        del buffer[: at + 4 + size]
        self._frame(opcode, payload, events, final=bool(first & 0x80))
        return True

    def _judge(self, first: int, second: int) -> Opcode:
        """Judge the first two bytes of a frame. Raises FrameError."""
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise FrameError(Close.PROTOCOL_ERROR) from None
        # §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
        masked = bool(second & 0x80)
        control = opcode >= Opcode.CLOSE
        if first & 0x70 or not masked or (control and (not first & 0x80 or second & 0x7F > MAX_CONTROL)):
            raise FrameError(Close.PROTOCOL_ERROR)
        # §5.4: a message's first frame has its opcode, all others have 0.
        if not control and (opcode is Opcode.CONTINUATION) != (self._kind is not None):
            raise FrameError(Close.PROTOCOL_ERROR)
        return opcode

    def _frame(self, opcode: Opcode, payload: bytes, events: list[Event], *, final: bool) -> None:
        match opcode:
            case Opcode.PING:
                events.append(WebPing(payload))
            case Opcode.PONG:
                pass  # an answer, or §5.5.3's unsolicited one: it has shown life by arriving
            case Opcode.CLOSE:
                code = int.from_bytes(payload[:2]) if len(payload) >= 2 else Close.NORMAL
                good = _may_be_sent(code)
                self._end(events, code if good else Close.PROTOCOL_ERROR, asked=good)
            case _:
                if opcode is not Opcode.CONTINUATION:
                    self._kind = opcode
                self._fragments.append(payload)
                self._length += len(payload)
                if final:
                    events.append(self._whole())
                elif len(self._fragments) >= MAX_FRAGMENTS:
                    raise FrameError(Close.TOO_BIG)

    def _whole(self) -> Message:
        data = b"".join(self._fragments)
        text = self._kind is Opcode.TEXT
        self._fragments.clear()
        self._length, self._kind = 0, None
        if text:
            try:
                data.decode("utf-8")
            except UnicodeDecodeError:
                # §8.1: "…that byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the
                # WebSocket Connection_."
                raise FrameError(Close.INVALID_TEXT) from None
        return Message(data, text)


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """Write one frame, unmasked as a server's are (§5.1)."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 127, size)
    return head + payload


def _unmasked(key: bytes, payload: bytes) -> bytes:
    # One operation on large numbers instead of one per byte.
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(size)


def _may_be_sent(code: int) -> bool:
    """Whether a close frame may carry `code` (§7.4)."""
    return 1000 <= code <= 4999 and code not in (1004, 1005, 1006, 1015) and not 1016 <= code <= 2999
