"""The jitter buffer in C decides as the one in Python, packet by packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.jitter import JitterBuffer
from tests.kit.native_engine import demand


@pytest.fixture(autouse=True, scope="module")
def _native():
    demand("native")


PULL, MERGED = -1000, -1001
SPANS = {-2000 - ms: ms for ms in (1, 5, 10, 20, 30, 60, 200)}
# Numbers stand for how far a packet is from the newest so far: mostly the next one, some late, lost, far off.
STEPS = st.lists(
    st.one_of(
        st.just(1), st.just(1), st.just(PULL), st.just(PULL), st.integers(-12, 15), st.integers(-150, 150),
        st.integers(-40_000, 40_000), st.just(MERGED), st.sampled_from(tuple(SPANS)),
    ),
    max_size=400,
)  # fmt: skip
SOUNDS = st.sampled_from(
    [("PCMA", b"x" * 160), ("PCMU", b""), ("OPUS", b"y" * 1400), ("", b""), ("CN", b"z")]
)


@given(st.integers(0, 0xFFFF), STEPS, st.lists(SOUNDS, min_size=1, max_size=7), st.integers(1, 40))
def test_both_decide_the_same(start, steps, sounds, patience):
    from rtp.native._relay import NativeJitterBuffer

    python, native = JitterBuffer(), NativeJitterBuffer()
    newest = start
    # A quiet beginning, long enough for the buffer to look back at it.
    steps = [*[1, PULL] * patience, 1, *steps, *[PULL] * 30]
    for number, step in enumerate(steps):
        if step == PULL:
            assert native.pull() == python.pull()
        elif step == MERGED:
            python.merged()
            native.merged()
        elif step in SPANS:
            python.span = native.span = SPANS[step]
        else:
            sequence = (newest + step) & 0xFFFF
            newest = sequence if 0 < step < 1000 else newest
            name, payload = sounds[number % len(sounds)]
            python.push(sequence, (name, payload + b"%d" % number))
            native.push(sequence, (name, payload + b"%d" % number))
        assert native.snapshot() == python.snapshot()
        assert (native.begun, native.hurry) == (python.begun, python.hurry)
        assert native.following() == python.following()
        assert native.held == python.held


def test_it_hurries_when_packets_are_always_there_too_early():
    from rtp.native._relay import NativeJitterBuffer

    python, native = JitterBuffer(), NativeJitterBuffer()
    hurried = 0
    for buffer in (python, native):
        for number in range(3):
            buffer.push(number, ("PCMA", b""))
    for number in range(3, 5000):
        for buffer in (python, native):
            buffer.push(number & 0xFFFF, ("PCMA", b""))
            buffer.pull()
        assert native.hurry == python.hurry
        if python.hurry and number % 3 == 0:
            hurried += 1
            assert native.pull() == python.pull()
            python.merged()
            native.merged()
        assert native.snapshot() == python.snapshot()
    assert hurried
