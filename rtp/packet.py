"""One RTP packet (RFC 3550 §5.1). Pure.

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|V=2|P|X|  CC   |M|     PT      |       sequence number         |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                           timestamp                           |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|           synchronization source (SSRC) identifier            |
+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+
|            contributing source (CSRC) identifiers, 0…15       |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""

import struct
from dataclasses import dataclass
from typing import Final

VERSION: Final = 2
HEADER_SIZE: Final = 12
MARKER: Final = 0x80
"""The marker bit in the second byte."""
HEADER: Final = struct.Struct("!BBHII")
"""First byte, marker and payload type, sequence number, timestamp, SSRC."""
HEADS: Final = struct.Struct("!HHII")
"""The same with its first two bytes as one number, its head: version to CSRC count, marker and payload type."""
FIELDS: Final = struct.Struct("!2xHII")
"""Sequence number, timestamp, SSRC."""

RTCP_TYPES: Final = range(192, 224)
"""Second bytes that mean RTCP (RFC 5761 §4): read as RTP they would be payload types 64…95 with the marker set."""


class PacketError(ValueError):
    """Bytes that are no RTP packet; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet in parts."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None
    """Profile-defined number and body, a multiple of 4 bytes."""

    def encode(self) -> bytes:
        """The packet as it goes on the wire, without padding. ValueError when the extension is no multiple of 4."""
        first = VERSION << 6 | (0x10 if self.extension else 0) | len(self.csrcs)
        second = self.payload_type | (MARKER if self.marker else 0)
        parts = [HEADER.pack(first, second, self.sequence, self.timestamp, self.ssrc)]
        parts += [csrc.to_bytes(4, "big") for csrc in self.csrcs]
        if self.extension is not None:
            profile, body = self.extension
            if len(body) % 4:
                raise ValueError(f"header extension of {len(body)} bytes")
            parts += [struct.pack("!HH", profile, len(body) // 4), body]
        return b"".join((*parts, self.payload))


def is_rtp(data: bytes) -> bool:
    """Whether bytes have the shape of an RTP packet: version 2, a whole header, and no RTCP type."""
    return len(data) >= HEADER_SIZE and data[0] >> 6 == VERSION and data[1] not in RTCP_TYPES


def payload_of(data: bytes) -> bytes:
    """The payload of a packet that `is_rtp`: without CSRCs, extension and padding. Raises PacketError."""
    start = HEADER_SIZE + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        if len(data) < start + 4:
            raise PacketError("header extension cut off")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data)
    if data[0] & 0x20:
        # RFC 3550 §5.1: "The last octet of the padding contains a count of how many padding octets should be
        # ignored, including itself."
        if not data[-1]:
            raise PacketError("padding of 0 bytes")
        end -= data[-1]
    if start > end:
        raise PacketError("header and padding longer than the packet")
    return data[start:end]


def parse(data: bytes) -> Packet:
    """Take a packet apart. Raises PacketError."""
    if len(data) < HEADER_SIZE or data[0] >> 6 != VERSION:
        raise PacketError("no RTP header")
    payload = payload_of(data)
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    count = first & 0x0F
    after = HEADER_SIZE + 4 * count
    extension = None
    if first & 0x10:
        profile, words = struct.unpack_from("!HH", data, after)
        extension = (profile, data[after + 4 : after + 4 + 4 * words])
    return Packet(
        payload_type=second & 0x7F,
        marker=bool(second & MARKER),
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=payload,
        csrcs=struct.unpack_from(f"!{count}I", data, HEADER_SIZE),
        extension=extension,
    )
