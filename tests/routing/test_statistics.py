"""Figures from events: both definitions of the service level, and sums that are right to the second however they are cut."""

import datetime as dt
import json
import random
from dataclasses import asdict
from zoneinfo import ZoneInfo

import pytest

from routing import plot
from routing.queues import Rules
from routing.simulation import Plan, Simulation
from routing.statistics import (
    ARRIVED,
    ATTACHED,
    DESK,
    DISTRICT,
    ENDED,
    HEARD,
    LOST,
    REDIALLED,
    START,
    THROUGH,
    Event,
    compute,
    from_record,
    percentile,
)

DAY = 1_763_769_600.0  # 2025-11-22T00:00:00Z


def of(events, *, since=DAY, until=DAY + 86_400, period="hour", zone=dt.UTC):
    return compute(events, since=since, until=until, zone=zone, period=period)


def story():
    """Three callers, one of whom gives up after 20 s and one after 5, and a desk for an hour."""
    return [
        Event(DAY + 0, DESK, desk="d1", agent="li", state="idle"),
        Event(DAY + 600, ARRIVED, "a", "north"),
        Event(DAY + 610, THROUGH, "a", "north", "d1", "li"),
        Event(DAY + 610, DESK, desk="d1", agent="li", state="talking"),
        Event(DAY + 612, HEARD, "a", "north", "d1", "li"),
        Event(DAY + 620, ARRIVED, "b", "north"),
        Event(DAY + 630, ARRIVED, "c", "south"),
        Event(DAY + 635, ENDED, "c", "south"),
        Event(DAY + 640, ENDED, "b", "north"),
        Event(DAY + 700, LOST, "a", "north", "d1", "li"),
        Event(DAY + 710, ENDED, "a", "north"),
        Event(DAY + 710, DESK, desk="d1", agent="li", state="wrap_up"),
        Event(DAY + 715, DESK, desk="d1", agent="li", state="paused"),
        Event(DAY + 3600, DESK, desk="d1", agent="li", state=""),
    ]


def test_both_service_levels():
    found = of(story())
    total = found.total
    assert (total.arrived, total.answered, total.abandoned, total.abandoned_soon) == (3, 1, 2, 1)
    assert total.service_level == 0.5, (
        "answered in 10 s; b gave up after 20 s, c after 5 s and does not count"
    )
    assert total.pick_up_level == 1.0
    assert total.pick_ups == [2.0]
    assert total.speed_of_answer == 10.0
    assert total.abandoned_share == pytest.approx(2 / 3)
    assert total.occupancy == pytest.approx(105 / 715)
    assert (total.talking, total.wrap_up, total.idle, total.paused) == (100.0, 5.0, 610.0, 2885.0)
    assert set(found.queues) == {"north", "south"}
    assert found.agents["li"].answered == 1
    assert found.queues["south"].service_level is None


def dials_again(*, first_ends):
    """A caller whose phone changes networks after 5 s, dials again, and is put through 10 s after it first arrived."""
    return [
        Event(DAY + 0, ARRIVED, "a", "north"),
        Event(DAY + 5, ARRIVED, "b", "north"),
        Event(DAY + 5, ATTACHED, "b", "north", incident="a"),
        Event(DAY + first_ends, ENDED, "a", "north"),
        Event(DAY + 10, THROUGH, "b", "north", "d1", "li"),
        Event(DAY + 60, ENDED, "b", "north"),
    ]


@pytest.mark.parametrize("first_ends", [7, 30, 90])
def test_who_dials_again_before_the_first_call_is_given_up_is_one_caller(first_ends):
    total = of(dials_again(first_ends=first_ends)).total
    assert (total.arrived, total.answered, total.abandoned, total.waits) == (1, 1, 0, [10.0])


def test_a_caller_who_dialled_again_has_given_up_when_the_last_of_its_calls_has():
    events = [event for event in dials_again(first_ends=7) if event.what != THROUGH]
    total = of(events).total
    assert (total.arrived, total.abandoned, total.abandoned_soon) == (1, 1, 0)
    total = of([event for event in events if event.at < 60 + DAY]).total
    assert (total.arrived, total.abandoned) == (1, 0), "one of them stands"


def test_a_call_of_an_incident_whose_calls_are_over_is_a_caller_by_itself():
    late = [Event(DAY + 100, ARRIVED, "c", "north"), Event(DAY + 100, ATTACHED, "c", "north", incident="a")]
    assert of([*dials_again(first_ends=7), *late]).total.arrived == 2
    again = [Event(DAY + 99, ARRIVED, "d", "north"), Event(DAY + 99, REDIALLED, "d", "north", incident="a")]
    assert of([*dials_again(first_ends=7), *again, *late]).total.arrived == 2, (
        "d is there, and c is the same person"
    )
    assert of(late).total.arrived == 1, "what was before is not known"


def test_a_seat_that_sends_no_sound_counts_against_picking_up():
    events = [event for event in story() if event.what != HEARD]
    assert of(events).total.pick_up_level == 0.0
    assert of(events).total.service_level == 0.5


def test_what_lasts_ends_when_the_exchange_began_again():
    events = [Event(DAY, DESK, desk="d1", state="idle"), Event(DAY + 100, START)]
    assert of(events).total.idle == 100.0
    assert of(events[:1], until=DAY + 50).total.idle == 50.0
    assert of(events[:1], since=DAY + 30, until=DAY + 50).total.idle == 20.0


