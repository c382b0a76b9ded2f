"""Who is looked after at once and who some at a time."""

from types import SimpleNamespace

import pytest

from rtp.sweeping import PAUSE_SECONDS, PORTION, Sweeping, following


class Timers:
    """The part of a loop that is asked for: times, kept until the test lets them come."""

    def __init__(self):
        self.waiting, self.failures = [], []

    def at(self, due, callback, _name):
        self.waiting.append((due, callback))

    def failed(self, name, error):
        self.failures.append((name, type(error)))

    def fire(self):
        due, callback = self.waiting.pop(0)
        callback(due)


def leg(name, due=float("inf")):
    return SimpleNamespace(leg=name, rtcp_due=due, report_due=float("inf"), tracks={})


@pytest.fixture
def rig():
    timers, legs, seen = Timers(), {}, []

    def look(one, now, late):
        seen.append((one.leg, now, late))
        one.rtcp_due = following(one.rtcp_due, 5.0, now)
        if one.leg == "broken":
            raise KeyError

    return SimpleNamespace(timers=timers, legs=legs, seen=seen, sweeping=Sweeping(timers, legs, look))


def put(rig, *legs):
    rig.legs.update({one.leg: one for one in legs})
    return legs


def test_those_without_a_report_come_first_and_at_once(rig):
    legs = put(rig, leg("due", 9.0), *(leg(str(number)) for number in range(3 * PORTION)))
    rig.sweeping.begin(legs, 10.0, late=0.5)
    assert [name for name, _, _ in rig.seen] == [*(str(number) for number in range(3 * PORTION)), "due"]
    assert {row[1:] for row in rig.seen} == {(10.0, 0.5)}
    assert rig.timers.waiting == []


def test_reports_are_made_some_at_a_time(rig):
    legs = put(rig, *(leg(str(number), 10.0) for number in range(2 * PORTION + 1)))
    rig.sweeping.begin(legs, 10.0, late=0.0)
    assert len(rig.seen) == PORTION
    rig.timers.fire()
    assert len(rig.seen) == 2 * PORTION
    assert rig.seen[-1][1] == 10.0 + PAUSE_SECONDS
    rig.timers.fire()
    assert [name for name, _, _ in rig.seen] == [one.leg for one in legs]
    assert rig.timers.waiting == []


def test_portions_grow_with_the_number_of_legs(rig):
    legs = put(rig, *(leg(str(number), 10.0) for number in range(1000)))
    rig.sweeping.begin(legs, 10.0, late=0.0)
    assert len(rig.seen) == 10


def test_the_next_sweep_takes_over_without_a_second_row_of_portions(rig):
    legs = put(rig, *(leg(str(number), 10.0) for number in range(3 * PORTION)))
    rig.sweeping.begin(legs, 10.0, late=0.0)
    rig.sweeping.begin([one for one in legs if one.rtcp_due <= 10.1], 10.1, late=0.0)
    assert len(rig.seen) == PORTION, "the portions go on as they did"
    assert len(rig.timers.waiting) == 1
    while rig.timers.waiting:
        rig.timers.fire()
    assert [name for name, _, _ in rig.seen] == [one.leg for one in legs], "each once"


def test_a_leg_that_was_closed_meanwhile_is_not_looked_at(rig):
    legs = put(rig, *(leg(str(number), 10.0) for number in range(PORTION + 2)))
    rig.sweeping.begin(legs, 10.0, late=0.0)
    gone = legs[PORTION].leg
    rig.legs[gone] = leg(gone, 10.0)  # another one of its name
    rig.timers.fire()
    assert gone not in {name for name, _, _ in rig.seen}
    assert len(rig.seen) == PORTION + 1


def test_the_failure_of_one_ends_no_other(rig):
    legs = put(rig, leg("broken"), leg("a"), leg("b", 9.0))
    rig.sweeping.begin(legs, 10.0, late=0.0)
    assert [name for name, _, _ in rig.seen] == ["broken", "a", "b"]
    assert rig.timers.failures == [("broken.sweep", KeyError)]


def test_reports_keep_step_unless_they_had_to_wait():
    assert following(10.0, 5.0, 10.1) == 15.0
    assert following(10.0, 5.0, 10.2) == 15.2
    assert following(10.0, 5.0, 40.0) == 45.0, "what a stall has swallowed is not made up for"
