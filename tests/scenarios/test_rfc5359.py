"""The eighteen service examples of RFC 5359 on the virtual network, over UDP, TCP, TLS and WebSocket (bars B13). Where a service is a
proxy's, the exchange is the phone that meets it; docs/conformance.md says which it offers itself.

The desk's phone has one permanent dialog, the caller another; what the RFC plays between two phones is played here in those
two, so the figures are compared leg by leg.
"""

import pytest

from pbx.call import hands, seats
from pbx.call.call import State
from pbx.sip.digest import authorize
from tests.kit.hands import seat
from tests.kit.place import Place
from tests.kit.stand import Phone
from tests.kit.world import HOST, REALM, sdp


@pytest.fixture(params=["udp", "tcp", "tls", "ws"])
def transport(request):
    return request.param


class Office(Place):
    """Two desks whose phones are signed in, and bob, who talks with the first."""

    def __init__(self, transport):
        super().__init__(transport, desk=True)
        self.desk_up()
        self.call_up()
        self.second = Phone(self.network, "d2", port=5090, transport=transport, auto=("ok", "ack"))
        assert self.second.register().status == 200
        bindings = self.stand.registrar.lookup(self.stand.accounts["d2"].aor, self.stand.now)
        self.do(lambda: seats.sign_in(self.stand.exchange, "d2", bindings, self.stand.now))
        self.second.reply(200)
        self.run()
        assert seat(self.stand, "bob") == ("room-d1", "guest")
        self.quiet()

    def quiet(self):
        for phone in (self.caller, self.desk, self.second):
            phone.ladder.clear()

    def order(self, desk, verb, target=""):
        order = hands.Order(desk, verb, target)
        self.do(lambda: hands.act(self.stand.exchange, order, self.stand.now))

    def second_line(self):
        """The first desk's phone calls the second desk on its second line; returns that line."""
        line = Phone(self.network, "d1", port=5082, transport=self.desk.transport, auto=("ok", "ack"))
        line.calls = 10  # another From tag and Call-ID than those of the first line
        self.dial(line, f"sip:d2@{REALM}")
        return line

    def dial(self, line, uri):
        """A phone dials, and proves who it is when it is asked."""
        line.invite(uri=uri)
        self.run()
        line.invited = line._build(
            "INVITE", uri, headers=(self.proof(line, "INVITE", uri),), body=sdp(address="192.0.2.88"), cseq=2
        )
        line.ask(line.invited, ref="invite")
        self.run()

    def proof(self, line, method, uri):
        """What a phone answers to the challenge it was given last."""
        asked = line.last_response(method).headers.all("WWW-Authenticate")
        challenge = next(one for one in asked if "SHA-256" in one)
        return (
            "Authorization",
            authorize(
                challenge, user=line.name, password=line.password, method=method, uri=uri, cnonce="c", nc=1
            ),
        )

    def called(self):
        """The second desk calls a citizen; returns the phone, which has the INVITE."""
        phone = Phone(self.network, "alice", port=5100, transport=self.desk.transport, auto=("ok", "ack"))
        assert phone.register().status == 200
        phone.ladder.clear()
        self.order("d2", "call", "alice")
        return phone


def hold(phone, *, on):
    phone.send("INVITE", body=sdp(address="192.0.2.88", direction="sendonly" if on else "sendrecv"))


# --- 2.1 Call hold, 2.3 Music on hold ---------------------------------------------------------------------------------------


def test_2_1_and_2_3_hold_by_the_desk(transport):
    office = Office(transport)
    hold(office.desk, on=True)
    office.run()
    assert office.desk.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]
    assert b"a=recvonly" in office.desk.last_response("INVITE").body
    assert office.caller.ladder == [], "the caller's dialog stays as it is: it is sent the tone"
    assert office.leg.id in office.stand.held
    hold(office.desk, on=False)
    office.run()
    assert office.leg.id not in office.stand.held


def test_2_1_hold_by_the_caller(transport):
    office = Office(transport)
    office.caller.send("INVITE", body=sdp(direction="sendonly"))
    office.run()
    assert office.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]
    assert office.desk.ladder == []
    assert seat(office.stand, "bob") == ("room-d1", "guest")


# --- 2.2 Consultation hold --------------------------------------------------------------------------------------------------


def test_2_2_consultation_hold(transport):
    office = Office(transport)
    hold(office.desk, on=True)
    office.run()
    line = office.second_line()
    assert line.ladder == [
        "> INVITE", "< 401 INVITE", "> ACK", "> INVITE", "< 200 INVITE", "> ACK",
    ]  # fmt: skip
    assert office.second.ladder == [], "the consulted desk comes with its own leg; nothing rings"
    assert seat(office.stand, "d2")[1] == "staff"
    assert office.leg.id in office.stand.held
    line.send("BYE")
    office.run()
    assert line.ladder[-2:] == ["> BYE", "< 200 BYE"]
    hold(office.desk, on=False)
    office.run()
    assert seat(office.stand, "bob") == ("room-d1", "guest")
    assert seat(office.stand, "d2") == ("room-d2", "host")
    assert not office.stand.held


