"""Put one party's sound on the time line of a film: decoded, mono, silence where nothing was heard.

in → out: payloads with their moments → 16-bit samples without a hole → PCM packets of a Matroska track.

The silence belongs to the derived film only; the capture holds none. Packets that overlap what is there already are
cut at the front, so a second sender at the same time does not shift the first.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final, cast

import av
import av.error
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from recordings import amr
from recordings.streams import Format

Samples = NDArray[np.int16]

RATES: Final = {"PCMA": 8000, "PCMU": 8000, "G722": 16_000, "OPUS": 48_000, "AMR": 8000, "AMR-WB": 16_000}
"""Samples per second that come out of the decoder."""
_DECODERS: Final = {
    "PCMA": "pcm_alaw", "PCMU": "pcm_mulaw", "G722": "g722", "OPUS": "libopus", "AMR": "libopencore_amrnb",
    "AMR-WB": "libopencore_amrwb",
}  # fmt: skip
SLACK: Final = 0.020
"""Seconds a packet may lie beside the end of the one before and still be joined to it: rounding and the floor of the
transit time move moments by a few milliseconds, and a click for each would be heard."""
BLOCK: Final = 0.2
"""Seconds of sound in one packet of the film."""
MAX_UNIT_SECONDS: Final = 0.5
"""Longest sound of one RTP packet; RFC 7587 §4.2 allows 120 ms, G.711 in one datagram of 1,500 bytes has 180 ms."""


class SoundDecoder:
    """Decode the payloads of one sender to samples of one rate."""

    def __init__(self, form: Format, rate: int) -> None:
        """`rate`: samples per second wanted; the format must be one of `RATES`."""
        self.bad = 0
        self._name, self._fmtp = form.name, form.fmtp
        self._rate = rate
        self._resampler = AudioResampler(format="s16", layout="mono", rate=rate)
        self._decoder = self._fresh()

    def decode(self, payload: bytes) -> Samples:
        """Give the samples of one payload; none if it can't be decoded."""
        try:
            packets = amr.frames(self._name, self._fmtp, payload) if self._name in amr.NAMES else [payload]
            frames = [frame for packet in packets for frame in self._decoder.decode(av.Packet(packet))]
            parts = [out.to_ndarray()[0] for frame in frames for out in self._resampler.resample(frame)]
        except (av.error.FFmpegError, ValueError):
            self.bad += 1
            self._decoder = self._fresh()
            return np.zeros(0, np.int16)
        if not parts:
            return np.zeros(0, np.int16)
        samples = cast("Samples", np.concatenate(parts))
        return samples[: int(self._rate * MAX_UNIT_SECONDS)]

    def _fresh(self) -> AudioCodecContext:
        decoder = cast("AudioCodecContext", av.CodecContext.create(_DECODERS[self._name], "r"))
        decoder.sample_rate = RATES[self._name]
        decoder.layout = "mono"
        return decoder


class SoundTrack:
    """The sound of one party from the beginning of the film."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.cut = 0
        """Samples left out because there was sound at their place already."""
        self._end = 0
        """Samples placed, counted from the beginning."""
        self._waiting: list[Samples] = []
        self._waiting_size = 0

    @property
    def seconds(self) -> float:
        """Length of the track so far."""
        return self._end / self.rate

    def place(self, moment: float, samples: Samples) -> Iterator[tuple[int, bytes]]:
        """Put samples at `moment` seconds from the beginning; gives (position in samples, little-endian PCM)."""
        start = round(moment * self.rate)
        if abs(start - self._end) <= SLACK * self.rate:
            start = self._end
        yield from self.silence(start / self.rate)
        overlap = min(max(self._end - start, 0), len(samples))
        self.cut += overlap
        yield from self._add(samples[overlap:])

    def silence(self, until: float) -> Iterator[tuple[int, bytes]]:
        """Fill up with silence to `until` seconds from the beginning."""
        missing = round(until * self.rate) - self._end
        block = int(self.rate * BLOCK)
        while missing > 0:
            size = min(missing, block)
            yield from self._add(np.zeros(size, np.int16))
            missing -= size

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """Give what is not yet a full block."""
        if self._waiting_size:
            samples = np.concatenate(self._waiting)
            self._waiting, self._waiting_size = [], 0
            yield self._end - len(samples), samples.astype("<i2").tobytes()

    def _add(self, samples: Samples) -> Iterator[tuple[int, bytes]]:
        if len(samples):
            self._waiting.append(samples)
            self._waiting_size += len(samples)
            self._end += len(samples)
            if self._waiting_size >= self.rate * BLOCK:
                yield from self.flush()


def packet(stream: av.AudioStream, position: int, pcm: bytes) -> "av.Packet[av.AudioStream]":
    """Make the Matroska packet of a block of PCM at `position` samples."""
    made = cast("av.Packet[av.AudioStream]", av.Packet(pcm))
    made.stream = stream
    made.time_base = Fraction(1, stream.codec_context.sample_rate)
    made.pts = made.dts = position
    made.duration = len(pcm) // 2
    made.is_keyframe = True
    return made
