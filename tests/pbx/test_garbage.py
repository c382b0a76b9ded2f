"""When the collector looks for garbage, and through how much."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from pbx import garbage
from pbx.garbage import (
    CALM,
    LATE,
    MIDDLE,
    MOST,
    NEVER,
    QUIET,
    QUIET_SECONDS,
    ROUNDS,
    WHOLE_AT_LAST,
    WHOLE_EVERY,
    YOUNG,
    Garbage,
    Keeper,
)

BUSY, RESTLESS = 0.9, CALM - 0.01


def test_a_little_that_is_old_is_left_alone() -> None:
    assert Garbage(0.0).decide(ROUNDS - 1, 0.0, 1.0) == "nothing"


@pytest.mark.parametrize(
    ("busy", "what"), [(0.0, "new"), (CALM, "new"), (CALM + 0.01, "aside"), (BUSY, "aside")]
)
def test_what_is_old_is_looked_through_only_when_it_is_calm(busy: float, what: str) -> None:
    """In a rush it is set aside unseen: that costs nothing, however much it is."""
    assert Garbage(0.0).decide(ROUNDS, busy, 1.0) == what
    assert Garbage(0.0).decide(MOST - 1, busy, 1.0) == what
    assert Garbage(0.0).decide(MOST, busy, 1.0) == "aside", "too much to look through at once"


def seconds(it: Garbage, count: int, busy: float, at: float) -> list[str]:
    return [it.decide(0, busy, at + n) for n in range(count)]


def test_all_is_looked_through_after_a_quiet_minute_once_an_hour() -> None:
    it = Garbage(0.0)
    assert set(seconds(it, 3600, QUIET, 0.0)) == {"nothing"}, "quiet, but it was done when the process began"
    assert it.decide(0, QUIET, WHOLE_EVERY) == "whole"
    assert set(seconds(it, 3600, QUIET, WHOLE_EVERY)) == {"nothing"}, "the next hour"
    assert it.decide(0, QUIET, 2 * WHOLE_EVERY) == "whole"


def test_one_busy_second_begins_the_quiet_minute_anew() -> None:
    it = Garbage(-WHOLE_EVERY)
    assert set(seconds(it, QUIET_SECONDS - 1, 0.0, 0.0)) == {"nothing"}
    assert it.decide(0, QUIET + 0.01, 60.0) == "nothing"
    assert set(seconds(it, QUIET_SECONDS - 1, 0.0, 61.0)) == {"nothing"}
    assert it.decide(0, 0.0, 200.0) == "whole"


def test_where_it_is_never_quiet_a_calm_second_of_the_next_day_will_do() -> None:
    it = Garbage(0.0)
    assert it.decide(0, RESTLESS, WHOLE_AT_LAST - 1) == "nothing"
    assert it.decide(0, BUSY, WHOLE_AT_LAST + 1) == "nothing"
    assert it.decide(0, RESTLESS, WHOLE_AT_LAST + 2) == "whole"
    assert it.decide(0, RESTLESS, WHOLE_AT_LAST + 3) == "nothing"


class Knot:
    """Two of them that hold each other are what only the collector can remove."""

    count = 0

    def __init__(self) -> None:
        type(self).count += 1
        self.other: Knot | None = None

    def __del__(self) -> None:
        type(self).count -= 1


def knot() -> tuple[Knot, Knot]:
    first, second = Knot(), Knot()
    first.other, second.other = second, first
    return first, second


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector as it was, afterwards; meanwhile it looks when it is told to."""
    threshold = gc.get_threshold()
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*threshold)
    gc.collect()


@pytest.mark.usefixtures("collector")
def test_what_was_set_aside_is_found_when_all_is_looked_through() -> None:
    kept = knot()
    garbage.look("aside")
    assert gc.get_freeze_count() > 1000
    del kept
    lost = knot()
    del lost
    garbage.look("nothing")
    assert Knot.count == 4
    garbage.look("new")
    assert Knot.count == 2, "what was set aside is not looked at"
    garbage.look("whole")
    assert Knot.count == 0
    assert gc.get_freeze_count() > 1000, "and it is set aside again"


@pytest.mark.usefixtures("collector")
async def test_each_second_the_loops_thread_is_asked_how_much_it_worked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "EVERY", 0.001)
    looked: list[str] = []
    monkeypatch.setattr(garbage, "look", looked.append)
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, ROUNDS))
    now = iter([0.0, 0.001, 0.002, 0.1 + LATE])
    worked = iter([0.0, 0.0001, 0.0001, 0.001, 0.001, 0.001])
    Keeper(lambda: next(now, 1.0), lambda: next(worked, 0.001)).start()
    assert gc.get_threshold() == (YOUNG, MIDDLE, NEVER)
    while len(looked) < 4:
        await asyncio.sleep(0)
    # At the start; a tenth of the time worked; nine tenths; nothing, but the timer came late.
    assert looked[:4] == ["new", "new", "aside", "aside"]
