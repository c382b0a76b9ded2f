"""One account may ask for so much and no more, wherever from; calls for help and what is said in a call are not counted."""

from pbx.call.answering import PER_IDENTITY
from tests.kit.world import HOST, World
from tests.pbx.call.test_texting import outside


def asks(world, name, times):
    """Send texts to 110 with the password of `name`; returns how often each status was the answer."""
    found = [outside(world, name, f"sip:110@{HOST}") for _ in range(times)]
    return {status: found.count(status) for status in set(found)}


def test_a_phone_gone_wild_is_put_off_and_nobody_else():
    world = World(callers=("alice", "carol"))
    burst = int(PER_IDENTITY.burst)
    assert asks(world, "alice", burst) == {480: burst}, "there is no call to give a text to, but it is heard"
    assert asks(world, "alice", 20) == {503: 20}
    refused = [r for answers in world.answers.values() for r in answers if r.status == 503]
    assert {r.headers.get("Retry-After") for r in refused} == {"5"}
    assert asks(world, "carol", 5) == {480: 5}
    # Help is not counted, and what belongs to the call is not either.
    world.invite("alice")
    assert world.last_answer("alice").status == 200
    world.ack("alice")
    for cseq in range(2, 40):
        sent = world.in_dialog("alice", "MESSAGE", cseq=cseq, body=b"help", content_type="text/plain")
        assert world.answers[sent][-1].status == 200


def test_with_time_it_is_heard_again():
    world = World()
    asks(world, "alice", int(PER_IDENTITY.burst))
    assert asks(world, "alice", 1) == {503: 1}
    world.wait(2.0)
    assert asks(world, "alice", 40) == {480: 40}
    assert asks(world, "alice", 1) == {503: 1}
