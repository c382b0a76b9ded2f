"""The memory in which processes beat."""

import asyncio
import os
import time

import pytest

from pbx import pulse


@pytest.fixture
def pulses():
    made = pulse.make(3)
    yield made
    os.close(made.descriptor)


def told(pulses, place):
    return {pulse.VARIABLE: str(os.dup(pulses.descriptor)), pulse.PLACE: str(place)}


def test_a_beat_is_seen_by_the_others_and_by_nobody_else_place(pulses):
    environment = told(pulses, 1)
    other = pulse.take(environment)
    before = time.monotonic_ns()
    pulse.own(told(pulses, 1))()
    assert before <= other.last(1) <= time.monotonic_ns()
    assert (other.last(0), other.last(2)) == (0, 0)
    assert list(other.places) == [0, 1, 2]
    assert other.age(1, time.monotonic() + 5) == pytest.approx(5, abs=0.5)
    assert other.age(0, time.monotonic()) == 0.0, "it has not begun"


def test_what_ended_is_remembered_and_who_follows_has_not_beaten(pulses):
    assert pulses.outage([0, 1]) is None
    pulses.beat(0)
    first = pulses.last(0)
    pulses.ended(0, hung=True)
    assert (pulses.last(0), pulses.hangs(0), pulses.hangs(1)) == (0, 1, 0)
    assert pulses.outage([0, 1]) == (first, True)
    pulses.ended(0, hung=False)  # it died before it ever beat: there was nobody since the one before it
    assert pulses.outage([0, 1]) == (first, False)
    pulses.beat(1)
    second = pulses.last(1)
    pulses.ended(1, hung=False)
    assert pulses.outage([0, 1]) == (second, False)
    assert pulses.outage([0]) == (first, False)


@pytest.mark.parametrize(
    "environment",
    [{}, {pulse.VARIABLE: "-1"}, {pulse.VARIABLE: "9999", pulse.PLACE: "0"}, {pulse.VARIABLE: "x"}],
)
def test_where_nobody_watches_a_beat_does_nothing(environment):
    assert pulse.take(environment) is None
    pulse.own(environment)()


@pytest.mark.parametrize("place", ["", "3", "x"])
def test_who_has_no_place_does_not_take_anothers(pulses, place):
    pulse.own(told(pulses, place))()
    assert [pulses.last(number) for number in pulses.places] == [0, 0, 0]


def test_a_loop_beats_as_long_as_it_goes_round():
    """On a clock of its own: no second passes."""
    beats, due = [], []

    class Loop(asyncio.AbstractEventLoop):
        def call_later(self, delay, callback, *args):
            due.append((delay, callback, args))

    pulse.beats(Loop(), lambda: beats.append(1))
    for _ in range(9):
        delay, callback, args = due.pop()
        assert delay == pulse.BEAT_SECONDS < pulse.LATE_SECONDS
        callback(*args)
    assert len(beats) == 10
