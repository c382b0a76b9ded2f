"""The thirteen races of RFC 5407 on the virtual network, each with us as callee (a caller's leg) and, where we can be, as
caller (a desk's leg), over UDP, TCP, TLS and WebSocket. The end state is that of the RFC's figure (bars F17).

Both sides are 20 ms apart, so two requests sent in the same moment cross.
"""

import pytest

from pbx.call import modify, seats
from pbx.call.leg import State as LegState
from pbx.sip.dialog import Dialog
from tests.kit.place import Place, dial_in
from tests.kit.world import sdp


@pytest.fixture(params=["udp", "tcp", "tls", "ws"])
def transport(request):
    return request.param


# --- 3.1 Receiving a message in the Moratorium state (our 2xx is out, its ACK is not here) --------------------------


def test_3_1_1_callee_gets_the_initial_invite_again(transport):
    place = Place(transport)
    place.caller.invite()
    copy = next(packet.data for packet in place.network.trace if packet.source == place.caller.address)
    place.run(0.03)
    place.network.send(place.caller.address, [(copy, place.stand.address)])
    place.run()
    assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]
    assert place.leg.state is LegState.CONFIRMED
    assert len(place.stand.exchange.calls) == 1


def test_3_1_1_caller_side_the_200_comes_before_the_180(transport):
    """As the caller: the phone's 180 is late, the 200 overtakes it; it changes nothing any more."""
    place = Place(transport, desk=True)
    place.desk.reply(200)
    place.run()
    place.desk.ladder.clear()
    invite = next(request for _, request in place.desk.requests if request.method == "INVITE")
    late = invite.response(180, to_tag="t-d1", headers=(("Contact", "<sip:d1@192.0.2.77:5080>"),))
    place.network.send(place.desk.address, [(late.encode(), place.stand.address)])
    place.run()
    assert place.desk_leg.state is LegState.CONFIRMED
    assert place.desk.ladder == []


def test_3_1_2_callee_gets_cancel(transport):
    place = Place(transport, auto=("ok", "ack"))
    place.stand.media_answers = False
    place.caller.invite()
    place.run(1.5)  # it rings
    place.caller.cancel()
    place.do(place.stand._media_replies, seconds=0)
    place.run()
    # The 200 to the INVITE and the CANCEL crossed: CANCEL is answered and changes nothing; the caller says BYE.
    assert "< 200 CANCEL" in place.caller.ladder
    assert place.caller.last_response("INVITE").status == 200
    assert place.leg.state is LegState.CONFIRMED
    place.stand.media_answers = True
    place.caller.send("BYE")
    place.run()
    assert place.caller.last_response("BYE").status == 200
    place.all_gone()


def test_3_1_2_caller_side_our_cancel_crosses_the_200(transport):
    place = Place(transport, desk=True)
    place.desk.reply(180)
    place.run()
    place.desk.ladder.clear()
    place.do(lambda: seats.sign_out(place.stand.exchange, "d1", place.stand.now), seconds=0)
    place.desk.reply(200)
    place.run()
    # RFC 5407 §3.1.2: the caller sends ACK, then BYE.
    assert place.desk.ladder[:2] == ["> 200 INVITE", "< CANCEL"]
    assert [step for step in place.desk.ladder if step in {"< ACK", "< BYE"}] == ["< ACK", "< BYE"]
    place.all_gone()


def test_3_1_3_callee_gets_bye_of_the_early_state(transport):
    place = Place(transport, auto=("ok", "ack"))
    place.stand.media_answers = False
    place.caller.invite()
    place.run(1.5)
    ringing = place.caller.last_response("INVITE")
    assert ringing.status == 180
    place.caller.dialog = Dialog.uac(place.caller.invited, ringing)
    place.caller.send("BYE")
    place.do(place.stand._media_replies, seconds=0)
    place.run()
    assert place.caller.last_response("BYE").status == 200
    assert place.caller.last_response("INVITE").status == 200
    assert "> ACK" in place.caller.ladder
    place.stand.media_answers = True
    place.do(place.stand._media_replies, seconds=0)
    place.all_gone()


