"""The queue and the desks: examples, and no order of events that loses a caller."""

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.acd import (
    Acd,
    BackToQueue,
    CallEnds,
    CallWaits,
    DeskPauses,
    DeskResumes,
    DeskSignsIn,
    DeskSignsOut,
    DeskState,
    PositionChanged,
    PutThrough,
)
from routing.floor import TELL_SECONDS


def put_through(effects):
    return [(e.call, e.desk) for e in effects if isinstance(e, PutThrough)]


def positions(effects):
    return [(e.call, e.position) for e in effects if isinstance(e, PositionChanged)]


def test_nobody_in_front_goes_straight_in():
    acd = Acd()
    acd.receive(DeskSignsIn("d1"), 0.0)
    effects = acd.receive(CallWaits("a"), 5.0)
    assert put_through(effects) == [("a", "d1")]
    assert positions(effects) == []


def test_waits_in_order_and_is_told_the_position():
    acd = Acd()
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(CallWaits("a"), 1.0)
    assert positions(acd.receive(CallWaits("b"), 2.0)) == [("b", 1)]
    assert positions(acd.receive(CallWaits("c"), 3.0)) == [("c", 2)]
    effects = acd.receive(CallEnds("a"), 4.0)
    assert put_through(effects) == [("b", "d1")]
    assert positions(effects) == [], "who is next does not wait until all others are told"
    assert acd.next_due == 4.0
    assert positions(acd.expire(4.0)) == [("c", 1)]


def test_who_moved_up_is_told_once_a_second_however_many_leave():
    acd = Acd()
    for n in range(10):
        acd.receive(CallWaits(f"c{n}"), 0.0)
    acd.receive(CallEnds("c0"), 5.0)
    assert positions(acd.expire(5.0)) == [(f"c{n}", n) for n in range(1, 10)]
    for n in range(1, 5):
        assert positions(acd.receive(CallEnds(f"c{n}"), 5.0 + n / 10)) == []
        assert positions(acd.expire(5.0 + n / 10)) == []
    assert acd.next_due == acd.tell_at == 5.0 + TELL_SECONDS
    assert positions(acd.receive(CallWaits("new"), 5.5)) == [("new", 6)], "who is new hears at once"
    assert positions(acd.expire(6.0)) == [(f"c{n}", n - 4) for n in range(5, 10)]
    assert acd.tell_at is None


def test_longest_idle_desk_first():
    acd = Acd()
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(DeskSignsIn("d2"), 1.0)
    assert put_through(acd.receive(CallWaits("a"), 2.0)) == [("a", "d1")]
    acd.receive(CallEnds("a"), 3.0)  # d1 idle since 3, d2 since 1
    assert put_through(acd.receive(CallWaits("b"), 4.0)) == [("b", "d2")]


def test_wrap_up_then_the_next_one():
    acd = Acd(wrap_up=5.0)
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(CallWaits("a"), 1.0)
    acd.receive(CallWaits("b"), 2.0)
    assert put_through(acd.receive(CallEnds("a"), 10.0)) == []
    assert acd.next_due == 15.0
    assert put_through(acd.expire(14.9)) == []
    assert put_through(acd.expire(15.0)) == [("b", "d1")]
    assert acd.next_due is None


def test_lost_desk_sends_its_caller_to_the_head():
    acd = Acd()
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(CallWaits("a"), 1.0)
    acd.receive(CallWaits("b"), 2.0)
    effects = acd.receive(DeskSignsOut("d1"), 3.0)
    assert BackToQueue("a", "d1") in effects
    assert positions(effects) == [("a", 1)]
    assert positions(acd.expire(3.0)) == [("b", 2)]
    assert put_through(acd.receive(DeskSignsIn("d2"), 4.0)) == [("a", "d2")]


def test_two_lost_desks_keep_arrival_order():
    acd = Acd()
    for n, desk in enumerate(("d1", "d2")):
        acd.receive(DeskSignsIn(desk), 0.0)
        acd.receive(CallWaits(f"c{n}"), 1.0 + n)
    acd.receive(DeskSignsOut("d2"), 5.0)
    acd.receive(DeskSignsOut("d1"), 6.0)
    assert [w.call for w in acd.queue] == ["c0", "c1"]


def test_pause_keeps_the_caller_and_takes_no_other():
    acd = Acd()
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(CallWaits("a"), 1.0)
    acd.receive(CallWaits("b"), 1.0)
    acd.receive(DeskPauses("d1"), 2.0)
    assert acd.desk("d1").call == "a"
    assert put_through(acd.receive(CallEnds("a"), 3.0)) == []
    assert acd.desk("d1").state is DeskState.PAUSED
    assert put_through(acd.receive(DeskResumes("d1"), 4.0)) == [("b", "d1")]


