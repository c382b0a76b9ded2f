"""The flows of RFC 3665 that concern a user agent or a registrar, on the virtual network, over UDP, TCP, TLS and WebSocket (bars B13).

Of flows between proxies the exchange plays the part of the phone next to them: who is called in 3.3 and 3.5, who calls in 3.4.
"""

import pytest

from pbx.call.call import State
from pbx.call.leg import State as LegState
from tests.kit.place import Place, dial_in
from tests.kit.stand import Phone
from tests.kit.world import sdp
from tests.scenarios.test_rfc3960 import Gateways


@pytest.fixture(params=["udp", "tcp", "tls", "ws"])
def transport(request):
    return request.param


# --- 2 Registration ---------------------------------------------------------------------------------------------------------


def test_2_1_successful_new_registration(transport):
    place = Place(transport)
    assert place.desk.register().status == 200
    assert place.desk.ladder == ["> REGISTER", "< 401 REGISTER", "> REGISTER", "< 200 REGISTER"]
    assert len(place.desk.contacts) == 1


def test_2_2_update_of_the_contact_list(transport):
    place = Place(transport)
    place.desk.register()
    again = place.desk.again_registered(contact="<sip:d1@192.0.2.77:5090>;expires=1200")
    assert again.status == 200
    assert len(place.desk.contacts) == 2


def test_2_3_request_for_the_contact_list(transport):
    place = Place(transport)
    place.desk.register()
    asked = place.desk.again_registered(contact=None)
    assert asked.status == 200
    assert len(place.desk.contacts) == 1


def test_2_4_cancellation(transport):
    place = Place(transport)
    place.desk.register()
    assert place.desk.again_registered(contact="*", expires=0).status == 200
    assert place.desk.contacts == []


def test_2_5_unsuccessful_registration(transport):
    place = Place(transport)
    place.desk.password = "wrong"
    assert place.desk.register().status == 401
    assert place.desk.ladder == ["> REGISTER", "< 401 REGISTER", "> REGISTER", "< 401 REGISTER"]


# --- 3 Session establishment ------------------------------------------------------------------------------------------------


def test_3_1_session_with_us_as_callee(transport):
    place = Place(transport)
    place.caller.invite()
    place.run()
    place.caller.send("BYE")
    place.run()
    assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK", "> BYE", "< 200 BYE"]
    place.all_gone()


def test_3_1_session_with_us_as_caller(transport):
    place = Place(transport, desk=True)
    place.desk.reply(180)
    place.run(2.0)
    place.desk.reply(200)
    place.run()
    assert place.desk.ladder == ["> 180 INVITE", "> 200 INVITE", "< ACK"]
    assert place.stand.exchange.room("d1").present
    place.desk.send("BYE")
    place.run()
    assert place.desk.ladder[-2:] == ["> BYE", "< 200 BYE"]
    place.all_gone()


def test_3_1_session_that_we_end(transport):
    place = Place(transport)
    place.call_up()
    place.end_call()
    assert place.caller.ladder == ["< BYE", "> 200 BYE"]
    place.all_gone()


def test_3_2_session_through_two_proxies(transport):
    """Both proxies record-route: later requests of ours take that road (RFC 3261 §12.2.1.1)."""
    place = Place(transport)
    routes = "<sip:192.0.2.77:5070;lr>, <sip:ss2.example.com;lr>, <sip:ss1.example.com;lr>"
    place.caller.invite(headers=(("Record-Route", routes),))
    place.run()
    answer = place.caller.last_response("INVITE")
    assert [str(r.uri) for r in answer.record_routes] == [
        "sip:192.0.2.77:5070;lr",
        "sip:ss2.example.com;lr",
        "sip:ss1.example.com;lr",
    ]
    place.end_call()
    bye = next(request for _, request in place.caller.requests if request.method == "BYE")
    assert [str(r.uri) for r in bye.routes] == [
        "sip:192.0.2.77:5070;lr",
        "sip:ss2.example.com;lr",
        "sip:ss1.example.com;lr",
    ]
    assert str(bye.uri) == "sip:bob@192.0.2.77:5070"


def test_3_3_session_for_which_we_want_a_password(transport):
    place = Place(transport)
    place.desk.register()
    place.desk.ladder.clear()
    dial_in(place, body=sdp(address="192.0.2.88"))
    assert place.desk.ladder[:6] == [
        "> INVITE", "< 401 INVITE", "> ACK", "> INVITE", "< 200 INVITE", "> ACK",
    ]  # fmt: skip
    assert place.stand.exchange.room("d1").present


def test_3_3_session_that_two_proxies_wanted_a_password_for(transport):
    """What the caller proved to them is theirs: it comes with the INVITE, and a call for help is not asked again."""
    place = Place(transport)
    proved = 'Digest username="bob", realm="{}", nonce="n", uri="sip:110@192.0.2.1", response="0"'
    place.caller.invite(
        headers=(
            ("Record-Route", "<sip:192.0.2.77:5070;lr>, <sip:ss2.biloxi.example.com;lr>, <sip:ss1.atlanta.example.com;lr>"),
            ("Proxy-Authorization", proved.format("atlanta.example.com")),
            ("Proxy-Authorization", proved.format("biloxi.example.com")),
        )
    )  # fmt: skip
    place.run()
    assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]
    place.end_call()
    bye = next(request for _, request in place.caller.requests if request.method == "BYE")
    assert [hop.uri.host for hop in bye.routes] == [
        "192.0.2.77", "ss2.biloxi.example.com", "ss1.atlanta.example.com",
    ]  # fmt: skip
    place.all_gone()


