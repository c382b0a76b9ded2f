"""The heap of wake-ups against the plain rule: the least (due, order) of all."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.wakeups import Wakeups, earliest


@dataclass
class Sleeper:
    order: int
    next_due: float | None = None
    scheduled: float | None = None


times = st.one_of(st.none(), st.integers(0, 9).map(float))


@given(st.lists(st.tuples(st.integers(0, 4), times, st.booleans()), max_size=60))
def test_the_first_is_always_the_first(changes: list[tuple[int, float | None, bool]]) -> None:
    wakeups: Wakeups[Sleeper] = Wakeups()
    sleepers = [Sleeper(order) for order in range(5)]
    for who, due, wake in changes:
        sleepers[who].next_due = due
        wakeups.note(sleepers[who])
        awake = [(s.next_due, s.order) for s in sleepers if s.next_due is not None]
        first = wakeups.first()
        assert (None if first is None else (first[0], first[1].order)) == min(awake, default=None)
        if wake and first is not None:
            wakeups.pop()
            first[1].next_due = None
            wakeups.note(first[1])
    for sleeper in sleepers:
        sleeper.next_due = None
    assert wakeups.first() is None
    assert len(wakeups) == 0


@given(st.lists(st.none() | st.floats(0.0, 9.0)))
def test_the_earliest_of_several(dues: list[float | None]) -> None:
    assert earliest(*dues) == min((due for due in dues if due is not None), default=None)
