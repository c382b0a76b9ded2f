"""A picture that is more than the desk's phone takes is told, once, and never held back."""

import pytest

from pbx.call.negotiation import Negotiation
from rtp.control import LegReport, StreamReport
from tests.kit.hands import talking


def report(bits, medium="video"):
    return StreamReport(medium, 10, 0, 0.0, 0, 0, bits_received=bits)


def with_limit(limit=(512_000, "AS")):
    world = talking(signed_in=("d1",))
    world.exchange.legs[world.exchange.room("d1").leg].negotiation.picture_limit = limit
    return world


def test_it_is_told_once_for_each_guest():
    world = with_limit()
    leg = world.call("bob").leg
    world.says(LegReport(leg, (report(500_000), report(90_000, "audio"))))
    assert world.noted("picture_too_large") == []
    for _ in range(3):
        world.says(LegReport(leg, (report(900_000),)))
    (note,) = world.noted("picture_too_large")
    assert note.call == world.call("bob").id
    assert note.fields == {"desk": "d1", "bits": 900_000, "limit": 512_000, "by": "AS"}


@pytest.mark.parametrize("limit", [None, (2_000_000, "level")])
def test_what_the_phone_takes_is_not_told(limit):
    world = with_limit(limit)
    world.says(LegReport(world.call("bob").leg, (report(900_000),)))
    assert world.noted("picture_too_large") == []


def test_a_desks_own_picture_and_a_waiting_callers_are_not_meant():
    world = with_limit()
    world.says(LegReport(world.exchange.room("d1").leg, (report(900_000),)))
    world.invite("eve")
    world.says(LegReport(world.call("eve").leg, (report(900_000),)))
    assert world.noted("picture_too_large") == []


def test_the_limit_survives_a_restart():
    world = with_limit()
    negotiation = world.exchange.legs[world.exchange.room("d1").leg].negotiation
    setup = world.exchange.site.legs
    again = Negotiation.restore(negotiation.snapshot(), setup.capabilities)
    assert again.picture_limit == (512_000, "AS")