# --- 2.4 Unattended, 2.5 attended transfer ----------------------------------------------------------------------------------


def test_2_4_unattended_transfer(transport):
    office = Office(transport)
    office.desk.send("REFER", headers=(("Refer-To", f"<sip:d2@{HOST}>"),))
    office.run()
    assert sorted(office.desk.ladder) == sorted(
        ["> REFER", "< 202 REFER", "< NOTIFY", "> 200 NOTIFY", "< NOTIFY", "> 200 NOTIFY"]
    )
    frags = [request.body for _, request in office.desk.requests if request.method == "NOTIFY"]
    assert frags == [b"SIP/2.0 100 Trying\r\n", b"SIP/2.0 200 OK\r\n"]
    assert office.caller.ladder == [], "the caller notices nothing but another voice"
    assert seat(office.stand, "bob") == ("room-d2", "guest")


def test_2_4_the_phone_that_transferred_hangs_up_and_is_called_again(transport):
    office = Office(transport)
    office.desk.send("REFER", headers=(("Refer-To", f"<sip:d2@{HOST}>"),))
    office.run()
    office.quiet()
    office.desk.send("BYE")
    office.desk.dialog = None
    office.run()
    assert office.desk.ladder[:3] == ["> BYE", "< 200 BYE", "< INVITE"]
    office.desk.reply(200)
    office.run()
    assert office.stand.exchange.room("d1").present
    assert seat(office.stand, "bob") == ("room-d2", "guest")


def test_2_4_to_nobody(transport):
    office = Office(transport)
    office.desk.send("REFER", headers=(("Refer-To", "<sip:nobody@192.0.2.1>"),))
    office.run()
    assert office.desk.ladder == ["> REFER", "< 404 REFER"]
    assert seat(office.stand, "bob") == ("room-d1", "guest")


def test_2_5_attended_transfer(transport):
    office = Office(transport)
    hold(office.desk, on=True)
    office.run()
    line = office.second_line()
    office.quiet()
    dialog = line.dialog
    value = f"{dialog.call_id}%3Bto-tag%3D{dialog.remote_tag}%3Bfrom-tag%3D{dialog.local_tag}"
    office.desk.send("REFER", headers=(("Refer-To", f"<sip:d2@{HOST}?Replaces={value}>"),))
    office.run()
    assert office.desk.ladder[:2] == ["> REFER", "< 202 REFER"]
    assert office.desk.ladder.count("< NOTIFY") == 2
    assert line.ladder[-2:] == ["< BYE", "> 200 BYE"]
    assert office.caller.ladder == []
    assert office.second.ladder == []
    assert seat(office.stand, "bob") == ("room-d2", "guest")
    assert not office.stand.held


# --- 2.10, 2.11 Three-way conference ----------------------------------------------------------------------------------------


def test_2_10_a_third_party_is_added(transport):
    office = Office(transport)
    office.order("d1", "consult", "d2")
    assert office.leg.id in office.stand.held
    office.order("d1", "conference")
    assert not office.stand.held
    assert seat(office.stand, "d2") == ("room-d1", "staff")
    assert office.stand.modes[office.stand.exchange.room("d2").leg] == "barge"
    assert office.caller.ladder == office.second.ladder == []


def test_2_11_a_third_party_joins(transport):
    """A supervisor comes in by itself; the Join header is not offered, a code or the API is."""
    office = Office(transport)
    office.stand.exchange.supervisors = frozenset({"d2"})
    office.order("d2", "barge", "d1")
    assert seat(office.stand, "d2") == ("room-d1", "staff")
    assert seat(office.stand, "bob") == ("room-d1", "guest")


# --- 2.15 Park, 2.16 Pickup, 2.18 Click to dial -----------------------------------------------------------------------------


def test_2_15_call_park(transport):
    """The guest waits at the head of the queue until a desk takes callers again."""
    office = Office(transport)
    for desk in ("d1", "d2"):
        office.do(lambda desk=desk: seats.pause(office.stand.exchange, desk, office.stand.now))
    office.order("d1", "transfer", "queue")
    assert office.stand.call("bob").state is State.WAITING
    office.do(lambda: seats.resume(office.stand.exchange, "d2", office.stand.now))
    assert seat(office.stand, "bob") == ("room-d2", "guest")


def test_2_16_call_pickup(transport):
    office = Office(transport)
    office.order("d2", "take", "d1")
    assert seat(office.stand, "bob") == ("room-d2", "guest")
    assert office.caller.ladder == office.desk.ladder == office.second.ladder == []


def test_2_18_click_to_dial(transport):
    office = Office(transport)
    citizen = office.called()
    citizen.reply(180)
    office.run()
    citizen.reply(200)
    office.run()
    assert steps(citizen) == ["< INVITE", "> 180 INVITE", "> 200 INVITE", "< ACK"]
    assert seat(office.stand, "alice") == ("room-d2", "guest")
    office.do(lambda: seats.end_call(office.stand.exchange, "d2", office.stand.now))
    assert citizen.ladder[-2:] == ["< BYE", "> 200 BYE"]


# --- what proxies do: we meet it as who calls -------------------------------------------------------------------------------


