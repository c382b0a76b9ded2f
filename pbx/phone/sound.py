"""The sound of a scripted phone: a tone to send, and an ear that tells which tone it hears."""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

LEVEL: Final = 8000  # −12 dB of full scale: loud enough for any codec, far from clipping
WINDOW_SECONDS: Final = 5.0
QUIET_RMS: Final = 30.0  # below −60 dB of full scale: what a codec leaves of silence, not sound
MIN_TONE_SECONDS: Final = 0.2  # less gives no frequency worth telling (5 Hz apart)


class Tone:
    """A sine without end, given in pieces."""

    def __init__(self, hz: float, rate: int) -> None:
        """`rate`: Hz of the samples."""
        self._step = 2 * np.pi * hz / rate
        self._at = 0

    def take(self, count: int) -> Samples:
        """The next `count` samples, shape (count,)."""
        phase = self._step * np.arange(self._at, self._at + count)
        self._at += count
        wave: Samples = (LEVEL * np.sin(phase)).astype(np.int16)
        return wave


class Ear:
    """Hears decoded sound: its level over all, and the tone of the last five seconds that were not silent."""

    def __init__(self) -> None:
        self._rate = 0
        self._heard: deque[Samples] = deque()
        self._held = 0
        self._count = 0
        self._sum = 0.0
        self._squares = 0.0

    def hear(self, samples: Samples, rate: int) -> None:
        """Take samples of `rate` Hz, shape (n,)."""
        if not len(samples):
            return
        exact = samples.astype(np.float64)
        self._count += len(exact)
        self._sum += float(exact.sum())
        self._squares += float((exact**2).sum())
        if rate != self._rate:
            self._rate, self._held = rate, 0
            self._heard.clear()
        if exact.std() < QUIET_RMS:
            return
        self._heard.append(samples)
        self._held += len(samples)
        while self._held - len(self._heard[0]) >= WINDOW_SECONDS * rate:
            self._held -= len(self._heard.popleft())

    @property
    def rms(self) -> float | None:
        """Level of all that was heard, in steps of 16 bits, its constant part left out; None when nothing came.

        A-law has no code for 0, its silence is a constant 8: only what moves is sound.
        """
        if not self._count:
            return None
        mean = self._sum / self._count
        return float(np.sqrt(max(0.0, self._squares / self._count - mean**2)))

    @property
    def tone_hz(self) -> float | None:
        """The strongest frequency in the last five seconds that were not silent; None for less than 0.2 s of sound."""
        if self._held < MIN_TONE_SECONDS * self._rate or not self._held:
            return None
        samples = np.concatenate(list(self._heard)).astype(np.float64)
        spectrum = np.abs(np.fft.rfft((samples - samples.mean()) * np.hanning(len(samples))))
        return float(spectrum.argmax()) * self._rate / len(samples)
