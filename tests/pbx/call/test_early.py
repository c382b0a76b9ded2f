"""Before the answer: ringing and PRACK as callee, reliable responses, forks and early media as caller (RFC 3262)."""

import pytest

from pbx.call.effects import Respond, SendAck, SendRequest
from pbx.sip.effects import ResponseArrived
from pbx.sip.parser import parse
from rtp.control import ConfigureLeg
from tests.kit.dialling import dial_in
from tests.kit.world import HOST, World, sdp

REQUIRE = ("Require", "100rel")


# --- as callee ----------------------------------------------------------------------------------------------------------


def ringing(*headers):
    world = World(media_answers=False)
    world.invite("bob", headers=headers)
    return world


def prack(world, rack, *, cseq=2, body=b""):
    transaction = world.in_dialog("bob", "PRACK", cseq=cseq, headers=(("RAck", rack),), body=body)
    return world.answers[transaction][-1]


def test_call_that_is_answered_at_once_never_rings_even_if_reliability_is_required():
    world = World()
    world.invite("bob", headers=(REQUIRE,))
    assert [r.status for r in world.answers[world.transactions["bob"]]] == [200]
    world.ack("bob")
    world.wait(40.0)
    assert world.call("bob") is not None


def test_caller_hears_ringing_while_ports_take_long():
    world = ringing()
    world.wait(0.9)
    assert world.last_answer("bob") is None
    world.wait(0.2)
    answer = world.last_answer("bob")
    assert answer.status == 180
    assert answer.headers.get("Require") is None
    world.wait(5.0)
    assert len(world.answers[world.transactions["bob"]]) == 1, "an unreliable one is sent once"
    world.media()
    assert world.last_answer("bob").status == 200
    assert world.last_answer("bob").to.tag == answer.to.tag


def test_ringing_is_reliable_where_the_caller_insists():
    world = ringing(REQUIRE)
    world.wait(1.1)
    answer = world.last_answer("bob")
    assert "100rel" in answer.headers.all("Require")
    rseq = answer.headers.get("RSeq")
    assert prack(world, f"{int(rseq) + 1} 1 INVITE").status == 481
    world.wait(1.0)
    repeated = len(world.answers[world.transactions["bob"]])
    assert repeated == 2
    assert prack(world, f"{rseq} 1 INVITE", cseq=3).status == 200
    world.wait(5.0)
    assert len(world.answers[world.transactions["bob"]]) == repeated
    world.media()
    world.ack("bob")
    assert world.noted("call_confirmed")


def test_a_caller_that_insists_and_offers_nothing_does_not_hear_ringing():
    """RFC 3261 §13.2.1: the first reliable response would have to bring our offer, and there are no ports yet."""
    world = World(media_answers=False)
    world.invite("bob", body=b"", headers=(REQUIRE,))
    world.wait(5.0)
    assert world.last_answer("bob") is None
    world.media()
    assert world.last_answer("bob").status == 200
    assert world.last_answer("bob").body
    plain = World(media_answers=False)
    plain.invite("bob", body=b"")
    plain.wait(5.0)
    assert plain.last_answer("bob").status == 180


def test_answer_does_not_wait_for_the_prack_and_the_prack_is_answered_all_the_same():
    world = ringing(REQUIRE)
    world.wait(1.1)
    rseq = world.last_answer("bob").headers.get("RSeq")
    world.media()
    assert world.last_answer("bob").status == 200
    count = len(world.answers[world.transactions["bob"]])
    world.wait(0.4)
    assert len(world.answers[world.transactions["bob"]]) == count, "the 180 is not repeated any more"
    assert prack(world, f"{rseq} 1 INVITE").status == 200


def test_prack_without_anything_to_acknowledge():
    world = World()
    world.invite("bob")
    world.ack("bob")
    assert prack(world, "1 1 INVITE").status == 481


def test_offer_in_a_prack_comes_too_early():
    world = ringing(REQUIRE)
    world.wait(1.1)
    assert prack(world, f"{world.last_answer('bob').headers.get('RSeq')} 1 INVITE", body=sdp()).status == 488


def test_requests_in_the_early_dialog():
    world = ringing()
    world.wait(1.1)
    offer = world.in_dialog("bob", "UPDATE", cseq=2, body=sdp(), content_type="application/sdp")
    # RFC 3311 §5.2: the offer of the INVITE has no answer yet.
    assert world.answers[offer][-1].status == 500
    assert world.answers[world.in_dialog("bob", "UPDATE", cseq=3)][-1].status == 200
    again = world.in_dialog("bob", "INVITE", cseq=4, body=sdp(), content_type="application/sdp")
    assert world.answers[again][-1].status == 500
    assert world.answers[again][-1].headers.get("Retry-After")
    world.media()
    assert world.last_answer("bob").status == 200
    stale = world.in_dialog("bob", "INFO", cseq=3)
    assert world.answers[stale][-1].status == 500, "the CSeq of the early dialog still counts"


