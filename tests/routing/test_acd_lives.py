"""Fifty thousand steps of callers, desks and hands: nobody lost, no seat taken twice, order kept, no allowed desk idle.

Hypothesis chooses bytes; each three of them are one step (what, who, how), so a failure shrinks to the few that matter.
"""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from routing.acd import (
    Acd,
    CallEnds,
    CallWaits,
    DeskAlive,
    DeskHeard,
    DeskPauses,
    DeskResumes,
    DeskSignsIn,
    DeskSignsOut,
    DeskState,
    HoldBack,
    OverflowToTrunk,
    Prioritise,
    Priority,
    Profile,
    PutThrough,
    QueueRule,
    Routed,
    Rules,
    Seize,
    Skill,
    ToHead,
    TrunkFailed,
)
from routing.floor import TELL_SECONDS

EXAMPLES, STEPS = 42, 200
WRAP_UPS = (0.0, 3.0)
STRATEGIES = ("longest-idle", "fewest-calls", "round-robin")
SKILLS = {"sign": Skill(5.0, 20.0), "en": Skill(1.0, 10.0), "video": Skill(0.5, 0.0)}
RULES = Rules(
    wrap_up=3.0,
    queues={
        "north": QueueRule("north", "longest-idle", SKILLS, ("south", "default"), 15.0, 2, "carrier", 90.0),
        "south": QueueRule("south", "fewest-calls", SKILLS, ("north",), None, None),
        "default": QueueRule("default", "round-robin", SKILLS, (), None, None, "carrier"),
    },
    profiles={
        "d1": Profile({"north": 1, "south": 2}, frozenset({"sign", "en"})),
        "d2": Profile({"south": 1}, frozenset({"en"})),
        "d3": Profile({"default": 1, "north": 2}),
        "d4": Profile({}, frozenset({"video"})),
    },
    no_sound=8.0,
)
QUEUES = ("north", "south", "default")
DESKS = ("d1", "d2", "d3", "d4")
PEOPLE = (None, None, None, "p1", "p2")
NEEDS: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"sign"}),
    frozenset({"en", "video"}),
    frozenset({"nobody-has-it"}),
)


