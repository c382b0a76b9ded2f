"""Messages that come twice, late, by two roads or never (bars F16): always one call, one row, and nothing left over.

Each story is lived many times on one network.
"""

import pytest

from pbx.sip.dialog import Dialog
from pbx.sip.message import Request
from pbx.sip.parser import parse
from tests.kit.place import Place
from tests.kit.size import times
from tests.kit.stand import SERVER
from tests.kit.world import sdp

pytestmark = pytest.mark.limit(times(120, 1800))
TIMES = times(150, 1000)
"""The machine has no memory between them, so CI lives fewer than the bar asks for."""


def invites(place):
    """The bytes of the newest INVITE of the caller."""
    return next(
        packet.data
        for packet in reversed(place.network.trace)
        if packet.source == place.caller.address and packet.data.startswith(b"INVITE")
    )


def arrived(place):
    return len(place.stand.noted("call_arrived"))


def end(place):
    place.caller.send("BYE")
    place.run(0.2)


def all_gone(place, calls):
    place.run(100.0)
    assert place.stand.quiet
    assert arrived(place) == calls
    assert len(place.stand.finished) == calls
    place.network.trace.clear()


def test_invite_seven_times():
    place = Place("udp")
    for _ in range(TIMES):
        place.caller.invite()
        copy = invites(place)
        for _ in range(6):
            place.network.send(place.caller.address, [(copy, SERVER)])
        place.run(0.2)
        assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK"]
        end(place)
        place.caller.ladder.clear()
    all_gone(place, TIMES)


def test_merged_invite():
    """The same INVITE by another road: other branch, other hop, same Call-ID, tag and CSeq (RFC 3261 §8.2.2.2)."""
    place = Place("udp")
    for number in range(TIMES):
        place.caller.invite()
        other = parse(invites(place))
        other.set_via(type(other.via)("UDP", "192.0.2.77", 5070, (("branch", f"z9hG4bKother{number}"),)))
        place.network.send(place.caller.address, [(other.encode(), SERVER)])
        place.run(0.2)
        assert place.caller.ladder.count("< 200 INVITE") == 1
        assert "< 482 INVITE" in place.caller.ladder
        end(place)
        place.caller.ladder.clear()
    # Nobody acknowledges the 482 of the copies; they end by timer H.
    all_gone(place, TIMES)


def test_lost_ack_once_is_no_harm():
    place = Place("udp")
    for _ in range(TIMES):
        place.caller.lose = ["ACK"]
        place.caller.invite()
        place.run(2.0)
        assert place.caller.ladder == ["> INVITE", "< 200 INVITE", "> ACK", "< 200 INVITE", "> ACK"]
        assert place.leg.unacked is None
        end(place)
        place.caller.ladder.clear()
    assert not place.stand.noted("ack_missing")
    all_gone(place, TIMES)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_ack_that_never_comes(transport):
    place = Place(transport, auto=("ok",))
    for number in range(times(15, 1000)):
        start = place.network.clock.now
        place.caller.invite()
        place.run(31.9)
        # Eleven times in all: after 0, 0.5, 1.5, 3.5, 7.5 and then every 4 seconds.
        assert place.caller.ladder.count("< 200 INVITE") == 11
        assert "< BYE" not in place.caller.ladder
        assert len(place.stand.noted("ack_missing")) == number + 1, "people are told first"
        place.run(1.0)
        assert place.caller.ladder.count("< BYE") == 1
        assert place.network.clock.now - start >= 32.0
        place.run(40.0)
        place.caller.ladder.clear()
    all_gone(place, times(15, 1000))


def test_lost_200_to_bye():
    place = Place("udp")
    for _ in range(TIMES):
        place.caller.invite()
        place.run(0.2)
        place.stand.lose = ["200 BYE"]
        place.caller.send("BYE")
        place.run(1.0)
        assert place.caller.ladder[-3:] == ["> BYE", "> BYE", "< 200 BYE"]
        place.caller.ladder.clear()
    all_gone(place, TIMES)


def test_lost_200_to_our_bye():
    place = Place("udp")
    for _ in range(TIMES):
        place.caller.invite()
        place.run(0.2)
        place.caller.lose = ["200 BYE"]
        place.end_call(1.0)
        assert place.caller.ladder[-4:] == ["< BYE", "> 200 BYE", "< BYE", "> 200 BYE"]
        place.caller.ladder.clear()
    all_gone(place, TIMES)


class Fork:
    """A second phone behind the same contact, which answers the INVITE too."""

    def __init__(self, place, invite):
        self.place, self.heard = place, []
        self.address = ("192.0.2.78", 5099)
        self.next_due = None
        self.response = invite.response(
            200,
            to_tag="fork",
            headers=(("Contact", f"<sip:d1@{self.address[0]}:{self.address[1]}>"),),
            body=sdp(address="192.0.2.78"),
            content_type="application/sdp",
        ).encode()

    def receive(self, data, source, now):
        message = parse(data)
        assert isinstance(message, Request)
        self.heard.append(message.method)
        return [(message.response(200).encode(), source)] if message.method == "BYE" else []

    def expire(self, now):
        return []


def test_forked_invite_that_two_phones_answer():
    for _ in range(times(15, 1000)):
        place = Place("udp", desk=True)
        invite = place.desk.requests[-1][1]
        fork = Fork(place, invite)
        # It shares the road: what goes to the proxy's address reaches the phone whose tag it carries.
        real = place.desk.receive

        def proxy(data, source, now, real=real, fork=fork):
            return fork.receive(data, source, now) if b";tag=fork" in data else real(data, source, now)

        place.desk.receive = proxy
        place.desk.reply(200)
        place.run(0.1)
        place.network.send(place.desk.address, [(fork.response, SERVER)])
        place.run(1.0)
        assert fork.heard == ["ACK", "BYE"]
        assert place.stand.exchange.room("d1").present
        assert place.desk_leg.dialog.remote_tag == "t-d1"
        place.desk.send("BYE")
        place.run(100.0)
        assert place.stand.quiet


def test_late_messages_of_a_call_that_is_over_are_answered_and_make_nothing():
    place = Place("udp")
    place.call_up()
    dialog = Dialog.restore(place.caller.dialog.snapshot())
    end(place)
    place.run(100.0)
    place.caller.dialog = dialog
    for method, body in (("INVITE", sdp()), ("UPDATE", b""), ("BYE", b""), ("PRACK", b""), ("INFO", b"")):
        place.caller.send(method, body=body)
        place.run(0.2)
        assert place.caller.last_response(method).status == 481
    place.caller.ack()
    all_gone(place, 1)
