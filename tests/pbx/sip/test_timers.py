"""RFC 3261 table 4 (page 265) and RFC 6026, row by row."""

import pytest

from pbx.sip.timers import Timer, Timers

TABLE = [
    # timer, unreliable, reliable; "none": the timer does not exist there
    (Timer.A, 0.5, None),
    (Timer.B, 32.0, 32.0),
    (Timer.D, 32.0, 0.0),
    (Timer.E, 0.5, None),
    (Timer.F, 32.0, 32.0),
    (Timer.G, 0.5, None),
    (Timer.H, 32.0, 32.0),
    (Timer.I, 5.0, 0.0),
    (Timer.J, 32.0, 0.0),
    (Timer.K, 5.0, 0.0),
    (Timer.L, 32.0, 32.0),
    (Timer.M, 32.0, 32.0),
    (Timer.TRYING, 0.2, 0.2),
    (Timer.CANCELLED, 32.0, 32.0),
    (Timer.LATE, 3.5, 3.5),
    (Timer.UNANSWERED, 32.0, 32.0),
]


@pytest.mark.parametrize(("timer", "unreliable", "reliable"), TABLE)
def test_lengths(timer: Timer, unreliable: float, reliable: float | None) -> None:
    assert Timers().length(timer, reliable=False) == unreliable
    assert Timers().length(timer, reliable=True) == reliable


def test_the_table_is_whole() -> None:
    assert [row[0] for row in TABLE] == list(Timer)


def test_base_values_scale_what_is_made_of_them() -> None:
    slow = Timers(t1=2.0, t2=8.0, t4=10.0, d=100.0, trying=0.1)
    assert slow.length(Timer.A, reliable=False) == 2.0
    assert slow.length(Timer.B, reliable=False) == 128.0
    assert slow.length(Timer.K, reliable=False) == 10.0
    assert slow.length(Timer.D, reliable=False) == 100.0
    assert slow.length(Timer.TRYING, reliable=True) == 0.1
