import numpy as np
import pytest

from rtp import g711

CODES = bytes(range(256))


def test_alaw_codes_survive_a_round_trip():
    assert g711.encode_alaw(g711.decode_alaw(CODES)) == CODES


def test_ulaw_codes_survive_a_round_trip_but_negative_zero():
    # G.711 table 2b: both zeros decode to 0, and 0 encodes to the positive one (0xFF).
    expected = CODES.replace(b"\x7f", b"\xff")
    assert g711.encode_ulaw(g711.decode_ulaw(CODES)) == expected


@pytest.mark.parametrize(
    ("code", "sample"),
    [
        # G.711 table 1a: value 1 of 2048 for the first interval, 4032 of 4096 for the last; scaled by 8.
        (0xD5, 8),
        (0x55, -8),
        (0xAA, 32256),
        (0x2A, -32256),
        (0xD4, 24),
    ],
)
def test_alaw_values_of_the_table(code, sample):
    assert g711.decode_alaw(bytes([code]))[0] == sample


@pytest.mark.parametrize(
    ("code", "sample"),
    # G.711 table 2a: 0, 2 and 8031 of 8159; scaled by 4.
    [(0xFF, 0), (0x7F, 0), (0xFE, 8), (0x80, 32124), (0x00, -32124)],
)
def test_ulaw_values_of_the_table(code, sample):
    assert g711.decode_ulaw(bytes([code]))[0] == sample


@pytest.mark.parametrize(
    ("encode", "decode"), [(g711.encode_alaw, g711.decode_alaw), (g711.encode_ulaw, g711.decode_ulaw)]
)
def test_error_stays_within_half_an_interval(encode, decode):
    samples = np.arange(-32768, 32768, dtype=np.int32)
    heard = decode(encode(samples.astype(np.int16))).astype(np.int32)
    # 4 bits of mantissa: half an interval is 1/32 of the value (μ-law: of the value and its bias of 132); 16 covers
    # A-law's flat first segments. The top is clipped.
    allowed = np.maximum(16, (np.abs(samples) + 132) / 30)
    inside = np.abs(samples) < 32000
    assert (np.abs(heard - samples)[inside] <= allowed[inside]).all()
    assert (np.abs(heard - samples)[~inside] <= 1024).all()


def test_encoding_is_monotonic():
    samples = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
    for encode, decode in ((g711.encode_alaw, g711.decode_alaw), (g711.encode_ulaw, g711.decode_ulaw)):
        assert (np.diff(decode(encode(samples)).astype(np.int32)) >= 0).all()
