"""Two desks, three callers, and every order of arrivals, hang-ups, lost desks and restarts that hypothesis can think of.

`World.check` runs after each step: nobody is lost, nobody waits while a desk is idle, and no room holds two callers.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pbx.call import room as rooms
from pbx.call import seats, silence
from pbx.call.call import State
from pbx.call.exchange import Exchange
from pbx.call.hangup import hang_up
from pbx.call.leg import State as LegState
from pbx.call.seats import Impossible
from rtp.control import Dtmf, Holdings, MediaLost, MediaStarted
from tests.kit.world import World, sdp

CALLERS = ("bob", "carol", "dave")
DESKS = ("d1", "d2")


class Orders(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World(desks=DESKS, wrap_up=2.0)
        self.number = 0
        self.live = {}  # caller -> the name its present call goes by

    # --- callers ---

    @rule(caller=st.sampled_from(CALLERS), silent=st.booleans(), slow=st.booleans())
    def calls(self, caller, silent, slow):
        if caller in self.live and self.world.call(self.live[caller]) is not None:
            return
        self.number += 1
        name = f"{caller}{self.number}"
        self.live[caller] = name
        self.world.media_answers = not slow
        self.world.invite(name, uri="sip:110-silent@x" if silent else "sip:110@x")

    @rule()
    def media_answers(self):
        self.world.media_answers = True
        self.world.media()

    @rule(caller=st.sampled_from(CALLERS), what=st.sampled_from(["ack", "bye", "cancel", "hold", "text"]))
    def does(self, caller, what):
        name = self.live.get(caller)
        if name is None:
            return
        answer = self.world.last_answer(name)
        if what == "cancel":
            self.world.cancel(name)
        elif answer is not None and answer.status == 200:
            match what:
                case "ack":
                    self.world.ack(name)
                case "bye":
                    self.world.bye(name)
                case "hold":
                    self.number += 1
                    body = sdp(direction="sendonly")
                    self.world.in_dialog(
                        name, "INVITE", cseq=self.number + 60, body=body, content_type="application/sdp"
                    )
                case "text":
                    self.number += 1
                    self.world.in_dialog(
                        name, "MESSAGE", cseq=self.number + 60, body=b"hi", content_type="text/plain"
                    )

    # --- desks ---

    @rule(desk=st.sampled_from(DESKS), answers=st.booleans())
    def signs_in(self, desk, answers):
        self.world.media_answers = True
        self.world.media()
        try:
            self.world.sign_in(desk, answer=answers)
        except Impossible:
            assert self.world.exchange.room(desk).state is not rooms.State.ABSENT

    @rule(desk=st.sampled_from(DESKS), status=st.sampled_from([200, 486]))
    def picks_up(self, desk, status):
        leg = self.world.desk_leg(desk)
        if leg is not None and leg.state is LegState.CALLING:
            self.world.pick_up(desk, status)

    @rule(
        desk=st.sampled_from(DESKS),
        verb=st.sampled_from([seats.pause, seats.resume, seats.end_call, seats.sign_out]),
    )
    def verb(self, desk, verb):
        try:
            self.world.run(verb(self.world.exchange, desk, self.world.now))
        except Impossible:
            pass

    @rule(desk=st.sampled_from(DESKS), how=st.sampled_from(["bye", "vanish", "key"]))
    def desk_acts(self, desk, how):
        leg = self.world.desk_leg(desk)
        if leg is None or leg.state is not LegState.CONFIRMED:
            return
        match how:
            case "bye":
                self.world.desk_request(desk, "BYE")
            case "vanish":
                self.world.desk_vanishes(desk)
            case "key":
                for digit in "*13":
                    self.world.says(Dtmf(leg.id, digit))

    # --- everything else ---

    @rule(caller=st.sampled_from(CALLERS), what=st.sampled_from(["on", "ask", "confirm"]))
    def silent(self, caller, what):
        name = self.live.get(caller)
        call = None if name is None else self.world.call(name)
        if call is None:
            return
        verbs = {
            "on": silence.silent_on,
            "ask": silence.ask_silent_off,
            "confirm": silence.confirm_silent_off,
        }
        try:
            self.world.run(verbs[what](self.world.exchange, call.id, "x", self.world.now))
        except Impossible:
            pass

    @rule(index=st.integers(0, 9), started=st.booleans())
    def media_comes_and_goes(self, index, started):
        legs = list(self.world.exchange.legs)
        if legs:
            leg = legs[index % len(legs)]
            self.world.says(MediaStarted(leg, "audio", 1) if started else MediaLost(leg, "audio", 5.0))

    @rule(seconds=st.sampled_from([0.1, 2.0, 4.1, 40.0]))
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
        world.says(Holdings("", (), ()))

    @invariant()
    def an_ended_call_is_finished_once(self):
        assert len(self.world.finished) == len(set(self.world.finished))

    def teardown(self):
        """Whatever happened: when all callers hang up, nothing is left of them."""
        world = self.world
        world.media_answers = True
        world.media()
        for call in list(world.exchange.calls.values()):
            leg = world.exchange.leg(call.leg)
            if leg is not None:
                world.run(world.exchange.run(hang_up(leg), world.now, leg.id))
        world.wait(40.0)
        assert not world.exchange.calls
        assert not world.exchange.acd.queue
        arrived = {n.call for n in world.noted("call_arrived")}
        assert set(world.finished) == arrived
        for room in world.exchange.rooms.values():
            assert room.guest is None
        assert all(call.state is not State.TALKING for call in world.exchange.calls.values())


Orders.TestCase.settings = settings(
    max_examples=340,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestOrders = Orders.TestCase
