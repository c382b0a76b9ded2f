"""A phone is gone from one moment to the next, in each of ten states of its call (bar F15).

The media process is played by what it promises: a medium that should come and does not is told after 2.5 s and each 2.5 s again.
"""

import pytest

from pbx.call import hands, seats
from pbx.call.call import State
from pbx.call.hands import Order
from pbx.call.hangup import hang_up
from pbx.call.heartbeat import Heartbeat
from pbx.call.reconcile import reconcile
from pbx.call.room import State as RoomState
from rtp.control import MediaLost, MediaStarted
from tests.kit.network import Network
from tests.kit.stand import Phone, Stand, wait
from tests.kit.world import sdp

LOSS = 2.5
FLAGGED = 10.0
CLOSED = 180.0
SIGNS = {"media_lost", "ack_missing", "phone_missing"}

STATES = (
    "not acknowledged", "waiting", "silent", "talking", "held", "consultation", "transfer", "on hold itself",
    "renegotiating", "desk lost",
)  # fmt: skip


class Later(Stand):
    """A media process that answers when all that was sent to it with its question has arrived, as the real one."""

    def run(self, effects):
        super().run(effects)
        while self.commands:
            super().run(self._media_replies())


class Scene:
    """One caller, three desks, the network between them, and the seconds."""

    def __init__(self, state):
        self.network = Network(110)
        self.stand = Later(media_answers=False, desks=("d1", "d2", "d3"))
        self.stand.now = self.network.clock.now
        self.network.attach(self.stand.address, self.stand)
        self.heartbeat = Heartbeat()
        self.gone = None
        self.noted = []  # (when, event, fields)
        self.seen = 0
        self.desks = [
            Phone(self.network, name, port=5080 + n, auto=("answer", "ack", "ok"))
            for n, name in enumerate(("d1", "d2", "d3"))
        ]
        self.caller = Phone(self.network, "alice")
        self.caller.register()
        there = {"not acknowledged": 0, "waiting": 0, "silent": 0, "desk lost": 1}.get(state, 3)
        for desk in self.desks[:there]:
            desk.register()
            self.sign_in(desk.name)

    def sign_in(self, name):
        account = self.stand.accounts[name]
        bindings = self.stand.answering.bindings(account, self.stand.now)
        self.do(seats.sign_in(self.stand.exchange, name, bindings, self.stand.now))
        self.pass_time(1.0)
        assert self.stand.exchange.room(name).state is RoomState.PRESENT

    def do(self, effects):
        self.stand.run(effects)
        self.network.send(self.stand.address, self.stand.drain())

    def pass_time(self, seconds):
        """Let time pass second by second: media, reconciler and heartbeat as the real ones."""
        for _ in range(round(seconds * 2)):
            wait(self.network, 0.5)
            self.stand.now = now = self.network.clock.now
            if self.gone is not None and (now - self.gone) % LOSS < 0.5:
                self._media_lost(now)
            if now % 1.0 < 0.5:
                self.do(reconcile(self.stand.exchange, now))
                self.do(self.heartbeat.look(self.stand.exchange, now))
            self._listen(now)

    def _media_lost(self, now):
        for leg in list(self.stand.exchange.legs.values()):
            owner = self.stand.exchange.owners[leg.id]
            sends = any(s.medium == "audio" and s.receiving for s in leg.negotiation.streams)
            if owner.kind == "call" and owner.id == self.call and sends and leg.live:
                self.stand.says(MediaLost(leg.id, "audio", now - self.gone))
                self.network.send(self.stand.address, self.stand.drain())

    def _listen(self, now):
        for note in self.stand.notes[self.seen :]:
            self.noted.append((now, note))
        self.seen = len(self.stand.notes)

    def begin(self, uri="sip:110@192.0.2.1"):
        self.caller.invite(uri=uri)
        self.pass_time(0.5)
        self.call = self.stand.call("alice").id
        self.stand.says(MediaStarted(self.live.leg, "audio", 1))
        self.pass_time(0.5)

    @property
    def live(self):
        return self.stand.exchange.calls.get(self.call)

    def vanish(self):
        """Power off: nothing leaves it and nothing arrives, from now on."""
        self.network._nodes.pop(self.caller.address)
        self.gone = self.network.clock.now

    def order(self, verb, target=""):
        self.do(hands.act(self.stand.exchange, Order("d1", verb, target), self.stand.now))


