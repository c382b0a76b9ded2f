"""A dispatcher's phone calls a number outside on its second line, and hands the guest to whom it found there (RFC 5359 §2.5)."""

import pytest

from pbx.call.effects import SendAck
from tests.kit.hands import seat, talking
from tests.kit.trunks import PEERS, TrunkWorld
from tests.kit.world import HOST, REALM, sdp
from tests.pbx.call.test_refer import challenged, refer, second_call, told

NUMBER = "13800138000"


def rung(world, number=NUMBER):
    """d1 talks with bob and dials a number beside; returns the answer to the phone and the INVITE to the trunk."""
    answer = second_call(world, number)
    return answer, world.out("INVITE")[-1]


def outside(world):
    return [room for room in world.exchange.rooms.values() if room.outside]


def party(world):
    """The room of whom was called, not that of the second line."""
    (found,) = [room for room in outside(world) if room.user is None]
    return found


def test_attended_to_a_number_the_phone_called_itself():
    world = talking(kind=TrunkWorld)
    answer, out = rung(world)
    assert answer.status == 200
    world.accept(out)
    assert isinstance(world.sent[-1], SendAck) or world.acks()
    line = next(room for room in outside(world) if room.user == "d1")
    assert world.rooms[party(world).leg] == (line.id, "staff"), "the two talk"
    value = f"second@phone%3Bto-tag%3D{answer.to.tag}%3Bfrom-tag%3Dfrom-d1"
    assert refer(world, "d1", f"<sip:{NUMBER}@{HOST}?Replaces={value}>").status == 202
    assert seat(world, "bob") == (party(world).id, "guest")
    assert world.rooms[party(world).leg] == (party(world).id, "host")
    assert told(world)[-1][0] == "SIP/2.0 200 OK"
    assert world.asked("BYE").request.call_id == "second@phone", "the second call has done its work"
    world.reply("BYE")
    world.bye("bob")
    world.respond(world.out("BYE")[-1], 200)
    assert outside(world) == []


def test_it_is_not_handed_to_whom_has_not_picked_up():
    world = talking(kind=TrunkWorld)
    answer, _ = rung(world)
    value = f"second@phone%3Bto-tag%3D{answer.to.tag}%3Bfrom-tag%3Dfrom-d1"
    assert refer(world, "d1", f"<sip:{NUMBER}@{HOST}?Replaces={value}>").status == 480
    assert seat(world, "bob") == ("room-d1", "guest")


@pytest.mark.parametrize("status", [404, 486, 603])
def test_a_number_that_refuses_ends_the_second_call(status):
    world = talking(kind=TrunkWorld)
    _, out = rung(world)
    world.respond(out, status)
    assert world.asked("BYE").request.call_id == "second@phone"
    world.reply("BYE")
    assert outside(world) == []
    assert seat(world, "bob") == ("room-d1", "guest")


def test_the_phone_hangs_its_second_call_up():
    world = talking(kind=TrunkWorld)
    answer, out = rung(world)
    world.accept(out)
    bye = world.request("BYE", f"sip:{NUMBER}@{HOST}", "d1", cseq=101, to_tag=answer.to.tag, call_id="second")
    assert world.answers[world.arrive(bye, "d1")][-1].status == 200
    world.respond(world.out("BYE")[-1], 200)
    assert outside(world) == []
    assert seat(world, "bob") == ("room-d1", "guest")


def test_who_was_called_hangs_up():
    world = talking(kind=TrunkWorld)
    _, out = rung(world)
    world.accept(out)
    leg = party(world).leg
    dialog = world.exchange.legs[leg].dialog
    bye = world.request("BYE", f"sip:at110@{HOST}", "far", cseq=7, to_tag=dialog.local_tag)
    bye.headers.set("Call-ID", dialog.call_id)
    bye.headers.set("From", f"<sip:far@{HOST}>;tag={dialog.remote_tag}")
    assert world.answers[world.arrive(world._again(bye), "far")][-1].status == 200
    assert world.asked("BYE").request.call_id == "second@phone"


@pytest.mark.parametrize(
    ("number", "status"),
    [("12", 403), ("13800138000x", 403), ("nobody", 403), ("+8613800138000", 200)],
)
def test_what_is_a_number(number, status):
    assert rung(talking(kind=TrunkWorld), number)[0].status == status


def test_without_a_trunk_for_it_nobody_is_called():
    world = talking()
    answer = second_call(world, NUMBER)
    assert answer.status == 404
    assert outside(world) == []


def test_it_is_called_over_the_trunk_wherever_the_uri_points():
    """Bars S9."""
    world = talking(kind=TrunkWorld)
    uri = f"sip:{NUMBER}@stranger.example"
    body = sdp(address="192.0.2.88")
    answer = challenged(
        world, "INVITE", uri, "d1", call_id="second", body=body, content_type="application/sdp"
    )
    assert answer.status == 200
    assert world.out("INVITE")[-1][2].host in PEERS
    assert not any(b"stranger.example" in request.encode() for _, request, _ in world.out())


def test_not_more_second_calls_than_two():
    world = talking(kind=TrunkWorld)
    assert [second_call_again(world, n).status for n in range(3)] == [200, 200, 486]


def second_call_again(world, n):
    return challenged(
        world, "INVITE", f"sip:1380013800{n}@{REALM}", "d1", call_id=f"second{n}",
        body=sdp(address="192.0.2.88"), content_type="application/sdp",
    )  # fmt: skip
