"""Sampling rates 8000, 16000 and 48000 Hz into each other, frame by frame without a seam.

A windowed-sinc low-pass of its own in polyphase form: going up computes every output phase from the same inputs,
going down computes only the samples that are kept.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
TAPS_PER_PHASE: Final = 24  # at the lower rate: 24 taps are 3 ms at 8 kHz, pass band to 0.85 of the half rate


@cache
def _low_pass(factor: int) -> NDArray[np.float32]:
    """Kaiser-windowed sinc, cut at 0.92 of the lower half rate; shape (TAPS_PER_PHASE · factor,), gain 1."""
    count = TAPS_PER_PHASE * factor
    at = (np.arange(count) - (count - 1) / 2) / factor
    taps = np.sinc(0.92 * at) * np.kaiser(count, 7.0)
    scaled: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return scaled


class Resampler:
    """One stream of int16 samples from `source` Hz to `destination` Hz; one rate is a multiple of the other."""

    def __init__(self, source: int, destination: int) -> None:
        """Raises ValueError when neither rate divides the other."""
        if max(source, destination) % min(source, destination):
            raise ValueError(f"no whole ratio: {source} → {destination} Hz")
        self._up = destination // source if destination > source else 1
        self._down = source // destination if source > destination else 1
        factor = max(self._up, self._down)
        taps = _low_pass(factor)
        if self._up > 1:
            # Phase p of output n is Σ h[p + k·up] · x[n−k]: one matrix (k reversed, phase).
            self._matrix = (taps * self._up).reshape(TAPS_PER_PHASE, self._up)[::-1].copy()
        else:
            self._matrix = taps[::-1].reshape(-1, 1).copy()
        self._history = np.zeros(self._matrix.shape[0] - 1, np.float32)

    def push(self, samples: Samples) -> Samples:
        """Any number of samples → those that are complete; totals keep the exact ratio."""
        if self._up == self._down:
            return samples
        line = np.concatenate([self._history, samples.astype(np.float32)])
        width = self._matrix.shape[0]
        if len(line) < width:
            self._history = line
            return np.zeros(0, np.int16)
        windows = np.lib.stride_tricks.sliding_window_view(line, width)[:: self._down]
        # The next window starts `down` further than the last one; what lies before it is spent.
        self._history = line[len(windows) * self._down :].copy()
        made = windows @ self._matrix
        return np.clip(np.rint(made), -32768, 32767).astype(np.int16).ravel()
