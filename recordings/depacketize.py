"""Turn RTP payloads back into the pictures and sound frames a codec made.

in → out: payload, marker, timestamp in order of sequence (`reorder`) → `AccessUnit`s.

One class per payload format: H.264 (RFC 6184, packetization modes 0 and 1), H.265 (RFC 7798, without decoding
order numbers), VP8 (RFC 7741), and sound, where a payload is a frame. Pictures come out as Annex B byte streams or
VP8 frames. Nothing a sender does raises: what can't be understood is counted in `bad` and makes its picture
incomplete. Not done: interleaved H.264 (mode 2), PACI packets of H.265; neither is ever negotiated here.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

START: Final = b"\x00\x00\x00\x01"
MAX_UNIT: Final = 4 << 20
"""Bytes of one picture; an 8-megapixel key frame at the best quality has about two. More is an attack on memory."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture, or the sound of one packet."""

    data: bytes
    """H.264 and H.265: Annex B; VP8: the frame; sound: the payload."""
    timestamp: int
    """RTP timestamp, 32 bits, in units of the payload format's clock."""
    key: bool
    """A decoder can begin here. Always true of sound."""
    complete: bool
    """Nothing of it is missing, as far as can be seen."""


class Depacketizer(ABC):
    """What all payload formats of pictures share: collecting packets of one timestamp into one unit."""

    def __init__(self) -> None:
        self.bad = 0
        """Payloads that could not be understood."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._timestamp: int | None = None
        self._key = False
        self._gap = False
        self._headless = False
        self._broken = False

    def push(self, payload: bytes, marker: bool, timestamp: int) -> list[AccessUnit]:
        """Take the next payload in order; gives the units that are finished by it, at most two."""
        done: list[AccessUnit] = []
        gap, self._gap = self._gap, False
        if timestamp != self._timestamp:
            # RFC 6184 §5.1: "decoders MAY use this bit as an early indication of the last packet of an access unit
            # but MUST NOT rely on this property": the next timestamp ends it as well.
            done += self._finish()
            self._timestamp = timestamp
            self._headless = gap
        if self._size + len(payload) > MAX_UNIT or not self._take(payload):
            self.bad += 1
            self._broken = True
        if marker:
            done += self._finish()
        return done

    def lost(self) -> None:
        """Say that packets are missing before the next push: they may belong to either of the two units it parts."""
        self._gap = True
        self._broken = True
        self._cut_fragment()

    def flush(self) -> list[AccessUnit]:
        """Give what is left when the stream has ended."""
        return self._finish()

    def _append(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    def _finish(self) -> list[AccessUnit]:
        complete = not (self._cut_fragment() or self._headless or self._broken)
        timestamp, data, key = self._timestamp, b"".join(self._pieces), self._key
        self._pieces, self._size, self._timestamp = [], 0, None
        self._key = self._headless = self._broken = False
        if not data or timestamp is None:
            return []
        return [AccessUnit(data, timestamp, key, complete)]

    @abstractmethod
    def _take(self, payload: bytes) -> bool:
        """Add a payload to the unit; false if it can't be understood."""

    def _cut_fragment(self) -> bool:
        """Drop a fragment that will not be continued; whether there was one."""
        return False


class _NalDepacketizer(Depacketizer):
    """What H.264 and H.265 share: NAL units, some cut into fragments, some packed together."""

    def __init__(self) -> None:
        super().__init__()
        self._fragment: list[bytes] | None = None
        self._fragment_size = 0

    def _nal(self, nal: bytes) -> None:
        if not self._pieces and self._opens(nal):
            self._headless = False
        self._append(START + nal)
        self._key = self._key or self._begins(nal)

    @abstractmethod
    def _begins(self, nal: bytes) -> bool:
        """Whether a decoder can begin at this NAL unit."""

    @abstractmethod
    def _opens(self, nal: bytes) -> bool:
        """Whether this NAL unit can only be the first of its unit, so that a gap before it took nothing from it."""

    def _packed(self, data: bytes) -> bool:
        """Take NAL units that follow each other, each behind its 16-bit size."""
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 2], "big")
            if not size or at + 2 + size > len(data):
                return False
            self._nal(data[at + 2 : at + 2 + size])
            at += 2 + size
        return bool(data)

    def _fragmented(self, header: bytes, data: bytes, *, start: bool, end: bool) -> bool:
        # RFC 6184 §5.8: "The Start bit and End bit MUST NOT both be set to one in the same FU header".
        if start and end:
            return False
        if start:
            self._break()
            self._fragment, self._fragment_size = [header], 0
        elif self._fragment is None or self._fragment[0] != header:
            self._break()
            return False
        self._fragment_size += len(data)
        if self._size + self._fragment_size > MAX_UNIT:
            self._break()
            return False
        self._fragment.append(data)
        if end:
            nal, self._fragment = b"".join(self._fragment), None
            self._nal(nal)
        return True

    def _break(self) -> None:
        if self._cut_fragment():
            self._broken = True

    def _cut_fragment(self) -> bool:
        cut, self._fragment = self._fragment is not None, None
        return cut


