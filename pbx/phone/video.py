"""H.264 of a scripted phone: pictures ─▶ access units ─▶ RTP payloads (RFC 6184), and access units ─▶ pictures.

PyAV encodes and decodes; what is ours here is the cutting of access units into payloads.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from pbx.phone.picture import HEIGHT, PICTURES_PER_SECOND, WIDTH

Plane = NDArray[np.uint8]

CLOCK_RATE: Final = 90_000
MAX_PAYLOAD: Final = 1200  # fits any path with RTP, UDP, IP and a tunnel or two in 1500 bytes
FU_A: Final = 28  # RFC 6184 §5.8
BIT_RATE: Final = 256_000


class PictureEncoder:
    """Test pictures → H.264 baseline access units, a key frame each second and whenever one is asked for."""

    def __init__(self, *, single_nal: bool = False) -> None:
        """`single_nal`: cut pictures into slices that each fit one payload, for packetization-mode 0 (RFC 6184 §6.2)."""
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context.time_base = Fraction(1, CLOCK_RATE)
        context.framerate = Fraction(PICTURES_PER_SECOND)
        context.gop_size = PICTURES_PER_SECOND
        context.max_b_frames = 0
        context.bit_rate = BIT_RATE
        context.profile = "Baseline"
        context.thread_count = 1  # more threads mean more slices, each a payload of its own
        context.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "x264-params": "scenecut=0:repeat-headers=1"
            + (f":slice-max-size={MAX_PAYLOAD}" if single_nal else ""),
        }
        self._context = context
        self._next_is_key = False
        self.key_frames = 0

    def want_key_frame(self) -> None:
        """Make the next picture a key frame."""
        self._next_is_key = True

    def encode(self, picture: Plane, timestamp: int) -> bytes:
        """One yuv420p picture and its time (1/90000 s, not wrapped) → one access unit, Annex B."""
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = timestamp
        if self._next_is_key:
            frame.pict_type = PictureType.I
            self._next_is_key = False
        packets = self._context.encode(frame)
        self.key_frames += sum(packet.is_keyframe for packet in packets)
        return b"".join(bytes(packet) for packet in packets)


class PictureDecoder:
    """Access units → pictures. Takes any H.264, starts at the first key frame."""

    def __init__(self) -> None:
        context = av.CodecContext.create("h264", "r")
        context.thread_count = 1  # frame threads would hold the newest pictures back
        self._context = context
        self.decoded = 0
        self.refused = 0
        self.last: Plane | None = None
        """Brightness of the newest picture, shape (height, width)."""

    def push(self, unit: bytes) -> int:
        """One access unit, Annex B → how many pictures came out of it."""
        try:
            frames = self._context.decode(av.Packet(unit))
        except (av.FFmpegError, ValueError):
            self.refused += 1
            return 0
        for frame in frames:
            plane = frame.planes[0]
            rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
            self.last = rows[: frame.height, : frame.width].copy()
        self.decoded += len(frames)
        return len(frames)


def nal_units(unit: bytes) -> Iterator[bytes]:
    """Cut an access unit in Annex B into its NAL units, without start codes and the zeros around them."""
    at = unit.find(b"\0\0\1")
    while at >= 0:
        following = unit.find(b"\0\0\1", at + 3)
        nal = unit[at + 3 : following if following >= 0 else len(unit)].rstrip(b"\0")
        if nal:
            yield nal
        at = following


def packetize(unit: bytes, limit: int = MAX_PAYLOAD) -> list[tuple[bytes, bool]]:
    """One access unit, Annex B → payloads of packetization-mode 1 with their marker bits.

    NAL units up to `limit` bytes go alone (RFC 6184 §5.6), longer ones in fragments (FU-A, §5.8).
    """
    payloads: list[bytes] = []
    for nal in nal_units(unit):
        if len(nal) <= limit:
            payloads.append(nal)
            continue
        # RFC 6184 §5.8: FU indicator = F and NRI of the NAL unit with type 28; FU header = S, E, R and its type.
        indicator, kind = nal[0] & 0xE0 | FU_A, nal[0] & 0x1F
        body, size = nal[1:], limit - 2
        for at in range(0, len(body), size):
            start = 0x80 if at == 0 else 0
            end = 0x40 if at + size >= len(body) else 0
            payloads.append(bytes((indicator, start | end | kind)) + body[at : at + size])
    # RFC 6184 §5.1: the marker bit is "set for the very last packet of the access unit".
    return [(payload, index == len(payloads) - 1) for index, payload in enumerate(payloads)]
