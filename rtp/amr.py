"""AMR and AMR-WB in RTP (RFC 4867): payloads ↔ frames as files store them (§5). Pure.

    bandwidth-efficient    |CMR|F|FT|Q|F|FT|Q|…|speech bits|speech bits|…|padding|     nothing in between
    octet-aligned          |CMR 0000|F|FT|Q|00|…|speech octets|speech octets|…         every part filled up to octets

A stored frame is one octet `0 FT Q 00` and its speech bits, filled up with zeros. Not done, and refused in the SDP: CRC, robust
sorting, interleaving, several channels. A codec mode request of the peer holds for what is encoded for it from then on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NAMES: Final = ("AMR", "AMR-WB")
# RFC 4867 §3.6 and 3GPP TS 26.101, 26.201: bits of speech by frame type; 8 (AMR) and 9 (AMR-WB) are comfort noise.
BITS: Final = (95, 103, 118, 134, 148, 159, 204, 244, 39)
WIDE_BITS: Final = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40)
NO_DATA: Final = 15
NO_REQUEST: Final = 15
RATES: Final = (4750, 5150, 5900, 6700, 7400, 7950, 10200, 12200)
"""Bits a second of the modes of AMR."""
MAX_FRAMES: Final = 12
"""Of one payload: 240 ms, the longest maxptime RFC 4867 §8.1 lets one expect; more is no sound."""
QUIET: Final = bytes.fromhex("4426c783681e")
"""A stored frame of comfort noise (SID_UPDATE) without any noise. Whatever came before, a decoder is at 0 two frames later."""


class AmrError(ValueError):
    """A payload that breaks its form, or a form nobody speaks here."""


@dataclass(frozen=True, slots=True)
class Form:
    """What one line of SDP says of the payloads."""

    wide: bool = False
    octet_aligned: bool = False
    modes: tuple[int, ...] = ()
    """The mode-set, ascending; empty: all."""

    @property
    def mode(self) -> int:
        """The best mode that may be sent."""
        return self.modes[-1] if self.modes else (8 if self.wide else 7)

    def mode_under(self, asked: int | None) -> int:
        """The best mode that may be sent and is not above what the peer asks for; the lowest one when all are."""
        if asked is None:
            return self.mode
        allowed = self.modes or range(9 if self.wide else 8)
        return max((mode for mode in allowed if mode <= asked), default=min(allowed))

    def bits(self, frame_type: int) -> int:
        """Speech bits of a frame type; none for those that stand for nothing."""
        table = WIDE_BITS if self.wide else BITS
        return table[frame_type] if frame_type < len(table) else 0


def form(name: str, fmtp: str) -> Form:
    """Read the parameters of a line of SDP (RFC 4867 §8.1). Raises AmrError for what is not spoken here."""
    wide = name == NAMES[1]
    said: dict[str, str] = {}
    for part in fmtp.split(";"):
        key, _, value = part.strip(" \t").partition("=")
        said.setdefault(key.strip(" \t").lower(), value.strip(" \t"))
    for refused in ("crc", "robust-sorting"):
        if said.get(refused, "0") != "0":
            raise AmrError(refused)
    if "interleaving" in said or said.get("channels", "1") != "1":
        raise AmrError("interleaving or channels")
    modes: list[int] = []
    if "mode-set" in said:
        for text in said["mode-set"].split(","):
            if not (text.isascii() and text.isdigit() and len(text) == 1 and int(text) < (9 if wide else 8)):
                raise AmrError(f"mode-set {said['mode-set']!r}")
            modes.append(int(text))
    return Form(wide, said.get("octet-align", "0") == "1", tuple(sorted(set(modes))))


def requested(payload: bytes) -> int | None:
    """The mode of AMR that the sender of a payload wants to be sent; None when it asks for none.

    RFC 4867 §4.3.1: the first four bits in either form; 15: "no mode request is present", 8 to 14 are for future use.
    """
    asked = payload[0] >> 4 if payload else NO_REQUEST
    return asked if asked < len(RATES) else None


def pack(shape: Form, frames: Sequence[bytes]) -> bytes:
    """Put stored frames into one payload that asks for no mode."""
    last = len(frames) - 1
    if shape.octet_aligned:
        table = bytes(frame[0] & 0x7C | (0x80 if number < last else 0) for number, frame in enumerate(frames))
        return bytes((NO_REQUEST << 4,)) + table + b"".join(frame[1:] for frame in frames)
    value, size = NO_REQUEST, 4
    for number, frame in enumerate(frames):
        value = value << 6 | (number < last) << 5 | frame[0] >> 2 & 0x1F
        size += 6
    for frame in frames:
        bits = shape.bits(frame[0] >> 3 & 15)
        value = value << bits | int.from_bytes(frame[1:], "big") >> (8 * (len(frame) - 1) - bits)
        size += bits
    return (value << -size % 8).to_bytes((size + 7) // 8, "big")


def unpack(shape: Form, payload: bytes) -> list[bytes]:
    """Take the stored frames out of a payload. Raises AmrError when it breaks its form."""
    return _aligned(shape, payload) if shape.octet_aligned else _efficient(shape, payload)


def _aligned(shape: Form, payload: bytes) -> list[bytes]:
    heads: list[int] = []
    at, more = 1, True
    while more:
        if at >= len(payload) or len(heads) == MAX_FRAMES:
            raise AmrError("table of contents")
        heads.append(payload[at] & 0x7C)
        more = bool(payload[at] & 0x80)
        at += 1
    frames = []
    for head in heads:
        size = (shape.bits(head >> 3) + 7) // 8
        if at + size > len(payload):
            raise AmrError("speech cut off")
        frames.append(_stored(shape, head, payload[at : at + size]))
        at += size
    return frames


def _efficient(shape: Form, payload: bytes) -> list[bytes]:
    left, value = 8 * len(payload), int.from_bytes(payload, "big")

    def take(bits: int) -> int:
        nonlocal left
        left -= bits
        if left < 0:
            raise AmrError("cut off")
        return value >> left & (1 << bits) - 1

    take(4)
    heads: list[int] = []
    more = True
    while more:
        if len(heads) == MAX_FRAMES:
            raise AmrError("table of contents")
        entry = take(6)
        heads.append((entry & 0x1F) << 2)
        more = bool(entry & 0x20)
    frames = []
    for head in heads:
        bits = shape.bits(head >> 3)
        speech = take(bits) << -bits % 8
        frames.append(_stored(shape, head, speech.to_bytes((bits + 7) // 8, "big")))
    return frames


def _stored(shape: Form, head: int, speech: bytes) -> bytes:
    # What stands for nothing, or for speech that was lost (RFC 4867 §4.3.2), is a frame without data for every decoder.
    return bytes((head,)) + speech if shape.bits(head >> 3) else bytes((NO_DATA << 3 | 4,))
