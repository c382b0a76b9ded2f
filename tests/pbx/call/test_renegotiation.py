"""Offers in both directions: UPDATE, re-INVITE, what crosses, what can't be read (RFC 3311, 6337, 6141; RFC 5621)."""

from pbx.call import modify
from pbx.call.effects import LegFree, SendAck
from pbx.sdp.description import parse
from pbx.sip.effects import AckArrived, Cancelled, StrayResponse
from rtp.control import Refused
from tests.kit.world import HOST, World, sdp

VP8 = sdp().replace(b"H264/90000", b"VP8/90000")


def call_up(**how):
    world = World(desks=("d1",))
    world.invite("bob", **how)
    world.ack("bob")
    return world


def asked(world, method, *, cseq=2, body=b"", headers=(), kind="application/sdp"):
    return world.answers[
        world.in_dialog(
            "bob", method, cseq=cseq, body=body, headers=headers, content_type=kind if body else None
        )
    ][-1]


def leg(world):
    return world.exchange.legs[world.call("bob").leg]


# --- UPDATE -----------------------------------------------------------------------------------------------------------


def test_update_holds_and_resumes():
    world = call_up()
    held = asked(world, "UPDATE", body=sdp(direction="sendonly"))
    assert held.status == 200
    assert b"a=recvonly" in held.body
    assert held.contact is not None
    assert world.noted("caller_hold")[-1].fields["held"] is True
    assert b"a=sendrecv" in asked(world, "UPDATE", cseq=3, body=sdp()).body
    assert world.noted("caller_hold")[-1].fields["held"] is False
    assert leg(world).unacked is None, "no ACK comes to an UPDATE"


def test_update_without_offer_moves_the_target_and_nothing_else():
    world = call_up()
    before = leg(world).negotiation.streams
    tag = world.last_answer("bob").to.tag
    request = world.request("UPDATE", f"sip:110@{HOST}", "bob", to_tag=tag, cseq=2)
    request.headers.set("Contact", "<sip:bob@192.0.2.99:5099>")
    assert world.answers[world.arrive(request, "bob")][-1].status == 200
    assert str(leg(world).dialog.remote_target) == "sip:bob@192.0.2.99:5099"
    assert leg(world).negotiation.streams == before


def test_an_offer_of_ours_keeps_the_places_the_caller_gave():
    """RFC 3264 §8, asked for by a re-INVITE without an offer (RFC 3261 §14.2)."""
    head, _, rest = sdp().decode().partition("m=audio")
    audio, _, video = rest.partition("m=video")
    swapped = (
        f"{head}m=video{video}m=audio{audio}m=text 4010 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\n".encode()
    )
    world = call_up(body=swapped)
    answer = asked(world, "INVITE", cseq=2)
    ours = parse(answer.body)
    assert [(media.kind, media.port > 0) for media in ours.media] == [
        ("video", True), ("audio", True), ("text", False),
    ]  # fmt: skip
    world.in_dialog(
        "bob",
        "ACK",
        cseq=2,
        body=swapped.replace(b"m=text 4010", b"m=text 0"),
        content_type="application/sdp",
    )
    assert [(s.index, s.medium) for s in leg(world).negotiation.streams] == [(0, "video"), (1, "audio")]


def test_update_that_adds_a_picture_waits_for_its_ports():
    world = call_up(body=sdp(video=None))
    world.media_answers = False
    transaction = world.in_dialog("bob", "UPDATE", cseq=2, body=sdp(), content_type="application/sdp")
    assert transaction not in world.answers
    # RFC 3311 §5.2: an offer before the last one was answered gets 500 with Retry-After.
    early = asked(world, "UPDATE", cseq=3, body=sdp())
    assert early.status == 500
    assert 0 <= int(early.headers.get("Retry-After")) <= 10
    world.media()
    assert b"m=video 0" not in world.answers[transaction][-1].body
    assert world.answers[transaction][-1].status == 200


def test_a_reinvite_that_is_cancelled_leaves_all_as_it_was():
    world = call_up(body=sdp(video=None))
    before = leg(world).negotiation.streams
    world.media_answers = False
    tag = world.last_answer("bob").to.tag
    request = world.request(
        "INVITE", f"sip:110@{HOST}", "bob", to_tag=tag, cseq=2, body=sdp(), content_type="application/sdp"
    )
    transaction = world.arrive(request, "bob")
    assert transaction not in world.answers, "it waits for the port of the picture"
    world.run(world.exchange.sip(Cancelled("another", request, world.flow("bob")), world.now))
    assert transaction not in world.answers
    world.run(world.exchange.sip(Cancelled(transaction, request, world.flow("bob")), world.now))
    assert [answer.status for answer in world.answers[transaction]] == [487]
    world.media()
    assert [answer.status for answer in world.answers[transaction]] == [487]
    assert leg(world).negotiation.streams == before
    assert world.call("bob") is not None
    world.media_answers = True
    assert asked(world, "INVITE", cseq=3, body=sdp()).status == 200


