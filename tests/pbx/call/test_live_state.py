"""An exchange that is put together again from the journal's records goes on as if nothing had happened."""

import random

import pytest

from pbx.call import leg_snapshot
from pbx.call.call import State as CallState
from pbx.call.exchange import Exchange
from pbx.call.live_state import LiveState
from pbx.live.frames import packed, unpacked
from tests.kit.life import Life
from tests.kit.world import World

NO_GRACE = -1e9  # deadlines stay as they are, so that twins can be compared


class Kept:
    """The records of a world's exchange, as a journal keeps them: bytes by name, changed at the end of each turn."""

    def __init__(self, world):
        self.world, self.records = world, {}
        self.live = LiveState(world.exchange)

    def turn(self):
        for name, data in self.live.changes():
            if data is None:
                self.records.pop(name, None)
            else:
                self.records[name] = packed(data)

    def rebuild(self):
        """Throw the exchange away and make it of the records."""
        world = self.world
        # In which order what one turn made stands in the books decides nothing but whom a random life picks next.
        books = world.exchange.legs, world.exchange.calls, world.exchange.rooms
        order = {key: number for number, key in enumerate(key for book in books for key in book)}
        names = sorted(self.records, key=lambda name: order.get(name.partition("/")[2], -1))
        self.records = {name: self.records[name] for name in names}
        world.exchange = Exchange(world.exchange.site, world.exchange.mint)
        world.answering._exchange = world.exchange
        world.answering.watching._exchange = world.exchange
        world.exchange.directory = world.answering
        self.live = LiveState(world.exchange)
        bad = self.live.resume(
            {name: unpacked(data) for name, data in self.records.items()}, world.now, NO_GRACE
        )
        assert bad == []


def said(world):
    wire = [
        (type(e).__name__, *(getattr(e, n).encode() for n in ("request", "response") if hasattr(e, n)))
        for e in world.sent
    ]
    acd = {key: value for key, value in world.exchange.acd.snapshot().items() if key != "alarms"}
    return [wire, world.notes, world.finished, world.rooms, acd, world.now]


@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_it_says_the_same_as_one_that_lives_on(seed):
    one, other = Life(seed), Life(seed)
    kept, chance = Kept(other.world), random.Random(seed)
    for number in range(600):
        one.step()
        other.step()
        kept.turn()
        if chance.random() < 0.2:
            kept.live.lazily()
            kept.turn()
            kept.rebuild()
        if number % 20 == 0:
            assert said(one.world) == said(other.world)
    assert said(one.world) == said(other.world)
    assert one.world.notes


@pytest.mark.parametrize("seed", range(4))
def test_every_change_is_told(seed):
    """What was told bit by bit is at each moment what stands, but for places in the queue that were only told."""
    life = Life(seed)
    kept, exchange = Kept(life.world), life.world.exchange
    for _ in range(400):
        life.step()
        kept.turn()
        kept.live.lazily()
        kept.turn()
        fresh = LiveState(exchange)
        exchange.changed |= {*exchange.legs, *exchange.calls}
        exchange.rooms.changed |= set(exchange.rooms)
        whole = {name: packed(data) for name, data in fresh.changes() if data is not None}
        mine = {
            name: data for name, data in kept.records.items() if name in whole or not name.startswith("acd")
        }
        for name, data in whole.items():
            assert unpacked(mine[name]) == unpacked(data), name
        kinds = ("leg/", "call/", "room/", "neg/", "inv/")
        assert {n for n in mine if n.startswith(kinds)} == {n for n in whole if n.startswith(kinds)}


def test_a_machine_that_cant_be_told_costs_none_that_was(monkeypatch):
    world = World(desks=("d1",))
    kept = Kept(world)
    world.invite("bob")
    kept.turn()
    call = world.call("bob")
    world.exchange.changed = {call.id: None, call.leg: None}  # in this order
    monkeypatch.setattr(leg_snapshot, "light", lambda _leg: 1 / 0)
    told = kept.live.changes()
    assert next(told)[0] == f"call/{call.id}"
    with pytest.raises(ZeroDivisionError):
        list(told)


def test_a_call_whose_leg_was_lost_is_dropped_and_the_others_stay():
    world = World(desks=("d1",))
    kept = Kept(world)
    world.invite("bob")
    world.invite("carol")
    kept.turn()
    bob, carol = (world.call(name) for name in ("bob", "carol"))
    del kept.records[f"neg/{bob.leg}"]
    kept.world.exchange = Exchange(world.exchange.site, world.exchange.mint)
    live = LiveState(kept.world.exchange)
    bad = live.resume({name: unpacked(data) for name, data in kept.records.items()}, world.now, NO_GRACE)
    assert {f"call/{bob.id}", f"leg/{bob.leg}"} <= set(bad)
    assert list(kept.world.exchange.calls) == [carol.id]


def test_whoever_was_only_told_a_place_is_told_it_again():
    world = World(desks=("d1",))
    kept = Kept(world)
    for name in ("ann", "bob", "carol"):
        world.invite(name)
        world.ack(name)
    kept.turn()
    kept.live.lazily()
    kept.turn()
    world.bye("ann")
    world.wait(0.01)
    kept.turn()
    assert [world.call(name).position for name in ("bob", "carol")] == [1, 2]
    kept.rebuild()
    assert [world.call(name).position for name in ("bob", "carol")] == [1, 2]
    assert {call.state for call in world.exchange.calls.values()} == {CallState.WAITING}


def test_nobody_is_given_up_for_the_time_nobody_listened():
    world = World(desks=("d1",))
    world.sign_in("d1")
    kept = Kept(world)
    leg = world.desk_leg("d1")
    leg.probe_deadline = world.now + 1.0
    world.exchange.touch(leg.id)
    world.exchange.run([], world.now)
    kept.turn()
    world.now += 5.0
    exchange = Exchange(world.exchange.site, world.exchange.mint)
    records = {name: unpacked(data) for name, data in kept.records.items()}
    assert LiveState(exchange).resume(records, world.now, 8.0) == []
    assert exchange.legs[leg.id].probe_deadline == world.now + 8.0
