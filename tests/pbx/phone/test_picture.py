import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.phone.picture import GLYPHS, HEIGHT, WIDTH, clock_text, draw, read_clock
from pbx.phone.video import PictureDecoder, PictureEncoder


@settings(max_examples=30)
@given(
    milliseconds=st.integers(0, 86_399_999),
    number=st.integers(0, 10_000),
    role=st.sampled_from(["caller", "desk"]),
)
def test_the_clock_can_be_read(milliseconds, number, role):
    picture = draw(role, milliseconds, number)
    assert picture.shape == (HEIGHT * 3 // 2, WIDTH)
    assert read_clock(picture[:HEIGHT]) == clock_text(milliseconds)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "00:00:00.0"), (34_867_399, "09:41:07.3"), (86_399_999, "23:59:59.9"), (86_400_000, "00:00:00.0")],
)
def test_clock_text(milliseconds, text):
    assert clock_text(milliseconds) == text


def test_the_clock_survives_compression():
    encoder, decoder = PictureEncoder(), PictureDecoder()
    for number in range(12):
        decoder.push(encoder.encode(draw("caller", 45_296_700 + number * 100, number), number * 9000))
        assert decoder.last is not None
        assert read_clock(decoder.last) == clock_text(45_296_700 + number * 100)


def test_pictures_move_and_differ_by_role():
    assert (draw("caller", 0, 1)[:HEIGHT] != draw("caller", 0, 2)[:HEIGHT]).any()
    assert (draw("caller", 0, 1)[:HEIGHT] == draw("desk", 0, 1)[:HEIGHT]).all()
    assert (draw("caller", 0, 1)[HEIGHT:] != draw("desk", 0, 1)[HEIGHT:]).all()


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (480, 640), (0, 0)])
def test_no_clock_in_other_pictures(shape):
    assert read_clock(np.full(shape, 128, np.uint8)) is None


def test_noise_has_no_clock():
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH)).astype(np.uint8)
    assert read_clock(noise) is None


def test_characters_cannot_be_taken_for_each_other():
    for one, rows in GLYPHS.items():
        for other, others in GLYPHS.items():
            apart = sum((a ^ b).bit_count() for a, b in zip(rows, others, strict=True))
            assert one == other or apart >= 5, (one, other)
