"""Callers who hold, and so send nothing, are asked whether they live."""

from pbx.call.heartbeat import BEAT_SECONDS, Heartbeat
from tests.kit.world import World, sdp


def holding():
    """Return a world where bob's phone holds, and the heartbeat."""
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    world.in_dialog("bob", "INVITE", cseq=2, body=sdp(direction="inactive"), content_type="application/sdp")
    world.in_dialog("bob", "ACK", cseq=2)
    return world, Heartbeat()


def asked(world):
    return [e for e in world.sent if getattr(getattr(e, "request", None), "method", "") == "OPTIONS"]


def seconds(world, heart, count):
    for _ in range(count):
        world.wait(1.0)
        world.run(heart.look(world.exchange, world.now))


def test_a_phone_that_answers_is_asked_every_few_seconds_and_nothing_is_noted():
    world, heart = holding()
    seconds(world, heart, round(BEAT_SECONDS))
    assert not asked(world), "who has just spoken lives"
    for _ in range(5):
        seconds(world, heart, round(BEAT_SECONDS))
        world.reply("OPTIONS")
    assert 4 <= len(asked(world)) <= 6
    assert not world.noted("phone_missing")


def test_a_phone_that_is_back_is_noted_once():
    world, heart = holding()
    seconds(world, heart, 12)
    call = world.call("bob").id
    (missing,) = world.noted("phone_missing")
    assert missing.fields["unanswered"] == 1
    assert "audio" in world.exchange.media[call].lost, "an alarm, and whoever dials again gets the place"
    world.reply("OPTIONS")
    seconds(world, heart, 1)
    assert len(world.noted("phone_back")) == 1
    assert "audio" not in world.exchange.media[call].lost


def test_who_sends_sound_is_not_asked():
    world = World()
    world.invite("bob")
    world.ack("bob")
    heart = Heartbeat()
    seconds(world, heart, 30)
    assert asked(world) == []


def test_who_resumes_is_not_asked_any_more():
    world, heart = holding()
    seconds(world, heart, 2)
    world.in_dialog("bob", "INVITE", cseq=3, body=sdp(), content_type="application/sdp")
    world.in_dialog("bob", "ACK", cseq=3)
    before = len(asked(world))
    seconds(world, heart, 20)
    assert len(asked(world)) == before
