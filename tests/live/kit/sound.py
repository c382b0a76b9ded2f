"""What a recording holds: length, loudness, tones.

WAV files are read by hand because phones write the length into the header only when they close the file, and these
are also read while a call is up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono sound: samples of -32768…32767."""

    rate: int
    samples: Samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(self.samples**2))) if len(self.samples) else 0.0

    def part(self, start: float, end: float | None = None) -> "Sound":
        """Give the sound between two moments (seconds; a negative start counts from the end)."""
        first = int(start * self.rate)
        last = None if end is None else int(end * self.rate)
        return Sound(self.rate, self.samples[first:last])

    @property
    def tone(self) -> float:
        """The strongest frequency in Hz; 0.0 for silence or less than a quarter of a second."""
        if len(self.samples) < self.rate // 4 or self.rms == 0:
            return 0.0
        power = self._power()
        return float(power.argmax()) * self.rate / len(self.samples)

    def share(self, frequency: float, width: float = 15.0) -> float:
        """Give the share (0…1) of the power that lies within `width` Hz of a frequency."""
        return self.shares((frequency,), width)[0]

    def shares(self, frequencies: Sequence[float], width: float = 15.0) -> list[float]:
        """Give `share` of each frequency; the spectrum, which is what costs, is made once."""
        if len(self.samples) < self.rate // 4:
            return [0.0] * len(frequencies)
        power = self._power()
        total = float(power.sum())
        step = self.rate / len(self.samples)
        lines = [
            slice(max(0, int((one - width) / step)), int((one + width) / step) + 1) for one in frequencies
        ]
        return [float(power[line].sum()) / total if total else 0.0 for line in lines]

    def _power(self) -> Samples:
        spectrum = np.fft.rfft(self.samples * np.hanning(len(self.samples)))
        return np.asarray(np.abs(spectrum) ** 2, dtype=np.float64)


NOTHING = Sound(8000, np.zeros(0))


def read(path: Path) -> Sound:
    """Read a 16-bit PCM WAV file, also one that is still being written; the first channel of several."""
    raw = path.read_bytes()
    data = raw.find(b"data")
    if raw[:4] != b"RIFF" or data < 0:
        return NOTHING
    channels, rate = int.from_bytes(raw[22:24], "little"), int.from_bytes(raw[24:28], "little")
    body = raw[data + 8 :]
    frames = len(body) // (2 * channels)
    samples = np.frombuffer(body[: frames * 2 * channels], "<i2").astype(np.float64)[::channels]
    return Sound(rate, samples)


def alaw(data: bytes, rate: int = 8000) -> Sound:
    """Decode A-law octets (ITU-T G.711): sign, three bits of segment, four of step, even bits inverted.

    Written out here and not taken from the exchange, so that it can judge the exchange.
    """
    code = np.frombuffer(data, np.uint8).astype(np.int32) ^ 0x55
    segment, step = (code & 0x70) >> 4, code & 0x0F
    linear = np.where(segment == 0, (step << 4) + 8, ((step << 4) + 0x108) << np.maximum(segment - 1, 0))
    return Sound(rate, np.where(code & 0x80, linear, -linear).astype(np.float64))


def is_alaw_silence(payload: bytes) -> bool:
    """Say whether a PCMA payload is codec silence: nothing but the two smallest steps, 0xD5 and 0x55 (+-8 of 32768)."""
    return bool(payload) and not payload.strip(b"\xd5\x55")
