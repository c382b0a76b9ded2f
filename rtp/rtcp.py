"""RTCP packets (RFC 3550 §6, RFC 4585 §6, RFC 5104 §4.3.1): values ↔ bytes. Pure.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |V=2|P| RC/FMT  |      PT       |  length in words, less one    |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Not done: APP, XR and transport-wide feedback (read as `Other`).
"""

import struct
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

SR: Final = 200
RR: Final = 201
SDES: Final = 202
BYE: Final = 203
RTPFB: Final = 205
PSFB: Final = 206
NACK_FMT: Final = 1
PLI_FMT: Final = 1
FIR_FMT: Final = 4
CNAME: Final = 1

NTP_EPOCH: Final = 2_208_988_800
"""Seconds from 1900 to 1970."""

_HEADER: Final = struct.Struct("!BBH")
_BLOCK: Final = struct.Struct("!IIIIII")
_SENDER: Final = struct.Struct("!IQIII")


class RtcpError(ValueError):
    """Bytes that are no RTCP compound packet; the text says what is wrong."""


class ReportBlock(Struct, frozen=True, gc=False):
    """What a receiver says about one stream."""

    ssrc: int
    fraction_lost: int
    """Of 256, since the last report."""
    lost: int
    """Signed, 24 bits."""
    highest: int
    """Extended highest sequence number received."""
    jitter: int
    """Timestamp units."""
    last_sr: int
    """Middle 32 bits of the NTP time of the last sender report received, 0: none yet."""
    delay: int
    """Since then, in 1/65536 s."""


class SenderReport(Struct, frozen=True, gc=False):
    ssrc: int
    ntp: int
    """64 bits: seconds since 1900 and their fraction."""
    rtp: int
    """The RTP timestamp of the same moment."""
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


class ReceiverReport(Struct, frozen=True, gc=False):
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


class Description(Struct, frozen=True, gc=False):
    """SDES: (SSRC, CNAME) of each chunk; other items are left out."""

    chunks: tuple[tuple[int, str], ...]


class Bye(Struct, frozen=True, gc=False):
    ssrcs: tuple[int, ...]
    reason: str = ""


class PictureLoss(Struct, frozen=True, gc=False):
    """PLI: the receiver can't show the stream until a key frame comes."""

    sender: int
    media: int


class FullIntra(Struct, frozen=True, gc=False):
    """FIR: a key frame is wanted of each (SSRC, command number)."""

    sender: int
    entries: tuple[tuple[int, int], ...]


class Nack(Struct, frozen=True, gc=False):
    """Generic NACK: sequence numbers that are missing."""

    sender: int
    media: int
    sequences: tuple[int, ...]


class Other(Struct, frozen=True, gc=False):
    """A packet whose inside is not read here."""

    packet_type: int
    fmt: int


RtcpPacket = SenderReport | ReceiverReport | Description | Bye | PictureLoss | FullIntra | Nack | Other


