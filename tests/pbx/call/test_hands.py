"""What dispatchers do with calls: the guest always has somebody, a room has one host and one guest, whoever else comes is staff.

`World.check` asserts after every step that the media process has everybody where the exchange thinks.
"""

import pytest

from pbx.call import seats
from pbx.call.call import State
from pbx.call.impossible import Impossible
from routing.acd import DeskState
from rtp.control import Holdings
from tests.kit.hands import busy, keys, order, outside, seat, talking, with_phone
from tests.kit.world import sdp

# --- hold -------------------------------------------------------------------------------------------------------------------


def test_a_held_guest_stays_in_the_room_and_is_taken_back():
    world = talking()
    order(world, "d1", "hold")
    assert world.call("bob").leg in world.held
    assert seat(world, "bob") == ("room-d1", "guest")
    order(world, "d1", "unhold")
    assert not world.held
    assert [n.fields["held"] for n in world.noted("host_hold")] == [True, False]


def test_the_key_of_hold_is_a_toggle():
    world = talking()
    keys(world, "d1", "*14")
    assert world.call("bob").held
    keys(world, "d1", "*14")
    assert not world.call("bob").held


def test_the_phones_own_hold_holds_the_guest():
    world = talking()
    body = sdp(address="192.0.2.88", direction="sendonly")
    world.desk_request("d1", "INVITE", body=body, content_type="application/sdp")
    assert world.call("bob").held
    world.exchange.leg(world.exchange.room("d1").leg).unacked = None
    world.desk_request("d1", "INVITE", body=sdp(address="192.0.2.88"), content_type="application/sdp")
    assert not world.call("bob").held


def test_a_phone_that_is_on_hold_between_two_guests():
    world = talking(signed_in=("d1",))
    held, taken = (sdp(address="192.0.2.88", direction=way) for way in ("sendonly", "sendrecv"))
    world.desk_request("d1", "INVITE", body=held, content_type="application/sdp")
    world.bye("bob")
    world.invite("carol")
    assert world.call("carol").held, "the tone tells more than silence"
    world.ack("carol")
    world.bye("carol")
    world.exchange.leg(world.exchange.room("d1").leg).unacked = None
    world.desk_request("d1", "INVITE", body=taken, content_type="application/sdp")
    world.invite("dora")
    assert not world.call("dora").held


@pytest.mark.parametrize("end", ["out", "bye"])
def test_hold_ends_with_its_desk(end):
    world = talking(signed_in=("d1",))
    order(world, "d1", "hold")
    if end == "out":
        world.run(seats.sign_out(world.exchange, "d1", world.now))
        assert world.call("bob").state is State.WAITING
    else:
        world.bye("bob")
    assert not [call for call in world.exchange.calls.values() if call.held]


# --- blind ------------------------------------------------------------------------------------------------------------------


def test_blind_to_a_free_desk():
    world = talking()
    order(world, "d1", "transfer", "d2")
    assert seat(world, "bob") == ("room-d2", "guest")
    assert world.exchange.acd.desk("d1").state is DeskState.IDLE
    assert world.exchange.room("d1").guest is None
    assert [n.event for n in world.notes][-1] == "transfer_arrived"


def test_blind_to_a_busy_desk_waits_at_the_head_of_its_line():
    world = talking(signed_in=("d1", "d2"))
    carol = busy(world, "d2")
    order(world, "d1", "transfer", "d2")
    world.invite("dora")
    world.ack("dora")
    assert world.call("dora").desk == "d1", "the desk that sent its guest on serves the queue"
    assert world.call("bob").state is State.WAITING
    world.bye(carol)
    assert seat(world, "bob") == ("room-d2", "guest")


def test_blind_to_a_desk_that_does_not_come_free_goes_back():
    world = talking(signed_in=("d1", "d2"))
    busy(world, "d2")
    order(world, "d1", "transfer", "d2")
    assert world.exchange.acd.desk("d1").state is DeskState.IDLE
    world.wait(19.9)
    assert world.call("bob").state is State.WAITING
    world.wait(0.2)
    assert seat(world, "bob") == ("room-d1", "guest")
    assert world.noted("transfer_failed")


def test_blind_to_a_desk_that_signs_out_goes_back():
    world = talking(signed_in=("d1", "d2"))
    busy(world, "d2")
    order(world, "d1", "transfer", "d2")
    world.desk_request("d2", "BYE")
    assert seat(world, "bob") == ("room-d1", "guest")


