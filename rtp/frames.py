"""Messages on the control socket: msgpack, each preceded by its length (4 bytes, big endian). Pure.

bytes ─▶ Frames.feed ─▶ [payload…] ─▶ decode_command | decode_event ─▶ struct
"""

import struct
from typing import Final

import msgspec

from rtp.control import Command, Event

MAX_FRAME: Final = 4 << 20
"""Bytes of one message. The longest is `Holdings` of 10,000 legs, about 1.5 MB; a longer one is a broken peer."""

_LENGTH: Final = struct.Struct("!I")
_ENCODER: Final = msgspec.msgpack.Encoder()
_COMMANDS: Final[msgspec.msgpack.Decoder[Command]] = msgspec.msgpack.Decoder(Command)
_EVENTS: Final[msgspec.msgpack.Decoder[Event]] = msgspec.msgpack.Decoder(Event)


class FrameError(ValueError):
    """The peer on the control socket does not speak this protocol: the connection is of no more use."""


def encode(message: Command | Event) -> bytes:
    """One message as it goes on the socket; FrameError when it is longer than MAX_FRAME."""
    return pack(_ENCODER.encode(message))


def pack(body: bytes) -> bytes:
    """One frame; FrameError when it is longer than MAX_FRAME."""
    size = len(body)
    if size > MAX_FRAME:
        raise FrameError(f"frame of {size} bytes")
    return _LENGTH.pack(size) + body


def decode_command(frame: bytes) -> Command:
    """Raise FrameError for bytes that are no command."""
    try:
        return _COMMANDS.decode(frame)
    except msgspec.MsgspecError as error:
        raise FrameError(f"no command: {error}") from error


def decode_event(frame: bytes) -> Event:
    """Raise FrameError for bytes that are no event."""
    try:
        return _EVENTS.decode(frame)
    except msgspec.MsgspecError as error:
        raise FrameError(f"no event: {error}") from error


class Frames:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived, give every frame that is now whole; FrameError for a length above MAX_FRAME."""
        self._buffer += data
        frames = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_FRAME:
                raise FrameError(f"frame of {length} bytes")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return frames