def steps(phone):
    return [step for step in phone.ladder if step != "> 100 INVITE"]


def goes_through(office, citizen, *said):
    """The proxy says each (To tag, status); the last is the 200 of who answers. That phone alone is in the call."""
    for tag, status in said:
        citizen.tag = tag
        citizen.reply(status)
        office.run()
    expected = ["< INVITE", *(f"> {status} INVITE" for _, status in said), "< ACK"]
    assert steps(citizen) == expected
    leg = office.stand.exchange.legs[office.stand.call("alice").leg]
    assert (leg.dialog.remote_tag, leg.early) == (said[-1][0], {})
    assert seat(office.stand, "alice") == ("room-d2", "guest")
    office.do(lambda: seats.end_call(office.stand.exchange, "d2", office.stand.now))
    assert citizen.ladder[-2:] == ["< BYE", "> 200 BYE"]


def test_2_7_call_forwarding_unconditional(transport):
    office = Office(transport)
    goes_through(office, office.called(), ("proxy", 181), ("carol", 180), ("carol", 200))


def test_2_8_call_forwarding_busy(transport):
    """The proxy keeps the 486 of the first phone to itself."""
    office = Office(transport)
    goes_through(office, office.called(), ("carol", 180), ("carol", 200))


def test_2_9_call_forwarding_no_answer(transport):
    office = Office(transport)
    said = (("bob", 180), ("proxy", 181), ("carol", 180), ("carol", 200))
    goes_through(office, office.called(), *said)


def test_2_12_find_me(transport):
    """One phone after the other rings; each is an early dialog of its own until one answers."""
    office = Office(transport)
    said = (("office", 180), ("home", 180), ("mobile", 180), ("mobile", 200))
    goes_through(office, office.called(), *said)


@pytest.mark.parametrize("status", [403, 433])
def test_2_13_incoming_call_screening(transport, status):
    """Whom a dispatcher calls may refuse; a call for help is screened by nobody, withheld number or not."""
    office = Office(transport)
    citizen = office.called()
    citizen.reply(status)
    office.run()
    assert steps(citizen) == ["< INVITE", f"> {status} INVITE", "< ACK"]
    assert office.stand.call("alice") is None
    hidden = Phone(office.network, "hidden", port=5110, transport=transport, auto=("ok", "ack"))
    hidden.invite(headers=(("Privacy", "id"),))
    office.run()
    assert hidden.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]


def test_2_14_outgoing_call_screening(transport):
    """A citizen's phone may call for help and nobody else."""
    office = Office(transport)
    citizen = Phone(office.network, "alice", port=5100, transport=transport, auto=("ok", "ack"))
    office.dial(citizen, f"sip:10086@{REALM}")
    assert citizen.ladder == ["> INVITE", "< 401 INVITE", "> ACK", "> INVITE", "< 403 INVITE", "> ACK"]


# --- what a phone does with its user: 2.6, 2.17 -----------------------------------------------------------------------------


def test_2_6_transfer_by_instant_messaging(transport):
    """A text that names somebody is a text: it is taken, the guest stays, and the desk that read it may call or transfer."""
    office = Office(transport)
    office.desk.send("MESSAGE", body=b"<sip:d2@at110>", content_type="text/plain")
    office.run()
    assert office.desk.ladder == ["> MESSAGE", "< 200 MESSAGE"]
    assert seat(office.stand, "bob") == ("room-d1", "guest")


def test_2_17_automatic_redial(transport):
    """A desk is busy: another watches its lamp and calls again when it goes out."""
    office = Office(transport)
    line = Phone(office.network, "d2", port=5092, transport=transport, auto=("ok", "ack"))
    line.calls = 10
    uri = f"sip:d1@{REALM}"
    office.dial(line, uri)
    assert line.ladder[-3:] == ["> INVITE", "< 486 INVITE", "> ACK"]
    line.ladder.clear()
    line.calls += 1
    wanted = (("Event", "dialog"), ("Expires", "600"))
    line.ask(line._build("SUBSCRIBE", uri, headers=wanted))
    office.run()
    again = (*wanted, office.proof(line, "SUBSCRIBE", uri))
    line.ask(line._build("SUBSCRIBE", uri, headers=again, cseq=2))
    office.run()
    assert line.ladder == [
        "> SUBSCRIBE", "< 401 SUBSCRIBE", "> SUBSCRIBE", "< 200 SUBSCRIBE", "< NOTIFY", "> 200 NOTIFY",
    ]  # fmt: skip
    assert b"<state>confirmed</state>" in line.requests[-1][1].body
    line.ladder.clear()
    office.caller.send("BYE")
    office.run(2.0)
    assert line.ladder[-2:] == ["< NOTIFY", "> 200 NOTIFY"]
    assert b"<state>confirmed</state>" not in line.requests[-1][1].body
    line.ladder.clear()
    line.dialog = None
    line.calls += 1
    office.dial(line, uri)
    assert line.ladder[-3:] == ["> INVITE", "< 200 INVITE", "> ACK"]
    assert seat(office.stand, "d1")[1] == "staff"
