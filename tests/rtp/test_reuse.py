"""A port that another leg had (bar F30 c): quarantined for 30 s, and what comes late for the old call reaches nobody."""

import pytest

from rtp import control as c
from rtp import ports
from rtp.packet import parse
from rtp.parts import PYTHON
from tests.kit import media_wire
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import EVENTS, PCMA, engine, packet, stream

__all__ = ["engine"]
CYCLES = 1000
OVER_REAL_SOCKETS = 100
DRAIN = 30.0


class System:
    """Who has which port, as the kernel would say."""

    def __init__(self):
        self.bound = {}

    def pair(self, _host, port):
        before = self.bound.get(port)
        if before is not None and not before.rtp.closed:
            return None
        self.bound[port] = ports.Pair(media_wire.make_socket(), media_wire.make_socket(), port)
        return self.bound[port]


@pytest.fixture
def reused(engine, monkeypatch):
    """An engine with two pairs of ports: one for the host, and one that all callers have after one another."""
    system = System()
    monkeypatch.setattr(ports, "_pair", system.pair)
    running = Running(drain_seconds=DRAIN)
    running.engine._ports = ports.Ports(20_000, 20_003)
    running.system = system
    return running


def open_guest(running, address):
    said = running.do(c.OpenLeg(GUEST, ("audio",), "127.0.0.1"))
    if isinstance(said[0], c.Refused):
        return None
    heard = c.ConfigureLeg(GUEST, (stream("audio", (PCMA, EVENTS), remote=address),), (address[0],))
    running.do(heard, c.Join("room", GUEST, "guest"))
    return said[0].ports[0].rtp


def arrives(running, sock, data, source):
    """Let a datagram come; a connected socket's kernel drops what its peer did not send."""
    if sock.peer in {None, source}:
        running.loop.read(sock, data, source)


def jump(running, seconds):
    """Let time pass at once: what is due is done, and beats that fell into it are left out."""
    loop = running.loop
    loop.now += seconds
    due = [timer for timer in loop.timers if timer[0] <= loop.now]
    for timer in due:
        loop.timers.remove(timer)
        timer[1](loop.now)


def heard_by_host(running):
    """What the host was sent since the last look."""
    media_wire.settle()
    sent = running.sockets(HOST)[0].sent
    packets = [parse(data) for data, _ in sent]
    sent.clear()
    return [packet.payload for packet in packets]


def test_late_packets_of_a_call_are_never_in_the_next_one(reused, engine):
    reused.leg(HOST)
    reused.do(c.Join("room", HOST, "host"))
    used = set()
    for cycle in range(CYCLES if engine is PYTHON else OVER_REAL_SOCKETS):
        old = (f"10.1.{cycle // 250}.{cycle % 250 + 1}", 4000)
        new = (f"10.2.{cycle // 250}.{cycle % 250 + 1}", 4000)
        used.add(open_guest(reused, old))
        sock = reused.sockets(GUEST)[0]
        mine, late = b"%d mine" % cycle, b"%d late" % cycle
        for number in range(3):
            arrives(reused, sock, packet(number, payload=mine), old)
        assert mine in heard_by_host(reused)
        reused.do(c.CloseLeg(GUEST))
        heard_by_host(reused)
        # For thirty seconds nobody gets it, and what comes is read into nothing.
        for _ in range(3):
            arrives(reused, sock, packet(7, payload=late), old)
            assert open_guest(reused, new) is None
            jump(reused, DRAIN / 3 - 0.1)
        assert not sock.closed
        jump(reused, 0.5)
        assert sock.closed
        assert late not in heard_by_host(reused)
        # The next caller has it; the phone of the one before still sends.
        used.add(open_guest(reused, new))
        fresh = reused.sockets(GUEST)[0]
        for number in range(8, 16):
            arrives(reused, fresh, packet(number, payload=late), old)
            arrives(reused, fresh, packet(number, payload=mine, ssrc=5), new)
            arrives(reused, fresh, packet(number + 50, payload=late), old)
        heard = heard_by_host(reused)
        assert mine in heard
        assert late not in heard
        reused.do(c.CloseLeg(GUEST))
        jump(reused, DRAIN + 0.1)
    assert used == {20_002}, "it was the same port each time"
    assert not reused.loop.failures


def test_a_process_that_takes_over_keeps_a_freed_port_for_the_rest_of_its_time(reused):
    reused.leg(HOST)
    reused.do(c.Join("room", HOST, "host"))
    reused.do(c.DrainPorts("127.0.0.1", 20_002, 12.0))
    sock = reused.system.bound[20_002].rtp
    old, new = ("10.1.0.1", 4000), ("10.2.0.1", 4000)
    for seconds in (0.0, 5.0, 6.9):
        jump(reused, seconds)
        arrives(reused, sock, packet(7, payload=b"late"), old)
        assert open_guest(reused, new) is None
    jump(reused, 0.2)
    assert sock.closed
    assert b"late" not in heard_by_host(reused)
    assert open_guest(reused, new) == 20_002
    assert not reused.loop.failures


@pytest.mark.parametrize("port", [20_000, 20_003, 19_998, 20_004])
def test_a_port_that_is_not_free_or_not_of_the_range_is_left_alone(reused, port):
    reused.leg(HOST)  # has 20,000
    before = set(reused.system.bound)
    assert reused.do(c.DrainPorts("", port, 12.0)) == []
    assert set(reused.system.bound) == before
    jump(reused, 12.1)
    assert not reused.sockets(HOST)[0].closed


def test_no_port_is_kept_for_longer_than_the_setting_says(reused):
    reused.do(c.DrainPorts("", 20_002, 1e9))
    jump(reused, DRAIN + 0.1)
    assert reused.system.bound[20_002].rtp.closed
