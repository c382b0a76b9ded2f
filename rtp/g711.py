"""G.711 by tables: 8-bit codes ↔ 16-bit linear samples, A-law (PCMA) and μ-law (PCMU).

code (uint8) ─▶ ALAW_TO_LINEAR[code] (int16);  sample (int16) ─▶ LINEAR_TO_ALAW[sample + 32768] (uint8)

Built from ITU-T G.711 (11/88), tables 1a/1b (A-law, 13 bits) and 2a/2b (μ-law, 14 bits). Encoding picks the
quantizing interval the sample lies in, as the decision values of those tables state it, so that
encode(decode(code)) is `code` for every code (μ-law's negative zero aside).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Codes = NDArray[np.uint8]


def _alaw_to_linear() -> Samples:
    # G.711 §3.1 with table 1a note 2: "the character signal is obtained by inverting the even bits".
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment, interval = (code >> 4) & 7, code & 15
    # 13-bit value scaled to 16 bits: an interval is 2^(segment+3) wide (segments 0 and 1 alike) and stands for its middle.
    flat = (interval << 4) + 8
    steep = (flat + 0x100) << np.maximum(segment - 1, 0)
    magnitude = np.where(segment == 0, flat, steep)
    # Table 1a: sign bit 1 is positive.
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _ulaw_to_linear() -> Samples:
    # G.711 table 2a: all bits of the character signal are inverted on the line.
    code = np.arange(256, dtype=np.int32) ^ 0xFF
    segment, interval = (code >> 4) & 7, code & 15
    magnitude = (((interval << 3) + 0x84) << segment) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _linear_to_alaw() -> Codes:
    sample = np.arange(-32768, 32768, dtype=np.int32)
    # Table 1b: negative intervals mirror the positive ones; −1 belongs to the first negative interval, so use ~sample.
    magnitude = np.where(sample < 0, ~sample, sample)
    segment = np.zeros(magnitude.shape, dtype=np.int32)
    for power in range(8, 15):
        segment += magnitude >= (1 << power)
    interval = (magnitude >> np.maximum(segment + 3, 4)) & 15
    code = np.where(sample >= 0, 0x80, 0) | (segment << 4) | interval
    codes: Codes = (code ^ 0x55).astype(np.uint8)
    return codes


def _linear_to_ulaw() -> Codes:
    sample = np.arange(-32768, 32768, dtype=np.int32)
    # Table 2a: the decision values are offset by 33 units of 14 bits, 0x84 of 16; the largest is 8159 units (clipping).
    magnitude = np.minimum(np.abs(sample), 8158 << 2) + 0x84
    segment = np.zeros(magnitude.shape, dtype=np.int32)
    for power in range(8, 15):
        segment += magnitude >= (1 << power)
    interval = (magnitude >> (segment + 3)) & 15
    code = np.where(sample < 0, 0x80, 0) | (segment << 4) | interval
    codes: Codes = (code ^ 0xFF).astype(np.uint8)
    return codes


ALAW_TO_LINEAR: Final = _alaw_to_linear()
ULAW_TO_LINEAR: Final = _ulaw_to_linear()
LINEAR_TO_ALAW: Final = _linear_to_alaw()
LINEAR_TO_ULAW: Final = _linear_to_ulaw()
TO_LINEAR: Final = {"PCMA": ALAW_TO_LINEAR, "PCMU": ULAW_TO_LINEAR}
TO_CODE: Final = {"PCMA": np.roll(LINEAR_TO_ALAW, 32768), "PCMU": np.roll(LINEAR_TO_ULAW, 32768)}
"""By the bit pattern of a sample, so that int16 looked at as uint16 is the index."""


def decode_alaw(payload: bytes) -> Samples:
    """PCMA payload → int16 samples at 8000 Hz, one per byte."""
    return ALAW_TO_LINEAR[np.frombuffer(payload, np.uint8)]


def decode_ulaw(payload: bytes) -> Samples:
    """PCMU payload → int16 samples at 8000 Hz, one per byte."""
    return ULAW_TO_LINEAR[np.frombuffer(payload, np.uint8)]


def encode_alaw(samples: Samples) -> bytes:
    """int16 samples at 8000 Hz, any number → PCMA payload."""
    return LINEAR_TO_ALAW[samples.astype(np.int32) + 32768].tobytes()


def encode_ulaw(samples: Samples) -> bytes:
    """int16 samples at 8000 Hz, any number → PCMU payload."""
    return LINEAR_TO_ULAW[samples.astype(np.int32) + 32768].tobytes()