def test_3_4_session_with_a_proxy_that_fails(transport):
    """We call: the first proxy of a trunk says nothing, the second takes the call."""
    second = 5075
    place = Gateways(transport, others=(second,), attempt_seconds=4.0)
    proxy = Phone(place.network, "ss2", port=second, transport=transport, auto=("ok", "ack"))
    place.network._nodes.pop(place.caller.address)
    place.call_out()
    assert proxy.ladder == []
    place.run(4.0)
    assert proxy.ladder == ["< INVITE"]
    proxy.reply(180)
    place.run()
    proxy.reply(200, body=sdp(video=None))
    place.run()
    assert proxy.ladder == ["< INVITE", "> 180 INVITE", "> 200 INVITE", "< ACK"]
    assert place.out.state is LegState.CONFIRMED
    proxy.send("BYE")
    place.run()
    assert proxy.ladder[4:] == ["> BYE", "< 200 BYE"]


def test_3_5_session_through_an_alg(transport):
    """It stands in the way of signalling and media, and says so in Record-Route and SDP."""
    place = Place(transport)
    alg = "192.0.2.77"
    place.caller.invite(
        headers=(("Record-Route", f"<sip:{alg}:5070;lr>, <sip:ss1.atlanta.example.com;lr>"),),
        body=sdp(address=alg, port=3456),
    )
    place.run()
    assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]
    assert place.leg.negotiation.streams[0].remote == (alg, 3456)
    place.caller.ladder.clear()
    place.end_call()
    assert place.caller.ladder == ["< BYE", "> 200 BYE"]
    bye = next(request for _, request in place.caller.requests if request.method == "BYE")
    assert [hop.uri.host for hop in bye.routes] == [alg, "ss1.atlanta.example.com"]
    place.all_gone()


def test_3_6_session_with_the_answer_in_the_ack(transport):
    place = Place(transport, auto=("ok",))
    place.caller.invite(body=b"")
    place.run(0.2)
    assert b"m=audio" in place.caller.last_response("INVITE").body
    place.caller.ack(sdp())
    place.run()
    assert place.leg.negotiation.streams[0].remote == ("192.0.2.77", 4000)


def test_3_7_reinvite_with_another_address(transport):
    place = Place(transport)
    place.call_up()
    place.caller.send("INVITE", body=sdp(address="192.0.2.99", port=4400))
    place.run()
    assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]
    assert place.leg.negotiation.streams[0].remote == ("192.0.2.99", 4400)


def test_3_7_reinvite_of_ours(transport):
    place = Place(transport)
    place.caller.allow = "INVITE, ACK, BYE, CANCEL"
    place.caller.invite(headers=(("Supported", "timer"), ("Session-Expires", "100;refresher=uas")))
    place.run()
    place.caller.ladder.clear()
    place.caller.auto.add("answer")
    place.run(60.0)
    assert place.caller.ladder == ["< INVITE", "> 200 INVITE", "< ACK"]


def test_3_8_no_answer(transport):
    place = Place(transport, desk=True)
    place.desk.reply(180)
    place.run(30.5)
    assert place.desk.ladder[:3] == ["> 180 INVITE", "< CANCEL", "> 200 CANCEL"]
    place.desk.reply(487)
    place.run()
    assert place.desk.ladder[3:] == ["> 487 INVITE", "< ACK"]
    assert place.stand.exchange.room("d1").fault == "no_answer"
    place.all_gone()


@pytest.mark.parametrize("status", [486, 480, 302, 603])
def test_3_9_busy_and_3_11_temporarily_unavailable(transport, status):
    place = Place(transport, desk=True)
    place.desk.reply(status)
    place.run()
    assert place.desk.ladder == [f"> {status} INVITE", "< ACK"]
    assert place.stand.exchange.room("d1").fault == "refused"
    place.all_gone()


def test_3_10_no_response(transport):
    place = Place(transport)
    place.desk.register()
    place.network._nodes.pop(place.desk.address)
    place.sign_in()
    place.run(100.0)
    invites = [
        packet
        for packet in place.network.trace
        if packet.destination == place.desk.address and packet.data.startswith(b"INVITE")
    ]
    # RFC 3261 §17.1.1.2: seven transmissions over UDP, one over what is reliable.
    assert len(invites) == (7 if transport == "udp" else 1)
    assert not place.stand.exchange.room("d1").present
    assert place.stand.quiet


def test_3_11_caller_who_gives_up(transport):
    place = Place(transport)
    place.stand.media_answers = False
    place.caller.invite()
    place.run(1.5)
    place.caller.cancel(headers=(("Reason", "SIP;cause=487"),))
    place.run()
    assert place.caller.ladder == [
        "> INVITE", "< 100 INVITE", "< 180 INVITE", "> CANCEL", "< 200 CANCEL", "< 487 INVITE", "> ACK",
    ]  # fmt: skip
    assert place.stand.noted("call_ended")[0].fields["reason"][0]["cause"] == 487
    place.stand.media_answers = True
    place.do(place.stand._media_replies)
    place.all_gone()


def test_two_calls_one_desk(transport):
    """Not of the RFC: what the flows are for here."""
    place = Place(transport, desk=True)
    place.desk_up()
    place.call_up()
    call = next(iter(place.stand.exchange.calls.values()))
    assert call.state is State.TALKING
    place.end_call()
    place.run(5.0)
    assert place.stand.exchange.room("d1").present


def test_password_is_never_on_the_wire():
    place = Place("udp")
    place.desk.register()
    assert not any(b"pw-d1" in packet.data for packet in place.network.trace)
