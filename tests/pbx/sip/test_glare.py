"""Back-off after 491 (RFC 3261 §14.1)."""

import random

import pytest

from pbx.sip.glare import backoff


@pytest.mark.parametrize(("owner", "least", "most"), [(True, 2.1, 4.0), (False, 0.0, 2.0)])
def test_two_hundred_waits_lie_where_they_should_in_steps_of_ten_milliseconds(owner, least, most):
    chance = random.Random(110)
    waits = [backoff(owner=owner, draw=chance.getrandbits(62)) for _ in range(200)]
    assert min(waits) >= least
    assert max(waits) <= most
    assert all(round(wait * 100) == pytest.approx(wait * 100) for wait in waits)
    assert len(set(waits)) > 80, "they are spread"
    assert abs(sum(waits) / 200 - (least + most) / 2) < 0.2


def test_ends_can_be_drawn():
    assert {backoff(owner=True, draw=n) for n in (0, 190)} == {2.1, 4.0}
    assert {backoff(owner=False, draw=n) for n in (0, 200)} == {0.0, 2.0}
