"""The still image a caller is sent in the host's place: drawn or read, encoded once for each codec, cut into RTP payloads.

image ─▶ encode ─▶ key frame ─▶ payloads of one picture     in the child that prepares prompts, never in the media loop

One size and profile for all phones: CIF, H.264 Constrained Baseline, slices so small that packetization mode 0 takes them.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB, shape (height, width, 3)."""

WIDTH: Final = 352
HEIGHT: Final = 288
CODECS: Final = ("H264", "VP8", "H265")
"""In this order: nearly every phone has the first."""
MAX_PAYLOAD: Final = 1100
"""Bytes: leaves room for RTP, SRTP, IPv6 and tunnels in 1,280."""
NAVY: Final = (14, 42, 94)
GOLD: Final = (224, 178, 60)
WHITE: Final = (245, 247, 250)

_LIBRARY: Final = {"H264": "libx264", "VP8": "libvpx", "H265": "libx265"}
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    "H264": {
        "profile": "baseline",
        "level": "1.3",
        "preset": "slow",
        "tune": "stillimage",
        "crf": "20",
        "x264-params": f"keyint=1:repeat-headers=1:slice-max-size={MAX_PAYLOAD - 20}:aud=0:bframes=0",
    },
    "VP8": {"quality": "good", "cpu-used": "0", "crf": "8", "b": "2M"},
    "H265": {
        "preset": "medium",
        "crf": "22",
        "x265-params": "keyint=1:repeat-headers=1:bframes=0:info=0:log-level=none",
    },
}


class StillError(ValueError):
    """The site's own image can't be read; the text names it."""


def draw() -> Image:
    """Draw the badge of a site that has none of its own: a shield and the number to call."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = NAVY
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    u, v = (x - WIDTH / 2) / 104, (y - HEIGHT / 2) / 122
    # Straight above, round below: |u| ≤ 1 for v < 0, an ellipse that narrows to a point for v > 0.
    side = np.where(v < 0, 1.0, np.sqrt(np.clip(1 - np.clip(v, 0, 1) ** 2, 0, 1)))
    inside = (np.abs(u) <= side) & (v >= -1) & (v <= 1)
    inner = (np.abs(u) <= side - 0.07) & (v >= -0.93) & (v <= 0.9)
    image[inside] = GOLD
    image[inner] = NAVY
    for number, left in zip("110", (112, 156, 196), strict=True):
        _digit(image, number, left, 96)
    return image


def _digit(image: Image, number: str, left: int, top: int) -> None:
    """Draw a 1 or a 0, 84 high."""
    if number == "1":
        image[top : top + 84, left + 12 : left + 26] = WHITE
        image[top + 8 : top + 22, left : left + 12] = WHITE
        return
    image[top : top + 84, left : left + 46] = WHITE
    image[top + 14 : top + 70, left + 14 : left + 32] = NAVY


def load(path: str) -> Image:
    """Read a PNG, JPEG or anything else FFmpeg shows, and fit it into the frame. Raises StillError."""
    try:
        with av.open(path) as container:
            frame = next(iter(container.decode(video=0)))
            scale = min(WIDTH / frame.width, HEIGHT / frame.height)
            size = max(2, int(frame.width * scale) & ~1), max(2, int(frame.height * scale) & ~1)
            shown = frame.reformat(*size, format="rgb24").to_ndarray()
    except (av.FFmpegError, OSError, StopIteration, IndexError, ValueError, ZeroDivisionError) as error:
        raise StillError(f"still image {Path(path).name!r} can't be read: {error}") from error
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    top, left = (HEIGHT - shown.shape[0]) // 2, (WIDTH - shown.shape[1]) // 2
    image[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return image


def encode(codec: str, image: Image) -> tuple[bytes, ...]:
    """Encode one image as a key frame: its RTP payloads in order. `codec`: one of `CODECS`."""
    encoder = cast("VideoCodecContext", av.CodecContext.create(_LIBRARY[codec], "w"))
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 1), Fraction(1)
    encoder.thread_count = 1
    encoder.options = _OPTIONS[codec]
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    frame.pts = 0
    data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    return tuple(_CUT[codec](data))


def _units(annexb: bytes) -> list[bytes]:
    parts = annexb.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


def _h264(data: bytes) -> Iterable[bytes]:
    # RFC 6184 §5.6: single NAL unit packets; parameter sets and slices, nothing a decoder can do without.
    return [unit for unit in _units(data) if unit[0] & 0x1F in {1, 5, 7, 8}]


def _h265(data: bytes) -> Iterable[bytes]:
    for unit in _units(data):
        kind = unit[0] >> 1 & 0x3F
        if kind not in {*range(22), 32, 33, 34}:
            continue
        if len(unit) <= MAX_PAYLOAD:
            yield unit
            continue
        # RFC 7798 §4.4.3: type 49, then S, E and the type of what is cut.
        pieces = [unit[at : at + MAX_PAYLOAD - 3] for at in range(2, len(unit), MAX_PAYLOAD - 3)]
        head = bytes((unit[0] & 0x81 | 49 << 1, unit[1]))
        for number, piece in enumerate(pieces):
            edge = 0x80 if number == 0 else 0x40 if number == len(pieces) - 1 else 0
            yield head + bytes((edge | kind,)) + piece


def _vp8(data: bytes) -> Iterable[bytes]:
    # RFC 7741 §4.2: one octet of descriptor, S set where the partition begins.
    size = MAX_PAYLOAD - 1
    for at in range(0, len(data), size):
        yield (b"\x10" if at == 0 else b"\x00") + data[at : at + size]


_CUT: Final = {"H264": _h264, "VP8": _vp8, "H265": _h265}
