"""Freed ports stay closed though the media process that closed them died (bar F30 c)."""

import pytest

from rtp import control as c
from rtp.freed import Freed
from rtp.placed import Said, To
from rtp.placement import Placement

DRAIN = 30.0
HOLDS_NOTHING = c.Holdings("", (), ())


def pair(port, medium="audio"):
    return c.PortPair(medium, port, port + 1)


@pytest.fixture
def freed():
    made = Freed(DRAIN)
    for number, leg in enumerate(("a", "b")):
        made.sent(c.OpenLeg(leg, ("audio",), "192.0.2.1"), 0.0)
        assert made.said(c.LegOpened(leg, (pair(20_000 + 2 * number),)), 0.0) == []
    return made


def test_a_process_that_begins_anew_is_told_what_was_freed_and_for_how_long(freed):
    freed.sent(c.CloseLeg("a"), 100.0)
    freed.sent(c.CloseLeg("b"), 110.0)
    assert freed.said(HOLDS_NOTHING, 115.0) == [
        c.DrainPorts("192.0.2.1", 20_000, 15.0),
        c.DrainPorts("192.0.2.1", 20_002, 25.0),
    ]
    assert freed.said(HOLDS_NOTHING, 130.0) == [c.DrainPorts("192.0.2.1", 20_002, 10.0)]
    assert freed.said(HOLDS_NOTHING, 140.0) == []


def test_ports_of_legs_that_stand_are_not_drained(freed):
    assert freed.said(HOLDS_NOTHING, 100.0) == []


def test_a_port_that_has_an_owner_again_is_not_drained(freed):
    freed.sent(c.CloseLeg("a"), 100.0)
    freed.said(c.LegOpened("c", (pair(20_000),)), 101.0)
    assert freed.said(HOLDS_NOTHING, 102.0) == []


def test_what_a_process_held_before_signalling_began_is_known_too():
    freed = Freed(DRAIN)
    held = c.LegHolding("old", None, None, None, (pair(20_000), pair(20_002, "video")))
    assert freed.said(c.Holdings("", (held,), ()), 0.0) == []
    freed.sent(c.CloseLeg("old"), 1.0)
    assert freed.said(HOLDS_NOTHING, 1.0) == [c.DrainPorts("", port, DRAIN) for port in (20_000, 20_002)]


def test_thousands_of_calls_leave_nothing_behind(freed):
    for number in range(5000):
        leg = f"leg-{number}"
        freed.sent(c.OpenLeg(leg, ("audio",), "192.0.2.1"), float(number))
        freed.said(c.LegOpened(leg, (pair(20_000 + 2 * (number % 4000)),)), float(number))
        freed.sent(c.CloseLeg(leg), float(number))
    assert len(freed._freed) <= DRAIN
    assert len(freed._held) == len(freed._hosts) == 2


def test_of_several_processes_each_is_told():
    placement = Placement(2)
    for process in (0, 1):
        placement.receive(Said(process, HOLDS_NOTHING), 0.0)
    told = placement.receive(c.DrainPorts("", 20_000, 5.0), 1.0)
    assert [effect.process for effect in told if isinstance(effect, To)] == [0, 1]