def test_3_1_3_bye_of_the_early_state_that_crosses_nothing(transport):
    place = Place(transport, auto=("ok", "ack"))
    place.stand.media_answers = False
    place.caller.invite()
    place.run(1.5)
    place.caller.dialog = Dialog.uac(place.caller.invited, place.caller.last_response("INVITE"))
    place.caller.send("BYE")
    place.run()
    # RFC 3261 §15.1.2: the pending INVITE is answered 487.
    assert place.caller.last_response("BYE").status == 200
    assert place.caller.last_response("INVITE").status == 487
    place.stand.media_answers = True
    place.do(place.stand._media_replies)
    place.all_gone()


def test_3_1_4_callee_gets_reinvite_with_the_exchange_complete(transport):
    place = Place(transport)
    place.caller.lose = ["ACK"]
    place.caller.invite()
    place.run(0.2)
    assert place.leg.state is LegState.ANSWERED
    place.caller.send("INVITE", body=sdp(direction="sendonly"))
    place.run()
    # The re-INVITE shows that the caller has our answer: it is taken.
    assert place.caller.last_response("INVITE").cseq.number == 2
    assert place.caller.last_response("INVITE").status == 200
    assert place.leg.state is LegState.CONFIRMED
    assert place.leg.negotiation.held
    sent = len(place.caller.ladder)
    place.run(5.0)
    assert place.caller.ladder[sent:] == [], "the first 200 is repeated no more"


def test_3_1_4_caller_side_our_200_to_a_desk_has_no_ack(transport):
    """The desk dialled in, so here too we are the callee; its re-INVITE comes before its ACK."""
    place = Place(transport)
    place.desk.auto = {"ok"}
    place.desk.register()
    dial_in(place, body=sdp(address="192.0.2.88"))
    assert place.desk_leg.state is LegState.ANSWERED
    place.desk.send("INVITE", body=sdp(address="192.0.2.88"))
    place.run(0.2)
    assert place.desk.last_response("INVITE").status == 200
    assert place.desk_leg.state is LegState.CONFIRMED
    assert place.stand.exchange.room("d1").present


def test_3_1_5_callee_gets_reinvite_while_its_own_offer_is_open(transport):
    place = Place(transport, auto=("ok",))
    place.caller.invite(body=b"")
    place.run(0.2)
    assert place.leg.state is LegState.ANSWERED
    place.caller.send("INVITE", body=sdp())
    place.run(0.1)
    assert place.caller.last_response("INVITE").status == 491
    place.caller.responses = [r for r in place.caller.responses if r.status == 200]
    place.caller.ack(sdp())
    place.run()
    assert place.leg.state is LegState.CONFIRMED
    assert place.leg.negotiation.streams
    place.caller.send("INVITE", body=sdp(direction="sendonly"))
    place.run(0.2)
    assert place.caller.last_response("INVITE").status == 200


def test_3_1_6_callee_gets_bye_of_the_established_state(transport):
    place = Place(transport)
    place.caller.lose = ["ACK"]
    place.caller.invite()
    place.run(0.1)
    place.caller.send("BYE")
    place.run(0.2)
    assert place.caller.last_response("BYE").status == 200
    place.all_gone()
    assert place.caller.ladder.count("< 200 INVITE") == 1, "nothing is repeated to who has left"


def test_3_1_6_caller_side_the_desk_says_bye_before_our_ack(transport):
    place = Place(transport, desk=True)
    place.stand.lose = ["ACK"]
    place.desk.reply(200)
    place.run(0.05)
    place.desk.send("BYE")
    place.run()
    assert place.desk.last_response("BYE").status == 200
    assert place.stand.exchange.room("d1").leg is None
    place.all_gone()


