"""What stands in the host's place of the picture: by the site's rule, for one call, in silent mode, after a restart."""

from dataclasses import replace

import pytest

from pbx.call import silence, views
from pbx.call.exchange import Exchange
from pbx.call.impossible import Impossible
from rtp.control import SetGates
from tests.kit.hands import order, talking
from tests.kit.world import World


def with_rule(rule, **more):
    world = World(desks=("d1", "d2", "d3"))
    policy = replace(world.exchange.site.policy, host_picture=rule, **more)
    world.exchange.site = replace(world.exchange.site, policy=policy)
    return world


def gates(world, name="bob"):
    return world.call(name).gates().command


@pytest.mark.parametrize(
    ("rule", "picture", "still"), [("on", True, False), ("off", False, False), ("still", False, True)]
)
def test_the_sites_rule_holds_for_every_call(rule, picture, still):
    world = with_rule(rule)
    world.invite("bob")
    call = world.call("bob")
    assert gates(world) == SetGates(call.leg, silent=False, host_picture=picture, held=False, still=still)
    view = views.call_view(world.exchange, call, views.Times(0.0))
    assert view["host_picture"] == rule


def test_one_call_is_shown_something_else_and_it_is_evidence():
    world = talking()
    order(world, "d1", "picture", "still")
    assert (gates(world).host_picture, gates(world).still) == (False, True)
    order(world, "d1", "picture", "still")
    assert [note.fields for note in world.noted("host_picture")] == [{"mode": "still", "by": "api"}]
    world.run(silence.show_host(world.exchange, world.call("bob").id, "on", "api", world.now))
    assert (gates(world).host_picture, gates(world).still) == (True, False)


def test_silent_mode_shows_nothing_unless_the_site_says_so():
    world = talking()
    order(world, "d1", "picture", "still")
    world.run(silence.silent_on(world.exchange, world.call("bob").id, "api", world.now))
    assert (gates(world).silent, gates(world).host_picture, gates(world).still) == (True, False, False)
    other = with_rule("still", host_picture_in_silent=True)
    other.invite("bob")
    other.run(silence.silent_on(other.exchange, other.call("bob").id, "api", other.now))
    assert (gates(other).silent, gates(other).still) == (True, True)


def test_what_a_call_is_shown_survives_a_restart():
    world = talking()
    order(world, "d1", "picture", "off")
    again = Exchange.restore(world.exchange.snapshot(), world.exchange.site, world.exchange.mint)
    (call,) = again.calls.values()
    assert call.host_picture == "off"
    assert call.gates() == world.call("bob").gates()


@pytest.mark.parametrize("mode", ["", "ON", "badge"])
def test_other_words_are_refused(mode):
    world = talking()
    with pytest.raises(Impossible, match="Only on, off or still"):
        order(world, "d1", "picture", mode)
    with pytest.raises(Impossible, match="Only on, off or still"):
        silence.show_host(world.exchange, world.call("bob").id, mode, "api", world.now)