@pytest.mark.parametrize("period", ["hour", "day", "month"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "Europe/Berlin"])
def test_buckets_add_up_exactly(period, zone):
    day = Simulation(Plan(calls=2000, seats=6, burst=20), Rules(wrap_up=5.0), random.Random(3).random).run()
    events = [
        Event(DAY + e.at, e.what, e.call, ("north", "south")[hash_of(e.call)], e.desk, e.agent, e.state)
        for e in day.events
    ]
    found = of(events, period=period, zone=ZoneInfo(zone))
    for name in ("arrived", "answered", "abandoned", "within", "given", "picked_within"):
        total = getattr(found.total, name)
        assert sum(getattr(f, name) for f in found.buckets.values()) == total
        assert sum(getattr(f, name) for f in found.queues.values()) == total
    for name in ("talking", "wrap_up", "idle"):
        total = getattr(found.total, name)
        assert sum(getattr(f, name) for f in found.buckets.values()) == pytest.approx(total, abs=1e-3)
        assert sum(getattr(f, name) for f in found.agents.values()) == pytest.approx(total, abs=1e-3)
    assert found.total.talking + found.total.wrap_up + found.total.idle == pytest.approx(6 * 86_400, abs=1e-3)
    assert found.total.arrived > 1500
    assert of([from_record(to_record(e)) for e in events], period=period, zone=ZoneInfo(zone)) == found


def test_districts_and_who_serves_them():
    events = [
        Event(DAY + 0, DESK, desk="d1", agent="li", state="idle", serves=("north",)),
        Event(DAY + 0, DESK, desk="d2", agent="wu", state="idle"),
        Event(DAY + 5, ARRIVED, "a", "north"),
        Event(DAY + 5, DISTRICT, "a", district="old-town"),
        Event(DAY + 6, DISTRICT, "a", district="harbour"),
        Event(DAY + 10, THROUGH, "a", "north", "d1", "li"),
        Event(DAY + 10, DESK, desk="d1", agent="li", state="talking", serves=("north",)),
        Event(DAY + 11, DISTRICT, "a", district="hills"),
        Event(DAY + 12, ARRIVED, "b", "south"),
        Event(DAY + 40, ENDED, "b", "south"),
        Event(DAY + 100, DESK, desk="d1", agent="li", state="", serves=("north",)),
        Event(DAY + 100, DESK, desk="d2", agent="wu", state=""),
    ]
    found = of(events)
    assert set(found.districts) == {"harbour"}, "the last one found before a desk had the caller"
    harbour, north, south = found.districts["harbour"], found.queues["north"], found.queues["south"]
    assert (harbour.arrived, harbour.speed_of_answer, harbour.service_level) == (1, 5.0, 1.0)
    # li (north) talked 90 of 100 s, wu (everything) was idle all the time.
    assert harbour.occupancy == north.occupancy == 0.45
    assert south.occupancy == 0.0
    assert found.agents["li"].occupancy == 0.9
    assert of([from_record(to_record(e)) for e in events]) == found


def to_record(event):
    return json.loads(json.dumps(asdict(event)))


def hash_of(call):
    return sum(call.encode()) % 2


def test_hours_of_a_day_without_an_hour():
    """The night Berlin skips an hour: the span over it still adds up."""
    zone = ZoneInfo("Europe/Berlin")
    start = dt.datetime(2026, 3, 29, 0, 30, tzinfo=zone).timestamp()
    events = [Event(start, DESK, desk="d", state="idle")]
    found = of(events, since=start, until=start + 7200, zone=zone)
    assert {k: round(f.idle) for k, f in found.buckets.items()} == {
        "2026-03-29T00": 1800,
        "2026-03-29T01": 3600,
        "2026-03-29T03": 1800,
    }


def test_percentiles_are_values_that_occurred():
    assert percentile([], 50) is None
    assert percentile([1.0], 99) == 1.0
    assert percentile([float(n) for n in range(1, 101)], 90) == 90.0


def test_a_line_that_is_none_of_ours_is_passed_over():
    assert from_record({"at": "soon", "what": "arrived"}) is None
    assert from_record({"at": 1.5, "what": "arrived", "call": "c"}) == Event(1.5, "arrived", "c")


def test_a_day_with_a_burst_loses_nobody():
    """200 within one minute on 300 seats: everybody is taken at once; on 30 seats the rest waits, and nobody is lost."""
    plan = Plan(calls=3000, seats=300)
    day = Simulation(plan, Rules(wrap_up=5.0), random.Random(7).random).run()
    assert day.lost == 0
    assert max(n for _, n in day.waiting) == 0
    small = Simulation(Plan(calls=3000, seats=30), Rules(wrap_up=5.0), random.Random(7).random).run()
    assert small.lost == 0
    assert max(n for _, n in small.waiting) > 100
    again = Simulation(Plan(calls=3000, seats=30), Rules(wrap_up=5.0), random.Random(7).random).run()
    assert again.events == small.events, "the same chance makes the same day"


def test_plots():
    curve = [(0.0, 0), (3600.0, 8), (7200.0, 0)]
    assert plot.peaks(curve, 86_400.0, 24)[:4] == [0, 8, 0, 0]
    lines = plot.text(curve, 86_400.0, columns=24, rows=2)
    assert lines[0].endswith("┤ █" + " " * 22)
    svg = plot.svg(curve, 86_400.0, title="a <b> & c")
    assert svg.startswith("<svg")
    assert "a &lt;b&gt; &amp; c" in svg