def test_when_the_first_host_is_busy_by_then_the_guest_stands_first():
    world = talking(signed_in=("d1", "d2", "d3"))
    busy(world, "d3")
    order(world, "d1", "transfer", "d2")
    world.invite("dora")
    world.ack("dora")
    world.invite("emil")
    world.ack("emil")
    world.wait(20.1)
    assert [w.call for w in world.exchange.acd.queue] == [world.call("bob").id, world.call("emil").id]


# --- outside ----------------------------------------------------------------------------------------------------------------


def test_blind_to_a_phone_keeps_the_guest_until_it_answers():
    world = with_phone()
    order(world, "d1", "transfer", "d3")
    assert seat(world, "bob") == ("room-d1", "guest")
    room = outside(world)
    assert seat(world, "bob") == (room.id, "guest")
    assert world.rooms[room.leg] == (room.id, "host")
    assert world.exchange.acd.desk("d1").state is DeskState.IDLE
    world.bye("bob")
    assert world.asked("BYE") is not None, "nobody is kept on the line for nothing"
    assert not [r for r in world.exchange.rooms.values() if r.outside]


@pytest.mark.parametrize("status", [486, 603])
def test_blind_to_a_phone_that_refuses_leaves_the_guest_where_it_is(status):
    world = with_phone()
    order(world, "d1", "transfer", "d3")
    outside(world, status)
    assert seat(world, "bob") == ("room-d1", "guest")
    assert not world.exchange.hands.visits
    assert len(world.exchange.rooms) == 2


def test_blind_to_a_phone_that_rings_for_ever():
    world = with_phone()
    order(world, "d1", "transfer", "d3")
    world.reply("INVITE", 180, to_tag="far")
    world.wait(31.0)
    assert seat(world, "bob") == ("room-d1", "guest")
    assert not world.exchange.hands.visits


def test_a_phone_that_took_the_guest_and_hangs_up_sends_it_back_to_the_desks():
    world = with_phone()
    order(world, "d1", "transfer", "d3")
    room = outside(world)
    leg = world.exchange.legs[room.leg]
    bye = world.request("BYE", "sip:x@192.0.2.1", "d3", to_tag=leg.local_tag, cseq=7, call_id="x")
    bye.headers.set("Call-ID", leg.invite.call_id)
    bye.headers.set("From", f"<sip:d3@192.0.2.1>;tag={leg.dialog.remote_tag}")
    world.arrive(world._again(bye), "d3")
    assert seat(world, "bob")[0] in {"room-d1", "room-d2"}


def test_keys_of_an_outside_party_do_nothing():
    world = with_phone()
    order(world, "d1", "consult", "d3")
    room = outside(world)
    keys(world, room.desk, "*12*13*17")
    assert world.exchange.acd.desk(room.desk).state is DeskState.VISITING
    assert world.exchange.hands.visits[room.desk].up


def test_a_number_needs_a_trunk():
    world = talking()
    legs = len(world.exchange.legs)
    for verb in ("transfer", "add", "consult"):
        with pytest.raises(Impossible, match="trunk"):
            order(world, "d1", verb, "119")
    assert not [room for room in world.exchange.rooms.values() if room.outside]
    assert len(world.exchange.legs) == legs
    assert not world.exchange.hands.visits


# --- attended ---------------------------------------------------------------------------------------------------------------


def test_a_consultation_is_completed():
    world = talking()
    order(world, "d1", "consult", "d2")
    assert seat(world, "d2") == ("room-d1", "staff")
    assert world.modes[world.exchange.room("d2").leg] == "whisper", "the guest hears nothing of it"
    assert world.call("bob").held
    order(world, "d1", "complete")
    assert seat(world, "bob") == ("room-d2", "guest")
    assert seat(world, "d2") == ("room-d2", "host")
    assert not world.held


def test_a_consultation_is_cancelled():
    world = talking()
    order(world, "d1", "consult", "d2")
    order(world, "d1", "cancel")
    assert seat(world, "bob") == ("room-d1", "guest")
    assert seat(world, "d2") == ("room-d2", "host")
    assert not world.held
    assert world.exchange.acd.desk("d2").state is DeskState.IDLE


def test_three_talk():
    world = talking()
    order(world, "d1", "consult", "d2")
    order(world, "d1", "conference")
    assert world.modes[world.exchange.room("d2").leg] == "barge"
    assert not world.held
    order(world, "d1", "complete")
    assert seat(world, "bob") == ("room-d2", "guest")


def test_the_guest_stays_with_the_consulted_when_the_host_is_gone():
    world = talking()
    order(world, "d1", "consult", "d2")
    world.desk_request("d1", "BYE")
    assert seat(world, "bob") == ("room-d2", "guest")
    assert not world.held


