"""Put the caller's pictures into a film without touching them.

in → out: access units with their moments → Matroska packets; nothing is decoded or encoded again.

A muxer must know size and parameter sets before the first packet: `template` lets FFmpeg read both from the first key
unit, wrapped as an elementary stream.
"""

import base64
import binascii
import io
import re
import struct
from fractions import Fraction
from typing import Final, cast

import av
import av.error
from av.container import InputContainer

from recordings.depacketize import START, AccessUnit
from recordings.snapshot import DECODERS

MILLISECONDS: Final = Fraction(1, 1000)
"""Matroska's usual time unit."""


def template(name: str, unit: AccessUnit, parameters: bytes) -> InputContainer | None:
    """Open a key unit as a stream of its own, whose first stream is a template for a muxer; None if FFmpeg can't.

    The caller closes it. `parameters`: parameter sets from outside the stream, Annex B, may be empty.
    """
    form = {"H264": "h264", "H265": "hevc", "VP8": "ivf"}[name]
    try:
        data = _ivf(unit.data) if name == "VP8" else parameters + unit.data
        container = av.open(io.BytesIO(data), mode="r", format=form)
    except (av.error.FFmpegError, ValueError):
        return None
    video = container.streams.video
    if video and video[0].codec_context.width and video[0].codec_context.height:
        return container
    container.close()
    return None


def parameter_sets(name: str, fmtp: str) -> bytes:
    """Give the parameter sets an SDP carries (RFC 6184 §8.1, RFC 7798 §7.1) as Annex B; empty if there are none."""
    keys = {"H264": ("sprop-parameter-sets",), "H265": ("sprop-vps", "sprop-sps", "sprop-pps")}.get(name, ())
    found = b""
    for key in keys:
        value = re.search(rf"(?:^|[;\s]){key}\s*=\s*([A-Za-z0-9+/=,]+)", fmtp)
        for text in value[1].split(",") if value else ():
            try:
                nal = base64.b64decode(text, validate=True)
            except binascii.Error:
                continue
            found += START + nal if nal else b""
    return found


def packet(stream: av.VideoStream, at_ms: int, unit: AccessUnit) -> "av.Packet[av.VideoStream]":
    """Make the Matroska packet of one unit at `at_ms` milliseconds from the beginning."""
    made = cast("av.Packet[av.VideoStream]", av.Packet(unit.data))
    made.stream = stream
    made.time_base = MILLISECONDS
    made.pts = made.dts = at_ms
    made.is_keyframe = unit.key
    return made


def usable(name: str, unit: AccessUnit) -> bool:
    """Whether a unit with something missing is still worth showing: H.264 and H.265 conceal lost slices, VP8 breaks."""
    return unit.complete or name != "VP8"


def _ivf(frame: bytes) -> bytes:
    """Wrap one VP8 key frame as a file: 32 bytes of header, 12 in front of the frame. Raises ValueError if it is none."""
    # RFC 6386 §9.1: three bytes of frame tag, the start code 9d 01 2a, then width and height of 14 bits each.
    if frame[3:6] != b"\x9d\x01\x2a" or len(frame) < 10:
        raise ValueError("no key frame")
    width, height = struct.unpack_from("<HH", frame, 6)
    head = struct.pack(
        "<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", width & 0x3FFF, height & 0x3FFF, 1000, 1, 1, 0
    )
    return head + struct.pack("<IQ", len(frame), 0) + frame


assert set(DECODERS) == {"H264", "H265", "VP8"}, "template() must know every format that is decoded"
