import numpy as np
import pytest

from pbx.phone.sound import LEVEL, Ear, Tone


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("hz", [440.0, 1000.0])
def test_the_ear_hears_the_tone(rate, hz):
    ear, tone = Ear(), Tone(hz, rate)
    for _ in range(50):
        ear.hear(tone.take(rate // 50), rate)
    assert ear.tone_hz == pytest.approx(hz, abs=1)
    assert ear.rms == pytest.approx(LEVEL / np.sqrt(2), rel=0.01)


def test_pieces_of_a_tone_have_no_seam():
    tone = Tone(440, 8000)
    pieces = np.concatenate([tone.take(160) for _ in range(5)])
    assert (pieces == Tone(440, 8000).take(800)).all()


def test_nothing_heard():
    assert Ear().rms is None
    assert Ear().tone_hz is None


@pytest.mark.parametrize("constant", [0, 8])
def test_silence_has_no_level_and_no_tone(constant):
    ear = Ear()
    for _ in range(100):
        ear.hear(np.full(160, constant, np.int16), 8000)
    assert ear.rms == 0
    assert ear.tone_hz is None


def test_one_click_in_silence_is_heard():
    ear = Ear()
    for number in range(100):
        ear.hear(np.full(160, 2000 if number == 50 else 8, np.int16), 8000)
    assert ear.rms is not None
    assert ear.rms > 100


def test_only_the_last_five_seconds_of_sound_count():
    ear, low, high = Ear(), Tone(440, 8000), Tone(1000, 8000)
    for _ in range(500):
        ear.hear(low.take(160), 8000)
    for _ in range(251):
        ear.hear(high.take(160), 8000)
    for _ in range(400):
        ear.hear(np.zeros(160, np.int16), 8000)
    assert ear.tone_hz == pytest.approx(1000, abs=1)


def test_another_rate_begins_anew():
    ear = Ear()
    ear.hear(Tone(440, 8000).take(8000), 8000)
    ear.hear(Tone(1000, 48000).take(48000), 48000)
    assert ear.tone_hz == pytest.approx(1000, abs=1)


def test_too_little_sound_has_no_tone():
    ear = Ear()
    ear.hear(Tone(440, 8000).take(1500), 8000)
    assert ear.tone_hz is None
