"""Classes, skills, levels, strategies, overflow, and a supervisor's hand: who gets the call."""

import pytest

from routing.acd import (
    Acd,
    BackToQueue,
    CallEnds,
    CallWaits,
    DeskHeard,
    DeskNotComing,
    DeskPauses,
    DeskResumes,
    DeskSignsIn,
    DeskSignsOut,
    DeskSilent,
    DeskState,
    HoldBack,
    Overflowed,
    OverflowToTrunk,
    PositionChanged,
    Prioritise,
    Priority,
    Profile,
    PutThrough,
    QueueRule,
    Routed,
    Rules,
    SameIncident,
    Seize,
    SeizeFailed,
    Skill,
    ToHead,
)


def through(effects):
    return [(e.call, e.desk) for e in effects if isinstance(e, PutThrough)]


def only(effects, kind):
    return [e for e in effects if isinstance(e, kind)]


def order(acd):
    return [place.call for place in acd.queue]


def waiting(*events, rules=None):
    acd = Acd(rules)
    for at, event in enumerate(events):
        acd.receive(event, float(at))
    return acd


# --- classes ------------------------------------------------------------------------------------------------------


def test_class_first_then_arrival():
    acd = waiting(
        CallWaits("n1"),
        CallWaits("a1", priority=Priority.AUTHORITY),
        CallWaits("s1", priority=Priority.DANGER),
        CallWaits("n2"),
        CallWaits("a2", priority=Priority.AUTHORITY),
        CallWaits("s2", priority=Priority.DANGER),
    )
    assert order(acd) == ["s1", "s2", "a1", "a2", "n1", "n2"]
    acd.receive(Prioritise("n2", Priority.RAISED), 9.0)
    assert order(acd) == ["s1", "s2", "a1", "a2", "n2", "n1"]
    acd.receive(Prioritise("s1", Priority.NORMAL, lower=False), 9.0)
    assert order(acd)[0] == "s1", "a better class is kept unless somebody says so"


def test_a_thousand_calls_leave_in_strict_order():
    """Bars L5: strictly by priority, then by arrival, over a thousand calls."""
    acd = Acd()
    classes = [Priority(1 + n * 7 % 4) for n in range(1000)]
    for number, priority in enumerate(classes):
        acd.receive(CallWaits(f"c{number:04}", priority=priority), float(number))
    served = through(acd.receive(DeskSignsIn("d"), 1000.0))
    while acd.queue:
        served += through(acd.receive(CallEnds(served[-1][0]), 1000.0 + len(served)))
    wanted = sorted(range(1000), key=lambda number: (classes[number], number))
    assert [call for call, _ in served] == [f"c{number:04}" for number in wanted]


def test_held_back_are_served_when_nobody_else_waits():
    acd = waiting(CallWaits("bot", origin="8613900"), CallWaits("a", origin="8613811"))
    acd.receive(HoldBack("86139"), 5.0)
    acd.receive(CallWaits("bot2", origin="8613901"), 6.0)
    assert order(acd) == ["a", "bot", "bot2"]
    acd.receive(CallWaits("b", origin="8613812"), 7.0)
    assert order(acd) == ["a", "b", "bot", "bot2"]
    acd.receive(DeskSignsIn("d"), 8.0)
    acd.receive(CallEnds("a"), 9.0)
    assert through(acd.receive(CallEnds("b"), 10.0)) == [("bot", "d")], "nobody is ever dropped"
    acd.receive(HoldBack("86139", on=False), 11.0)
    assert acd.place("bot2").priority is Priority.NORMAL


# --- which desk ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "third"), [("longest-idle", "d2"), ("fewest-calls", "d3"), ("round-robin", "d2")]
)
def test_strategies(strategy, third):
    acd = Acd(Rules(queues={"default": QueueRule("default", strategy)}))
    for now, desk in enumerate(("d1", "d2", "d3")):
        acd.receive(DeskSignsIn(desk), float(now))
    acd.receive(CallWaits("a"), 10.0)
    acd.receive(CallEnds("a"), 11.0)
    # d1 served one; d2 is put away and comes back: idle again last but one
    assert [d.served for d in acd.desks] == [1, 0, 0]
    if strategy == "fewest-calls":
        acd.receive(CallWaits("b"), 12.0)
        acd.receive(CallEnds("b"), 13.0)
    assert through(acd.receive(CallWaits("c"), 14.0)) == [("c", third)]


def test_round_robin_goes_round():
    acd = Acd(Rules(queues={"default": QueueRule("default", "round-robin")}))
    for desk in ("d3", "d1", "d2"):
        acd.receive(DeskSignsIn(desk), 0.0)
    got = []
    for number in range(6):
        got += through(acd.receive(CallWaits(f"c{number}"), 1.0 + number))
        acd.receive(CallEnds(f"c{number}"), 1.5 + number)
    assert [desk for _, desk in got] == ["d1", "d2", "d3", "d1", "d2", "d3"]


