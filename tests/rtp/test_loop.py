import ctypes
import os
import threading
import time
from typing import Final

import pytest

from rtp.loop import GATHER_RATE, GATHER_SECONDS, LOOK_SECONDS, MUCH_RATE, MUCH_SECONDS, Loop
from tests.kit.native_engine import demand

PR_GET_TIMERSLACK: Final = 30


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_a_ready_descriptor_is_served_and_the_clock_read(loop, pipe):
    reader, writer = pipe
    served = []
    loop.add(reader, lambda: served.append(os.read(reader, 1)), "pipe")
    assert loop.turn(0) == 0
    before = loop.now
    os.write(writer, b"ab")
    assert loop.turn(0) == 1
    assert loop.turn(0) == 1  # one thing a round; what is left is ready again
    assert served == [b"a", b"b"]
    assert loop.now >= before


def test_handlers_can_be_replaced_and_removed(loop, pipe):
    reader, writer = pipe
    served = []
    loop.add(reader, lambda: served.append(1), "one")
    loop.replace(reader, lambda: served.append(2), "two")
    os.write(writer, b"x")
    loop.turn(0)
    loop.remove(reader)
    loop.turn(0)
    assert served == [2]


def test_a_handler_removed_in_the_same_round_is_not_called(loop):
    pipes = [os.pipe() for _ in range(2)]
    served = []

    def first(mine, other):
        def handler():
            served.append(mine)
            loop.remove(other)

        return handler

    for (reader, writer), (other, _) in zip(pipes, pipes[::-1], strict=True):
        loop.add(reader, first(reader, other), str(reader))
        os.write(writer, b"x")
    loop.turn(0)
    assert len(served) == 1
    assert loop.failures == 0
    for descriptors in pipes:
        for descriptor in descriptors:
            os.close(descriptor)


def test_who_joined_is_served_together_with_the_others_and_before_handlers(loop):
    pipes = {name: os.pipe() for name in "abcd"}
    served = []

    def serve(members, by):
        assert by is loop
        served.append(members)
        for member in members:
            os.read(pipes[member][0], 1)

    def handler(name):
        return lambda: served.append(os.read(pipes[name][0], 1).decode())

    for name, (reader, writer) in pipes.items():
        loop.add(reader, handler(name), name)
        os.write(writer, name.encode())
    loop.join(pipes["b"][0], "b", serve)
    loop.join(pipes["d"][0], "d", serve)
    assert loop.turn(0) == 4
    assert (sorted(served[0]), sorted(served[1:])) == (["b", "d"], ["a", "c"])
    served.clear()
    for _, writer in pipes.values():
        os.write(writer, b"x")
    loop.replace(pipes["b"][0], handler("b"))  # it has a handler of its own again
    loop.remove(pipes["d"][0])
    loop.turn(0)
    assert served == ["x"] * 3
    loop.turn(0)
    for name in "abc":
        loop.join(pipes[name][0], name, serve)
        os.write(pipes[name][1], b"x")
    served.clear()
    loop.turn(0)
    assert [sorted(members) for members in served] == [["a", "b", "c"]]
    for descriptors in pipes.values():
        for descriptor in descriptors:
            os.close(descriptor)


def test_a_failure_of_what_serves_many_ends_no_loop(loop, pipe):
    reader, writer = pipe
    os.write(writer, b"x")

    def fail(_members, _loop):
        raise KeyError("bug")

    loop.add(reader, lambda: None, "pipe")
    loop.join(reader, "member", fail)
    assert loop.turn(0) == loop.turn(0) == 1
    assert loop.failures == 2


def test_a_failing_handler_is_counted_and_stops_no_other(loop, pipe, capsys):
    reader, writer = pipe

    def fail():
        raise KeyError("bug")

    loop.add(reader, fail, "leg-7.audio")
    os.write(writer, b"x")
    for _ in range(3):
        loop.turn(0)
    assert loop.failures == 3
    text = capsys.readouterr().out
    assert text.count("handler_failed") == 1  # the first one, then every thousandth
    assert "leg-7.audio" in text


def test_timers_run_in_order_of_their_time(loop):
    ran = []
    now = loop.now
    loop.at(now - 1, lambda _: ran.append("b"), "b")
    loop.at(now - 2, lambda _: ran.append("a"), "a")
    loop.at(now + 100, lambda _: ran.append("never"), "never")
    loop.at(now - 1, lambda _: ran.append("c"), "c")
    loop.turn(0)
    assert ran == ["a", "b", "c"]


def test_a_failing_timer_stops_no_other(loop):
    ran = []

    def fail(_now):
        raise KeyError("bug")

    loop.at(loop.now - 2, fail, "beat")
    loop.at(loop.now - 1, ran.append, "b")
    loop.turn(0)
    assert len(ran) == 1
    assert loop.failures == 1


def test_the_wait_ends_at_the_next_timer(loop):
    ran = []
    loop.at(loop.now + 0.01, ran.append, "soon")
    start = time.monotonic()
    while not ran:
        loop.turn(10.0)
    assert time.monotonic() - start < 5.0


