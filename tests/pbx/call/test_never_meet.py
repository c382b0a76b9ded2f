"""Callers never meet (bar F30 a): nothing a caller is known by is in anything that is sent to another one, whatever happens."""

import pytest

from pbx.call.effects import SendRequest
from rtp.control import ConfigureLeg, Stream
from tests.kit.marked import Marked, address, live, marks
from tests.pbx.call.test_transfers import Transfers

STEPS = 50_000
"""Of all seeds together; `make soak` does a million."""
SEEDS = range(20)


class Strangers(Transfers):
    """Everything dispatchers, callers and crashes do, in a marked world."""

    WORLD = Marked


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_of_a_caller_reaches_another(seed):
    looked = live(Strangers, seed, STEPS // len(SEEDS))
    assert looked["message to a caller"] > 200
    assert looked["command"] > 200


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