def test_levels_say_who_is_asked_first_and_keep_nobody_waiting():
    profiles = {"d1": Profile({"north": 2}), "d2": Profile({"north": 1}), "d3": Profile({"south": 1})}
    acd = Acd(Rules(profiles=profiles))
    for desk in profiles:
        acd.receive(DeskSignsIn(desk), 0.0)
    assert through(acd.receive(CallWaits("a", "north"), 1.0)) == [("a", "d2")]
    assert through(acd.receive(CallWaits("b", "north"), 2.0)) == [("b", "d1")]
    assert through(acd.receive(CallWaits("c", "north"), 3.0)) == []
    assert acd.desk("d3").state is DeskState.IDLE, "it serves another queue"


SIGN = Rules(
    queues={"default": QueueRule("default", skills={"sign": Skill(5.0, 20.0), "en": Skill(1.0, 20.0)})},
    profiles={"d1": Profile(), "d2": Profile(skills=frozenset({"sign"})), "d3": Profile(skills=frozenset({"en"}))},
)  # fmt: skip
DEAF = frozenset({"sign", "en"})


def test_weights_choose_and_a_skill_is_waited_for_only_so_long():
    acd = Acd(SIGN)
    for desk in ("d1", "d2", "d3"):
        acd.receive(DeskSignsIn(desk), 0.0)
    assert through(acd.receive(CallWaits("a", needs=frozenset({"sign"})), 1.0)) == [("a", "d2")]
    waits = acd.receive(CallWaits("b", needs=frozenset({"sign"})), 2.0)
    assert through(waits) == [], "d2 has it and will be free"
    assert only(waits, Routed)[0].others == (("busy", 1), ("skill", 2))
    assert through(acd.expire(21.9)) == []
    assert through(acd.expire(22.0)) == [("b", "d1")], "a caller never waits for ever for a skill"


def test_the_heavier_skill_wins_when_nobody_has_all():
    acd = Acd(SIGN)
    acd.receive(CallWaits("a", needs=DEAF), 0.0)
    acd.expire(20.0)
    for desk in ("d1", "d3", "d2"):
        acd.receive(DeskPauses(desk), 21.0)
    acd = Acd.restore(acd.snapshot(), SIGN)
    for desk in ("d1", "d3", "d2"):
        acd.receive(DeskSignsIn(desk, None, "away"), 22.0)
    acd.receive(CallEnds("a"), 23.0)
    for desk in ("d3", "d2", "d1"):
        acd.receive(DeskResumes(desk), 24.0)
    acd.receive(CallWaits("b", needs=DEAF), 25.0)
    assert order(acd) == ["b"]
    assert through(acd.expire(45.0)) == [("b", "d2")]


def test_a_skill_nobody_has_is_no_reason_to_wait():
    acd = Acd(SIGN)
    acd.receive(DeskSignsIn("d1"), 0.0)
    assert through(acd.receive(CallWaits("a", needs=frozenset({"sign"})), 1.0)) == [("a", "d1")]


# --- overflow -----------------------------------------------------------------------------------------------------

NEIGHBOURS = Rules(
    queues={
        "north": QueueRule("north", overflow_to=("south", "west"), overflow_after=10.0, overflow_length=3,
                           trunk="carrier", trunk_after=60.0),
    },
    profiles={"n": Profile({"north": 1}), "s": Profile({"south": 1}), "w": Profile({"west": 1})},
)  # fmt: skip


def test_overflow_by_time_goes_from_neighbour_to_neighbour():
    acd = Acd(NEIGHBOURS)
    for desk in ("n", "w"):
        acd.receive(DeskSignsIn(desk), 0.0)
    acd.receive(CallWaits("a", "north"), 1.0)
    acd.receive(CallWaits("b", "north"), 2.0)
    assert [(e.to, e.why) for e in only(acd.expire(12.0), Overflowed)] == [("south", "time")]
    effects = acd.expire(22.0)
    assert [(e.to, e.why) for e in only(effects, Overflowed)] == [("west", "time")]
    assert through(effects) == [("b", "w")]


def test_overflow_by_length_and_for_want_of_staff():
    acd = Acd(NEIGHBOURS)
    acd.receive(DeskSignsIn("n"), 0.0)
    for number in range(4):
        acd.receive(CallWaits(f"c{number}", "north"), 1.0)
    effects = acd.receive(CallWaits("c4", "north"), 2.0)
    assert [(e.call, e.to, e.why) for e in only(effects, Overflowed)] == [
        ("c4", "south", "length"),
        ("c4", "west", "length"),
    ]
    acd = Acd(NEIGHBOURS)
    acd.receive(DeskSignsIn("w"), 0.0)
    effects = acd.receive(CallWaits("a", "north"), 1.0)
    assert [(e.to, e.why) for e in only(effects, Overflowed)] == [
        ("south", "unstaffed"),
        ("west", "unstaffed"),
    ]
    assert through(effects) == [("a", "w")]


