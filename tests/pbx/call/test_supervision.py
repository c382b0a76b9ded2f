"""Who may supervise changes while calls run."""

import pytest

from pbx.call.impossible import Impossible
from pbx.call.supervision import set_supervisors
from tests.kit.hands import order, seat, talking


def test_a_right_that_is_given_counts_at_once():
    world = talking(supervisors=())
    with pytest.raises(Impossible):
        order(world, "d3", "listen", "d1")
    world.run(set_supervisors(world.exchange, {"d3"}, world.now))
    order(world, "d3", "listen", "d1")
    assert seat(world, "d3") == ("room-d1", "staff")


@pytest.mark.parametrize("mode", ["listen", "whisper", "barge"])
def test_a_right_that_is_taken_ends_what_is_going_on(mode):
    world = talking(supervisors=("d3",))
    order(world, "d3", mode, "d1")
    world.run(set_supervisors(world.exchange, (), world.now))
    assert seat(world, "d3") == ("room-d3", "host"), "home again"
    assert world.noted("staff_left")[-1].fields["why"] == "role_revoked"
    assert world.call("bob").desk == "d1"
    with pytest.raises(Impossible):
        order(world, "d3", mode, "d1")


def test_others_who_are_in_the_room_stay():
    world = talking(supervisors=("d3",))
    order(world, "d1", "consult", "d2")
    world.run(set_supervisors(world.exchange, (), world.now))
    assert seat(world, "d2") == ("room-d1", "staff")
