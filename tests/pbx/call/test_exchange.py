"""The main job on the pure exchange: what a caller and a desk live through, step by step."""

import pytest

from pbx.call import seats, silence
from pbx.call.call import State
from pbx.call.effects import SendRequest
from pbx.call.leg import State as LegState
from pbx.call.seats import Impossible
from rtp.control import Dtmf, Holdings, MediaLost, MediaStarted, OpenEvidence, OpenLeg, Refused
from tests.kit.world import HOST, World


def test_nobody_in_front_goes_straight_in():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    assert world.last_answer("bob").status == 200
    assert world.call("bob").state is State.TALKING
    assert world.call("bob").desk == "d1"
    assert not world.call("bob").caller.verified
    world.ack("bob")
    assert world.bye("bob")
    assert world.call("bob") is None
    assert len(world.finished) == 1
    assert seats.seat_state(world.exchange, "d1") == "free"
    assert world.desk_leg("d1").live


def test_waits_behind_another_then_is_put_through_without_a_new_dialog():
    world = World(desks=("d1",))
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    invites = [e for e in world.sent if isinstance(e, SendRequest) and e.request.method == "INVITE"]
    world.invite("carol")
    world.ack("carol")
    assert world.call("carol").state is State.WAITING
    assert world.call("carol").position == 1
    texts = [
        e.request.body.decode()
        for e in world.sent
        if isinstance(e, SendRequest) and e.request.method == "MESSAGE"
    ]
    assert any("number 1" in text for text in texts)
    world.bye("bob")
    assert world.call("carol").desk == "d1"
    again = [e for e in world.sent if isinstance(e, SendRequest) and e.request.method == "INVITE"]
    assert again == invites


def test_desk_hangs_up_in_mid_call_and_the_caller_comes_first():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    world.invite("carol")
    world.ack("carol")
    world.desk_request("d1", "BYE")
    assert world.call("bob").state is State.WAITING
    assert [w.call for w in world.exchange.acd.queue] == [world.call("bob").id, world.call("carol").id]
    assert seats.seat_state(world.exchange, "d1") == "signed_out"
    world.sign_in("d2")
    assert world.call("bob").desk == "d2"
    assert world.call("carol").position == 1


def test_vanished_desk_is_found_out_by_options():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.says(MediaLost(world.exchange.room("d1").leg, "audio", 5.0))
    probe = world.sent[-1]
    assert probe.request.method == "OPTIONS"
    world.wait(4.0)
    assert world.call("bob").state is State.WAITING
    assert world.exchange.room("d1").fault == "unreachable"


def test_caller_without_media_stays_while_its_phone_answers_and_long_after():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    leg = world.call("bob").leg
    for _ in range(11):
        world.says(MediaLost(leg, "audio", 5.0))
        world.wait(5.0)
    assert world.call("bob").state is State.TALKING
    world.says(MediaLost(leg, "audio", 60.0))
    world.wait(5.0)
    assert world.call("bob") is None
    assert world.noted("call_ended")[0].fields["cause"] == "unreachable"


def test_recording_is_open_before_the_answer():
    world = World(media_answers=False)
    world.invite("bob")
    assert world.last_answer("bob") is None
    assert [type(c) for c in world.commands] == [OpenEvidence, OpenLeg]
    world.media()
    assert world.last_answer("bob").status == 200


def test_full_disk_is_stated_and_the_call_goes_on():
    world = World(media_answers=False)
    world.invite("bob")
    call = world.call("bob")
    world.commands.popleft()
    world.media()
    world.says(Refused("OpenEvidence", call.id, "disk"))
    assert world.last_answer("bob").status == 200
    assert call.fault == "disk"
    assert world.noted("not_recorded")


def test_no_port_is_a_503_with_retry_after():
    world = World(media_answers=False)
    world.invite("bob")
    world.commands.pop()
    world.says(Refused("OpenLeg", world.call("bob").leg, "no_ports"))
    assert world.last_answer("bob").status == 503
    assert world.last_answer("bob").headers.get("Retry-After")
    world.media()
    assert len(world.finished) == 1


def test_mute_media_process_ends_in_503_after_ten_seconds():
    world = World(media_answers=False)
    world.invite("bob")
    world.wait(9.9)
    assert world.last_answer("bob").status == 180
    world.wait(0.2)
    assert world.last_answer("bob").status == 503


def test_cancel_before_the_answer():
    world = World(media_answers=False)
    world.invite("bob")
    world.cancel("bob")
    assert world.last_answer("bob").status == 487
    world.media()
    assert world.call("bob") is None
    assert len(world.finished) == 1


