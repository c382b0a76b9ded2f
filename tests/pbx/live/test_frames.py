"""Frames are whole and genuine, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.live.frames import (
    HEADER_BYTES,
    Frame,
    Header,
    Seal,
    key_name,
    packed,
    parse_header,
    unpacked,
)

KEY = bytes(range(32))
HEADER = Header("11111111-2222-3333-4444-555555555555", b"s" * 16, key_name(KEY))


def sealed(*frames, header=HEADER, key=KEY):
    seal = Seal(key, header)
    return [seal.seal(frame) for frame in frames]


def frame(number):
    return Frame(float(number), number, number, [(f"call:{number}", b"x" * number), ("gone", None)], [b"out"])


def opened(data, *, header=HEADER, key=KEY):
    seal, view, found = Seal(key, header), memoryview(data), []
    while (one := seal.open(view)) is not None:
        found.append(one[0])
        view = view[one[1] :]
    return found


def test_header_tells_whose_file_it_is():
    assert len(HEADER.encode()) == HEADER_BYTES
    assert parse_header(HEADER.encode() + b"more") == HEADER
    assert parse_header(HEADER.encode()[:-1]) is None
    assert parse_header(b"x" * 200) is None


def test_what_was_sealed_is_opened():
    frames = [frame(n) for n in range(5)]
    assert opened(b"".join(sealed(*frames))) == frames


def test_a_tail_torn_at_any_byte_costs_the_torn_frame_alone():
    parts = sealed(*(frame(n) for n in range(4)))
    data, ends = b"".join(parts), [sum(map(len, parts[:n])) for n in range(5)]
    for cut in range(len(data)):
        whole = max(n for n, end in enumerate(ends) if end <= cut)
        assert opened(data[:cut]) == [frame(n) for n in range(whole)]


@given(st.data())
def test_a_flipped_bit_ends_the_file_before_its_frame(data):
    parts = sealed(*(frame(n) for n in range(4)))
    whole = bytearray(b"".join(parts))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    hit = next(n for n in range(4) if bit // 8 < sum(map(len, parts[: n + 1])))
    assert opened(bytes(whole)) == [frame(n) for n in range(hit)]


def test_no_frame_fits_another_place_or_file():
    first, second = sealed(frame(1), frame(2))
    assert opened(second) == opened(second + first) == []
    assert opened(first + first) == [frame(1)]
    assert opened(first, header=Header(HEADER.boot, b"t" * 16, HEADER.key)) == []
    assert opened(first, key=bytes(32)) == []


@pytest.mark.parametrize("length", [0, 15, 2**31])
def test_a_length_nobody_writes_ends_the_file(length):
    assert opened(length.to_bytes(4, "big") + b"x" * 100) == []


def test_nothing_of_a_frame_can_be_read_in_the_file():
    (data,) = sealed(Frame(1.0, 1, 1, [("leg:1", b"inline:c2VjcmV0IGtleQ==")], []))
    assert b"inline" not in data
    assert b"leg:1" not in data


TEXTS = st.text(st.characters(min_codepoint=1)) | st.just("caf\udce9 \udcff")
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.binary()
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(PLAIN)
def test_any_plain_data_comes_back_also_texts_that_are_no_unicode(data):
    assert unpacked(packed(data)) == data
