"""AMR and AMR-WB out of RTP (RFC 4867): one payload → the frames a decoder takes, each with its octet `0 FT Q 00` in front.

Like everything in this folder it stands by itself; the relay has its own. CRC, robust sorting and interleaving are never negotiated.
"""

import re
from collections.abc import Iterator
from typing import Final

NAMES: Final = ("AMR", "AMR-WB")
BITS: Final = {
    "AMR": (95, 103, 118, 134, 148, 159, 204, 244, 39),
    "AMR-WB": (132, 177, 253, 285, 317, 365, 397, 461, 477, 40),
}
"""Speech bits by frame type (RFC 4867 §3.6, 3GPP TS 26.101, 26.201)."""
NOTHING: Final = b"\x7c"
"""A frame without data: what frame types without speech stand for."""
MAX_FRAMES: Final = 12


def frames(name: str, fmtp: str, payload: bytes) -> list[bytes]:
    """Give the frames of one payload. Raises ValueError when it is cut off or has none."""
    aligned = re.search(r"(?:^|[;\s])octet-align\s*=\s*1", fmtp) is not None
    found = list(_frames(BITS[name], payload, aligned=aligned))
    if not found:
        raise ValueError("no frame")
    return found


def _frames(table: tuple[int, ...], payload: bytes, *, aligned: bool) -> Iterator[bytes]:
    value, left = int.from_bytes(payload, "big"), 8 * len(payload)

    def take(bits: int) -> int:
        nonlocal left
        left -= bits
        if left < 0:
            raise ValueError("cut off")
        return value >> left & (1 << bits) - 1

    take(8 if aligned else 4)  # the codec mode request
    heads: list[int] = []
    more = True
    while more:
        if len(heads) == MAX_FRAMES:
            raise ValueError("too many frames")
        # Octet-aligned: F FT(4) Q P P; bandwidth-efficient: F FT(4) Q.
        entry = take(8) >> 2 if aligned else take(6)
        heads.append(entry & 0x1F)
        more = bool(entry & 0x20)
    for head in heads:
        bits = table[head >> 1] if head >> 1 < len(table) else 0
        size = (bits + 7) // 8
        speech = take(8 * size) if aligned else take(bits) << (8 * size - bits)
        yield bytes((head << 2,)) + speech.to_bytes(size, "big") if bits else NOTHING