def test_bye_in_the_early_dialog():
    world = ringing(REQUIRE)
    world.wait(1.1)
    bye = world.in_dialog("bob", "BYE", cseq=2, headers=(("Reason", 'Q.850;cause=16;text="gone"'),))
    assert world.answers[bye][-1].status == 200
    assert world.last_answer("bob").status == 487
    assert world.noted("call_ended")[0].fields["reason"] == [
        {"protocol": "Q.850", "cause": 16, "text": "gone"}
    ]


def test_desk_that_insists_on_prack_and_never_sends_one_is_refused():
    world = World()
    world.register("d1")
    world.media_answers = False
    transaction = dial_in(world, (REQUIRE,))
    world.wait(1.1)
    assert world.answers[transaction][-1].status == 180
    world.wait(32.1)
    assert world.answers[transaction][-1].status == 504
    assert world.exchange.room("d1").fault == "no_prack"


# --- as caller ----------------------------------------------------------------------------------------------------------


class Desk:
    """A desk's phone, or several of them behind a forking proxy, that does not pick up yet."""

    def __init__(self):
        self.world = World()
        self.world.sign_in("d1", answer=False)
        self.invite = self.world.desk_invite("d1")

    def responds(self, status, tag, *, rseq=None, body=b"", cseq=None):
        headers = [("Contact", f"<sip:{tag}@192.0.2.88:5000>"), ("Allow", "INVITE, ACK, BYE, UPDATE")]
        if rseq is not None:
            headers += [("Require", "100rel"), ("RSeq", str(rseq))]
        response = self.invite.request.response(
            status, to_tag=tag, headers=headers, body=body, content_type="application/sdp" if body else None
        )
        response.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKinvite")
        if cseq is not None:
            response.headers.set("CSeq", f"{cseq} INVITE")
        message = parse(response.encode())
        before = len(self.world.sent)
        world = self.world
        world.run(world.exchange.sip(ResponseArrived(self.invite.ref, message, self.invite.flow), world.now))
        return world.sent[before:]

    def asks(self, method, tag, *, cseq=1, body=b""):
        world = self.world
        invite = self.invite.request
        request = world.request(
            method, f"sip:room-d1@{HOST}", "d1", cseq=cseq, to_tag=invite.from_.tag, body=body,
            content_type="application/sdp" if body else None,
        )  # fmt: skip
        request.headers.set("From", f"<sip:d1@{HOST}>;tag={tag}")
        request.headers.set("Call-ID", invite.call_id)
        return world.answers[world.arrive(world._again(request), "d1")][-1]

    @property
    def present(self):
        return self.world.exchange.room("d1").present


ANSWER = sdp(address="192.0.2.88")


def test_reliable_ringing_gets_its_prack():
    desk = Desk()
    [sent] = desk.responds(180, "a", rseq=77)
    assert sent.request.method == "PRACK"
    assert sent.request.headers.get("RAck") == "77 1 INVITE"
    assert sent.request.to.tag == "a"
    assert sent.request.cseq.number == 2
    assert str(sent.request.uri) == "sip:a@192.0.2.88:5000"
    desk.world.reply("PRACK", 200)
    assert desk.responds(180, "a", rseq=77) == [], "the same one again"
    assert desk.responds(183, "a", rseq=79) == [], "one was lost on the way"
    assert desk.responds(183, "a", rseq=78)[0].request.headers.get("RAck") == "78 1 INVITE"
    sent = desk.responds(200, "a", body=ANSWER)
    assert isinstance(sent[0], SendAck)
    assert desk.present
    assert desk.world.desk_leg("d1").dialog.local_seq == 3, "the PRACKs counted"


def test_unreliable_ringing_gets_none():
    desk = Desk()
    assert desk.responds(180, "a") == []
    assert desk.responds(100, "a", rseq=1) == []
    desk.responds(200, "a", body=ANSWER)
    assert desk.present


def test_answer_that_comes_early_is_the_answer():
    desk = Desk()
    configured = []
    keep = desk.world._media
    desk.world._media = lambda command: (configured.append(command), keep(command))
    desk.responds(183, "a", rseq=1, body=ANSWER)
    assert any(isinstance(command, ConfigureLeg) for command in configured), "the phone is heard early"
    desk.responds(200, "a")  # no description: the answer was given
    assert desk.present
    assert desk.world.desk_leg("d1").negotiation.streams
    assert not desk.world.desk_leg("d1").offering