def test_update_refused_for_want_of_ports_leaves_all_as_it_was():
    world = call_up(body=sdp(video=None))
    before = leg(world).negotiation.streams
    world.media_answers = False
    transaction = world.in_dialog("bob", "UPDATE", cseq=2, body=sdp(), content_type="application/sdp")
    world.commands.clear()
    world.says(Refused("OpenLeg", leg(world).id, "no_ports"))
    assert world.answers[transaction][-1].status == 488
    assert leg(world).negotiation.streams == before


def test_unusable_offer_is_refused_and_the_target_stays():
    world = call_up()
    target = leg(world).dialog.remote_target
    tag = world.last_answer("bob").to.tag
    for cseq, method in ((2, "UPDATE"), (3, "INVITE")):
        request = world.request(
            method,
            f"sip:110@{HOST}",
            "bob",
            to_tag=tag,
            cseq=cseq,
            body=b"rubbish",
            content_type="application/sdp",
        )
        request.headers.set("Contact", "<sip:bob@192.0.2.99:5099>")
        assert world.answers[world.arrive(request, "bob")][-1].status == 400
        # RFC 6141: a request that is refused does not move the target.
        assert leg(world).dialog.remote_target == target


def test_update_crosses_our_open_offer():
    world = call_up(body=b"")  # our 200 carried the offer, the ACK below brought no answer
    assert asked(world, "UPDATE", body=sdp()).status == 200, "the offer without answer was withdrawn"
    world = World(desks=("d1",))
    world.invite("bob", body=b"")
    assert asked(world, "UPDATE", body=sdp()).status == 491
    assert asked(world, "INVITE", cseq=3, body=sdp()).status == 491
    assert asked(world, "UPDATE", cseq=4).status == 200, "without an offer nothing crosses"


def test_update_and_reinvite_cross_our_reinvite():
    world = call_up()
    world.run(world.exchange.run([modify.reinvite(leg(world), sdp(), "reinvite")], world.now))
    assert asked(world, "UPDATE", body=sdp()).status == 491
    assert asked(world, "INVITE", cseq=3, body=sdp()).status == 491
    assert asked(world, "UPDATE", cseq=4).status == 200


def test_a_late_repetition_of_the_answer_to_our_reinvite_gets_its_ack():
    """RFC 3261 §13.2.2.4, though the transaction is over, and the caller's INVITE had the same number as ours."""
    world = World()
    invite = world.request(
        "INVITE", f"sip:110@{HOST}", "bob", cseq=2, body=sdp(), content_type="application/sdp"
    )
    world.transactions["bob"] = world.arrive(invite, "bob")
    world.in_dialog("bob", "ACK", cseq=2)
    world.run(world.exchange.run([modify.reinvite(leg(world), sdp(), "reinvite")], world.now))
    sent = world.asked("INVITE")
    assert sent.request.cseq.number == 2, "the same as the caller's"
    world.reply("INVITE", 200, body=sdp())
    before = len(world.sent)
    repeated = sent.request.response(200, headers=(("Contact", "<sip:phone@192.0.2.88:5000>"),))
    world.run(world.exchange.sip(StrayResponse(repeated, sent.flow), world.now))
    [ack] = world.sent[before:]
    assert isinstance(ack, SendAck)
    assert str(ack.request.cseq) == "2 ACK"


def test_reinvite_stands_for_a_lost_ack_only_when_the_exchange_is_complete():
    world = World()
    world.invite("bob")
    assert asked(world, "INVITE", body=sdp(direction="sendonly")).status == 200
    assert world.noted("call_confirmed")
    answers = len(world.answers[world.transactions["bob"]])
    world.wait(10.0)
    assert len(world.answers[world.transactions["bob"]]) == answers


# --- a re-INVITE of ours -------------------------------------------------------------------------------------------------


def aligned():
    """A desk that is re-INVITEd because its guest knows another picture codec."""
    world = World(desks=("d1",))
    world.sign_in("d1", answer=False)
    both = sdp(video="96 98", address="192.0.2.88") + b"a=rtpmap:98 VP8/90000\r\n"
    world.pick_up("d1", body=both)
    world.invite("bob", body=VP8)
    world.ack("bob")
    return world


MODES = (
    sdp(video="96 97", address="192.0.2.88")
    + b"a=rtpmap:97 H264/90000\r\na=fmtp:97 profile-level-id=42e01f;packetization-mode=0\r\n"
)
MODE_0 = (
    sdp(video="97") + b"a=rtpmap:97 H264/90000\r\na=fmtp:97 profile-level-id=42e01f;packetization-mode=0\r\n"
)


def pictures_offered(world):
    """The formats of picture in the newest INVITE to the desk."""
    _, _, video = world.asked("INVITE").request.body.partition(b"m=video ")
    return [line for line in video.decode().splitlines() if line.startswith(("a=rtpmap", "a=fmtp"))]