def test_the_trunk_is_the_last_resort_and_nobody_is_lost():
    acd = Acd(NEIGHBOURS)
    assert only(acd.receive(CallWaits("a", "north"), 0.0), OverflowToTrunk) == [
        OverflowToTrunk("a", "carrier", "unstaffed")
    ]
    assert order(acd) == ["a"], "keeps waiting here"
    acd = Acd(NEIGHBOURS)
    acd.receive(DeskSignsIn("n"), 0.0)
    acd.receive(CallWaits("a", "north"), 0.0)
    acd.receive(CallWaits("b", "north"), 1.0)
    assert only(acd.expire(60.9), OverflowToTrunk) == []
    assert only(acd.expire(61.0), OverflowToTrunk) == [OverflowToTrunk("b", "carrier", "time")]
    assert only(acd.expire(99.0), OverflowToTrunk) == [], "asked for once"


# --- hands --------------------------------------------------------------------------------------------------------


def busy(*calls, rules=None):
    """Return a queue in which every call has a desk: call a at desk da."""
    acd = Acd(rules)
    for now, call in enumerate(calls):
        acd.receive(DeskSignsIn(f"d{call}"), float(now))
        acd.receive(CallWaits(call), float(now))
    return acd


def test_to_the_head_of_a_queue():
    acd = busy("a")
    acd.receive(CallWaits("b"), 5.0)
    acd.receive(CallWaits("c"), 6.0)
    effects = acd.receive(ToHead("c"), 7.0)
    assert order(acd) == ["c", "b"]
    assert only(effects, PositionChanged)[0] == PositionChanged("c", 1, 120.0)
    effects = acd.receive(ToHead("a", queue="traffic"), 8.0)
    assert BackToQueue("a", "da", "transferred") in effects
    assert through(effects) == [("a", "da")] or ("c", "da") in through(effects)


def test_a_transferred_caller_does_not_bounce_back():
    acd = busy("a", "b")
    effects = acd.receive(ToHead("a"), 5.0)
    assert through(effects) == []
    assert acd.desk("da").state is DeskState.IDLE, "it came from there, and somebody else will be free"
    assert through(acd.receive(CallEnds("b"), 6.0)) == [("a", "db")]


def test_wait_for_one_desk_then_fall_back():
    acd = busy("a", "b")
    acd.receive(ToHead("a", desk="db", seconds=10.0, fallback="traffic"), 5.0)
    assert acd.place("a").only == "db"
    assert through(acd.receive(CallEnds("b"), 6.0)) == [("a", "db")]
    acd = busy("a", "b")
    acd.receive(ToHead("a", desk="db", seconds=10.0, fallback="traffic"), 5.0)
    effects = acd.expire(15.0)
    assert only(effects, DeskNotComing) == [DeskNotComing("a", "db", "traffic")]
    assert acd.place("a").queue == "traffic"
    acd = busy("a", "b")
    acd.receive(ToHead("a", desk="db", seconds=10.0), 5.0)
    assert DeskNotComing("a", "db", "default") in acd.receive(DeskSignsOut("db"), 6.0)
    assert order(acd) == ["b"], "its desk was lost; a, who came first, has the only other one"
    assert acd.desk("da").call == "a"


def test_seize():
    acd = busy("a", "b")
    assert acd.receive(Seize("a", "db"), 5.0) == [SeizeFailed("a", "db", "busy")]
    acd.receive(DeskSignsIn("chief", None, "office"), 5.0)
    effects = acd.receive(Seize("a", "chief"), 6.0)
    assert BackToQueue("a", "da", "seized") in effects
    assert through(effects) == [("a", "chief")]
    assert acd.receive(Seize("nobody", "da"), 7.0) == [SeizeFailed("nobody", "da", "unknown_call")]
    assert acd.receive(Seize("b", "none"), 7.0) == [SeizeFailed("b", "none", "signed_out")]
    acd.receive(CallEnds("a"), 8.0)
    assert acd.desk("chief").state is DeskState.PAUSED, "away before, away after"


# --- no sound -----------------------------------------------------------------------------------------------------


def test_a_desk_without_sound_is_put_away_and_its_caller_goes_to_the_head():
    acd = busy("a", "b", rules=Rules(no_sound=8.0))
    acd.receive(DeskHeard("db"), 2.0)
    acd.receive(CallWaits("c"), 3.0)
    effects = acd.expire(8.0)
    assert DeskSilent("da", "a", 8.0) in effects
    assert order(acd) == ["a", "c"]
    assert (acd.desk("da").state, acd.desk("da").reason) == (DeskState.PAUSED, "no_sound")
    assert acd.desk("db").call == "b"