def ntp_time(wall_ns: int) -> int:
    """Wall clock in ns since 1970 → NTP time, 64 bits."""
    seconds, fraction = divmod(wall_ns, 1_000_000_000)
    return ((seconds + NTP_EPOCH) << 32 | (fraction << 32) // 1_000_000_000) & 0xFFFF_FFFF_FFFF_FFFF


def ntp_middle(ntp: int) -> int:
    """The middle 32 bits: 1/65536 s, as `last_sr` holds it."""
    return ntp >> 16 & 0xFFFF_FFFF


def encode(packets: Iterable[RtcpPacket]) -> bytes:
    """One compound packet. RFC 3550 §6.1: it begins with a report and holds a CNAME; the caller sees to that."""
    return b"".join(map(_encode, packets))


def _packet(count: int, packet_type: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, packet_type, len(body) // 4) + body


def _blocks(blocks: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | block.lost & 0xFFFFFF,
            block.highest,
            block.jitter,
            block.last_sr,
            block.delay,
        )
        for block in blocks
    )


def _encode(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport(ssrc, ntp, rtp, packets, octets, blocks):
            sender = _SENDER.pack(ssrc, ntp, rtp, packets & 0xFFFF_FFFF, octets & 0xFFFF_FFFF)
            return _packet(len(blocks), SR, sender + _blocks(blocks))
        case ReceiverReport(ssrc, blocks):
            return _packet(len(blocks), RR, ssrc.to_bytes(4, "big") + _blocks(blocks))
        case Description(chunks):
            return _packet(len(chunks), SDES, b"".join(_chunk(ssrc, cname) for ssrc, cname in chunks))
        case Bye(ssrcs, reason):
            text = reason.encode()[:255]
            said = bytes((len(text),)) + text if text else b""
            body = b"".join(ssrc.to_bytes(4, "big") for ssrc in ssrcs) + said + b"\0" * (-len(said) % 4)
            return _packet(len(ssrcs), BYE, body)
        case PictureLoss(sender, media):
            return _packet(PLI_FMT, PSFB, struct.pack("!II", sender, media))
        case FullIntra(sender, entries):
            body = b"".join(struct.pack("!IBxxx", ssrc, number) for ssrc, number in entries)
            return _packet(FIR_FMT, PSFB, struct.pack("!II", sender, 0) + body)
        case Nack(sender, media, sequences):
            body = b"".join(struct.pack("!HH", sequence, 0) for sequence in sequences)
            return _packet(NACK_FMT, RTPFB, struct.pack("!II", sender, media) + body)
        case Other():
            raise ValueError("a packet that is not read here can't be made here")


def _chunk(ssrc: int, cname: str) -> bytes:
    text = cname.encode()[:255]
    item = ssrc.to_bytes(4, "big") + bytes((CNAME, len(text))) + text + b"\0"
    return item + b"\0" * (-len(item) % 4)


def parse(data: bytes) -> tuple[RtcpPacket, ...]:
    """Take a compound packet apart. Raises RtcpError when its frame is broken (RFC 3550 A.2)."""
    packets: list[RtcpPacket] = []
    start = 0
    while start < len(data):
        if len(data) - start < 4:
            raise RtcpError("header cut off")
        first, packet_type, words = _HEADER.unpack_from(data, start)
        end = start + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            raise RtcpError("no RTCP header" if first >> 6 != 2 else "packet cut off")
        body = data[start + 4 : end]
        if first & 0x20:
            if not body or not 0 < body[-1] <= len(body):
                raise RtcpError("padding longer than the packet")
            body = body[: -body[-1]]
        packets.append(_decode(first & 0x1F, packet_type, body))
        start = end
    if not packets:
        raise RtcpError("empty")
    return tuple(packets)


def _decode(count: int, packet_type: int, body: bytes) -> RtcpPacket:
    try:
        match packet_type:
            case 200:
                ssrc, ntp, rtp, packets, octets = _SENDER.unpack_from(body)
                return SenderReport(ssrc, ntp, rtp, packets, octets, _read_blocks(body, _SENDER.size, count))
            case 201:
                (ssrc,) = struct.unpack_from("!I", body)
                return ReceiverReport(ssrc, _read_blocks(body, 4, count))
            case 202:
                return Description(_read_chunks(body, count))
            case 203:
                ssrcs = struct.unpack_from(f"!{count}I", body)
                text = body[4 * count + 1 : 4 * count + 1 + body[4 * count]] if len(body) > 4 * count else b""
                return Bye(ssrcs, text.decode("utf-8", "replace"))
            case 205 if count == NACK_FMT:
                return _read_nack(body)
            case 206 if count == PLI_FMT:
                return PictureLoss(*struct.unpack_from("!II", body))
            case 206 if count == FIR_FMT:
                (sender,) = struct.unpack_from("!I", body)
                return FullIntra(sender, tuple(struct.iter_unpack("!IBxxx", body[8:])))
            case _:
                return Other(packet_type, count)
    except (struct.error, IndexError) as error:
        raise RtcpError(f"packet type {packet_type}: {error}") from error


def _read_blocks(body: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for index in range(count):
        ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, start + _BLOCK.size * index)
        lost = (loss & 0xFFFFFF) - (0x1000000 if loss & 0x800000 else 0)
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay))
    return tuple(blocks)


def _read_chunks(body: bytes, count: int) -> tuple[tuple[int, str], ...]:
    chunks = []
    at = 0
    for _ in range(count):
        (ssrc,) = struct.unpack_from("!I", body, at)
        at += 4
        cname = ""
        while body[at]:  # item type 0 ends the chunk
            text = body[at + 2 : at + 2 + body[at + 1]]
            if body[at] == CNAME:
                cname = text.decode("utf-8", "replace")
            at += 2 + body[at + 1]
        at = (at + 4) & ~3
        chunks.append((ssrc, cname))
    return tuple(chunks)


def _read_nack(body: bytes) -> Nack:
    sender, media = struct.unpack_from("!II", body)
    sequences: list[int] = []
    for first, mask in struct.iter_unpack("!HH", body[8:]):
        sequences.append(first)
        sequences += [first + 1 + bit & 0xFFFF for bit in range(16) if mask >> bit & 1]
    return Nack(sender, media, tuple(sequences))
