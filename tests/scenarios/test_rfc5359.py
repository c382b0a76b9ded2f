"""The service examples of RFC 5359 that make sense at an emergency desk, on the virtual network, over UDP, TCP and WebSocket
(bars B13). docs/conformance.md says why the others do not apply.

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


@pytest.fixture(params=["udp", "tcp", "ws"])
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
        uri = f"sip:d2@{REALM}"
        line.invite(uri=uri)
        self.run()
        asked = line.last_response("INVITE").headers.all("WWW-Authenticate")
        challenge = next(one for one in asked if "SHA-256" in one)
        token = authorize(challenge, user="d1", password="pw-d1", method="INVITE", uri=uri, cnonce="c", nc=1)
        line.invited = line._build(
            "INVITE", uri, headers=(("Authorization", token),), body=sdp(address="192.0.2.88"), cseq=2
        )
        line.ask(line.invited, ref="invite")
        self.run()
        return line


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
    citizen = Phone(office.network, "alice", port=5100, transport=transport, auto=("ok", "ack"))
    assert citizen.register().status == 200
    citizen.ladder.clear()
    office.order("d2", "call", "alice")
    citizen.reply(180)
    office.run()
    citizen.reply(200)
    office.run()
    answered = ["< INVITE", "> 180 INVITE", "> 200 INVITE", "< ACK"]
    assert [step for step in citizen.ladder if step != "> 100 INVITE"] == answered
    assert seat(office.stand, "alice") == ("room-d2", "guest")
    office.do(lambda: seats.end_call(office.stand.exchange, "d2", office.stand.now))
    assert citizen.ladder[-2:] == ["< BYE", "> 200 BYE"]
