"""Whatever dispatchers do with calls, in whatever order, and whatever fails on the way (bars F30): no guest is stranded, no
room has two guests or two hosts, staff hosts no room but its own.

`World.check` and the media process of the world assert it after each effect; here hypothesis thinks of the orders.
"""

from typing import get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pbx.call import hands, seats
from pbx.call.call import State
from pbx.call.exchange import Exchange
from pbx.call.hangup import hang_up
from pbx.call.leg import State as LegState
from pbx.call.reconcile import reconcile
from pbx.call.seats import Impossible
from pbx.sip.effects import TransactionFailed
from rtp.control import Holdings, Refused
from tests.kit.world import World, sdp

DESKS = ("d1", "d2", "d3")
PHONES = ("d4", "alice")
"""A dispatcher who is registered but sits at no desk, and a caller who can be called back."""
CALLERS = ("bob", "carol", "dave")
TARGETS = (*DESKS, *PHONES, "queue", "119", "nobody")
PEOPLE = (*DESKS, "d4", "d4", "queue")
BEGINNINGS = ("transfer", "consult", "consult", "add", "hold")
GOINGS_ON = ("complete", "complete", "cancel", "conference", "remove", "leave")
AT_OTHERS = ("take", "listen", "whisper", "barge", "call")


class Transfers(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World(desks=(*DESKS, "d4"), supervisors=("d1", "d3"), wrap_up=1.0)
        self.number = 0
        self.live = {}
        for desk in DESKS:
            self.world.sign_in(desk)
        for phone in PHONES:
            self.world.register(phone)

    @rule(caller=st.sampled_from(CALLERS), silent=st.booleans())
    def calls(self, caller, silent):
        if caller in self.live and self.world.call(self.live[caller]) is not None:
            return
        self.number += 1
        name = self.live[caller] = f"{caller}{self.number}"
        self.world.invite(name, uri="sip:110-silent@x" if silent else "sip:110@x")
        if self.answered(name):
            self.world.ack(name)

    def answered(self, name):
        answer = self.world.last_answer(name)
        return answer is not None and answer.status == 200

    @rule(caller=st.sampled_from(CALLERS))
    def hangs_up(self, caller):
        name = self.live.pop(caller, None)
        if name is not None and self.answered(name):
            self.world.bye(name)
        elif name is not None:
            self.world.cancel(name)

    @rule(
        desk=st.sampled_from(DESKS), verb=st.sampled_from(get_args(hands.Verb)), whom=st.sampled_from(TARGETS)
    )
    def orders_anything(self, desk, verb, whom):
        self.order(desk, verb, whom)

    @rule(number=st.integers(0, 2), verb=st.sampled_from(BEGINNINGS), whom=st.sampled_from(PEOPLE))
    def a_host_begins(self, number, verb, whom):
        """A desk that has a guest wants somebody else to have it, or to come."""
        hosts = [d for d in DESKS if self.world.exchange.room(d).guest is not None]
        if hosts:
            self.order(hosts[number % len(hosts)], verb, whom)

    @rule(number=st.integers(0, 2), verb=st.sampled_from(GOINGS_ON))
    def a_host_goes_on(self, number, verb):
        hosts = sorted({v.host for v in self.world.exchange.hands.visits.values()})
        if hosts:
            self.order(hosts[number % len(hosts)], verb, "")

    @rule(desk=st.sampled_from(DESKS), verb=st.sampled_from(AT_OTHERS), whom=st.sampled_from(DESKS))
    def a_desk_looks_at_another(self, desk, verb, whom):
        self.order(desk, verb, whom)

    def order(self, desk, verb, whom):
        self.does(lambda: hands.act(self.world.exchange, hands.Order(desk, verb, whom), self.world.now))

    @rule(
        number=st.integers(0, 2),
        whom=st.sampled_from(TARGETS),
        method=st.sampled_from(["", "", "", ";method=BYE"]),
    )
    def refers(self, number, whom, method):
        hosts = [d for d in DESKS if self.world.exchange.room(d).guest is not None] or list(DESKS)
        desk = hosts[number % len(hosts)]
        leg = self.world.desk_leg(desk)
        if leg is not None and leg.state is LegState.CONFIRMED:
            headers = (("Refer-To", f"<sip:{whom}@192.0.2.1{method}>"),)
            self.world.desk_request(desk, "REFER", headers=headers)

    @rule(caller=st.sampled_from(CALLERS), whom=st.sampled_from(TARGETS))
    def a_caller_refers(self, caller, whom):
        name = self.live.get(caller)
        if name is not None and self.world.call(name) is not None and self.answered(name):
            self.number += 1
            headers = (("Refer-To", f"<sip:{whom}@192.0.2.1>"),)
            answer = self.world.answers[
                self.world.in_dialog(name, "REFER", cseq=self.number + 60, headers=headers)
            ][-1]
            assert answer.status in {403, 481}

    @rule(
        desk=st.sampled_from(DESKS),
        verb=st.sampled_from(
            [seats.pause, seats.resume, seats.resume, seats.resume, seats.end_call, seats.sign_out]
        ),
    )
    def seat(self, desk, verb):
        self.does(lambda: verb(self.world.exchange, desk, self.world.now))

    @rule(desk=st.sampled_from(DESKS), how=st.sampled_from(["bye", "vanish", "", "", ""]))
    def a_desk_is_lost(self, desk, how):
        leg = self.world.desk_leg(desk)
        if how and leg is not None and leg.state is LegState.CONFIRMED:
            (self.world.desk_vanishes if how == "vanish" else lambda d: self.world.desk_request(d, "BYE"))(
                desk
            )

    @rule(desk=st.sampled_from(DESKS))
    def a_desk_comes_back(self, desk):
        leg = self.world.desk_leg(desk)
        if leg is None:
            self.does(lambda: self.world.sign_in(desk) or [])
        elif leg.state is LegState.CALLING:
            self.world.pick_up(desk)

    @rule(index=st.integers(0, 5), status=st.sampled_from([180, 200, 200, 200, 486, 500, None]))
    def a_called_phone_answers(self, index, status):
        """Somebody we called rings, answers, refuses, or the road to it breaks; `None`: nothing comes back at all."""
        ringing = [leg for leg in self.world.exchange.legs.values() if leg.state is LegState.CALLING]
        if not ringing:
            return
        leg = ringing[index % len(ringing)]
        if status is None:
            failed = TransactionFailed(leg.invite_ref, "timeout")
            self.world.run(self.world.exchange.sip(failed, self.world.now))
            return
        sent = next(e for e in reversed(self.world.sent) if getattr(e, "ref", "") == leg.invite_ref)
        self.world._desk_answers(sent, leg.invite.to.uri.user, status, sdp(address="192.0.2.90"))

    @rule()
    def every_phone_that_rings_is_picked_up(self):
        for leg in list(self.world.exchange.legs.values()):
            if leg.state is LegState.CALLING:
                sent = next(e for e in reversed(self.world.sent) if getattr(e, "ref", "") == leg.invite_ref)
                user = leg.invite.to.uri.user
                self.world._desk_answers(sent, user, 200, sdp(address="192.0.2.90"))

    @rule(index=st.integers(0, 9))
    def a_leg_gets_no_ports_or_is_hung_up(self, index):
        legs = [
            leg
            for leg in self.world.exchange.legs.values()
            if self.world.exchange.owners[leg.id].id not in DESKS
            and self.world.exchange.owners[leg.id].kind == "desk"
        ]
        if legs:
            leg = legs[index % len(legs)]
            if leg.state is LegState.OPENING:
                self.world.says(Refused("OpenLeg", leg.id, "no_ports"))
            else:
                self.world.run(self.world.exchange.run(hang_up(leg), self.world.now, leg.id))

    @rule(quick=st.sampled_from([True, True, True, False]))
    def media_is_slow_or_quick(self, quick):
        self.world.media_answers = quick
        if self.world.media_answers:
            self.world.media()

    @rule(seconds=st.sampled_from([0.1, 2.0, 21.0, 40.0]))
    def time_passes(self, seconds):
        self.world.wait(seconds)

    @rule()
    def signalling_restarts(self):
        world = self.world
        before = world.exchange.snapshot()
        world.exchange = Exchange.restore(before, world.exchange.site, world.exchange.mint)
        assert world.exchange.snapshot() == before
        world.answering._exchange = world.exchange
        world.exchange.directory = world.answering

    @precondition(lambda self: self.world.media_answers)
    @rule()
    def media_process_restarts(self):
        world = self.world
        world.commands.clear()
        world.rooms.clear()
        world.legs.clear()
        world.modes.clear()
        world.held.clear()
        world.says(Holdings("", (), ()))

    def does(self, verb):
        try:
            self.world.run(verb())
        except Impossible:
            pass

    @invariant()
    def nothing_is_to_be_mended(self):
        assert reconcile(self.world.exchange, self.world.now) == []

    @invariant()
    def every_referral_still_has_something_to_wait_for(self):
        exchange = self.world.exchange
        waiting = {v.referral for v in exchange.hands.visits.values()}
        waiting |= {p.referral for p in exchange.hands.passing.values()}
        assert set(exchange.hands.referrals) <= waiting

    @invariant()
    def outside_parties_are_wanted_by_somebody(self):
        exchange = self.world.exchange
        for room in exchange.rooms.values():
            if room.outside and room.present:
                leg = exchange.legs[room.leg]
                assert room.desk in exchange.hands.visits or room.guest in exchange.calls or not leg.live

    def teardown(self):
        """When all callers hang up, nothing is left of them and every desk can work."""
        world = self.world
        world.media_answers = True
        world.media()
        for call in list(world.exchange.calls.values()):
            leg = world.exchange.leg(call.leg)
            if leg is not None:
                world.run(world.exchange.run(hang_up(leg), world.now, leg.id))
        world.wait(60.0)
        assert not world.exchange.calls
        assert not world.exchange.acd.queue
        captured = [*world.noted("call_arrived"), *world.noted("talk_ended")]
        assert set(world.finished) == {note.call for note in captured}
        assert not world.exchange.hands.passing
        assert all(v.purpose in {"talk", "supervise"} for v in world.exchange.hands.visits.values())
        assert not [c for c in world.exchange.calls.values() if c.state is State.TALKING]


Transfers.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestTransfers = Transfers.TestCase
