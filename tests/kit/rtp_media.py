"""Real pictures and sound as RTP packets, made by PyAV and a small packetizer of our own.

in → out: a colour or a tone → encoded units → `Rtp` packets with the time each leaves its phone.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext

MTU = 1000
START_NS = 1_790_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Rtp:
    """One packet and when it is sent, seconds from the beginning."""

    at: float
    data: bytes

    @property
    def sequence(self) -> int:
        return int.from_bytes(self.data[2:4], "big")


@dataclass(slots=True)
class Packetizer:
    """One RTP sender."""

    payload_type: int
    ssrc: int
    sequence: int = 65_500  # wraps early in every test
    timestamp: int = 0xFFFF_F000  # wraps too

    def packet(self, at: float, payload: bytes, offset: int, *, marker: bool) -> Rtp:
        head = struct.pack(
            ">BBHII",
            0x80,
            self.payload_type | marker << 7,
            self.sequence,
            (self.timestamp + offset) & 0xFFFFFFFF,
            self.ssrc,
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        return Rtp(at, head + payload)


def tone(hz: float, seconds: float, rate: int, *, level: float = 0.5) -> np.ndarray:
    """A sine as int16."""
    return (np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * hz / rate) * 32767 * level).astype(np.int16)


AUDIO = {
    "PCMA": ("pcm_alaw", 8000, 8000, 8),
    "PCMU": ("pcm_mulaw", 8000, 8000, 0),
    "G722": ("g722", 16000, 8000, 9),
    "OPUS": ("libopus", 48000, 48000, 111),
}


def sound(name: str, hz: float, seconds: float, *, ssrc: int, begin: float = 0.0) -> list[Rtp]:
    """A tone in 20 ms packets."""
    encoder_name, rate, clock, payload_type = AUDIO[name]
    encoder = cast("AudioCodecContext", av.CodecContext.create(encoder_name, "w"))
    encoder.sample_rate = rate
    encoder.layout = "mono"
    encoder.format = "s16"
    encoder.time_base = Fraction(1, rate)
    samples = tone(hz, seconds, rate)
    size = rate // 50
    sender = Packetizer(payload_type, ssrc)
    packets: list[Rtp] = []
    for index in range(len(samples) // size):
        block = samples[index * size : (index + 1) * size]
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        frame.pts = index * size
        for encoded in encoder.encode(frame):
            number = len(packets)
            packets.append(
                sender.packet(begin + number * 0.02, bytes(encoded), number * clock // 50, marker=number == 0)
            )
    return packets


def frames(
    seconds: float, *, rate: int = 15, size: tuple[int, int] = (320, 240), colour: tuple[int, int, int]
) -> Iterator[av.VideoFrame]:
    """A plain colour with a bar that wanders, so that every picture differs."""
    for index in range(round(seconds * rate)):
        image = np.empty((size[1], size[0], 3), np.uint8)
        image[:] = colour
        left = index * 7 % (size[0] - 16)
        image[:40, left : left + 16] = 255 - np.array(colour, np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts = index
        yield frame


ENCODERS = {
    "H264": (
        "libx264",
        {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "keyint=15:repeat-headers=1"},
    ),
    "H265": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "keyint=15:bframes=0:repeat-headers=1:log-level=none"},
    ),
    "VP8": ("libvpx", {"deadline": "realtime", "g": "15", "lag-in-frames": "0"}),
    "H263-1998": ("h263p", {"g": "15"}),
}


def encode_pictures(
    name: str,
    seconds: float,
    *,
    colour: tuple[int, int, int],
    rate: int = 15,
    size: tuple[int, int] = (320, 240),
) -> list[bytes]:
    """Encoded pictures in order, Annex B or VP8 frames."""
    encoder_name, options = ENCODERS[name]
    encoder = cast("VideoCodecContext", av.CodecContext.create(encoder_name, "w"))
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, rate)
    encoder.framerate = Fraction(rate)
    encoder.bit_rate = 400_000
    encoder.options = options
    made = [
        bytes(p)
        for frame in frames(seconds, rate=rate, size=size, colour=colour)
        for p in encoder.encode(frame)
    ]
    return made + [bytes(p) for p in encoder.encode(None)]


@dataclass(slots=True)
class Picture:
    """One encoded picture and the payloads it was cut into."""

    data: bytes
    payloads: list[bytes] = field(default_factory=list)


def pictures(
    name: str,
    seconds: float,
    *,
    ssrc: int,
    colour: tuple[int, int, int],
    payload_type: int = 96,
    rate: int = 15,
    begin: float = 0.0,
    size: tuple[int, int] = (320, 240),
) -> list[Rtp]:
    """A moving picture as RTP."""
    sender = Packetizer(payload_type, ssrc)
    packets: list[Rtp] = []
    for index, data in enumerate(encode_pictures(name, seconds, colour=colour, rate=rate, size=size)):
        payloads = PACKETIZE[name](data)
        for number, payload in enumerate(payloads):
            at = begin + index / rate + number * 0.0005
            packets.append(
                sender.packet(at, payload, index * 90_000 // rate, marker=number == len(payloads) - 1)
            )
    return packets


def nal_units(annexb: bytes) -> list[bytes]:
    """Cut an Annex B byte stream at its start codes."""
    parts = annexb.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


def packetize_h264(annexb: bytes) -> list[bytes]:
    """RFC 6184 mode 1: small neighbours in a STAP-A, large units as FU-A, the rest alone."""
    payloads: list[bytes] = []
    small: list[bytes] = []

    def close() -> None:
        if len(small) == 1:
            payloads.append(small[0])
        elif small:
            payloads.append(b"\x78" + b"".join(struct.pack(">H", len(nal)) + nal for nal in small))
        small.clear()

    for nal in nal_units(annexb):
        if len(nal) < 100:
            small.append(nal)
            continue
        close()
        if len(nal) <= MTU:
            payloads.append(nal)
            continue
        pieces = [nal[1:][i : i + MTU] for i in range(0, len(nal) - 1, MTU)]
        for number, piece in enumerate(pieces):
            flags = (number == 0) << 7 | (number == len(pieces) - 1) << 6
            payloads.append(bytes([nal[0] & 0xE0 | 28, flags | nal[0] & 31]) + piece)
    close()
    return payloads


def packetize_h265(annexb: bytes) -> list[bytes]:
    """RFC 7798: parameter sets in an aggregation packet, large units as FU."""
    payloads: list[bytes] = []
    small: list[bytes] = []

    def close() -> None:
        if len(small) == 1:
            payloads.append(small[0])
        elif small:
            payloads.append(b"\x60\x01" + b"".join(struct.pack(">H", len(nal)) + nal for nal in small))
        small.clear()

    for nal in nal_units(annexb):
        if len(nal) < 100:
            small.append(nal)
            continue
        close()
        if len(nal) <= MTU:
            payloads.append(nal)
            continue
        pieces = [nal[2:][i : i + MTU] for i in range(0, len(nal) - 2, MTU)]
        for number, piece in enumerate(pieces):
            flags = (number == 0) << 7 | (number == len(pieces) - 1) << 6
            header = bytes([nal[0] & 0x81 | 49 << 1, nal[1], flags | nal[0] >> 1 & 63])
            payloads.append(header + piece)
    close()
    return payloads


def packetize_vp8(frame: bytes, *, picture_id: int | None = 0x1234) -> list[bytes]:
    """RFC 7741 with a 15-bit picture id."""
    extension = b"" if picture_id is None else b"\x80" + struct.pack(">H", 0x8000 | picture_id)
    first = 0x80 if extension else 0
    pieces = [frame[i : i + MTU] for i in range(0, len(frame), MTU)]
    return [
        bytes([first | (0x10 if number == 0 else 0)]) + extension + piece
        for number, piece in enumerate(pieces)
    ]


def packetize_h263(picture: bytes) -> list[bytes]:
    """RFC 4629: the zeros of the start code are left out and said by the P bit; cut anywhere."""
    pieces = [picture[2:][i : i + MTU] for i in range(0, len(picture) - 2, MTU)]
    return [(b"\x04\0" if number == 0 else b"\0\0") + piece for number, piece in enumerate(pieces)]


PACKETIZE: dict[str, Callable[[bytes], list[bytes]]] = {
    "H264": packetize_h264,
    "H265": packetize_h265,
    "VP8": packetize_vp8,
    "H263-1998": packetize_h263,
}


def dominant_hz(samples: np.ndarray, rate: int) -> float:
    """The strongest frequency of a stretch of sound."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))
