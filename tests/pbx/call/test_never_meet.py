"""Callers never meet (bar F30 a): the judge that `test_transfers.py` asks after each step does find marks, wherever they stand."""

import pytest

from pbx.call.effects import SendRequest
from rtp.control import ConfigureLeg, Stream
from tests.kit.marked import Marked, address, marks


@pytest.mark.parametrize("number", [1, 255, 256, 99_999])
def test_marks_are_found_wherever_they_stand(number):
    assert marks(f"x{address(number)}y".encode()) == {number}
    assert marks(f'"md{number:05d}z" <sip:mc{number:05d}z@host>'.encode()) == {number}


def two_callers():
    world = Marked()
    for name in ("bob", "carol"):
        world.invite(name)
        world.ack(name)
    return world


def test_much_is_looked_at():
    world = two_callers()
    assert world.scanned["message to a caller"] >= 2
    assert world.scanned["command"] >= 4


def test_a_message_that_names_another_caller_is_noticed():
    world = two_callers()
    leg = world.exchange.legs[world.call("bob").leg]
    request = world.request("MESSAGE", "sip:bob@phone", "carol")
    with pytest.raises(AssertionError):
        world.scan(SendRequest("x", request, leg.flow))


def test_a_command_that_names_another_callers_media_is_noticed():
    world = two_callers()
    other = Stream(
        0, "audio", (address(world.numbers["carol"]), 4000), None, (), (), sending=True, receiving=True
    )
    with pytest.raises(AssertionError):
        world._media(ConfigureLeg(world.call("bob").leg, (other,), ()))