def brought_to(state):
    scene = Scene(state)
    if state == "not acknowledged":
        scene.caller.auto.discard("ack")
    scene.begin("sip:110-silent@192.0.2.1" if state == "silent" else "sip:110@192.0.2.1")
    match state:
        case "held":
            scene.order("hold")
            assert scene.live.held
        case "consultation":
            scene.order("consult", "d2")
        case "transfer":
            scene.order("transfer", "d2")
        case "on hold itself":
            scene.caller.send("INVITE", body=sdp(direction="inactive"))
            scene.pass_time(1.0)
            assert scene.live.state is State.TALKING
        case "renegotiating":
            scene.caller.auto.discard("ack")
            scene.caller.send("INVITE", body=sdp(direction="sendrecv"))
            scene.pass_time(0.5)
        case "desk lost":
            leg = scene.stand.exchange.leg(scene.stand.exchange.room("d1").leg)
            scene.do(scene.stand.exchange.run(hang_up(leg), scene.stand.now, leg.id))
            assert scene.live.state is State.WAITING
    scene.pass_time(1.0)
    return scene


@pytest.mark.parametrize("state", STATES)
def test_it_is_flagged_closed_and_sealed_with_the_reason(state):
    scene = brought_to(state)
    scene.vanish()
    scene.pass_time(FLAGGED)
    flags = [
        (when, n.event)
        for when, n in scene.noted
        if when > scene.gone and n.event in SIGNS and n.call == scene.call
    ]
    assert flags, [n.event for _, n in scene.noted][-12:]
    assert flags[0][0] - scene.gone <= FLAGGED
    scene.pass_time(CLOSED - FLAGGED)
    assert scene.live is None, f"still {scene.live.state}"
    assert scene.stand.finished == [scene.call], "evidence is finalised, once"
    ended = next(n.fields for _, n in scene.noted if n.event == "call_ended" and n.call == scene.call)
    assert ended["cause"] in {"unreachable", "no_ack", "session_expired"}, ended
    exchange = scene.stand.exchange
    assert all(room.guest is None for room in exchange.rooms.values())
    assert not exchange.acd.queue
    assert all(desk.call is None for desk in exchange.acd.desks)
    assert not exchange.hands.visits


@pytest.mark.parametrize("state", STATES)
def test_whoever_dials_again_is_the_same_incident_and_has_the_place(state):
    scene = brought_to(state)
    first, desk = scene.call, scene.live.desk
    scene.vanish()
    scene.pass_time(20.0)
    again = Phone(scene.network, "alice", port=5090)
    again.registrations = 20
    again.calls = 20
    again.register()
    again.invite()
    scene.pass_time(1.0)
    second = next(
        call
        for call in scene.stand.exchange.calls.values()
        if call.id != first and call.state is not State.CLOSING
    )
    assert second.incident == first
    told = [n.fields for _, n in scene.noted if n.event == "same_incident" and n.call == second.id]
    assert told, "attached, or in the old place"
    scene.stand.says(MediaStarted(second.leg, "audio", 1))
    scene.pass_time(CLOSED)
    assert scene.stand.exchange.calls.get(first) is None
    second = scene.stand.exchange.calls[second.id]
    if desk is not None and state not in {"transfer", "consultation"}:
        assert second.desk == desk, "with the same dispatcher"
    elif desk is None:
        assert scene.stand.exchange.acd.place(second.id).told == 1