class H264Depacketizer(_NalDepacketizer):
    """RFC 6184: single NAL unit packets, STAP-A, FU-A."""

    def _take(self, payload: bytes) -> bool:
        if not payload or payload[0] & 0x80:  # forbidden_zero_bit
            return False
        kind = payload[0] & 31
        if 1 <= kind <= 23:
            self._break()
            self._nal(payload)
            return True
        if kind == 24:
            self._break()
            return self._packed(payload[1:])
        if kind == 28 and len(payload) > 2 and 1 <= payload[1] & 31 <= 23:
            header = bytes([payload[0] & 0xE0 | payload[1] & 31])
            return self._fragmented(
                header, payload[2:], start=bool(payload[1] & 0x80), end=bool(payload[1] & 0x40)
            )
        return False

    def _begins(self, nal: bytes) -> bool:
        # 5: IDR picture; 6 with payload type 6: recovery point, where encoders with intra refresh can be joined.
        return nal[0] & 31 == 5 or (nal[0] & 31 == 6 and nal[1:2] == b"\x06")

    def _opens(self, nal: bytes) -> bool:
        return nal[0] & 31 in (
            7,
            9,
        )  # H.264 §7.4.1.2.3: parameter sets and delimiters come before the picture


class H265Depacketizer(_NalDepacketizer):
    """RFC 7798 without DONL fields: single NAL unit packets, aggregation packets, fragmentation units."""

    def _take(self, payload: bytes) -> bool:
        if len(payload) < 3 or payload[0] & 0x80:
            return False
        kind = payload[0] >> 1 & 63
        if kind < 48:
            self._break()
            self._nal(payload)
            return True
        if kind == 48:
            self._break()
            return self._packed(payload[2:])
        if kind == 49 and len(payload) > 3 and payload[2] & 63 < 48:
            header = bytes([payload[0] & 0x81 | (payload[2] & 63) << 1, payload[1]])
            return self._fragmented(
                header, payload[3:], start=bool(payload[2] & 0x80), end=bool(payload[2] & 0x40)
            )
        return False

    def _begins(self, nal: bytes) -> bool:
        return 16 <= nal[0] >> 1 & 63 <= 21  # H.265 table 7-1: BLA, IDR and CRA pictures

    def _opens(self, nal: bytes) -> bool:
        return nal[0] >> 1 & 63 in (32, 33, 35)  # H.265 §7.4.2.4.4: parameter sets and delimiters


class VP8Depacketizer(Depacketizer):
    """RFC 7741: frames behind payload descriptors."""

    def _take(self, payload: bytes) -> bool:
        start = _vp8_descriptor(payload)
        if start is None or start >= len(payload):
            return False
        # RFC 7741 §4.2: S "SHOULD be set to 1 when the first payload octet of the RTP packet is the beginning of a
        # new VP8 partition, and MUST NOT be 1 otherwise"; PID 0 is the first partition.
        first = payload[0] & 0x10 and not payload[0] & 7
        if not self._pieces:
            if not first:
                return False
            self._headless = False
            # §4.3: "P: … When set to 0, the current frame is a key frame."
            self._key = not payload[start] & 1
        elif first:
            return False
        self._append(payload[start:])
        return True


def _vp8_descriptor(payload: bytes) -> int | None:
    """Give the length of a VP8 payload descriptor (RFC 7741 §4.2); None if it is cut off.

     0 1 2 3 4 5 6 7
    |X|R|N|S|R| PID |   X: the next byte is there
    |I|L|T|K| RSV   |   I: one or two bytes of picture id · L: one byte · T or K: one byte
    """
    if not payload:
        return None
    if not payload[0] & 0x80:
        return 1
    if len(payload) < 3:
        return None
    flags, at = payload[1], 2
    if flags & 0x80:
        at += 2 if payload[2] & 0x80 else 1
    if flags & 0x40:
        at += 1
    if flags & 0x30:
        at += 1
    return at


class AudioDepacketizer(Depacketizer):
    """PCMA, PCMU, G722, OPUS, AMR, AMR-WB: each payload stands for itself (RFC 3551 §4, RFC 7587)."""

    def push(self, payload: bytes, marker: bool, timestamp: int) -> list[AccessUnit]:  # noqa: ARG002  one signature for all
        """Take the next payload; gives it back as a unit. The marker begins a talk spurt and says nothing here."""
        if not self._take(payload):
            self.bad += 1
            return []
        return [AccessUnit(payload, timestamp, key=True, complete=True)]

    def _take(self, payload: bytes) -> bool:
        return bool(payload)


DEPACKETIZERS: Final[dict[str, type[Depacketizer]]] = {
    "H264": H264Depacketizer,
    "H265": H265Depacketizer,
    "VP8": VP8Depacketizer,
    "PCMA": AudioDepacketizer,
    "PCMU": AudioDepacketizer,
    "G722": AudioDepacketizer,
    "OPUS": AudioDepacketizer,
    "AMR": AudioDepacketizer,
    "AMR-WB": AudioDepacketizer,
}
"""By encoding name in upper case; a name that is not here can't be rendered."""
