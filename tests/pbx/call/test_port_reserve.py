"""Who may have the last ports: calls for help and the desks that take them; whoever has none is told to try again."""

from pbx.call import hands, seats
from rtp.control import OpenLeg, Refused
from tests.kit.world import World


def asked(world):
    """What the media process was asked to open, and not answered yet: leg → urgent."""
    return {command.leg: command.urgent for command in world.commands if isinstance(command, OpenLeg)}


def test_a_call_for_help_is_urgent():
    world = World(media_answers=False)
    world.invite("bob")
    assert list(asked(world).values()) == [True]


def test_a_call_that_a_dispatcher_makes_is_not():
    world = World(desks=("d1",))
    world.sign_in("d1")
    world.register("alice")
    world.media_answers = False
    world.run(hands.act(world.exchange, hands.Order("d1", "call", "alice"), world.now))
    assert list(asked(world).values()) == [False]


def test_the_desk_we_call_is_urgent():
    world = World(desks=("d1",), media_answers=False)
    world.register("d1")
    world.run(
        seats.sign_in(
            world.exchange, "d1", world.answering.bindings(world.accounts["d1"], world.now), world.now
        )
    )
    assert list(asked(world).values()) == [True]


def test_sixty_callers_of_whom_forty_find_ports():
    """Every one of the others hears 503 and when to try again; nothing of them is left, and the next caller is taken."""
    world = World(media_answers=False)
    for number in range(60):
        name = f"caller{number}"
        world.invite(name)
        if number >= 40:
            refused = next(command for command in world.commands if isinstance(command, OpenLeg))
            world.commands.remove(refused)
            world.says(Refused("OpenLeg", refused.leg, "no_ports"))
            answer = world.last_answer(name)
            assert answer.status == 503
            assert int(answer.headers.get("Retry-After")) > 0
        world.media()
        if number < 40:
            assert world.last_answer(name).status == 200
            world.ack(name)
    assert len(world.finished) == 20
    assert len(world.exchange.calls) == 40
    world.bye("caller0")
    world.media()
    world.invite("again")
    world.media()
    assert world.last_answer("again").status == 200
