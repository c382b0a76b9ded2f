"""The media of calls on the pure exchange: offers and answers, holds, pictures added and aligned, a media process that comes back."""

from dataclasses import replace

from pbx.call.call import GIVE_UP_SECONDS, GOODBYE_SECONDS, Call, State
from pbx.call.effects import SendRequest, ToMedia
from pbx.call.media_events import media_said
from pbx.call.views import Times, call_view
from pbx.sip.effects import AckArrived
from rtp.control import CloseEvidence, EvidenceOpened, Holdings, OpenLeg, Refused
from tests.kit.world import HOST, World, sdp


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


def over_and_not_closed() -> tuple[World, str]:
    """A call that was hung up, and a media process that does not say that its capture is closed."""
    world = World()
    world.invite("bob")
    world.ack("bob")
    call = world.call("bob").id
    world.media_answers = False
    world.bye("bob")
    return world, call


def test_a_call_whose_capture_does_not_close_is_not_handed_to_the_recorder():
    """What a hanging disk takes later would not fit the seal."""
    world, call = over_and_not_closed()
    world.wait(60)
    assert [note.fields for note in world.noted("capture_not_closed")] == [{"seconds": 10.0}]
    assert list(world.commands) == [CloseEvidence(call), CloseEvidence(call)], (
        "asked for again, should an answer be lost"
    )
    assert not world.noted("capture_closed")
    assert call in world.exchange.calls
    world.media()
    assert world.noted("capture_closed")[-1].fields == {"packets": 10, "bytes": 1000, "fault": None}
    assert world.exchange.calls == {}


def test_a_capture_that_never_closes_is_left_to_the_recorder_after_two_minutes():
    """The media process goes round and does not answer: the call is not shown as ending for ever."""
    world, call = over_and_not_closed()
    world.wait(GIVE_UP_SECONDS - 1)
    assert call in world.exchange.calls
    assert world.finished == []
    world.wait(GOODBYE_SECONDS + 1)
    assert world.exchange.calls == {}
    assert world.noted("capture_closed")[-1].fields == {"packets": 0, "bytes": 0, "fault": "capture_given_up"}
    assert world.finished == [call]
    # What it says yet is of no call.
    world.media()
    assert len(world.noted("capture_closed")) == 1
    assert world.finished == [call]


def test_a_call_given_up_is_not_closed_twice_by_a_restart_in_between():
    world, call = over_and_not_closed()
    world.wait(60)
    twin = Call.restore(world.exchange.calls[call].snapshot(), world.exchange.site.policy)
    assert twin.overdue
    assert twin.next_due == world.exchange.calls[call].next_due


def test_a_capture_whose_end_was_told_to_nobody_is_asked_for_again():
    """The media process was restarted while it closed it, or the connection to it was."""
    world, call = over_and_not_closed()
    world.commands.clear()  # lost with the connection
    world.says(Holdings("", (), ()))
    assert list(world.commands) == [CloseEvidence(call)]
    world.says(Refused("CloseEvidence", call, "unknown_call"))
    assert world.noted("capture_closed")[-1].fields["fault"] == "capture_not_closed"
    assert world.exchange.calls == {}


def test_a_disk_that_hangs_keeps_no_caller_waiting_for_an_answer():
    world = World(media_answers=False)
    world.invite("bob")
    call = world.call("bob")
    world.commands.popleft()  # the capture that does not open
    world.media()
    assert world.last_answer("bob") is None
    world.wait(2)
    assert world.last_answer("bob").status == 200
    assert world.noted("not_recorded")[-1].fields == {"reason": "capture_not_opened"}
    world.ack("bob")
    world.says(EvidenceOpened(call.id))
    assert call.state is State.WAITING


def test_a_disk_that_fails_in_mid_call_is_told_and_so_is_its_recovery():
    world = World()
    world.invite("bob")
    world.ack("bob")
    call = world.call("bob")
    for _ in range(2):
        world.says(Refused("OpenEvidence", call.id, "disk"))
    assert [n.fields for n in world.noted("not_recorded")] == [{"reason": "disk"}]
    assert call_view(world.exchange, call, Times(0.0))["alarm"] == "not_recorded"
    for _ in range(2):
        world.says(EvidenceOpened(call.id))
    assert len(world.noted("recorded_again")) == 1
    assert call_view(world.exchange, call, Times(0.0))["alarm"] is None
    world.bye("bob")
    assert world.noted("capture_closed")[-1].fields["fault"] == "disk"
