"""TLS handshakes in turn, on a clock of the test's (bars S11)."""

import asyncio
from collections import Counter

import pytest

from pbx.transport.handshakes import BURST, LEAST_COST, SHARE, HandshakeQueue, Handshakes

COST = 0.002


class Line:
    """A loop that does nothing but handshakes, each of which costs `COST`; time passes as it works or waits."""

    def __init__(self, share: float = SHARE) -> None:
        self.turns, self.now = Handshakes(share), 0.0
        self.worked = 0.0
        self.done: Counter[str] = Counter()

    def come(self, host: str) -> None:
        if self.turns.may(host, lambda: self.take(host), self.now):
            self.take(host)

    def take(self, host: str) -> None:
        self.done[host] += 1
        self.worked += COST
        self.now += COST
        self.turns.spent(COST)

    def run(self, until: float) -> None:
        while (due := self.turns.due(self.now)) is not None and self.now + due <= until:
            self.now += due
            for go in self.turns.turns(self.now):
                go()
        self.now = max(self.now, until)


def test_a_few_begin_at_once() -> None:
    line = Line()
    for n in range(5):
        line.come(f"192.0.2.{n}")
    assert sum(line.done.values()) == 5
    assert (line.turns.waited, len(line.turns), line.turns.due(line.now)) == (0, 0, None)


def test_a_flood_takes_its_share_of_the_time() -> None:
    line = Line()
    for n in range(2500):  # 500 a second, each of which costs 2 ms: they would take it all
        line.run(n / 500)
        line.come("192.0.2.66")
    assert line.worked <= SHARE * line.now + BURST + COST
    assert line.worked >= 0.9 * SHARE * line.now, "and no less"
    assert line.turns.waited > 1000


def test_who_comes_from_elsewhere_waits_for_one_of_the_flood() -> None:
    line = Line()
    for n in range(500):
        line.come("192.0.2.66" if n % 2 else "192.0.2.67")
    line.come("203.0.113.1")
    before = line.done.copy()
    while not line.done["203.0.113.1"]:
        line.run(line.now + 0.01)
    assert sum((line.done - before).values()) <= 3 + 1
    assert line.done["192.0.2.66"] + line.done["192.0.2.67"] < 100


def test_time_is_not_saved_up() -> None:
    line = Line()
    line.run(3600.0)
    for _ in range(1000):
        line.come("192.0.2.66")
    assert line.worked <= BURST + SHARE * (line.now - 3600.0) + COST
    assert line.done["192.0.2.66"] < 50


def test_a_clock_that_measured_nothing() -> None:
    turns = Handshakes(1.0)
    taken = 0
    while turns.may("192.0.2.66", lambda: None, 0.0):
        turns.spent(0.0)
        taken += 1
    assert taken == pytest.approx(BURST / LEAST_COST, abs=1)


async def test_the_loop_calls_who_had_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs what may be spent at once, so the second has to wait; none is forgotten, and the order is kept."""
    clock = iter(n * 2 * BURST for n in range(1000))
    monkeypatch.setattr("pbx.transport.handshakes.time.thread_time", lambda: next(clock))
    queue, heard = HandshakeQueue(share=10.0), []
    done = asyncio.Event()

    def go(name: str) -> None:
        heard.append(name)
        if len(heard) == 4:
            done.set()

    now = [queue.begin("192.0.2.66", lambda name=name: go(name)) for name in "abcd"]  # type: ignore[misc]  # mypy/1317
    assert now == [True, False, False, False]
    await asyncio.wait_for(done.wait(), 10)
    assert heard == ["a", "b", "c", "d"]
    assert queue.waited == 3