def test_writable_is_told_when_wanted(loop, pipe):
    import socket

    one, other = socket.socketpair()
    served = []
    loop.add(one.fileno(), lambda: served.append(1), "pair")
    loop.turn(0)
    loop.want_write(one.fileno(), wanted=True)
    loop.turn(0)
    loop.want_write(one.fileno(), wanted=False)
    loop.turn(0)
    assert served == [1]
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("rate", "pause"),
    [(GATHER_RATE * 0.9, 0.0), (GATHER_RATE * 1.2, GATHER_SECONDS), (MUCH_RATE * 1.2, MUCH_SECONDS)],
)
def test_run_gathers_the_longer_the_more_comes(loop, pipe, monkeypatch, rate, pause):
    reader, writer = pipe
    os.write(writer, b"x")  # never read: ready in every round
    clock = begun = loop.now
    slept = []

    def reading():
        nonlocal clock
        clock += 0.5 / rate
        return clock

    def handler():
        nonlocal clock
        clock += 0.5 / rate  # with the reading of each round: `rate` rounds a second
        if slept or clock - begun > 3 * LOOK_SECONDS:
            loop.stop()

    monkeypatch.setattr("rtp.loop.time.sleep", slept.append)
    monkeypatch.setattr("rtp.loop._monotonic", reading)
    loop.add(reader, handler, "busy")
    loop.run()
    assert slept[:1] == ([pytest.approx(pause - 1 / rate)] if pause else [])
    assert clock - begun >= LOOK_SECONDS, "one look at the rate comes first"


def test_a_deferred_descriptor_is_served_when_asked_for_and_not_before(loop, pipe):
    reader, writer = pipe
    served = []
    loop.add(reader, lambda: served.append(os.read(reader, 1)), "pipe")
    loop.defer(reader, deferred=True)
    loop.defer(reader, deferred=True)
    os.write(writer, b"abcd")
    assert loop.turn(0) == 0
    loop.serve_deferred()
    assert served == [b"a", b"b", b"c"], "some at once, but no flood"
    loop.defer(reader, deferred=False)
    assert loop.turn(0) == 1
    loop.defer(reader, deferred=True)
    loop.remove(reader)
    loop.serve_deferred()
    assert len(served) == 4


class Clock:
    """Time that passes while the loop looks, or reads the clock."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr("rtp.loop._monotonic", lambda: self.now)

    def round(self, loop, at):
        self.now = at
        loop.turn(0)
        return loop.looked, loop.vacant


def test_when_a_descriptor_that_was_not_read_was_empty(loop, pipe, monkeypatch):
    """It was so at the look before this one, which ended at `looked` and began after `vacant`."""
    clock, told = Clock(monkeypatch), []
    loop.add(pipe[0], lambda: told.append((loop.now, loop.looked, loop.vacant, os.read(pipe[0], 1))), "pipe")
    os.write(pipe[1], b"abc")
    clock.round(loop, 1000.0)
    clock.round(loop, 1000.1)
    assert clock.round(loop, 1003.0) == (1003.0, 1000.1)
    assert told[1:] == [(1000.1, 1000.0, told[0][1], b"b"), (1003.0, 1000.1, 1000.0, b"c")]


def test_a_look_that_did_not_see_all_shows_nobody_to_be_empty(loop, pipe, monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr("rtp.loop.MAX_READY", 2)
    loop.add(pipe[0], lambda: None, "pipe")
    clock.round(loop, 1000.0)
    before = clock.round(loop, 1000.1)
    os.write(pipe[1], b"x")
    assert clock.round(loop, 1000.2) != before, "one of two"
    monkeypatch.setattr("rtp.loop.MAX_READY", 1)
    before = loop.looked, loop.vacant
    assert clock.round(loop, 1000.3) == before


def test_deferred_descriptors_have_looks_of_their_own(loop, monkeypatch):
    clock, pipes, told = Clock(monkeypatch), [os.pipe() for _ in range(2)], []

    def reader(fd):
        return lambda: told.append((loop.looked, loop.vacant, os.read(fd, 1)))

    for fd, writer in pipes:
        loop.add(fd, reader(fd), str(fd))
        loop.defer(fd, deferred=True)
        os.write(writer, b"1")
    clock.round(loop, 1000.0)
    loop.serve_deferred()
    for at in (1000.005, 1000.010, 1000.020):
        clock.round(loop, at)  # looks at others
    ours = loop.looked, loop.vacant
    os.write(pipes[0][1], b"2345")
    told.clear()
    loop.serve_deferred()
    looked, vacant, _ = told[0]
    assert 1000.0 < looked < 1000.001, "who had one then was read, and had no more"
    assert vacant == 1000.0
    assert (loop.looked, loop.vacant) == ours
    clock.round(loop, 1000.040)
    loop.serve_deferred()
    assert told[-1] == (1000.020, 1000.020, b"5"), "there was more than was read: that one was not empty"
    for descriptors in pipes:
        for descriptor in descriptors:
            os.close(descriptor)


def test_the_native_loop_tells_the_same(pipe):
    demand("native")
    from rtp.native.loop import NativeLoop

    loop, told = NativeLoop(), []
    loop.add(pipe[0], lambda: told.append((loop.looked, loop.vacant, os.read(pipe[0], 1))), "pipe")
    begun = [loop.turn(0) + loop.now for _ in range(3)]
    os.write(pipe[1], b"ab")
    for _ in range(2):
        loop.turn(0)
        begun.append(loop.now)
    assert told == [(begun[2], begun[1], b"a"), (begun[3], begun[2], b"b")]
    loop.close()


def test_the_thread_of_the_native_loop_sleeps_no_longer_than_it_asks():
    demand("native")
    from rtp.native.loop import NativeLoop

    def slack():
        return ctypes.CDLL(None).prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)

    def run():
        loop.stop()  # it asks before the first round
        loop.run()
        found.append(slack())

    found, before, loop = [], slack(), NativeLoop()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    loop.close()
    assert found == [1], "nanoseconds"
    assert slack() == before > 1, "no other thread's"
