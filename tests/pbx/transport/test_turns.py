"""Connections take turns at the loop, on a clock of the test's (bars GI3, L11)."""

import asyncio

import pytest

from pbx.transport.turns import LOOKS, PASS_SECONDS, Turns, each

COST = 0.003
"""Seconds a piece of work takes: the fourth is over the time of a pass."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Crowd:
    """Connections that bring work, which takes time, and passes of the loop that are counted."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns = Turns(clock=self.clock)
        self.done: list[int] = []

    def work(self, number: int) -> None:
        self.clock.now += COST
        self.done.append(number)

    def come(self, number: int) -> bool:
        """Bring work; tell whether it was done at once."""
        if self.turns.free():
            self.work(number)
            return True
        self.turns.later(lambda: self.work(number))
        return False


async def test_few_are_served_at_once() -> None:
    crowd = Crowd()
    assert [crowd.come(n) for n in range(3)] == [True] * 3
    assert (crowd.turns.waited, len(crowd.turns)) == (0, 0)


async def test_many_wait_and_all_are_served_in_order() -> None:
    crowd = Crowd()
    at_once = [crowd.come(n) for n in range(100)]
    assert at_once == [True] * 4 + [False] * 96
    passes = 0
    while len(crowd.turns):
        before, at = len(crowd.done), crowd.clock.now
        await asyncio.sleep(0)
        passes += 1
        assert crowd.clock.now - at < PASS_SECONDS + COST, "others have their turn"
        assert len(crowd.done) > before, "and so have these"
    assert crowd.done == list(range(100))
    assert passes == 24


async def test_who_comes_later_is_not_served_before_those_who_wait() -> None:
    crowd = Crowd()
    for number in range(10):
        crowd.come(number)
    await asyncio.sleep(0)
    assert crowd.come(10) is False, "in a new pass, but others are in front"
    while len(crowd.turns):
        await asyncio.sleep(0)
    assert crowd.done == list(range(11))


async def test_a_new_pass_has_time_of_its_own() -> None:
    crowd = Crowd()
    for number in range(4):
        assert crowd.come(number)
    assert not crowd.turns.free()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert crowd.turns.free()


async def test_somebody_elses_fault_stops_nobody() -> None:
    crowd = Crowd()
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def fail() -> None:
        raise ValueError("ours")

    crowd.turns.later(fail)
    crowd.turns.later(lambda: crowd.work(1))
    for _ in range(3):
        await asyncio.sleep(0)
    assert crowd.done == [1]
    assert [type(fault) for fault in faults] == [ValueError]


async def test_the_end_waits_for_nobody() -> None:
    crowd = Crowd()
    for number in range(50):
        crowd.come(number)
    crowd.turns.finish()
    assert crowd.done == list(range(50))
    await asyncio.sleep(0)
    assert len(crowd.done) == 50


def test_without_a_loop_there_are_no_turns() -> None:
    with pytest.raises(RuntimeError):
        Turns().free()


async def test_thousands_are_looked_at_some_in_each_pass() -> None:
    things = set(range(3 * LOOKS))
    looked: list[int] = []

    def look(thing: int) -> None:
        looked.append(thing)
        things.discard(thing + 1)  # they change meanwhile

    looking = asyncio.get_running_loop().create_task(each(things, look))
    seen = []
    while not looking.done():
        await asyncio.sleep(0)
        seen.append(len(looked))
    assert sorted(looked) == list(range(3 * LOOKS))
    assert seen[:3] == [LOOKS, 2 * LOOKS, 3 * LOOKS]
