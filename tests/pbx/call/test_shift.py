"""Whole shifts at random (`tests.kit.shift`): whatever dispatchers do with calls, nobody is lost, nothing is left over, nobody who is
there is asked to be called back, and who is killed and made again from the journal says the same as who lives on.
"""

import random

import pytest

from tests.kit.shift import SEATS, VERBS, Book, Shift
from tests.kit.watcher import WatchedWorld
from tests.kit.world import HOST, World
from tests.pbx.call.test_live_state import Kept, said

STEPS = 150
PAUSES = (0.0, 0.01, 0.1)
"""Seconds between two acts."""


def lived(seed):
    shift, chance = Shift(seed), random.Random(seed)
    for _ in range(STEPS):
        shift.step()
        shift.world.wait(chance.choice(PAUSES))
    shift.end()
    return shift


@pytest.mark.parametrize("seed", range(8))
def test_after_a_shift_nothing_is_left(seed):
    shift = lived(seed)
    world, exchange = shift.world, shift.world.exchange
    assert not exchange.calls
    assert not exchange.acd.queue
    assert not exchange.legs
    assert not exchange.hands.visits
    assert not exchange.hands.passing
    assert not [room for room in exchange.rooms.values() if room.outside or room.guest is not None]
    assert not world.rooms, "the media process holds nobody in a room"
    assert not world.legs, "nor any port"
    begun = {note.call for note in world.notes if note.event in {"call_arrived", "talk_began"}}
    assert set(world.finished) == begun
    assert len(world.finished) == len(begun)


def test_ports_that_come_too_late_are_given_back():
    """Found by a shift: the media process said nothing for ten seconds, and then bound ports nobody wanted any more."""
    world = World(media_answers=False)
    world.invite("bob")
    world.wait(12.0)
    assert world.last_answer("bob").status == 503
    world.media()
    assert not world.legs
    world.wait(60.0)
    assert not world.exchange.legs


def test_shifts_do_what_dispatchers_can():
    """Acts that are never carried out would prove nothing."""
    done = {verb for seed in range(100, 108) for verb in lived(seed).done}
    assert {
        "hold",
        "unhold",
        "transfer",
        "consult",
        "add",
        "call",
        "listen",
        "whisper",
        "barge",
        "picture",
        "take",
    } <= done
    assert done <= set(VERBS)


class Watched(Book, WatchedWorld):
    """A shift somebody watches from another phone."""


@pytest.mark.parametrize("seed", range(4))
def test_who_watched_a_shift_knows_what_who_asks_anew_is_told(seed):
    shift, chance = Shift(seed, kind=Watched), random.Random(seed)
    world = shift.world
    lamps = {
        (event, desk): world.watch("d6", event, f"sip:{desk}@{HOST}", expires=3600)
        for event in ("dialog", "conference", "presence")
        for desk in SEATS
    }
    for _ in range(STEPS):
        shift.step()
        world.wait(chance.choice(PAUSES))
    world.wait(5.0)
    told = 0
    for (event, desk), key in lamps.items():
        assert world.state_of(key).startswith("active")
        fresh = world.watch("d5", event, f"sip:{desk}@{HOST}", expires=3600)
        mine, theirs = world.told[key], world.told[fresh]
        for what in ("lit", "users", "count", "active", "presence"):
            assert getattr(mine, what) == getattr(theirs, what), (event, desk, what)
        told += len(world.notified[key])
    assert told > 3 * len(lamps)


@pytest.mark.parametrize("seed", range(4))
def test_killed_in_mid_shift_it_says_the_same_as_one_that_lives_on(seed):
    one, other = Shift(seed), Shift(seed)
    kept, chance = Kept(other.world), random.Random(seed)
    for _ in range(STEPS):
        pause = chance.choice(PAUSES)
        for shift in (one, other):
            shift.step()
            shift.world.wait(pause)
        kept.turn()
        if chance.random() < 0.2:
            kept.live.lazily()
            kept.turn()
            kept.rebuild()
    sides = said(one.world), said(other.world)
    for side in sides:
        side[4].pop(
            "tell_at"
        )  # a new process looks once more whom it has to tell its place, and finds nobody
    assert sides[0] == sides[1]
