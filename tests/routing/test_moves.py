"""The queue while dispatchers move callers by hand: nobody is lost or doubled, whoever may have a waiting caller has it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.acd import (
    Acd,
    BackToQueue,
    CallEnds,
    CallWaits,
    DeskNotComing,
    DeskPauses,
    DeskResumes,
    DeskSignsIn,
    DeskSignsOut,
    DeskState,
    PutThrough,
    Rules,
    Seize,
    SeizeFailed,
    ToHead,
)
from routing.moves import DeskCalls, DeskReturns, DeskVisits, PartyJoins

CALLS, DESKS = ("c1", "c2", "c3", "c4"), ("d1", "d2", "d3")
calls, desks = st.sampled_from(CALLS), st.sampled_from(DESKS)
events = st.one_of(
    st.builds(CallWaits, calls),
    st.builds(CallEnds, calls),
    st.builds(DeskSignsIn, desks),
    st.builds(DeskSignsIn, desks),
    st.builds(DeskSignsOut, desks),
    st.builds(DeskPauses, desks),
    st.builds(DeskResumes, desks),
    st.builds(DeskVisits, desks),
    st.builds(DeskReturns, desks),
    st.builds(PartyJoins, st.just("party")),
    st.builds(DeskSignsOut, st.just("party")),
    st.builds(Seize, calls, st.one_of(desks, st.just("party"))),
    st.builds(ToHead, calls, desk=st.one_of(st.none(), desks), seconds=st.floats(0, 100)),
    st.builds(DeskCalls, desks, st.just("ours")),
    st.builds(CallEnds, st.just("ours")),
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(events, st.sampled_from([0.0, 0.5, 30.0])), max_size=40),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from([None, 20.0]),
)
def test_no_move_loses_or_doubles_a_caller(steps, wrap_up, no_sound):
    rules = Rules(wrap_up=wrap_up, no_sound=no_sound)
    acd, now, live = Acd(rules), 0.0, set()
    where = {}  # caller -> desk, as the effects tell it
    for event, pause in steps:
        now += pause
        out = [*acd.expire(now), *acd.receive(event, now)]
        match event:
            case CallWaits(call):
                live.add(call)
            case CallEnds(call):
                live.discard(call)
                where.pop(call, None)
            case DeskCalls(desk, call) if (found := acd.desk(desk)) is not None and found.call == call:
                live.add(call)
                where[call] = desk
        for effect in out:
            match effect:
                case PutThrough(call, desk):
                    assert call not in where
                    where[call] = desk
                case BackToQueue(call, desk):
                    assert where.pop(call) == desk
        waiting = [w.call for w in acd.queue]
        talking = {d.call: d.desk for d in acd.desks if d.call is not None}
        assert sorted([*waiting, *talking]) == sorted(live), "everybody is in one place"
        assert talking == where, "the effects say all"
        scene = acd.scene(now)
        assert not [w for w in acd.queue for d in acd.desks if scene.verdict(w, d) == "free"]
        assert all(d.state is DeskState.TALKING for d in acd.desks if d.call is not None)
        again = Acd.restore(acd.snapshot(), rules)
        assert (again.snapshot(), again.next_due) == (acd.snapshot(), acd.next_due)


def test_whoever_sent_a_caller_on_is_the_way_back():
    acd = Acd()
    for at, desk in enumerate(("d1", "d2", "d3")):
        acd.receive(DeskSignsIn(desk), float(at))
    acd.receive(CallWaits("c1"), 3.0)
    acd.receive(DeskPauses("d2"), 3.0)
    out = acd.receive(ToHead("c1", desk="d2", seconds=20.0), 4.0)
    assert BackToQueue("c1", "d1", "transferred") in out
    assert acd.desk("d1").state is DeskState.IDLE
    assert acd.next_due == 24.0
    out = acd.expire(24.0)
    assert DeskNotComing("c1", "d2", "default") in out
    assert PutThrough("c1", "d1", 0.0) in out, "d3 has been idle for longer"


def test_a_party_is_never_served_by_the_queue():
    acd = Acd()
    acd.receive(PartyJoins("party"), 0.0)
    acd.receive(CallWaits("c1"), 0.0)
    assert acd.desk("party").call is None
    acd.receive(Seize("c1", "party"), 1.0)
    acd.receive(CallWaits("c2"), 1.0)
    acd.receive(CallEnds("c1"), 2.0)
    assert acd.desk("party").call is None
    assert [w.call for w in acd.queue] == ["c2"]


def test_a_desk_that_visits_or_calls_gets_no_caller():
    acd = Acd()
    for desk in ("d1", "d2"):
        acd.receive(DeskSignsIn(desk), 0.0)
    acd.receive(DeskVisits("d1"), 1.0)
    acd.receive(DeskCalls("d2", "ours"), 1.0)
    acd.receive(CallWaits("c1"), 2.0)
    (place,) = acd.queue
    assert [acd.scene(2.0).verdict(place, desk) for desk in acd.desks] == ["visiting", "busy"]
    assert SeizeFailed("c1", "d2", "busy") in acd.receive(Seize("c1", "d2"), 3.0)
    assert PutThrough("c1", "d1", 3.0) in acd.receive(DeskReturns("d1"), 5.0)


def test_a_desk_that_calls_is_not_put_away_while_it_rings():
    acd = Acd(Rules(no_sound=20.0))
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(DeskSignsIn("d2"), 0.0)
    acd.receive(DeskCalls("d1", "ours"), 1.0)
    assert acd.expire(60.0) == []
    assert acd.desk("d1").call == "ours"


def test_a_pause_asked_for_in_another_room_begins_at_home():
    acd = Acd()
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(DeskVisits("d1"), 1.0)
    acd.receive(DeskPauses("d1", "lunch"), 2.0)
    assert acd.desk("d1").state is DeskState.VISITING
    acd.receive(DeskReturns("d1"), 3.0)
    assert (acd.desk("d1").state, acd.desk("d1").reason) == (DeskState.PAUSED, "lunch")
