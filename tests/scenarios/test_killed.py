"""Signalling is killed at every moment of a call's life, and the call goes on (bars F2).

Every scenario is played once to count its turns, then once for each turn and step of it. The phones know nothing: they
repeat what was not answered, as RFC 3261 has them, and that must complete the very same call.
"""

import pytest

from pbx.call import hands, seats
from tests.kit.mortal import Mortal
from tests.kit.network import Network
from tests.kit.place import CROSSED, Place
from tests.kit.stand import Phone
from tests.kit.world import sdp

STEPS = ("before", "after", "later")


class Dying(Place):
    """A place whose exchange is mortal."""

    def __init__(self, folder, die_at=None):
        self.network = Network(1)
        self.stand = Mortal(folder)
        self.stand.now = self.network.clock.now
        self.network.attach(self.stand.address, self.stand)
        self.caller = Phone(self.network, "bob")
        self.desk = Phone(self.network, "d1", port=5080, auto=("ok", "ack", "answer"))
        self.other = Phone(self.network, "d2", port=5090, auto=("ok", "ack", "answer"))
        assert [phone.register().status for phone in (self.desk, self.other)] == [200, 200]
        self.stand.turns, self.stand.die_at = 0, die_at

    def run(self, seconds=CROSSED):
        """Let time pass; the desk's phone repeats its 2xx until that is acknowledged (RFC 3261 §13.3.1.4)."""
        while seconds > 0:
            super().run(min(seconds, 1.0))
            seconds -= 1.0
            for phone in (self.desk, self.other):
                said = [one for one in phone.ladder if one in {"> 200 INVITE", "< ACK"}]
                if said[-1:] == ["> 200 INVITE"]:
                    phone.reply(200)

    def sign_in_desk(self, desk="d1"):
        def sign_in():
            bindings = self.stand.registrar.lookup(self.stand.accounts[desk].aor, self.stand.now)
            return seats.sign_in(self.stand.exchange, desk, bindings, self.stand.now)

        self.do(sign_in, 4.0)
        if self.stand.exchange.room(desk).state == "absent":
            # Who is killed before an order was written never heard it: it is given again.
            self.do(sign_in, 4.0)

    def call_up(self):
        self.caller.invite()
        self.run(6.0)


def waits_and_is_put_through(place):
    place.call_up()
    place.sign_in_desk()
    place.run(6.0)
    assert [call.state for call in place.stand.exchange.calls.values()] == ["talking"]
    place.caller.send("BYE")
    place.run(40.0)


def is_put_through_and_hangs_up(place):
    place.sign_in_desk()
    place.call_up()
    assert [call.state for call in place.stand.exchange.calls.values()] == ["talking"]
    place.caller.send("BYE")
    place.run(40.0)


def holds_and_resumes(place):
    place.sign_in_desk()
    place.call_up()
    for direction in ("sendonly", "sendrecv"):
        place.caller.send("INVITE", body=sdp(direction=direction))
        place.run(6.0)
        answer = place.caller.last_response("INVITE")
        assert (answer.status, answer.cseq.number) == (200, place.caller.dialog.local_seq)
    place.caller.send("INFO", body=b"Signal=1\r\n", content_type="application/dtmf-relay")
    place.run(6.0)
    assert place.caller.last_response("INFO").status == 200
    place.caller.send("BYE")
    place.run(40.0)


def is_hung_up_by_the_host(place):
    place.sign_in_desk()
    place.call_up()
    place.do(lambda: seats.end_call(place.stand.exchange, "d1", place.stand.now), 40.0)
    if any(
        call.state == "talking" for call in place.stand.exchange.calls.values()
    ):  # who is killed while the order is carried out is asked again
        place.do(lambda: seats.end_call(place.stand.exchange, "d1", place.stand.now), 40.0)
    assert place.caller.ended


def is_sent_to_another_desk(place):
    place.sign_in_desk("d1")
    place.sign_in_desk("d2")
    place.call_up()

    def send_on():
        order = hands.Order("d1", "transfer", "d2")
        return hands.act(place.stand.exchange, order, place.stand.now)

    place.do(send_on, 6.0)
    if [call.desk for call in place.stand.exchange.calls.values()] == ["d1"]:
        place.do(send_on, 6.0)
    assert [call.desk for call in place.stand.exchange.calls.values()] == ["d2"]
    place.caller.send("BYE")
    place.run(40.0)


def gives_up_at_once(place):
    place.stand.media_answers = True
    place.caller.invite()
    place.caller.cancel()
    place.run(8.0)
    if place.caller.dialog is not None and not place.caller.ended:
        place.caller.send("BYE")  # the call was answered before the CANCEL came
    place.run(40.0)


def waits_until_it_can_begin(place):
    place.stand.busy = True
    place.caller.invite()
    place.run(3.0)
    assert [response.status for response in place.caller.responses] in ([100], [100, 100])
    place.stand.busy = False
    place.do(list, 40.0)
    place.caller.send("BYE")
    place.run(40.0)


def gives_up_before_it_can_begin(place):
    place.stand.busy = True
    place.caller.invite()
    place.run(3.0)
    place.caller.cancel()
    place.run(40.0)  # its transaction is long gone
    assert place.caller.last_response("INVITE").status == 487
    place.stand.busy = False
    place.do(list, 40.0)


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        waits_and_is_put_through,
        is_put_through_and_hangs_up,
        holds_and_resumes,
        is_hung_up_by_the_host,
        is_sent_to_another_desk,
        gives_up_at_once,
        waits_until_it_can_begin,
        gives_up_before_it_can_begin,
    )
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_any_turn_changes_nothing(scenario, step, tmp_path):
    whole = Dying(tmp_path / "whole")
    SCENARIOS[scenario](whole)
    over(whole)
    assert whole.stand.deaths == 0
    for turn in range(1, whole.stand.turns + 1):
        place = Dying(tmp_path / str(turn), die_at=(turn, step))
        SCENARIOS[scenario](place)
        over(place)
        assert place.stand.deaths == 1, turn


def over(place):
    """One call, ended once, from one INVITE; its only 200 had one tag; nothing is left behind."""
    stand, caller = place.stand, place.caller
    assert len({call for call, _ in stand.arrived}) == len(stand.arrived) == 1, stand.arrived
    assert stand.finished == [stand.arrived[0][0]]
    assert stand.exchange.calls == {}
    assert stand.reception.empty
    answers = [r for r in caller.responses if r.cseq.method == "INVITE" and r.status == 200]
    assert len({answer.to.tag for answer in answers}) <= 1
    byes = [r.status for r in caller.responses if r.cseq.method == "BYE"]
    assert set(byes) <= {200}, byes
    assert not [call for call, there in stand.evidence.items() if there]
    callers = [leg for leg in stand.legs if stand.exchange.owners.get(leg) is None]
    assert callers == [], "media holds a leg nobody knows"
