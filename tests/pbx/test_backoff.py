"""How soon a process that ended is started again: at once, but not for ever."""

import pytest

from pbx.backoff import AT_ONCE, FIRST_PAUSE, LAST_PAUSE, STEADY_SECONDS, Backoff

STEADY = STEADY_SECONDS + 0.1


def test_what_ran_steadily_is_back_at_once_however_often_it_ends():
    backoff = Backoff()
    assert [backoff.pause(STEADY) for _ in range(100)] == [0.0] * 100


def test_the_first_that_end_young_are_followed_at_once_and_then_each_later_than_the_one_before():
    backoff = Backoff()
    pauses = [backoff.pause(2.0) for _ in range(1000)]
    assert pauses[:AT_ONCE] == [0.0] * AT_ONCE
    assert pauses[AT_ONCE : AT_ONCE + 5] == [FIRST_PAUSE * 2**n for n in range(5)]
    assert pauses[AT_ONCE + 5 :] == [LAST_PAUSE] * (1000 - AT_ONCE - 5)


@pytest.mark.parametrize("ran", [0.0, 0.01, STEADY_SECONDS])
def test_how_young_it_was_makes_no_difference(ran):
    backoff = Backoff()
    assert [backoff.pause(ran) > 0.0 for _ in range(AT_ONCE + 1)] == [False] * AT_ONCE + [True]


def test_one_that_ran_steadily_ends_a_loop():
    backoff = Backoff()
    for _ in range(AT_ONCE + 4):
        backoff.pause(0.0)
    assert backoff.pause(STEADY) == 0.0
    assert backoff.pause(0.0) == 0.0
    assert backoff == Backoff(young=1)
