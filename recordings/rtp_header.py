"""Read the header of an RTP packet (RFC 3550 §5.1), so that evidence needs no other package to be read.

 0                   1                   2                   3
|V=2|P|X|  CC   |M|     PT      |       sequence number         |
|                           timestamp                           |
|                             SSRC                              |
|                       CC × 32 bits of CSRC                    |
|       X: profile              |  length in 32-bit words       | extension …
"""

import struct
from dataclasses import dataclass
from typing import Final

_HEADER: Final = struct.Struct(">BBHII")


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """What a player needs of an RTP packet."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse_rtp(data: bytes) -> RtpPacket | None:
    """Read one packet; None if it is RTCP, STUN, DTLS or anything else that is no well-formed RTP."""
    if len(data) < 12:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    # RFC 5761 §4: on a shared port the second byte of RTCP is 192…223, which RTP payload types 64…95 give up.
    if first >> 6 != 2 or 192 <= second <= 223:
        return None
    start = 12 + 4 * (first & 15)
    if first & 0x10:
        if len(data) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    # §5.1: "The last octet of the padding contains a count of how many padding octets should be ignored,
    # including itself."
    padding = data[-1] if first & 0x20 else 0
    end = len(data) - padding
    if start > end or (first & 0x20 and not padding):
        return None
    return RtpPacket(second & 127, bool(second & 128), sequence, timestamp, ssrc, data[start:end])
