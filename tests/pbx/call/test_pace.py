"""How fast calls begin, told by those that do while others wait."""

import pytest

from pbx.call.pace import LEAST, MEMORY, SUPPOSED, Pace


def at(rate, seconds, start=100.0, pace=None):
    """A pace after calls began at a steady rate."""
    pace = pace or Pace()
    times = [start + n / rate for n in range(int(seconds * rate) + 1)]
    for now in times:
        pace.began(now, more=True)
    return pace, times[-1]


def test_what_is_supposed_until_a_rush_shows_more_or_less():
    assert Pace().rate(7.0) == SUPPOSED
    assert Pace().within(32.0, 7.0) == 32 * SUPPOSED


@pytest.mark.parametrize("rate", [10, 80, 400])
def test_a_steady_rush_tells_its_pace(rate):
    pace, now = at(rate, 6 * MEMORY)
    assert pace.rate(now) == pytest.approx(rate, rel=0.02)
    assert pace.within(32.0, now) == pytest.approx(32 * rate, rel=0.02)


def test_most_of_a_change_is_known_after_two_memories():
    pace, now = at(100, 30.0)
    pace, now = at(20, 2 * MEMORY, now + 0.05, pace)
    assert 20 <= pace.rate(now) < 20 + 0.2 * 80


def test_calls_that_begin_together_count_as_much():
    pace = Pace()
    for turn in range(600):
        for n in range(4):
            pace.began(turn * 0.05 + n * 0.004, more=True)
    assert pace.rate(599 * 0.05 + 0.012) == pytest.approx(80, rel=0.02)


def test_times_in_which_nobody_waits_tell_nothing():
    pace, now = at(80, 30.0)
    before = pace.rate(now)
    for n in range(100):
        pace.began(now + 10.0 * n, more=False)
    assert pace.rate(now + 5000.0) == pytest.approx(before, rel=0.02)


def test_while_none_begins_it_falls():
    pace, now = at(80, 30.0)
    assert pace.rate(now + 0.5) == pytest.approx(80 * 5 / 5.5, rel=0.02)


def test_a_machine_that_stood_still_goes_on_at_its_pace():
    pace, now = at(80, 30.0)
    assert pace.rate(now + 3600.0) > 60
    pace, now = at(80, 2.0, now + 3600.0, pace)
    assert pace.rate(now) > 60


def test_some_may_wait_whatever_the_pace():
    pace, now = at(2, 60.0)
    assert pace.within(32.0, now) == LEAST


def test_a_clock_that_stands_still():
    pace = Pace()
    for _ in range(1000):
        pace.began(5.0, more=True)
    assert pace.rate(5.0) > SUPPOSED
