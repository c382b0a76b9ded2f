"""Comfort noise (RFC 3389): what a phone sends while its speaker is silent, made audible again. Pure.

payload of type CN ─▶ level ─▶ 20 ms of noise as loud

     0 1 2 3 4 5 6 7
    +-+-+-+-+-+-+-+-+
    |0|   level     |   −dBov; further octets tell the spectrum, which a receiver may leave aside (§4)
    +-+-+-+-+-+-+-+-+
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

NAME: Final = "CN"
PAYLOAD_TYPE: Final = 13
"""RFC 3389 §5: static, and some phones send it though nobody agreed to it."""
CLOCK_RATE: Final = 8000
"""Hz, of that type (RFC 3551 §6)."""
SOFTEST: Final = 78
"""−dBov below which nothing is heard of 16-bit samples."""
SPOT: Final = 40
"""−dBov: no room is louder than this while nobody speaks; a phone that says so must not drown the others."""
FRAMES_IN_ALL: Final = 64
"""Frames of noise at hand; 1.3 s until the first one comes again."""


def _white(size: int) -> NDArray[np.float32]:
    """Noise of power 1, the same at each start."""
    noise: NDArray[np.float32] = np.random.default_rng(3389).standard_normal(size).astype(np.float32)
    return noise


_NOISE: Final = _white(320 * FRAMES_IN_ALL)


def level_of(payload: bytes) -> int:
    """The level a CN payload states, −dBov, 0…127; an empty one is silence."""
    return payload[0] & 0x7F if payload else 127


def noise(level: int, samples: int, number: int) -> Samples:
    """`samples` of noise at `level` −dBov; `number` counts the frames, so that no two in a row are alike."""
    if level >= SOFTEST:
        return np.zeros(samples, np.int16)
    # RFC 3389 §3: 0 dBov is the level of a square wave of full scale, so its power is 32767².
    amplitude = 32767.0 * 10 ** (-max(level, SPOT) / 20)
    start = number % FRAMES_IN_ALL * 320
    made: Samples = np.clip(
        np.take(_NOISE, range(start, start + samples), mode="wrap") * amplitude, -32768, 32767
    ).astype(np.int16)
    return made