def test_a_guest_who_takes_only_single_nal_units_has_the_desk_send_those():
    """RFC 6184 §8.2.2: packetization modes 0 and 1 are two formats; fragments of mode 1 mean nothing to mode 0."""
    world = World(desks=("d1",))
    world.sign_in("d1", answer=False)
    world.pick_up("d1", body=MODES)
    first = world.asked("INVITE")
    world.invite("bob", body=MODE_0)
    world.ack("bob")
    assert world.asked("INVITE") is not first
    assert pictures_offered(world) == [
        "a=rtpmap:97 H264/90000",
        "a=fmtp:97 profile-level-id=42e01f;packetization-mode=0",
    ]
    # The next one sends fragments: the desk, which now knows single units alone, is asked for both again.
    world.answer_reinvite("d1", MODE_0.replace(b"192.0.2.77", b"192.0.2.88"))
    second = world.asked("INVITE")
    world.bye("bob")
    world.invite("eve", body=sdp(video="96"))
    world.ack("eve")
    assert world.asked("INVITE") is not second
    assert "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1" in pictures_offered(world)


def test_a_desk_whose_picture_fits_is_left_alone():
    world = World(desks=("d1",))
    world.sign_in("d1", answer=False)
    world.pick_up("d1", body=MODES)
    first = world.asked("INVITE")
    world.invite("bob", body=sdp(video="96"))
    world.ack("bob")
    assert world.asked("INVITE") is first


def test_glare_is_tried_again_after_2_1_to_4_seconds_because_the_call_id_is_ours():
    world = aligned()
    first = world.asked("INVITE")
    assert "/reinvite/" in first.ref
    world.reply("INVITE", 491)
    world.wait(2.09)
    assert world.asked("INVITE") is first
    world.wait(1.92)
    assert world.asked("INVITE") is not first
    assert world.asked("INVITE").request.cseq.number > first.request.cseq.number


def test_glare_is_not_tried_again_when_the_guest_has_left():
    world = aligned()
    first = world.asked("INVITE")
    world.reply("INVITE", 491)
    world.bye("bob")
    world.wait(5.0)
    assert world.asked("INVITE") is first


def test_two_hundred_back_offs_of_both_kinds():
    for name, least, most in (("desk", 2.1, 4.0), ("caller", 0.0, 2.0)):
        waits = []
        for run in range(200):
            world = aligned() if name == "desk" else call_up()
            world.exchange.mint = lambda what, run=run: str(run * 7919) if what == "draw" else what
            if name == "caller":
                world.run(world.exchange.run([modify.reinvite(leg(world), sdp(), "refresh")], world.now))
            world.reply("INVITE", 491)
            one = world.desk_leg("d1") if name == "desk" else leg(world)
            waits.append(one.again[0] - world.now)
        assert least <= min(waits) + 1e-6
        assert max(waits) <= most + 1e-6
        assert len({round(wait, 2) for wait in waits}) > 50


def test_a_caller_is_asked_nothing_by_itself():
    world = call_up()
    sent = len(world.sent)
    world.run(world.exchange.run([LegFree(leg(world).id)], world.now))
    assert len(world.sent) == sent


def test_answer_with_a_strangers_tag_is_no_answer_of_this_dialog():
    world = aligned()
    sent = world.asked("INVITE")
    target = world.desk_leg("d1").dialog.remote_target
    response = sent.request.response(200, body=sdp(), headers=(("Contact", "<sip:x@192.0.2.200>"),))
    to = str(sent.request.to.with_tag("another"))
    response.headers.set("To", to)
    response.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKasked")
    from pbx.sip.effects import ResponseArrived
    from pbx.sip.parser import parse

    world.run(world.exchange.sip(ResponseArrived(sent.ref, parse(response.encode()), sent.flow), world.now))
    assert world.desk_leg("d1").dialog.remote_target == target


def test_language_is_answered_by_the_setting():
    from dataclasses import replace

    world = World()
    site = world.exchange.site
    world.exchange.site = replace(site, legs=replace(site.legs, languages=("zh",)))
    world.invite("bob", body=sdp(video=None) + b"a=hlang-send:yue zh\r\na=hlang-recv:zh en\r\n")
    assert b"a=hlang-send:zh\r\na=hlang-recv:zh" in world.last_answer("bob").body
    assert world.noted("call_arrived")[0].fields["languages"] == [
        {"medium": "audio", "speaks": ["yue", "zh"], "understands": ["zh", "en"]}
    ]


def test_ack_of_a_reinvite_that_never_comes_does_not_end_the_call():
    world = call_up()
    assert asked(world, "INVITE", body=sdp()).status == 200
    world.wait(40.0)
    assert world.call("bob") is not None
    assert asked(world, "UPDATE", cseq=3, body=sdp()).status == 200
    tag = world.last_answer("bob").to.tag
    late = world.request("ACK", f"sip:110@{HOST}", "bob", to_tag=tag, cseq=2)
    world.run(world.exchange.sip(AckArrived(late, world.flow("bob")), world.now))
    assert world.call("bob") is not None
