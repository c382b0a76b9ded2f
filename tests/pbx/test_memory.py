"""Memory that a rush needed goes back to the system, when nobody waits."""

import pytest

from pbx import memory
from pbx.memory import AGAIN, EVERY, Memory

MIB = 1 << 20


class System:
    """What `resident` says, and what giving back makes of it."""

    def __init__(self, now):
        self.now, self.free, self.given = now, 0, 0

    def give_back(self):
        self.given += 1
        self.now -= self.free
        self.free = 0


@pytest.fixture
def system(monkeypatch):
    made = System(100 * MIB)
    monkeypatch.setattr(memory, "resident", lambda: made.now)
    monkeypatch.setattr(memory, "_give_back", made.give_back)
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


def test_what_still_stood_then_is_given_back_later(system):
    it = Memory()
    looks(it, EVERY)
    system.now, system.free = 250 * MIB, 60 * MIB
    assert any(looks(it, EVERY))
    system.free = 70 * MIB  # transactions of the rush have ended: free, and resident as before
    assert looks(it, AGAIN * EVERY) == [False] * (AGAIN * EVERY - 1) + [True]
    assert (system.given, system.now) == (2, 120 * MIB)
    assert not any(looks(it, 2 * AGAIN * EVERY)), "once"


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
    memory._give_back()


def test_a_system_that_does_not_tell(monkeypatch):
    monkeypatch.setattr(memory.Path, "read_bytes", lambda _: b"rubbish")
    assert memory.resident() == 0
    assert not any(looks(Memory(), EVERY))