# --- 3.2 Receiving a message in the Mortal state (BYE is out) --------------------------------------------------------


def test_3_2_1_both_say_bye(transport):
    place = Place(transport)
    place.call_up()
    place.end_call(seconds=0)
    place.caller.send("BYE")
    place.run()
    assert place.caller.ladder == ["> BYE", "< BYE", "> 200 BYE", "< 200 BYE"]
    place.all_gone()


def test_3_2_1_both_say_bye_on_a_desk(transport):
    place = Place(transport, desk=True)
    place.desk_up()
    place.do(lambda: seats.sign_out(place.stand.exchange, "d1", place.stand.now), seconds=0)
    place.desk.send("BYE")
    place.run()
    assert place.desk.ladder == ["> BYE", "< BYE", "> 200 BYE", "< 200 BYE"]
    place.all_gone()


@pytest.mark.parametrize(
    ("method", "body"), [("INVITE", sdp()), ("UPDATE", sdp()), ("INFO", b""), ("REFER", b"")]
)
def test_3_2_2_and_3_3_3_a_request_comes_when_we_have_said_bye(transport, method, body):
    """Re-INVITE (3.2.2), REFER (3.3.3) and all else that works on the session is refused with 481."""
    place = Place(transport)
    place.call_up()
    place.end_call(seconds=0)
    place.caller.send(method, body=body)
    place.run()
    assert place.caller.last_response(method).status == 481
    assert "> 200 BYE" in place.caller.ladder
    place.all_gone()


@pytest.mark.parametrize(("method", "body"), [("INVITE", sdp()), ("REFER", b"")])
def test_3_2_2_and_3_3_3_on_a_desk(transport, method, body):
    place = Place(transport, desk=True)
    place.desk_up()
    place.do(lambda: seats.sign_out(place.stand.exchange, "d1", place.stand.now), seconds=0)
    place.desk.send(method, body=body)
    place.run()
    assert place.desk.last_response(method).status == 481
    place.all_gone()


def test_3_2_2_the_other_way_round_bye_comes_while_our_reinvite_is_out(transport):
    place = Place(transport, desk=True)
    place.desk_up()
    place.desk.auto = {"ack"}
    _reinvite(place)
    place.desk.send("BYE")
    place.run()
    assert place.desk.last_response("BYE").status == 200
    place.desk.reply(487)
    place.run()
    place.all_gone()


def test_3_2_3_the_200_of_a_reinvite_comes_when_we_have_said_bye(transport):
    place = Place(transport, desk=True)
    place.desk_up()
    _reinvite(place, seconds=0.1)
    place.do(lambda: seats.sign_out(place.stand.exchange, "d1", place.stand.now), seconds=0)
    place.desk.reply(200)
    place.run()
    # The 200 gets its ACK all the same, so that it is not repeated.
    assert "< ACK" in place.desk.ladder
    assert "> 200 BYE" in place.desk.ladder
    place.all_gone()


def test_3_2_3_the_other_way_round_bye_crosses_our_200(transport):
    place = Place(transport, auto=("ok",))
    place.caller.auto.add("ack")
    place.call_up()
    place.caller.auto.discard("ack")
    place.caller.send("INVITE", body=sdp())
    place.run(0.03)
    place.caller.send("BYE")
    place.run()
    place.caller.ack()
    assert place.caller.last_response("BYE").status == 200
    place.all_gone()
    assert place.caller.ladder.count("< 200 INVITE") == 1


def test_3_2_4_callee_gets_the_ack_after_it_wanted_to_say_bye(transport):
    """RFC 3261 §15: our BYE waits for the ACK; when that comes, BYE leaves and all ends as in the figure."""
    place = Place(transport, auto=("ok",))
    place.caller.invite()
    place.run(0.1)
    place.end_call()
    assert "< BYE" not in place.caller.ladder
    place.caller.ack()
    place.run()
    assert place.caller.ladder.count("< BYE") == 1
    place.all_gone()


