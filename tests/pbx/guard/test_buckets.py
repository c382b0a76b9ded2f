"""Token buckets on simulated time."""

from hypothesis import given
from hypothesis import strategies as st

from pbx.guard.buckets import Buckets, Limit


def test_a_burst_passes_then_the_rate():
    buckets = Buckets(Limit(rate=2, burst=5), 10)
    assert [buckets.take("a", 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert buckets.take("a", 0.4) is False
    assert buckets.take("a", 0.5) is True
    assert buckets.take("a", 0.5) is False
    assert buckets.take("b", 0.5) is True


def test_who_exceeds_is_blocked_until_it_was_quieter():
    buckets = Buckets(Limit(rate=10, burst=10, block=5.0), 10)
    now = 0.0
    while now < 60.0:  # 100 a second, ten times too many
        buckets.take("a", now)
        now += 0.01
    passed = sum(buckets.take("a", now + n / 100) for n in range(100))
    assert passed == 0
    assert buckets.blocked("a", now)
    end = now + 1.0
    # It goes on, but slower than the rate: the block is over 5 s after the last request that was too many.
    free = [n for n in range(12) if buckets.take("a", end + n * 0.5)]
    assert free[0] * 0.5 <= 5.5
    assert free == list(range(free[0], 12))


def test_a_clock_that_stands_still_gives_nothing():
    buckets = Buckets(Limit(rate=1000, burst=1), 10)
    assert buckets.take("a", 5.0)
    assert not buckets.take("a", 5.0)
    assert not buckets.take("a", 4.0)


def test_memory_is_bounded_and_the_oldest_is_forgotten_first():
    buckets = Buckets(Limit(rate=0.001, burst=1), 100)
    assert buckets.take("mine", 0.0)
    for n in range(99):
        buckets.take(n, 0.0)
    assert not buckets.take("mine", 0.0)  # still known, and the newest again
    for n in range(99):
        buckets.take(1000 + n, 0.0)
    assert len(buckets) == 100
    assert not buckets.take("mine", 0.0)
    for n in range(100):
        buckets.take(2000 + n, 0.0)
    assert buckets.take("mine", 0.0)  # forgotten: a full bucket again
    assert len(buckets) == 100


@given(
    st.floats(0.1, 1000),
    st.integers(1, 100),
    st.lists(st.floats(0, 2), min_size=1, max_size=200),
    st.floats(0, 5),
)
def test_no_more_than_burst_and_rate_ever_passes(rate, burst, pauses, block):
    buckets = Buckets(Limit(rate, burst, block), 2)
    now = passed = 0.0
    for pause in pauses:
        now += pause
        passed += buckets.take("a", now)
    assert passed <= burst + rate * now + 1e-6