def test_answer_is_repeated_until_the_ack():
    world = World()
    world.invite("bob")
    transaction = world.transactions["bob"]
    world.wait(3.6)  # T1 doubling: 0.5, 1.5, 3.5
    assert len(world.answers[transaction]) == 4
    world.ack("bob")
    world.wait(40.0)
    assert len(world.answers[transaction]) == 4
    assert world.call("bob") is not None


def test_answer_that_is_never_acknowledged_ends_with_bye_after_32_seconds():
    world = World()
    world.invite("bob")
    world.wait(31.9)
    assert world.call("bob").state is State.WAITING
    world.wait(0.2)
    assert world.sent[-1].request.method == "BYE"
    world.wait(2.1)
    assert world.call("bob") is None


def test_a_caller_whose_acks_are_all_lost_stays_while_it_is_heard():
    """Where RFC 3261 §13.3.1.4 would hang up: it talks, so it has our answer."""
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    leg = world.exchange.legs[world.call("bob").leg]
    world.wait(1.0)
    world.says(MediaStarted(leg.id, "audio", 0))
    world.wait(30.5)
    assert world.noted("ack_missing")
    world.wait(1.0)
    assert leg.state is LegState.CONFIRMED
    assert world.noted("call_confirmed")
    assert world.call("bob").state is State.TALKING
    answers = len(world.answers[world.transactions["bob"]])
    world.wait(20.0)
    assert len(world.answers[world.transactions["bob"]]) == answers, "nothing is repeated any more"
    assert world.asked("BYE") is None
    assert world.answers[world.bye("bob")][-1].status == 200


@pytest.mark.parametrize("how", ["silence", "lost again", "no answer of its own"])
def test_a_caller_without_ack_who_is_not_heard_is_hung_up(how):
    world = World()
    world.invite("bob", body=b"" if how == "no answer of its own" else None)
    leg = world.exchange.legs[world.call("bob").leg]
    if how != "silence":
        world.says(MediaStarted(leg.id, "audio", 0))
    if how == "lost again":
        world.says(MediaLost(leg.id, "audio", 3))
    world.wait(33.0)
    assert world.asked("BYE") is not None
    assert world.noted("call_ended")[0].fields["cause"] == "no_ack"


@pytest.mark.parametrize(
    "uri", ["tel:110", "urn:service:sos", "urn:service:sos.police", "sip:110@elsewhere.example"]
)
def test_every_name_of_the_service(uri):
    world = World()
    world.invite("bob", uri=uri)
    assert world.last_answer("bob").status == 200


@pytest.mark.parametrize("uri", ["sip:110-silent@192.0.2.1", "sip:110@192.0.2.1;mode=silent"])
def test_silent_call_hears_and_reads_nothing(uri):
    world = World()
    world.invite("bob", uri=uri)
    world.ack("bob")
    assert world.call("bob").silent
    assert not [e for e in world.sent if isinstance(e, SendRequest)]


def test_silent_mode_is_switched_on_at_once_and_off_by_two_acts():
    world = World()
    world.invite("bob")
    call = world.call("bob")
    world.run(silence.silent_on(world.exchange, call.id, "x", world.now))
    assert call.silent
    with pytest.raises(Impossible, match="first"):
        silence.confirm_silent_off(world.exchange, call.id, "x", world.now)
    world.run(silence.ask_silent_off(world.exchange, call.id, "x", world.now))
    world.now += 10.1
    with pytest.raises(Impossible, match="first"):
        silence.confirm_silent_off(world.exchange, call.id, "x", world.now)
    assert call.silent
    world.run(silence.ask_silent_off(world.exchange, call.id, "x", world.now))
    world.now += 9.9
    world.run(silence.confirm_silent_off(world.exchange, call.id, "x", world.now))
    assert not call.silent


def test_feature_codes_as_keys_of_the_desk():
    world = World(desks=("d1",))
    world.sign_in("d1")
    leg = world.exchange.room("d1").leg
    for digit in "*11":
        world.says(Dtmf(leg, digit))
    assert seats.seat_state(world.exchange, "d1") == "paused"
    world.invite("bob")
    world.ack("bob")
    assert world.call("bob").state is State.WAITING
    for digit in "*12":
        world.desk_request(
            "d1",
            "INFO",
            body=f"Signal={digit}\r\nDuration=100\r\n".encode(),
            content_type="application/dtmf-relay",
        )
    assert world.call("bob").desk == "d1"
    for digit in "*13":
        world.says(Dtmf(leg, digit))
    assert world.sent[-1].request.method == "BYE"
    assert seats.seat_state(world.exchange, "d1") == "free"