# --- 3.3 other races -------------------------------------------------------------------------------------------------


def _reinvite(place, *, seconds=0):
    """Have the exchange re-INVITE the desk."""
    leg = place.desk_leg
    place.desk.auto.discard("answer")
    effect = modify.reinvite(leg, leg.negotiation.again(), "refresh")
    place.do(lambda: place.stand.exchange.run([effect], place.stand.now, leg.id), seconds)


def test_3_3_1_reinvites_cross(transport):
    place = Place(transport, desk=True)
    place.desk_up()
    _reinvite(place)
    place.desk.send("INVITE", body=sdp(address="192.0.2.88", direction="sendonly"))
    place.run(0.03)
    place.desk.reply(491)
    place.run(0.2)
    assert place.desk.last_response("INVITE").status == 491
    assert not place.desk_leg.renegotiating
    # The phone did not make the Call-ID: it waits 0 to 2 seconds, we 2.1 to 4.
    place.desk.send("INVITE", body=sdp(address="192.0.2.88", direction="sendonly"))
    place.run(0.2)
    assert place.desk.last_response("INVITE").status == 200
    place.desk.auto.add("answer")
    place.desk.ladder.clear()
    place.run(4.0)
    # Our own is tried again: as an UPDATE, for the phone said that it takes it.
    assert place.desk.ladder == ["< UPDATE", "> 200 UPDATE"]


def test_3_3_1_reinvites_cross_as_callee(transport):
    """A caller's re-INVITE crosses ours, such as refreshes the session of a phone that knows no UPDATE."""
    place = Place(transport)
    place.call_up()
    place.stand.exchange.mint = lambda what: "150" if what == "draw" else what
    leg = place.leg
    effect = modify.reinvite(leg, leg.negotiation.again(), "refresh")
    place.do(lambda: place.stand.exchange.run([effect], place.stand.now, leg.id), seconds=0)
    place.caller.send("INVITE", body=sdp())
    place.run(0.03)
    place.caller.reply(491)
    place.run(0.1)
    assert place.caller.last_response("INVITE").status == 491
    # The Call-ID is the caller's: we wait 0 to 2 seconds.
    assert leg.again == (pytest.approx(place.network.clock.now - 0.07 + 1.5, abs=0.02), "refresh")
    place.run(2.1)
    assert leg.again is None
    assert leg.state is LegState.CONFIRMED


def test_3_3_2_update_and_reinvite_cross(transport):
    place = Place(transport, desk=True)
    place.desk_up()
    _reinvite(place)
    place.desk.send("UPDATE", body=sdp(address="192.0.2.88"))
    place.run(0.03)
    place.desk.reply(491)
    place.run(0.2)
    assert place.desk.last_response("UPDATE").status == 491
    place.desk.send("UPDATE", body=sdp(address="192.0.2.88", direction="sendonly"))
    place.run(0.2)
    assert place.desk.last_response("UPDATE").status == 200
    assert b"a=recvonly" in place.desk.last_response("UPDATE").body
    place.desk.ladder.clear()
    place.run(4.0)
    assert place.desk.ladder == ["< UPDATE", "> 200 UPDATE"]


def test_3_3_2_update_without_offer_crosses_nothing(transport):
    """As the sender of UPDATE: ours carries no offer, so a re-INVITE that meets it is taken (RFC 6337)."""
    place = Place(transport)
    place.call_up()
    leg = place.leg
    place.caller.auto.discard("ok")
    place.do(
        lambda: place.stand.exchange.run(modify.refresh(leg, place.stand.now), place.stand.now, leg.id),
        seconds=0,
    )
    place.caller.send("INVITE", body=sdp())
    place.run(0.1)
    assert place.caller.last_response("INVITE").status == 200
    place.caller.reply(200, "UPDATE")
    place.run()
    assert leg.state is LegState.CONFIRMED
