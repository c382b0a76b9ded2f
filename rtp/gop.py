"""The last group of pictures of somebody whom nobody sees yet, for whoever will see them (bar Q5). Pure.

packet of a waiting caller ─▶ Group.push ─▶ kept from the newest key frame on ─▶ packets, in order, when they are put through

Kept are whole groups only: after a loss, or when a group grows too large, nothing is shown until the next key frame, for
which the caller is asked. H.264 (RFC 6184), H.265 (RFC 7798), VP8 (RFC 7741) and H.263 of 1998 (RFC 4629); of other codecs
nothing is kept.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

from rtp.packet import PacketError, payload_of
from rtp.sequence import MASK16

MAX_BYTES: Final = 160 * 1024
"""Of one group: 2.6 s at 500 kbit/s, and less than the receive buffer that Linux gives a phone's socket (208 KiB), because a
group leaves at once."""
MAX_PACKETS: Final = 400
"""The same for small packets, whose cost in that buffer is not their bytes."""

CODECS: Final = frozenset({"H264", "H265", "VP8", "H263-1998"})

Kind = Literal["key", "parameters", "other"]

# RFC 6184 §5.2, H.264 table 7-1
_H264_IDR: Final = 5
_H264_PARAMETERS: Final = (7, 8)
_STAP_A: Final = 24
_FU_A: Final = 28
# RFC 7798 §1.1.4, §4.4
_H265_KEYS: Final = range(16, 22)
_H265_PARAMETERS: Final = range(32, 35)
_AP: Final = 48
_FU: Final = 49


class Group:
    """Packets from the newest key frame on."""

    def __init__(self) -> None:
        self._packets: list[tuple[bytes, int]] = []
        self._bytes = 0
        self._sequence: int | None = None
        self._key: int | None = None
        self._ssrc = b""
        self._asked = False
        self.begun = False
        """Whether the packet pushed last begins a key frame."""

    def push(self, codec: str, data: bytes, sequence: int, timestamp: int) -> bool:
        """Take the next packet; True when a key frame is wanted because the group is broken or has become too large.

        `codec`: its encoding name in upper case.
        """
        follows = self._sequence is not None and (sequence - self._sequence) & MASK16 == 1
        if not (follows and data[8:12] == self._ssrc):
            self.clear()
            self._asked = False  # what was asked may be among what was lost
        self._sequence, self._ssrc = sequence, data[8:12]
        what = _read(codec, data)
        self.begun = what == "key"
        if what != "other" and (self._key is not None and timestamp != self._key):
            self.clear()
        elif what == "other" and not self._packets:
            return self._ask(codec)
        if what == "key":
            self._key = timestamp
            self._asked = False
        self._packets.append((data, timestamp))
        self._bytes += len(data)
        if self._bytes <= MAX_BYTES and len(self._packets) <= MAX_PACKETS:
            return False
        self.clear()
        return self._ask(codec)

    def _ask(self, codec: str) -> bool:
        """Whether a key frame is to be wanted: once, until one has come or something is lost again."""
        asked, self._asked = self._asked, True
        return codec in CODECS and not asked

    def clear(self) -> None:
        """Forget what was kept."""
        self._packets = []
        self._bytes = 0
        self._key = None

    @property
    def packets(self) -> tuple[tuple[bytes, int], ...]:
        """What to send: (packet, timestamp) in the order of their numbers; nothing before a key frame was seen."""
        return tuple(self._packets) if self._key is not None else ()

    @property
    def newest(self) -> int | None:
        """The sequence number pushed last, None before the first."""
        return self._sequence

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data."""
        return {
            "packets": [list(item) for item in self._packets],
            "sequence": self._sequence,
            "key": self._key,
            "ssrc": self._ssrc,
            "asked": self._asked,
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "Group":
        """Make a group that goes on where `snapshot` was taken."""
        group = cls()
        group._packets = [(packet, timestamp) for packet, timestamp in data["packets"]]
        group._bytes = sum(len(packet) for packet, _ in group._packets)
        group._sequence, group._key, group._ssrc = data["sequence"], data["key"], data["ssrc"]
        group._asked = data["asked"]
        return group


def begins_key(codec: str, data: bytes) -> bool:
    """Whether a packet begins a key frame; `codec`: one of CODECS."""
    return _read(codec, data) == "key"


def _read(codec: str, data: bytes) -> Kind:
    try:
        return kind(codec, payload_of(data))
    except PacketError:
        return "other"


def kind(codec: str, payload: bytes) -> Kind:
    """What a packet is the beginning of: a key frame, the parameter sets before one, or nothing that matters here."""
    match codec:
        case "H264":
            types = set(_h264(payload))
            if _H264_IDR in types:
                return "key"
            return "parameters" if types & set(_H264_PARAMETERS) else "other"
        case "H265":
            types = set(_h265(payload))
            if types & set(_H265_KEYS):
                return "key"
            return "parameters" if types & set(_H265_PARAMETERS) else "other"
        case "VP8":
            return "key" if _vp8_key(payload) else "other"
        case "H263-1998":
            return "key" if _h263_key(payload) else "other"
    return "other"


def _h264(payload: bytes) -> Iterator[int]:
    """Types of the NAL units that begin in this payload."""
    if not payload:
        return
    first = payload[0] & 0x1F
    if first == _FU_A:
        # RFC 6184 §5.8: S bit, E bit, R bit, type
        if len(payload) > 1 and payload[1] & 0x80:
            yield payload[1] & 0x1F
    elif first == _STAP_A:
        yield from (unit[0] & 0x1F for unit in _units(payload[1:]))
    else:
        yield first


def _h265(payload: bytes) -> Iterator[int]:
    if len(payload) < 2:
        return
    first = payload[0] >> 1 & 0x3F
    if first == _FU:
        if len(payload) > 2 and payload[2] & 0x80:
            yield payload[2] & 0x3F
    elif first == _AP:
        yield from (unit[0] >> 1 & 0x3F for unit in _units(payload[2:]))
    else:
        yield first


def _units(data: bytes) -> Iterator[bytes]:
    """NAL units of an aggregation, each behind its size in two bytes; it ends where the sizes make no sense."""
    while len(data) > 2:
        size = int.from_bytes(data[:2], "big")
        if not size or len(data) < 2 + size:
            return
        yield data[2 : 2 + size]
        data = data[2 + size :]


def _vp8_key(payload: bytes) -> bool:
    # RFC 7741 §4.2: X R N S R PID, then I L T K if X; §4.3: the last bit of the frame's first byte is 0 for a key frame
    if not payload or not payload[0] & 0x10 or payload[0] & 0x07:
        return False  # not the beginning of a frame
    at = 1
    if payload[0] & 0x80:
        if len(payload) < 2:
            return False
        extension, at = payload[1], 2
        if extension & 0x80:
            at += 2 if len(payload) > at and payload[at] & 0x80 else 1
        at += bool(extension & 0x40) + bool(extension & 0x30)
    return len(payload) > at and not payload[at] & 0x01


def _h263_key(payload: bytes) -> bool:
    # RFC 4629 §5.1: RR (5 bits) P V PLEN (6) PEBIT (3); then a byte if V, and PLEN bytes of another picture's header
    if len(payload) < 2 or not payload[0] & 0x04:
        return False  # goes on with something
    header = int.from_bytes(payload[:2], "big")
    picture = payload[2 + (header >> 9 & 1) + (header >> 3 & 0x3F) :][:6]
    if len(picture) < 6 or picture[0] & 0xFC != 0x80:
        return False  # P stands for two bytes of zeros: the rest of a picture start code is 1 00000, others begin a slice or group
    bits = int.from_bytes(picture, "big")

    def at(first: int, width: int) -> int:
        return bits >> (48 - first - width) & ((1 << width) - 1)

    # H.263 §5.1.3: behind TR five bits of PTYPE, then its source format; but for 7, extended PTYPE, the next is 0 for an I picture.
    if at(19, 3) != 7:
        return not at(22, 1)
    # §5.1.4: PLUSPTYPE is UFEP, OPPTYPE if that is 1, and MPPTYPE, which begins with the type: 0 for an I picture
    return not at(43 if at(22, 3) == 1 else 25, 3)
