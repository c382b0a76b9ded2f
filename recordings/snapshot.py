"""Make a JPEG of the first good picture of a call.

in → out: access units that a decoder can begin with → one JPEG.

"Good" means: nothing of the unit is missing and the decoder had nothing to conceal. The JPEG is derived: its comment
names the call and the SHA-256 of the capture it was taken from.
"""

from fractions import Fraction
from typing import Final, cast

import av
import av.error
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from recordings.depacketize import AccessUnit

DECODERS: Final = {"H264": "h264", "H265": "hevc", "VP8": "vp8"}
"""FFmpeg's decoder for each encoding name."""
QUALITY: Final = 3
"""FFmpeg's scale 2 (best) … 31 (worst)."""
MAX_PIXELS: Final = 8192 * 4320
"""A stranger's sequence header may claim any size; larger is not decoded."""


def decode_picture(name: str, unit: AccessUnit, parameters: bytes = b"") -> VideoFrame | None:
    """Decode one key unit on its own; None if no good picture comes out.

    `name` is the encoding name (H264, H265, VP8); `parameters` are parameter sets that came outside the stream, Annex B.
    """
    if not unit.key or not unit.complete:
        return None
    try:
        decoder = cast("VideoCodecContext", av.CodecContext.create(DECODERS[name], "r"))
        # One thread: with more the decoder holds the picture back until others follow.
        decoder.thread_count = 1
        decoder.options = {"max_pixels": str(MAX_PIXELS)}
        frames = decoder.decode(av.Packet(parameters + unit.data)) + decoder.decode(None)
    except (av.error.FFmpegError, ValueError):
        return None
    return next((frame for frame in frames if not frame.is_corrupt and frame.width and frame.height), None)


def encode_jpeg(frame: VideoFrame, comment: str) -> bytes:
    """Encode one picture as JPEG with a comment. Raises av.error.FFmpegError."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt = "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"qmin": str(QUALITY), "qmax": str(QUALITY)}
    full = frame.reformat(format="yuvj420p")
    full.pts = 0
    data = b"".join(bytes(packet) for packet in encoder.encode(full) + encoder.encode(None))
    text = comment.encode()[:65_533]
    # ITU-T T.81 B.2.4.5: a comment segment may stand right behind the start of image.
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]
