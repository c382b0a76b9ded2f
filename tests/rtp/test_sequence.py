from hypothesis import given
from hypothesis import strategies as st

from rtp import sequence as q

NUMBERS = st.integers(0, 0xFFFF)
STAMPS = st.integers(0, 0xFFFFFFFF)


@given(NUMBERS, st.integers(0, 0xFFFF))
def test_forward16_inverts_addition(older, steps):
    assert q.forward16(older, (older + steps) & 0xFFFF) == steps


@given(STAMPS, st.integers(-(1 << 31), (1 << 31) - 1))
def test_signed32_inverts_addition(older, steps):
    assert q.signed32(older, (older + steps) & 0xFFFFFFFF) == steps


@given(NUMBERS, NUMBERS)
def test_one_of_two_is_newer(first, second):
    if q.forward16(first, second) not in {0, 0x8000}:
        assert q.newer16(first, second) != q.newer16(second, first)
    assert not q.newer16(first, first)


def test_wrap():
    assert q.newer16(0, 65535)
    assert not q.newer16(65535, 0)
    assert q.forward32(0xFFFFFFFF, 159) == 160


def test_ticks_round_down():
    assert q.ticks(0.02, 8000) == 160
    assert q.ticks(0.0199999, 8000) == 159