def test_feature_code_dialled_needs_the_desk_s_password():
    world = World()
    world.invite("d1", uri="sip:*10@192.0.2.1")
    assert world.last_answer("d1").status == 401
    world.invite("mallory", uri="sip:*11@192.0.2.1")
    assert world.last_answer("mallory").status == 401


def test_verbs_that_cannot_be_done_say_why():
    world = World()
    with pytest.raises(Impossible) as error:
        seats.sign_in(world.exchange, "d1", (), world.now)
    assert error.value.code == "not_registered"
    for verb in (seats.sign_out, seats.pause, seats.resume):
        with pytest.raises(Impossible) as error:
            verb(world.exchange, "d1", world.now)
        assert error.value.code == "signed_out"
    world.sign_in("d1")
    with pytest.raises(Impossible) as error:
        seats.end_call(world.exchange, "d1", world.now)
    assert error.value.code == "no_call"


def test_desk_that_does_not_answer_is_given_up():
    world = World()
    world.sign_in("d1", answer=False)
    assert seats.seat_state(world.exchange, "d1") == "calling"
    world.wait(31.0)
    assert seats.seat_state(world.exchange, "d1") == "signed_out"
    assert world.exchange.room("d1").fault == "no_answer"


def test_desk_that_refuses_is_not_signed_in():
    world = World()
    world.sign_in("d1", answer=False)
    world.pick_up("d1", status=486)
    assert seats.seat_state(world.exchange, "d1") == "signed_out"
    assert world.noted("desk_sign_in_failed")[0].fields["status"] == 486


def test_texts_go_both_ways_and_are_kept():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    world.in_dialog("bob", "MESSAGE", body="救命".encode(), content_type="text/plain")
    assert world.sent[-1].request.body.decode() == "救命"
    world.desk_request("d1", "MESSAGE", body=b"where are you", content_type="text/plain")
    assert world.sent[-1].request.body == b"where are you"
    assert [n.fields["text"] for n in world.noted("text")] == ["救命", "where are you"]


def test_strange_tags_touch_nobody():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    tag = world.last_answer("bob").to.tag
    stranger = world.request("BYE", f"sip:110@{HOST}", "eve", to_tag=tag, cseq=9, call_id="bob")
    assert world.answers[world.arrive(stranger, "eve")][-1].status == 481
    assert world.call("bob").state is State.TALKING


def test_unknown_methods_and_schemes():
    world = World()
    for method, uri, status in (
        ("NEWMETHOD", "sip:110@192.0.2.1", 501),
        ("PUBLISH", "sip:110@192.0.2.1", 405),
        ("REFER", "sip:110@192.0.2.1", 401),
        ("INVITE", "nobody:knows", 416),
        ("BYE", "sip:110@192.0.2.1", 481),
        ("OPTIONS", "sip:192.0.2.1", 200),
    ):
        answer = world.answers[world.arrive(world.request(method, uri, "bob"), "bob")][-1]
        assert answer.status == status
        if status in {200, 405, 501}:
            assert answer.headers.get("Allow")


def test_who_asks_while_the_exchange_stops_is_told_to_go_elsewhere():
    world = World()
    world.exchange.draining = True
    asked = world.request("OPTIONS", "sip:192.0.2.1", "bob")
    answer = world.answers[world.arrive(asked, "bob")][-1]
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "10")
    world.invite("bob")
    assert world.last_answer("bob").status == 200, "somebody in danger is heard to the end"


def test_extension_that_is_required_is_refused_unless_it_is_an_emergency():
    world = World()
    required = (("Require", "noSuchThing"),)
    refused = world.answers[
        world.arrive(world.request("OPTIONS", "sip:192.0.2.1", "bob", headers=required), "bob")
    ][-1]
    assert refused.status == 420
    assert refused.headers.get("Unsupported") == "noSuchThing"
    world.invite("bob", headers=required)
    assert world.last_answer("bob").status == 200


def test_registered_caller_is_known():
    world = World()
    assert world.register("alice").status == 200
    world.invite("alice")
    caller = world.call("alice").caller
    assert (caller.user, caller.name, caller.verified, caller.proof) == (
        "alice",
        "Citizen alice",
        True,
        "registration",
    )


def test_evidence_of_a_call_nobody_knows_any_more_is_finished():
    world = World()
    world.says(Holdings("", (), ("call-of-before",)))
    assert [type(c) for c in world.commands] == []  # answered at once
    assert world.finished == ["call-of-before"]