def test_the_only_desk_keeps_its_caller_even_without_sound():
    acd = busy("a", rules=Rules(no_sound=8.0))
    assert acd.expire(8.0) == [DeskSilent("da", "a", 8.0, put_away=False)]
    assert acd.desk("da").call == "a"
    assert acd.expire(30.0) == [], "said once"


# --- one person, one place ----------------------------------------------------------------------------------------


def test_redial_within_two_minutes_keeps_the_place():
    acd = waiting(CallWaits("a1", identity="ann"), CallWaits("b"))
    acd.receive(CallEnds("a1", returns=True), 10.0)
    effects = acd.receive(CallWaits("a2", identity="ann"), 129.9)
    assert SameIncident("a2", "a1", "redialled") in effects
    assert order(acd) == ["a2", "b"]
    acd.receive(CallEnds("a2", returns=True), 130.0)
    acd.expire(250.0)
    assert only(acd.receive(CallWaits("a3", identity="ann"), 250.0), SameIncident) == []
    assert order(acd) == ["b", "a3"]


def test_redial_gets_the_dispatcher_back_if_free_else_the_head():
    acd = Acd(Rules(wrap_up=30.0))
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(DeskSignsIn("d2"), 0.0)
    acd.receive(CallWaits("a1", identity="ann"), 1.0)
    acd.receive(CallEnds("a1", returns=True), 5.0)
    assert through(acd.receive(CallWaits("a2", identity="ann"), 6.0)) == [("a2", "d1")], "d2 is idle longer"
    acd.receive(CallEnds("a2", returns=True), 7.0)
    acd.expire(37.0)
    acd.receive(CallWaits("x", identity="xu"), 38.0)
    acd.receive(CallWaits("y", identity="yu"), 38.0)
    acd.receive(CallWaits("z"), 39.0)
    acd.receive(CallWaits("a3", identity="ann"), 40.0)
    assert order(acd) == ["a3", "z"]


def test_a_call_the_dispatcher_ended_is_over():
    acd = Acd()
    acd.receive(DeskSignsIn("d1"), 0.0)
    acd.receive(CallWaits("a1", identity="ann"), 1.0)
    acd.receive(CallEnds("a1"), 2.0)
    assert only(acd.receive(CallWaits("a2", identity="ann"), 3.0), SameIncident) == []


def test_second_call_of_a_person_shares_the_place_and_inherits_it():
    acd = waiting(CallWaits("b"), CallWaits("a1", identity="ann"))
    effects = acd.receive(CallWaits("a2", identity="ann"), 5.0)
    assert SameIncident("a2", "a1", "attached") in effects
    assert order(acd) == ["b", "a2"]
    assert acd.attached == {"a1": "a2"}
    acd.receive(CallEnds("a2", returns=True), 6.0)
    assert order(acd) == ["b", "a1"], "the place is the person's, whichever call is left"
    acd.receive(DeskSignsIn("d1"), 7.0)
    acd.receive(CallEnds("b"), 8.0)
    acd.receive(CallWaits("a3", identity="ann"), 9.0)
    assert acd.attached == {"a3": "a1"}
    assert through(acd.receive(CallEnds("a1", returns=True), 10.0)) == [("a3", "d1")]


def test_six_hundred_bots_that_redial_keep_six_hundred_places():
    """Bars L6 at CI size: each identity redials every 30 s for a minute, one honest caller a second."""
    acd = Acd()
    for number in range(20):
        acd.receive(DeskSignsIn(f"d{number}"), 0.0)
    honest, now = [], 0.0
    calls = {number: f"bot{number}/0" for number in range(600)}
    for number, call in calls.items():
        acd.receive(CallWaits(call, identity=f"bot{number}", origin=f"bot{number}"), number / 600)
    first = {place.identity: place.since for place in acd.queue}
    for step in range(1, 61):
        now = float(step)
        acd.receive(CallWaits(f"honest{step}"), now)
        honest.append(f"honest{step}")
        for number in range(step % 30, 600, 30):
            again = f"bot{number}/{step}"
            if step % 2:
                acd.receive(CallEnds(calls[number], returns=True), now)
            acd.receive(CallWaits(again, identity=f"bot{number}", origin=f"bot{number}"), now)
            if not step % 2:
                acd.receive(CallEnds(calls[number], returns=True), now)
            calls[number] = again
    bots = [place.identity for place in acd.queue if place.identity]
    assert len(bots) == len(set(bots)) == 580
    assert all(place.since == first.get(place.identity, place.since) for place in acd.queue)
    assert [place.call for place in acd.queue if not place.identity] == honest, "nobody is dropped"
    acd.receive(HoldBack("bot"), now)
    assert order(acd)[:60] == honest, "one act of a supervisor lets the citizens through"
    assert not acd.attached
