"""Dialogs that strangers leave half open are gone within 96 seconds, cost little, and harm no honest caller (bars F18).

2,100 INVITEs, 10,000 by `make bars`, come at 50 a second, in three variants: never an ACK and never an answer to our BYE; an ACK but no answer to
BYE; a CANCEL that crosses the 200, and then silence.
"""

import tracemalloc

import pytest

from pbx.call import seats
from pbx.call.hangup import hang_up
from tests.kit.dialling import dial_in
from tests.kit.network import Network
from tests.kit.place import Place
from tests.kit.size import times
from tests.kit.stand import SERVER, Phone, Stand, wait
from tests.kit.world import World, sdp

EACH = times(700, 3334)
RATE = 50.0
LONGEST = 96.0
HEARD_OUT = 15.0
"""Seconds after which somebody hangs up on a caller who acknowledged."""
MEMORY = 64 * 1024
"""Bytes a half-open dialog may cost at most, all of it: transaction, leg, call, place in the queue."""


class Flood:
    """Sends `EACH` INVITEs and does with the answers what its variant says."""

    def __init__(self, variant, start):
        self.variant, self.start, self.sent = variant, start, 0
        self.address = ("192.0.2.66", 5066)
        self.later = []

    @property
    def next_due(self):
        dues = [self.start + self.sent / RATE] if self.sent < EACH else []
        return min(dues + [at for at, _ in self.later], default=None)

    def message(self, method, number, *, to_tag="", body=b""):
        tag = f";tag={to_tag}" if to_tag else ""
        kind = "Content-Type: application/sdp\r\n" if body else ""
        head = (
            f"{method} sip:110@192.0.2.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 192.0.2.66:5066;branch=z9hG4bK{number};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:x{number}@a>;tag=f{number}\r\nTo: <sip:110@a>{tag}\r\n"
            f"Call-ID: flood-{number}\r\nCSeq: 1 {method}\r\nContact: <sip:x@192.0.2.66:5066>\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return (head.encode() + body, SERVER)

    def expire(self, now):
        out = [packet for at, packet in self.later if at <= now]
        self.later = [(at, packet) for at, packet in self.later if at > now]
        if self.sent < EACH and self.start + self.sent / RATE <= now:
            out.append(self.message("INVITE", self.sent, body=sdp()))
            if self.variant == "cancel":
                # It leaves when the 200 does: both are 20 ms on the road.
                self.later.append((now + 0.02, self.message("CANCEL", self.sent)))
            self.sent += 1
        return out

    def receive(self, data, source, now):
        if self.variant == "ack" and data.startswith(b"SIP/2.0 200") and b"1 INVITE" in data:
            number = int(data.partition(b"Call-ID: flood-")[2].partition(b"\r\n")[0])
            tag = data.partition(b"To: <sip:110@a>;tag=")[2].partition(b"\r\n")[0].decode()
            ack, where = self.message("ACK", number, to_tag=tag)
            return [(ack.replace(b"branch=z9hG4bK", b"branch=z9hG4bKa"), where)]
        return []


def begun(stand):
    """When each dialog that has left a trace was begun, by Call-ID."""
    return {leg.invite.call_id for leg in stand.exchange.legs.values()} | {
        t.asked.call_id for t in stand.layer._servers.values()
    }


@pytest.mark.limit(times(300, 3000))
@pytest.mark.parametrize("variant", ["nothing", "ack", "cancel"])
def test_flood(variant):
    network = Network(110)
    stand = Stand(checked=False)
    stand.now = network.clock.now
    network.attach(stand.address, stand)
    honest = Phone(network, "anna", port=5071)
    flood = Flood(variant, network.clock.now)
    network.attach(flood.address, flood)
    started = {}
    hung_up = set()
    answered = 0
    for second in range(200):
        if second % 5 == 0 and second < 60:
            honest.lose = ["ACK"]
            honest.invite()
        network.trace.clear()
        wait(network, 1.0)
        stand.sent.clear()
        stand.notes.clear()
        alive = {one for one in begun(stand) if one.startswith("flood")}
        for one in alive:
            started.setdefault(one, network.clock.now)
            assert network.clock.now - started[one] <= LONGEST, f"{one} is still there"
        if variant == "ack":
            # Who acknowledges is a caller like any other until somebody hangs up.
            for leg in list(stand.exchange.legs.values()):
                one = leg.invite.call_id
                if (
                    network.clock.now - started.get(one, network.clock.now) >= HEARD_OUT
                    and one not in hung_up
                ):
                    hung_up.add(one)
                    stand.run(stand.exchange.run(hang_up(leg), stand.now, leg.id))
            network.send(stand.address, stand.drain())
        if second % 5 == 4 and second < 60:
            # The honest caller, whose first ACK was lost, is up, and leaves when it likes.
            assert honest.dialog is not None
            assert not honest.ended
            answered += 1
            honest.send("BYE")
    assert len(started) == EACH
    assert answered == 12
    assert stand.quiet
    assert len(stand.finished) == EACH + 12


def test_memory_of_one():
    network = Network(110)
    stand = Stand(checked=False)
    stand.now = network.clock.now
    network.attach(stand.address, stand)
    flood = Flood("nothing", network.clock.now)
    network.attach(flood.address, flood)
    wait(network, 1.0)
    known = len(stand.exchange.legs)
    tracemalloc.start()
    wait(network, 4.0)
    network.trace.clear()
    stand.sent.clear()
    stand.notes.clear()
    each = tracemalloc.get_traced_memory()[0] / (len(stand.exchange.legs) - known)
    tracemalloc.stop()
    assert 0 < each <= MEMORY, f"{each:.0f} bytes"


def test_one_account_has_two_half_open_short_codes_at_most():
    world = World()
    world.sign_in("d1")
    world.media_answers = False
    first = [dial_in(world, code="*12", call_id=f"in{n}") for n in range(2)]
    third = dial_in(world, code="*12", call_id="in3")
    assert world.answers[third][-1].status == 486
    assert all(transaction not in world.answers for transaction in first)
    # A call for help of the same account, and another desk, are not meant.
    world.media_answers = True
    world.sign_in("d2")
    world.invite("d1")
    assert world.last_answer("d1").status == 200


def test_second_call_of_a_person_takes_the_place_of_one_that_was_never_acknowledged():
    world = World()
    world.register("alice")
    world.invite("alice")
    old = world.call("alice")
    assert old.caller.user == "alice"
    world.wait(1.0)
    _redial(world, "again-1")
    assert len(world.exchange.calls) == 2, "one lost ACK is no reason"
    world.wait(1.5)
    _redial(world, "again-2")
    assert world.noted("call_superseded")[0].call == old.id
    live = [call for call in world.exchange.calls.values() if call.state.value in {"waiting", "talking"}]
    assert old not in live
    assert len(live) == 2
    world.wait(100.0)
    assert {leg.state.value for leg in world.exchange.legs.values()} == {"leaving"}, "BYE to all three"


def _redial(world, call_id):
    request = world.request(
        "INVITE", "sip:110@192.0.2.1", "alice", body=sdp(), content_type="application/sdp", call_id=call_id
    )
    request.headers.set("From", f"<sip:alice@at110>;tag={call_id}")
    return world.arrive(world._again(request), "alice")


def test_strangers_are_not_taken_for_one_person():
    world = World()
    world.invite("bob")
    world.wait(5.0)
    world.invite("carol")
    assert not world.noted("call_superseded")


def test_desk_that_never_acknowledges_is_gone_too():
    place = Place("udp", auto=())
    place.desk.auto = set()
    place.desk.register()
    place.desk.invite(uri="sip:*10@at110")
    place.run(100.0)
    assert place.stand.quiet
    assert seats.seat_state(place.stand.exchange, "d1") == "signed_out"
