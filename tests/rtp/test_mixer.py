import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.mixer import CEILING, FADING, Mixer

RATES = (8000, 16000)
SEEDS = st.integers(0, 2**32 - 1)


def room(names):
    """Everybody hears all others."""
    return {name: tuple(other for other in names if other != name) for name in names}


def arranged(names, rate=8000, ears=None):
    mixer = Mixer(rate)
    mixer.arrange(names, room(names) if ears is None else ears)
    return mixer


def nobody(mixer):
    return np.zeros(len(mixer.voices), bool)


def sounds(mixer, seed, level=9000):
    return np.random.default_rng(seed).integers(
        -level, level, (len(mixer.voices), mixer.frame), dtype=np.int16, endpoint=True
    )


def tone(hz, samples, rate, start=0, level=8000):
    return (np.sin((np.arange(samples) + start) * 2 * np.pi * hz / rate) * level).astype(np.int16)


@given(st.integers(2, 6), SEEDS, st.sampled_from(RATES))
def test_nobody_hears_himself(count, seed, rate):
    names = [f"v{n}" for n in range(count)]
    mixer = arranged(names, rate)
    frames = sounds(mixer, seed, 32_767 // 6)
    heard = mixer.mix(frames, nobody(mixer))
    whole = frames.astype(np.int32).sum(axis=0)
    for row in range(count):
        assert np.array_equal(heard[row], whole - frames[row])


@given(SEEDS, st.permutations(["a", "b", "c", "d"]), st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_voices_and_of_ears_changes_nothing(seed, voices, ears):
    plain = arranged(["a", "b", "c", "d"])
    frames = sounds(plain, seed, 32_000)
    expected = dict(zip("abcd", plain.mix(frames, nobody(plain)), strict=True))
    mixed = arranged(voices, ears={ear: tuple(v for v in voices if v != ear) for ear in ears})
    heard = mixed.mix(frames[["abcd".index(name) for name in voices]], nobody(mixed))
    for row, ear in enumerate(ears):
        assert np.array_equal(heard[row], expected[ear])


@given(st.lists(st.sampled_from([-32768, 32767, 20_000, -20_000, 0]), min_size=3, max_size=40))
def test_the_loudest_sound_never_wraps_and_is_turned_down(levels):
    mixer = arranged(["a", "b", "c"])
    for level in levels:
        frames = np.full((3, 160), level, np.int16)
        heard = mixer.mix(frames, nobody(mixer)).astype(np.int32)
        assert (np.sign(heard) * np.sign(level) >= 0).all()
        steady = heard[:, 20:]
        assert (np.abs(steady) <= CEILING + 1).all(), "behind the attack nothing is above the ceiling"


def test_the_limiter_lets_go_slowly():
    mixer = arranged(["a", "b", "c"])
    mixer.mix(np.full((3, 160), 32_767, np.int16), nobody(mixer))
    quiet = np.full((3, 160), 1000, np.int16)
    first = mixer.mix(quiet, nobody(mixer))[0, -1]
    assert first < 1000
    for _ in range(100):
        last = mixer.mix(quiet, nobody(mixer))[0]
    assert (last == 2000).all()


@given(st.integers(1, 5), st.integers(0, 10), st.booleans())
def test_silence_in_is_silence_out(count, frames, lost):
    names = [f"v{n}" for n in range(count)]
    mixer = arranged(names)
    for _ in range(frames):
        missing = np.full(count, lost)
        assert not mixer.mix(np.zeros((count, 160), np.int16), missing).any()


def test_rooms_are_apart():
    mixer = Mixer(8000)
    mixer.arrange(["a", "b", "c", "x", "y", "z"], {**room(["a", "b", "c"]), **room(["x", "y", "z"])})
    frames = np.zeros((6, 160), np.int16)
    frames[:3] = 5000
    heard = mixer.mix(frames, nobody(mixer))
    assert (heard[:3] == 10_000).all()
    assert not heard[3:].any()


def test_an_ear_without_voices_hears_silence():
    mixer = arranged(["a"], ears={"b": (), "c": ("a",)})
    heard = mixer.mix(np.full((1, 160), 7, np.int16), nobody(mixer))
    assert not heard[0].any()
    assert (heard[1] == 7).all()


def test_an_ear_of_an_unknown_voice_is_an_error():
    with pytest.raises(KeyError):
        arranged(["a"], ears={"b": ("nobody",)})


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [150, 210, 330])
def test_a_lost_frame_of_a_tone_is_hardly_heard(hz, rate):
    mixer = arranged(["a"], rate, {"ear": ("a",)})
    size = mixer.frame
    heard = []
    for number in range(8):
        frame = tone(hz, size, rate, number * size).reshape(1, -1)
        heard.append(mixer.mix(np.zeros_like(frame) if number == 5 else frame, np.array([number == 5]))[0])
    whole = np.concatenate(heard).astype(np.int32)
    steepest = np.abs(np.diff(tone(hz, 8 * size, rate).astype(np.int32))).max()
    assert np.abs(np.diff(whole)).max() <= 1.6 * steepest, "a click"
    assert np.sqrt(np.mean(whole[5 * size : 6 * size] ** 2.0)) > 0.7 * 8000 / np.sqrt(2)
    assert mixer.concealed == 1


def test_a_long_loss_fades_to_silence_and_comes_back_without_a_click():
    mixer = arranged(["a"], ears={"ear": ("a",)})
    for number in range(4):
        mixer.mix(tone(200, 160, 8000, number * 160).reshape(1, -1), np.array([False]))
    gone = [
        np.abs(mixer.mix(np.zeros((1, 160), np.int16), np.array([True]))[0].astype(int)).max()
        for _ in range(6)
    ]
    assert gone[0] > 7000
    assert gone[len(FADING) - 1 :] == [0] * (6 - len(FADING) + 1)
    back = mixer.mix(np.full((1, 160), 8000, np.int16), np.array([False]))[0].astype(int)
    assert np.diff(np.concatenate([[0], back])).max() < 400
    assert back[-1] == 8000


def test_who_stays_goes_on_without_a_seam():
    one, two = arranged(["a"], ears={"ear": ("a",)}), arranged(["a"], ears={"ear": ("a",)})
    for number in range(4):
        frame = tone(200, 160, 8000, number * 160).reshape(1, -1)
        one.mix(frame, np.array([False]))
        two.mix(frame, np.array([False]))
    two.arrange(["new", "a"], {"other": ("new",), "ear": ("a",)})
    lost_one = one.mix(np.zeros((1, 160), np.int16), np.array([True]))[0]
    lost_two = two.mix(np.zeros((2, 160), np.int16), np.array([False, True]))[1]
    assert np.array_equal(lost_one, lost_two)
    assert np.array_equal(two.recent("a"), lost_two)
    assert not two.recent("nobody").any()


def test_nobody_at_all():
    mixer = Mixer(8000)
    assert mixer.mix(np.zeros((0, 160), np.int16), np.zeros(0, bool)).shape == (0, 160)