def test_resume_during_a_call_takes_the_pause_back():
    acd = Acd()
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(CallWaits("a"), 1.0)
    acd.receive(DeskPauses("d1"), 2.0)
    acd.receive(DeskResumes("d1"), 3.0)
    acd.receive(CallEnds("a"), 4.0)
    assert acd.desk("d1").state is DeskState.IDLE


def test_second_event_of_the_same_kind_changes_nothing():
    acd = Acd()
    acd.receive(CallWaits("a"), 1.0)
    assert acd.receive(CallWaits("a"), 2.0) == []
    assert acd.receive(CallEnds("unknown"), 3.0) == []
    assert acd.receive(DeskSignsOut("unknown"), 3.0) == []


def orders(events, after):
    """Yield every order of `events` in which each comes behind those `after` names for it."""
    if not events:
        yield ()
        return
    for event in events:
        if not any(other in after.get(event, ()) for other in events):
            rest = tuple(e for e in events if e != event)
            for order in orders(rest, after):
                yield (event, *order)


def test_two_desks_and_three_callers_in_every_order():
    """All 22,680 orders of three arrivals, their hang-ups, two sign-ins and the loss of one desk."""
    after = {CallEnds(c): (CallWaits(c),) for c in "abc"} | {DeskSignsOut("d1"): (DeskSignsIn("d1"),)}
    events = (*(CallWaits(c) for c in "abc"), *(CallEnds(c) for c in "abc"), *map(DeskSignsIn, ("d1", "d2")))
    count = 0
    for order in orders((*events, DeskSignsOut("d1")), after):
        count += 1
        acd = Acd()
        served: dict[str, list[str]] = {c: [] for c in "abc"}
        inside: list[str] = []
        for now, event in enumerate(order):
            match event:
                case CallWaits(call):
                    inside.append(call)
                case CallEnds(call):
                    inside.remove(call)
            for effect in acd.receive(event, float(now)):
                if isinstance(effect, PutThrough):
                    served[effect.call].append(effect.desk)
            talking = [d.call for d in acd.desks if d.call]
            assert sorted([w.call for w in acd.queue] + talking) == sorted(inside)
            assert len(talking) == min(len(inside), len(acd.desks))
        assert acd.queue == ()
        assert all(len(desks) <= 2 for desks in served.values())
        assert all(desks != ["d1", "d1"] for desks in served.values())
    assert count == 22_680


CALLS = st.sampled_from([f"c{n}" for n in range(6)])
DESKS = st.sampled_from(["d1", "d2", "d3"])
EVENTS = st.one_of(
    st.builds(CallWaits, CALLS),
    st.builds(CallEnds, CALLS),
    st.builds(DeskSignsIn, DESKS),
    st.builds(DeskSignsOut, DESKS),
    st.builds(DeskPauses, DESKS),
    st.builds(DeskResumes, DESKS),
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.tuples(EVENTS, st.floats(0.0, 4.0)), max_size=40),
    st.sampled_from([0.0, 3.0]),
    st.integers(0, 39),
)
def test_no_order_of_events_loses_or_doubles_a_caller(steps, wrap_up, cut):
    acd = Acd(wrap_up=wrap_up)
    inside: list[str] = []
    now = 0.0
    for index, (event, wait) in enumerate(steps):
        if index == cut:
            acd = Acd.restore(acd.snapshot())
        now += wait
        acd.expire(now)
        match event:
            case CallWaits(call) if call not in inside:
                inside.append(call)
            case CallEnds(call) if call in inside:
                inside.remove(call)
        acd.receive(event, now)

        queued = [w.call for w in acd.queue]
        talking = [d.call for d in acd.desks if d.call is not None]
        assert sorted(queued + talking) == sorted(inside)
        assert not (queued and any(d.state is DeskState.IDLE for d in acd.desks))
        told = [w.told for w in acd.queue] == list(range(1, len(queued) + 1))
        assert told if acd.tell_at is None else acd.tell_at <= now + TELL_SECONDS
        ordered = sorted(acd.queue, key=lambda w: (not w.returned, w.since))
        assert [w.call for w in ordered] == queued
        for desk in acd.desks:
            assert (desk.call is not None) == (desk.state is DeskState.TALKING)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(EVENTS, st.floats(0.0, 4.0)), max_size=40),
    st.lists(st.tuples(EVENTS, st.floats(0.0, 4.0)), min_size=100, max_size=200),
)
def test_restored_machine_behaves_alike(before, after):
    acd = Acd(wrap_up=2.0)
    now = 0.0
    for event, wait in before:
        now += wait
        acd.expire(now)
        acd.receive(event, now)
    twin = Acd.restore(acd.snapshot())
    for event, wait in after:
        now += wait
        assert acd.next_due == twin.next_due
        assert acd.expire(now) == twin.expire(now)
        assert acd.receive(event, now) == twin.receive(event, now)
