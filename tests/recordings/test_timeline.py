import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.timeline import MAX_STEP_BACK, MAX_STEP_ON, SECOND, Steady, place, unwrap

MS = 1_000_000


def row(values) -> np.ndarray:
    return np.array(list(values), dtype=np.int64)


def test_nothing_has_no_moment() -> None:
    assert len(place(row([]), row([]))) == 0


def test_jitter_is_taken_out() -> None:
    rng = random.Random(1)
    media = row(n * 20 * MS for n in range(1000))
    delay = row(0 if n % 50 == 0 else rng.randrange(80) * MS for n in range(1000))
    moments = place(media + 7 * SECOND + delay, media)
    assert np.array_equal(moments, media + 7 * SECOND)


def test_drift_is_followed() -> None:
    # A sender's clock 100 ppm slow for two hours: 720 ms in the end.
    sent = row(n * 20 * MS for n in range(360_000))
    media = (sent * (1 - 1e-4)).astype(np.int64)
    moments = place(sent, media)
    assert np.abs(moments - sent).max() < 2 * MS


def test_a_stalled_network_moves_nothing() -> None:
    media = row(n * 20 * MS for n in range(500))
    arrival = media.copy()
    arrival[200:290] = np.maximum(arrival[200:290], arrival[290])  # 1.8 s late, then all at once
    assert np.array_equal(place(arrival, media), media)


def test_a_clock_that_stood_still_is_set_anew() -> None:
    # On hold for 30 s, the phone goes on with its timestamps as if nothing had been.
    media = row(n * 20 * MS for n in range(400))
    arrival = media.copy()
    arrival[200:] += 30 * SECOND
    assert np.array_equal(place(arrival, media), arrival)


@pytest.mark.parametrize("jump", [10**9 * 3600, -(10**9) * 50, 2**45])
def test_a_timestamp_set_anew(jump) -> None:
    arrival = row(n * 20 * MS for n in range(400))
    media = arrival.copy()
    media[150:] += jump
    assert np.array_equal(place(arrival, media), arrival)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**32 - 1))
def test_unwrap_gives_the_nearest(previous, timestamp) -> None:
    found = unwrap(previous, timestamp)
    assert found & 0xFFFFFFFF == timestamp
    assert -(2**31) <= found - previous < 2**31


def test_steps_of_the_wall_clock_are_taken_out() -> None:
    steady = Steady()
    times = [0, 20, 40, -86_400_000, -86_399_980, 315_360_000_000, 315_360_000_020]
    assert [steady.at(t * MS) // MS for t in times] == [0, 20, 40, 40, 60, 60, 80]
    assert steady.steps == 2


def test_small_disorder_and_long_silence_are_no_steps() -> None:
    steady = Steady()
    times = [5 * SECOND, 5 * SECOND - MAX_STEP_BACK, 5 * SECOND - MAX_STEP_BACK + MAX_STEP_ON]
    assert [steady.at(t) for t in times] == times
    assert steady.steps == 0


def test_a_clock_that_says_nothing_is_not_followed() -> None:
    arrival = row(n * 20 * MS for n in range(5000))
    media = row(n * SECOND * (-1) ** n for n in range(5000))
    assert np.array_equal(place(arrival, media), arrival)
