"""Memory that a rush needed goes back to the system, when nobody waits."""

import subprocess
import sys

import pytest

from pbx import memory
from pbx.memory import EVERY, Memory

MIB = 1 << 20


class System:
    """What `resident` says, and what giving back makes of it."""

    def __init__(self, now):
        self.now, self.free, self.given, self.objects = now, 0, 0, 400_000

    def give_back(self):
        self.given += 1
        self.now -= self.free
        self.free = 0


@pytest.fixture
def system(monkeypatch):
    made = System(100 * MIB)
    monkeypatch.setattr(memory, "resident", lambda: made.now)
    monkeypatch.setattr(memory, "_give_back", made.give_back)
    monkeypatch.setattr(memory, "_objects", lambda: made.objects)
    return made


def looks(it, count, *, calm=True):
    return [it.look(calm=calm) for _ in range(count)]


def test_what_a_rush_left_is_given_back_once_it_is_calm(system):
    it = Memory()
    assert not any(looks(it, EVERY))
    system.now, system.free = 250 * MIB, 140 * MIB
    assert not any(looks(it, 10 * EVERY, calm=False))
    assert looks(it, EVERY) == [False] * (EVERY - 1) + [True]
    assert (system.given, system.now) == (1, 110 * MIB)
    assert not any(looks(it, 2 * EVERY)), "what is in use now is no reason to try again"


def test_what_still_stood_then_is_given_back_as_it_goes(system):
    it = Memory()
    looks(it, EVERY)
    system.now, system.free, system.objects = 250 * MIB, 60 * MIB, 900_000
    assert any(looks(it, EVERY))
    for objects in (800_000, 650_000, 500_000):  # transactions of the rush end: free, and resident as before
        system.free, system.objects = 20 * MIB, objects
        assert looks(it, EVERY) == [False] * (EVERY - 1) + [True]
    assert (system.given, system.now) == (4, 130 * MIB)
    system.objects = 480_000
    assert not any(looks(it, 3 * EVERY)), "a few calls less are no reason"
    system.objects = 470_000
    assert any(looks(it, EVERY)), "little by little it is as much"


def test_what_came_and_went_between_two_looks_is_seen(system):
    it = Memory()
    looks(it, EVERY)
    system.objects = 500_000
    assert not any(looks(it, EVERY)), "more objects, and not much more memory"
    system.objects = 400_000
    assert any(looks(it, EVERY))


def test_what_falls_in_vain_is_tried_ever_more_seldom_until_there_is_something(system):
    it = Memory()

    def fall():
        system.objects = 500_000
        looks(it, EVERY)
        system.objects = 400_000
        return any(looks(it, EVERY))

    assert [fall() for _ in range(16)] == [n in {0, 2, 5, 10} for n in range(16)]
    system.now, system.free = 250 * MIB, 140 * MIB
    assert any(looks(it, EVERY)), "a rush is another matter"
    system.free = 2 * MIB
    assert [fall(), fall(), fall()] == [True, True, False]


def test_one_restless_look_begins_the_wait_anew(system):
    it = Memory()
    it.look(calm=True)
    system.now = 300 * MIB
    assert not any(looks(it, EVERY - 2))
    it.look(calm=False)
    assert not any(looks(it, EVERY - 1))
    assert it.look(calm=True)


def test_a_little_more_is_no_reason(system):
    it = Memory()
    it.look(calm=True)
    system.now += 13 * MIB
    assert not any(looks(it, 2 * EVERY))
    system.now += MIB
    assert any(looks(it, EVERY))


def test_the_real_thing():
    assert memory.resident() > MIB
    assert memory._objects() > 1000
    memory._give_back()


def test_large_pieces_do_not_stay_when_they_are_free():
    program = """
import sys
from pbx.memory import keep_together, resident
if sys.argv[1:]:
    keep_together()
grow = b"x" * (24 << 20)
del grow  # glibc would keep pieces of up to this size among the others from now on
large, small = [b"x" * (1 << 20) for _ in range(20)], []
small.append(bytes(100 * len(large)))  # it stays, behind them
before = resident()
del large
print(before - resident())
"""
    given = [
        int(subprocess.run([sys.executable, "-c", program, *how], capture_output=True, check=True).stdout)
        for how in ((), ("together",))
    ]
    assert given[1] > 19 * MIB, given
    assert given[0] < 10 * MIB, "the C library does so by itself, and nothing here is needed"


def test_a_system_that_does_not_tell(monkeypatch):
    monkeypatch.setattr(memory.Path, "read_bytes", lambda _: b"rubbish")
    assert memory.resident() == 0
    assert not any(looks(Memory(), EVERY))
