import numpy as np
import pytest

from rtp.noise import FRAMES_IN_ALL, SOFTEST, SPOT, level_of, noise


@pytest.mark.parametrize(("payload", "level"), [(b"\x28", 40), (b"\xbf\x10\x20", 63), (b"", 127)])
def test_the_first_octet_is_the_level(payload, level):
    assert level_of(payload) == level


@pytest.mark.parametrize("level", [SPOT, 50, 60])
@pytest.mark.parametrize("samples", [160, 320])
def test_noise_is_as_loud_as_stated(level, samples):
    made = np.concatenate([noise(level, samples, number) for number in range(FRAMES_IN_ALL)]).astype(float)
    told = 20 * np.log10(np.sqrt(np.mean(made**2)) / 32767)
    assert told == pytest.approx(-level, abs=1.0)


def test_what_nobody_hears_is_silence_and_a_loud_room_is_not_believed():
    assert not noise(SOFTEST, 160, 0).any()
    assert np.array_equal(noise(0, 160, 3), noise(SPOT, 160, 3))


def test_two_frames_in_a_row_differ():
    assert not np.array_equal(noise(40, 160, 1), noise(40, 160, 2))
