import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.resample import Resampler

RATES = (8000, 16000, 48000)
PAIRS = [(a, b) for a in RATES for b in RATES]


def tone(hz, rate, seconds=0.5, level=10000):
    return (level * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.int16)


@pytest.mark.parametrize(("source", "destination"), PAIRS)
@pytest.mark.parametrize("hz", [300, 1000, 3000])
def test_speech_band_keeps_its_pitch_and_level(source, destination, hz):
    made = Resampler(source, destination).push(tone(hz, source)).astype(float)[destination // 10 :]
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    assert spectrum.argmax() * destination / len(made) == pytest.approx(hz, abs=4)
    assert np.sqrt((made**2).mean()) == pytest.approx(10000 / np.sqrt(2), rel=0.02)


def test_what_the_lower_rate_cannot_carry_is_gone():
    made = Resampler(48000, 8000).push(tone(6000, 48000)).astype(float)[800:]
    assert np.sqrt((made**2).mean()) < 30, "6 kHz would fold to 2 kHz: wanted 47 dB down"


def test_images_are_gone():
    made = Resampler(8000, 48000).push(tone(1000, 8000)).astype(float)[4800:]
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    hz = np.arange(len(spectrum)) * 48000 / len(made)
    assert spectrum[hz > 5000].max() < spectrum.max() / 300


@given(
    pair=st.sampled_from(PAIRS),
    cuts=st.lists(st.integers(1, 700), min_size=1, max_size=8),
    seed=st.integers(0, 2**32 - 1),
)
def test_cuts_leave_no_seam(pair, cuts, seed):
    samples = np.random.default_rng(seed).integers(-9000, 9000, sum(cuts)).astype(np.int16)
    whole = Resampler(*pair).push(samples)
    resampler = Resampler(*pair)
    edges = np.cumsum([0, *cuts])
    parts = [resampler.push(samples[a:b]) for a, b in itertools.pairwise(edges)]
    # float32 sums may differ in the last bit between matrix shapes
    assert np.abs(np.concatenate(parts).astype(int) - whole.astype(int)).max(initial=0) <= 1
    assert len(whole) == -(-len(samples) * pair[1] // pair[0])


def test_rates_without_a_whole_ratio():
    with pytest.raises(ValueError, match="44100"):
        Resampler(8000, 44100)