def test_another_phone_than_the_one_heard_early_picks_up():
    desk = Desk()
    desk.responds(183, "a", rseq=1, body=ANSWER)
    desk.responds(180, "b", rseq=900)
    other = sdp(address="192.0.2.99")
    desk.responds(200, "b", body=other)
    assert desk.present
    assert desk.world.desk_leg("d1").negotiation.streams[0].remote[0] == "192.0.2.99"


def test_early_answer_that_fits_nothing_waits_for_a_better_one():
    desk = Desk()
    desk.responds(183, "a", rseq=1, body=b"rubbish")
    desk.responds(200, "a", body=ANSWER)
    assert desk.present


def test_update_in_the_early_dialog_of_a_desk():
    desk = Desk()
    desk.responds(180, "a", rseq=1)
    # Our offer has no answer yet.
    assert desk.asks("UPDATE", "a", body=ANSWER).status == 491
    desk.responds(183, "a", rseq=2, body=ANSWER)
    held = desk.asks("UPDATE", "a", cseq=2, body=sdp(address="192.0.2.88", direction="sendonly"))
    assert held.status == 200
    assert b"a=recvonly" in held.body
    desk.responds(200, "a")
    assert desk.present
    assert desk.world.desk_leg("d1").negotiation.held
    assert desk.asks("UPDATE", "nobody", cseq=3).status == 481


def test_second_phone_that_answers_too_gets_ack_and_bye():
    desk = Desk()
    desk.responds(180, "a", rseq=1)
    desk.responds(180, "b", rseq=1)
    desk.responds(200, "a", body=ANSWER)
    ack, bye = desk.responds(200, "b", body=ANSWER)
    assert isinstance(ack, SendAck)
    assert ack.request.to.tag == bye.request.to.tag == "b"
    assert bye.request.method == "BYE"
    assert bye.request.headers.get("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    # RFC 3261 §12.2.1.1: its PRACK had 2, and a number used twice is refused.
    assert (ack.request.cseq.number, bye.request.cseq.number) == (1, 3)
    [repeated] = desk.responds(200, "b", body=ANSWER)
    assert isinstance(repeated, SendAck), "its ACK was lost; its BYE is on the way"
    assert (repeated.request.to.tag, repeated.request.cseq.number) == ("b", 1)
    assert desk.present
    [again] = desk.responds(200, "a", body=ANSWER)
    assert isinstance(again, SendAck)
    assert again.request.to.tag == "a"


def test_2xx_for_a_leg_that_is_gone_gets_ack_and_bye():
    desk = Desk()
    desk.responds(200, "a", body=ANSWER)
    desk.world.desk_request("d1", "BYE")
    assert desk.world.exchange.legs == {}
    ack, bye = desk.responds(200, "b", body=ANSWER)
    assert isinstance(ack, SendAck)
    assert isinstance(bye, SendRequest)
    assert bye.request.to.tag == "b"
    assert bye.request.cseq.number > 1 + 8, "whatever PRACKs it has heard"
    assert desk.responds(486, "c") == []
    assert desk.responds(180, "c") == []


def test_no_end_of_forks():
    desk = Desk()
    for number in range(20):
        desk.responds(180, f"t{number}", rseq=1)
    assert len(desk.world.desk_leg("d1").early) == 8
    desk.responds(200, "t19", body=ANSWER)
    assert desk.present
    assert len(desk.world.desk_leg("d1").early) == 8, "each may pick up yet"
    for number in range(20):
        desk.responds(200, f"t{number}", body=ANSWER)
    assert len(desk.world.desk_leg("d1").early) == 8


@pytest.mark.parametrize("status", [180, 200, 486])
def test_responses_to_an_invite_that_was_sent_again_change_nothing(status):
    desk = Desk()
    desk.world.reply("INVITE", 422, to_tag="x", headers=(("Min-SE", "3600"),))
    assert desk.responds(status, "a", cseq=1, body=ANSWER if status == 200 else b"") == []
    assert not desk.present
    assert desk.world.desk_leg("d1") is not None


def test_cancel_and_bye_of_ours_say_why():
    desk = Desk()
    desk.world.wait(30.1)
    [cancel] = [e for e in desk.world.sent if type(e).__name__ == "SendCancel"]
    assert cancel.headers == (("Reason", 'Q.850;cause=19;text="No answer from user"'),)
    assert not any(isinstance(e, Respond) for e in desk.world.sent[-1:])
