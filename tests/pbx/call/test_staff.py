"""Whoever comes to a guest besides its host, and whom a desk calls: taking over, supervision, helpers, callbacks.

`World.check` asserts after every step that the media process has everybody where the exchange thinks.
"""

import pytest

from pbx.call import seats
from pbx.call.call import State
from pbx.call.impossible import Impossible
from tests.kit.hands import busy, keys, order, outside, seat, talking, with_phone
from tests.kit.world import World, sdp

# --- take over, supervise ---------------------------------------------------------------------------------------------------


def test_a_desk_takes_the_guest_of_another():
    world = talking()
    order(world, "d2", "take", "d1")
    assert seat(world, "bob") == ("room-d2", "guest")
    assert world.noted("taken_over")[0].fields["by_desk"] == "d2"


def test_supervision_needs_the_role():
    world = talking()
    for verb in ("listen", "whisper", "barge"):
        with pytest.raises(Impossible, match="supervise"):
            order(world, "d2", verb, "d1")


def test_a_supervisor_listens_whispers_barges_takes_and_leaves():
    world = talking(supervisors=("d3",))
    leg = world.exchange.room("d3").leg
    order(world, "d3", "listen", "d1")
    assert (seat(world, "d3"), world.modes[leg]) == (("room-d1", "staff"), "listen")
    order(world, "d3", "whisper")
    order(world, "d3", "barge", "d1")
    assert world.modes[leg] == "barge"
    world.bye("bob")
    assert seat(world, "d3") == ("room-d1", "staff"), "a supervisor stays with the desk"
    order(world, "d3", "leave")
    assert seat(world, "d3") == ("room-d3", "host")


def test_a_supervisor_in_the_room_takes_the_guest():
    world = talking(supervisors=("d3",))
    order(world, "d3", "listen", "d1")
    order(world, "d3", "take", "d1")
    assert seat(world, "bob") == ("room-d3", "guest")
    assert seat(world, "d3") == ("room-d3", "host")


def test_supervision_by_keys():
    world = talking(supervisors=("d3",), desks=("d1", "d2", "d3", "8001"), signed_in=("d1", "d3"))
    keys(world, "d3", "*2188#")
    assert world.noted("code_refused")[0].fields["why"] == "unknown_desk"
    world.sign_in("8001")
    keys(world, "d3", "*218001#")
    assert seat(world, "d3") == ("room-8001", "staff")
    keys(world, "d3", "*24")
    assert seat(world, "d3") == ("room-d3", "host")


# --- staff ------------------------------------------------------------------------------------------------------------------


def test_helpers_follow_the_guest_and_never_hear_the_next_one():
    world = with_phone()
    order(world, "d1", "add", "d3", role="interpreter")
    room = outside(world)
    order(world, "d1", "transfer", "d2")
    assert world.rooms[room.leg] == ("room-d2", "staff")
    world.invite("carol")
    assert seat(world, "carol") == ("room-d1", "guest")
    world.bye("bob")
    assert room.leg not in world.rooms


def test_a_helper_waits_with_the_guest_and_is_in_no_room_meanwhile():
    world = with_phone()
    carol = busy(world, "d2")
    order(world, "d1", "add", "d3", role="interpreter")
    room = outside(world)
    order(world, "d1", "transfer", "d2")
    assert room.leg not in world.rooms
    world.bye(carol)
    assert world.rooms[room.leg] == ("room-d2", "staff")
    order(world, "d2", "remove", "d3")
    assert room.leg not in world.rooms
    assert seat(world, "bob") == ("room-d2", "guest")


def test_a_helper_who_answers_while_the_guest_waits_joins_later():
    world = with_phone()
    carol = busy(world, "d2")
    order(world, "d1", "add", "d3", role="interpreter")
    order(world, "d1", "transfer", "d2")
    room = outside(world)
    assert room.leg not in world.rooms
    world.bye(carol)
    assert world.rooms[room.leg] == ("room-d2", "staff")


def test_callers_are_never_staff_nor_hosts():
    world = talking()
    world.register("alice")
    for verb in ("transfer", "consult", "add"):
        with pytest.raises(Impossible, match="caller's account"):
            order(world, "d1", verb, "alice")
    assert world.asked("INVITE").request.to.uri.user != "alice"


def test_a_room_has_no_more_staff_than_it_may():
    names = [f"h{n}" for n in range(9)]
    world = talking(desks=("d1", *names), signed_in=("d1", *names))
    for name in names[:8]:
        order(world, "d1", "add", name)
    with pytest.raises(Impossible, match="as many"):
        order(world, "d1", "add", names[8])


# --- calling out ------------------------------------------------------------------------------------------------------------


def test_a_caller_is_called_back():
    world = World(desks=("d1", "d2"))
    world.sign_in("d1")
    world.register("alice")
    order(world, "d1", "call", "alice", first="earlier")
    call = world.call("alice")
    assert (call.state, call.desk) == (State.RINGING, "d1")
    sent = world.asked("INVITE").request
    assert sent.headers.get("Priority") == "psap-callback"
    arrived = world.noted("call_arrived")[-1]
    assert (arrived.fields["first_call"], arrived.fields["direction"]) == ("earlier", "outgoing")
    world.invite("bob")
    assert world.call("bob").state is State.WAITING, "a desk that calls takes nobody"
    world.reply("INVITE", 200, to_tag="far", body=sdp(address="192.0.2.77"))
    assert seat(world, "alice") == ("room-d1", "guest")
    order(world, "d1", "hold")
    world.sign_in("d2")
    world.run(seats.end_call(world.exchange, "d1", world.now))
    world.reply("BYE")
    assert world.finished == [call.id]


@pytest.mark.parametrize("end", ["refused", "no answer", "given up", "desk gone"])
def test_a_callback_that_comes_to_nothing(end):
    world = World(desks=("d1", "d2"))
    world.sign_in("d1")
    world.register("alice")
    order(world, "d1", "call", "alice")
    match end:
        case "refused":
            world.reply("INVITE", 486, to_tag="far")
        case "no answer":
            world.reply("INVITE", 180, to_tag="far")
            world.wait(31.0)
            world.reply("INVITE", 487, to_tag="far")
        case "given up":
            world.run(seats.end_call(world.exchange, "d1", world.now))
            world.reply("INVITE", 487, to_tag="far")
        case "desk gone":
            world.sign_in("d2")
            world.exchange.run([], world.now)
            sent = world.desk_leg("d1")
            assert sent is not None
            world.desk_request("d1", "BYE")
    world.wait(40.0)
    assert not world.exchange.calls
    assert not world.exchange.acd.queue
    assert len(world.finished) == 1
    assert all(d.call is None for d in world.exchange.acd.desks)


def test_two_desks_talk_until_a_caller_comes():
    world = World(desks=("d1", "d2"))
    world.sign_in("d1")
    world.sign_in("d2")
    order(world, "d1", "call", "d2")
    assert seat(world, "d2") == ("room-d1", "staff")
    world.invite("bob")
    assert seat(world, "bob") == ("room-d1", "guest")
    assert seat(world, "d2") == ("room-d2", "host")