class Life:
    def __init__(self, rules):
        self.acd, self.rules, self.now = Acd(rules), rules, 0.0
        self.inside = []
        self.number = 0
        self.who = {}
        self.failed = {}  # call → when the trunk may be asked for it again
        self.left = {}  # identity → (order, moment) of the place it left

    # --- one step ---

    def step(self, what, who, how):
        before = {place.call: place for place in self.acd.queue}
        kinds = (
            self._arrives, self._arrives, self._arrives, self._ends, self._ends, self._signs_in, self._signs_in,
            self._desk, self._desk, self._hands, self._hands, self._time, self._time, self._restart,
        )  # fmt: skip
        effects = kinds[what % len(kinds)](who, how)
        self._check(effects, before)

    def _tell(self, event):
        return self.acd.receive(event, self.now)

    def _arrives(self, who, how):
        self.number += 1
        call, person = f"c{self.number}", PEOPLE[who % len(PEOPLE)]
        alone = person is None or person not in [self.who[c] for c in self.inside]
        self.inside.append(call)
        self.who[call] = person
        priority = (Priority.NORMAL, Priority.NORMAL, Priority.DANGER, Priority.AUTHORITY)[how % 4]
        event = CallWaits(call, QUEUES[how % 3], priority, NEEDS[who % 4], person, person or f"+86{who % 7}")
        effects = self._tell(event)
        left = self.left.pop(person, None) if alone and person is not None else None
        if left is not None and self.now < left[1] + self.rules.redial:
            assert self._place(call).since == left[0], "whoever dials again gets the place back"
        return effects

    def _ends(self, who, how):
        if not self.inside:
            return []
        call = self.inside.pop(who % len(self.inside))
        place, returns = self._place(call), bool(how % 3)
        person = self.who[call]
        attached = call in self.acd.attached
        effects = self._tell(CallEnds(call, returns=returns))
        if person is not None and person not in [self.who[c] for c in self.inside]:
            self.left.pop(person, None)
            if returns and not attached and place is not None:
                self.left[person] = (place.since, self.now)
        return effects

    def _signs_in(self, who, how):
        return self._tell(DeskSignsIn(DESKS[who % 4], None, "lunch" if how % 5 == 0 else None))

    def _desk(self, who, how):
        desk = DESKS[who % 4]
        events = (DeskSignsOut(desk), DeskPauses(desk, "training"), DeskResumes(desk), DeskHeard(desk))
        return self._tell((*events, DeskAlive(desk), DeskResumes(desk))[how % 6])

    def _hands(self, who, how):
        call = self.inside[who % len(self.inside)] if self.inside else "nobody"
        desk = DESKS[how % 4]
        events = (
            ToHead(call, queue=QUEUES[how % 3]),
            ToHead(call, desk=desk, seconds=5.0, fallback=QUEUES[how % 3]),
            Seize(call, desk),
            Prioritise(call, tuple(Priority)[1 + how % 5]),
            HoldBack(f"+86{who % 7}", on=bool(how % 2)),
            TrunkFailed(call, 5.0),
        )
        if isinstance(events[(who + how) % len(events)], TrunkFailed) and self.acd.place(call) is not None:
            self.failed[call] = self.now + 5.0
        return self._tell(events[(who + how) % len(events)])

    def _time(self, who, how):
        self.now += (0.1, 1.0, 3.0, 5.0, 10.0, 130.0)[who % 6]
        return self.acd.expire(self.now)

    def _restart(self, who, how):
        packed = msgspec.msgpack.decode(msgspec.msgpack.encode(self.acd.snapshot()))
        again = Acd.restore(packed, self.rules)
        assert again.snapshot() == self.acd.snapshot()
        self.acd = again
        return []

    # --- what must be true always ---

    def _place(self, call):
        at = [desk.place for desk in self.acd.desks if desk.call == call]
        return self.acd.place(call) or (at[0] if at else None)

    def _check(self, effects, before):
        acd, queue = self.acd, self.acd.queue
        talking = [desk.call for desk in acd.desks if desk.call is not None]
        attached = list(acd.attached)
        assert sorted([p.call for p in queue] + talking + attached) == sorted(self.inside), "lost or doubled"
        for desk in acd.desks:
            assert (desk.place is not None) == (desk.state is DeskState.TALKING)
        for call, lead in acd.attached.items():
            assert self.who[call] == self.who[lead] is not None
        proven = [self.who[c] for c in [p.call for p in queue] + talking if self.who[c] is not None]
        assert len(proven) == len(set(proven)), "one person has one place"
        assert [p.key for p in queue] == sorted(p.key for p in queue)
        for name in QUEUES:
            told = [p.told for p in queue if p.queue == name]
            known = told == list(range(1, len(told) + 1))
            assert known if acd.tell_at is None else acd.tell_at <= self.now + TELL_SECONDS
            assert 0 not in told
        scene = acd.scene(self.now)
        for place in queue:
            assert not [d for d in scene.desks if scene.verdict(place, d) == "free"], (
                "an allowed desk is idle"
            )
        self._check_decisions(effects, scene, before)
        due = acd.next_due
        assert due is None or due > self.now or due == acd.tell_at or not effects

    def _check_decisions(self, effects, scene, before):
        routed = [e for e in effects if isinstance(e, Routed) and e.desk is not None]
        assert [(e.call, e.desk) for e in routed] == [
            (e.call, e.desk) for e in effects if isinstance(e, PutThrough)
        ]
        for decision in routed:
            desk = self.acd.desk(decision.desk)
            if decision.rule not in STRATEGIES or desk is None or desk.call != decision.call:
                continue
            free = structs.replace(desk, state=DeskState.IDLE, place=None)
            for place in self.acd.queue:
                earlier = place.key < desk.place.key and place.call in before
                assert not (earlier and scene.verdict(place, free) == "free"), "somebody was overtaken"
        for effect in effects:
            if isinstance(effect, OverflowToTrunk):
                assert effect.trunk == "carrier"
                assert self.now >= self.failed.pop(effect.call, 0.0), "asked again too soon"

    def close(self):
        """Whatever happened, one desk serves everybody in the end, each at most once more."""
        for desk in DESKS:
            self._tell(DeskSignsOut(desk))
        self._check([], {})
        self.now += 1000.0
        self.acd.expire(self.now)
        self._tell(DeskSignsIn("d4"))
        while self.inside:
            desk = self.acd.desk("d4")
            assert desk.call is not None, "somebody waits and nobody comes"
            self.inside.remove(desk.call)
            self._tell(DeskHeard("d4"))
            self._tell(CallEnds(desk.call))
            self.now += 3.0
            self.acd.expire(self.now)
        assert not self.acd.queue
        assert not self.acd.attached


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("wrap_up", WRAP_UPS)
def test_fifty_thousand_steps(strategy, wrap_up):
    queues = {name: replace(rule, strategy=strategy) for name, rule in RULES.queues.items()}
    lived = 0

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=st.binary(min_size=3 * STEPS, max_size=3 * STEPS))
    def live(steps):
        nonlocal lived
        life = Life(replace(RULES, wrap_up=wrap_up, queues=queues))
        for index in range(0, len(steps) - 2, 3):
            life.step(*steps[index : index + 3])
            lived += 1
        life.close()

    live()
    assert lived * len(STRATEGIES) * len(WRAP_UPS) >= 50_000, "counted, not hoped for"