def test_the_guest_stays_with_the_host_when_the_consulted_is_gone():
    world = talking()
    order(world, "d1", "consult", "d2")
    world.desk_vanishes("d2")
    assert seat(world, "bob") == ("room-d1", "guest")
    assert not world.held


def test_a_consultation_with_a_phone_holds_the_guest_only_when_it_answers():
    world = with_phone()
    order(world, "d1", "consult", "d3")
    assert not world.held
    with pytest.raises(Impossible):
        order(world, "d1", "complete")
    room = outside(world)
    assert world.held
    order(world, "d1", "complete")
    assert seat(world, "bob") == (room.id, "guest")


def test_the_guest_hangs_up_in_the_middle_of_a_consultation():
    world = talking()
    order(world, "d1", "consult", "d2")
    world.bye("bob")
    assert not world.exchange.hands.visits
    assert seat(world, "d2") == ("room-d2", "host")
    assert {d.state for d in world.exchange.acd.desks} == {DeskState.IDLE}


def test_who_consults_or_is_consulted_gets_no_caller():
    world = talking(signed_in=("d1", "d2"))
    order(world, "d1", "consult", "d2")
    world.invite("carol")
    assert world.call("carol").state is State.WAITING
    order(world, "d1", "cancel")
    assert world.call("carol").desk == "d2"


def test_a_paused_desk_that_is_consulted_is_paused_afterwards():
    world = talking()
    world.run(seats.pause(world.exchange, "d2", world.now))
    order(world, "d1", "consult", "d2")
    order(world, "d1", "cancel")
    assert world.exchange.acd.desk("d2").state is DeskState.PAUSED


# --- what can't be done -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("desk", "verb", "target", "code"),
    [
        ("d2", "hold", "", "no_call"),
        ("d2", "transfer", "d1", "no_call"),
        ("d1", "transfer", "d1", "itself"),
        ("d1", "transfer", "nobody", "unknown_target"),
        ("d1", "transfer", "alice", "not_registered"),
        ("d1", "consult", "d1", "itself"),
        ("d1", "consult", "queue", "unknown_target"),
        ("d1", "complete", "", "no_desk_call"),
        ("d1", "cancel", "", "no_desk_call"),
        ("d1", "conference", "", "no_desk_call"),
        ("d1", "take", "d1", "itself"),
        ("d1", "take", "d2", "no_call"),
        ("d1", "take", "nobody", "unknown_desk"),
        ("d1", "leave", "", "no_staff"),
        ("d1", "remove", "", "no_staff"),
        ("d1", "call", "d2", "has_call"),
        ("d4", "hold", "", "signed_out"),
    ],
)
def test_what_can_not_be_done_changes_nothing(desk, verb, target, code):
    world = talking(desks=("d1", "d2", "d4"), signed_in=("d1", "d2"))
    notes = len(world.notes)
    with pytest.raises(Impossible) as caught:
        order(world, desk, verb, target)
    assert caught.value.code == code
    assert len(world.notes) == notes
    assert seat(world, "bob") == ("room-d1", "guest")
    assert all(caught.value.texts)


def test_a_second_consultation_waits_for_the_first():
    world = talking()
    order(world, "d1", "consult", "d2")
    for verb in ("consult", "transfer"):
        with pytest.raises(Impossible, match="going on already"):
            order(world, "d1", verb, "d3")
    with pytest.raises(Impossible, match="busy"):
        order(world, "d3", "call", "d2")


def test_the_media_process_comes_back_and_everybody_is_where_they_were():
    world = talking(supervisors=("d3",))
    order(world, "d1", "consult", "d2")
    order(world, "d3", "listen", "d1")
    before = dict(world.rooms)
    world.commands.clear()
    world.rooms.clear()
    world.legs.clear()
    world.modes.clear()
    world.says(Holdings("", (), ()))
    assert world.rooms == before
    assert world.call("bob").leg in world.held


def test_an_interpreter_follows_the_guest_whom_a_lost_desk_leaves_to_the_consulted_one():
    """In the same breath the helper leaves one room and enters the other: not the other way round."""
    world = talking()
    order(world, "d1", "add", "d3", role="interpreter")
    order(world, "d1", "consult", "d2")
    world.desk_request("d1", "BYE")
    assert seat(world, "bob") == ("room-d2", "guest")
    assert seat(world, "d3") == ("room-d2", "staff")
    assert world.exchange.hands.visits["d3"].up
