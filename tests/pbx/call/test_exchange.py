"""The main job on the pure exchange: what a caller and a desk live through, step by step."""

from dataclasses import replace

import pytest

from pbx.call import seats, silence
from pbx.call.call import State
from pbx.call.effects import SendRequest, ToMedia
from pbx.call.leg import State as LegState
from pbx.call.media_events import media_said
from pbx.call.seats import Impossible
from pbx.sip.effects import AckArrived
from rtp.control import Dtmf, Holdings, MediaLost, MediaStarted, OpenEvidence, OpenLeg, Refused
from tests.kit.world import HOST, World, sdp


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


def test_reinvite_hold_and_resume():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    held = world.in_dialog(
        "bob", "INVITE", cseq=2, body=sdp(direction="sendonly"), content_type="application/sdp"
    )
    answer = world.answers[held][-1]
    assert answer.status == 200
    assert b"a=recvonly" in answer.body
    assert world.noted("caller_hold")[-1].fields["held"] is True
    world.run(world.exchange.sip(_ack(world, "bob", 2), world.now))
    again = world.in_dialog("bob", "INVITE", cseq=3, body=sdp(), content_type="application/sdp")
    assert b"a=sendrecv" in world.answers[again][-1].body
    assert world.noted("caller_hold")[-1].fields["held"] is False
    assert world.call("bob").state is State.TALKING


def _ack(world, name, cseq):
    tag = world.last_answer(name).to.tag
    return AckArrived(world.request("ACK", f"sip:110@{HOST}", name, to_tag=tag, cseq=cseq), world.flow(name))


def test_picture_added_later_gets_ports_first():
    world = World()
    world.invite("bob", body=sdp(video=None))
    world.ack("bob")
    world.media_answers = False
    added = world.in_dialog("bob", "INVITE", cseq=2, body=sdp(), content_type="application/sdp")
    assert added not in world.answers
    world.media()
    answer = world.answers[added][-1]
    assert answer.status == 200
    assert b"m=video 0" not in answer.body


def test_offer_in_the_200_answer_in_the_ack():
    world = World()
    world.sign_in("d1")
    world.invite("bob", body=b"")
    offer = world.last_answer("bob")
    assert b"m=audio" in offer.body
    world.ack("bob", body=sdp())
    assert {s.medium for s in world.exchange.leg(world.call("bob").leg).negotiation.streams} == {
        "audio",
        "video",
    }


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


def test_useless_sdp_is_refused_with_488():
    world = World()
    world.invite("bob", body=b"v=0\r\nnonsense")
    assert world.last_answer("bob").status in {400, 488}
    assert world.call("bob") is None


def test_a_refusal_for_the_media_says_so():
    """RFC 3261 §13.3.1.3, §20.43."""
    world = World()
    world.sign_in("d1")
    for method in ("INVITE", "UPDATE"):
        asked = world.desk_request("d1", method, body=b"v=1\r\n", content_type="application/sdp")
        refusal = world.answers[asked][-1]
        assert (refusal.status, refusal.headers.get("Warning")) == (
            488,
            '305 at110 "Incompatible media format"',
        )


def test_caller_with_no_medium_we_know_is_answered_all_the_same():
    world = World()
    world.invite(
        "bob",
        body=b"v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\nm=application 9 TCP x\r\n",
    )
    assert world.last_answer("bob").status == 200
    assert b"m=application 0" in world.last_answer("bob").body


def test_media_process_that_came_back_is_told_everything_again():
    world = World()
    world.sign_in("d1")
    world.invite("bob")
    world.ack("bob")
    before = world.rooms.copy()
    world.rooms.clear()
    effects = media_said(world.exchange, Holdings("", (), ()), world.now)
    opened = [e.command for e in effects if isinstance(e, ToMedia) and isinstance(e.command, OpenLeg)]
    assert all(command.ports for command in opened)
    world.run(effects)
    assert world.rooms == before
    assert world.noted("media_restarted")


def test_after_a_restart_of_media_a_leg_listens_where_it_did():
    """A phone that came in over another listener has its ports on that one's address, which may be of the other family."""
    world = World()
    world.invite("bob")
    world.ack("bob")
    leg = world.exchange.legs[world.call("bob").leg]
    leg.setup = replace(leg.setup, bind="::1")
    effects = media_said(world.exchange, Holdings("", (), ()), world.now)
    hosts = [e.command.host for e in effects if isinstance(e, ToMedia) and isinstance(e.command, OpenLeg)]
    assert hosts == ["::1"]


VP8_ONLY = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8\r\nm=video 4002 RTP/AVP 98\r\na=rtpmap:98 VP8/90000\r\n"
)
BOTH = VP8_ONLY.replace(b"192.0.2.77", b"192.0.2.88").replace(
    b"RTP/AVP 98\r\n",
    b"RTP/AVP 96 98\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e01f;packetization-mode=1\r\n",
)


def reinvites(world):
    return [e for e in world.sent if isinstance(e, SendRequest) and "/reinvite/" in e.ref]


def test_desk_is_asked_for_a_picture_its_guest_can_decode():
    world = World(desks=("d1",))
    world.sign_in("d1", answer=False)
    world.pick_up("d1", body=BOTH)
    world.invite("bob")
    assert reinvites(world) == []
    world.ack("bob")
    world.bye("bob")
    world.invite("vera", body=VP8_ONLY)
    asked = reinvites(world)
    assert len(asked) == 1
    assert b"VP8" in asked[0].request.body
    assert b"H264" not in asked[0].request.body
    # While it is pending the desk's own re-INVITE meets 491 (glare).
    glare = world.desk_request("d1", "INVITE", body=sdp(), content_type="application/sdp")
    assert world.answers[glare][-1].status == 491
    world.answer_reinvite("d1", VP8_ONLY.replace(b"192.0.2.77", b"192.0.2.88"))
    streams = world.desk_leg("d1").negotiation.streams
    assert [s.receive[0].name for s in streams] == ["PCMA", "VP8"]
    # The next guest speaks H.264 only: asked again, for the phone said before that it knows it.
    world.ack("vera")
    world.bye("vera")
    world.invite("hans")
    assert b"H264" in reinvites(world)[-1].request.body


def test_desk_that_knows_one_picture_codec_is_left_alone():
    world = World(desks=("d1",))
    world.sign_in("d1")
    world.invite("vera", body=VP8_ONLY)
    assert reinvites(world) == []


def test_refused_reinvite_leaves_all_as_it_was():
    world = World(desks=("d1",))
    world.sign_in("d1", answer=False)
    world.pick_up("d1", body=BOTH)
    before = world.desk_leg("d1").negotiation.streams
    world.invite("vera", body=VP8_ONLY)
    world.answer_reinvite("d1", b"", status=488)
    assert world.desk_leg("d1").negotiation.streams == before
    assert world.call("vera").state is State.TALKING


def test_evidence_of_a_call_nobody_knows_any_more_is_finished():
    world = World()
    world.says(Holdings("", (), ("call-of-before",)))
    assert [type(c) for c in world.commands] == []  # answered at once
    assert world.finished == ["call-of-before"]
