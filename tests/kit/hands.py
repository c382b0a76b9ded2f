"""Dispatchers who do things with calls, on a `World`."""

from pbx.call import hands
from pbx.call.hands import Order
from rtp.control import Dtmf
from tests.kit.world import World, sdp


def talking(*, kind=World, desks=("d1", "d2", "d3"), signed_in=None, supervisors=(), **how):
    """Return a world where d1 talks with bob and the other desks are free."""
    world = kind(desks=desks, supervisors=supervisors, **how)
    for desk in desks if signed_in is None else signed_in:
        world.sign_in(desk)
    world.invite("bob")
    world.ack("bob")
    assert world.call("bob").desk == "d1"
    return world


def order(world, desk, verb, target="", **more):
    """Give an order as the API does. Raises `Impossible`."""
    world.run(hands.act(world.exchange, Order(desk, verb, target, **more), world.now))


def keys(world, desk, text):
    """Type on the desk's phone."""
    for key in text:
        world.says(Dtmf(world.exchange.room(desk).leg, key))


def seat(world, name):
    """Return where somebody's leg is in the media process: (room, role), or None."""
    call = world.call(name)
    leg = world.exchange.rooms[name].leg if call is None else call.leg
    return world.rooms.get(leg)


def party(world):
    """Return the one outside party's room."""
    (room,) = [room for room in world.exchange.rooms.values() if room.outside]
    return room


def busy(world, desk, name="carol"):
    """Give every other free desk a caller until `desk` has one; returns that caller."""
    for number in range(9):
        caller = f"{name}{number}"
        world.invite(caller)
        world.ack(caller)
        if world.call(caller).desk == desk:
            return caller
    raise AssertionError


def outside(world, status=200):
    """The phone that was called last answers."""
    room = party(world)
    sent = world.asked("INVITE")
    assert sent.ref.startswith(room.leg)
    world.reply("INVITE", status, to_tag="far", body=sdp(address="192.0.2.90") if status == 200 else b"")
    return room


def with_phone(**how):
    """A world where d3 is a dispatcher who is registered and not signed in."""
    world = talking(signed_in=("d1", "d2"), **how)
    world.register("d3")
    return world
