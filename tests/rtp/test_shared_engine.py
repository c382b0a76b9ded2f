"""Legs that go from one engine to another: state through msgpack, sockets as they are. Both engines of media."""

from typing import ClassVar
from unittest.mock import patch

import msgspec
import pytest

from rtp import control as c
from rtp import shared_engine
from rtp.moving import LegsMoved, MoveLegs
from rtp.packet import parse
from rtp.shared_engine import SharedEngine
from tests.kit import media_wire
from tests.kit.media_engine import GUEST, HOST, Evidence, Running
from tests.kit.media_wire import EVENTS, PCMA, PHONE, engine, stream

__all__ = ["engine"]
SUITE = "AES_CM_128_HMAC_SHA1_80"


class Line:
    """The handover between two engines of one test, without a socket."""

    def __init__(self):
        self.ends = []
        self.error = None

    def __call__(self, _paths, number, _loop, on_legs, on_closed):
        line = self

        class End:
            def __init__(self):
                self.on_legs, self.on_closed, self.waiting = on_legs, on_closed, []

            def legs(self, process, state, descriptors):
                if line.error is not None:
                    raise line.error
                packed = msgspec.msgpack.encode(state)
                end, got = line.ends[process], (msgspec.msgpack.decode(packed), list(descriptors))
                end.waiting.append(lambda: end.on_legs(*got))

            def closed(self, process, call, written, missing):
                end = line.ends[process]
                end.waiting.append(lambda: end.on_closed(call, written, missing))

            def read(self):
                while self.waiting:
                    self.waiting.pop(0)()

            def close(self):
                pass

        self.ends.append(End())
        assert number == len(self.ends) - 1
        return self.ends[-1]


class SharedEvidence(Evidence):
    """With captures that come and go."""

    def __init__(self):
        super().__init__()
        self.adopted, self.released = [], []

    def find(self, call):
        found = super().find(call)
        if found is not None:
            found.call, found.folder = call, f"/evidence/{call}"
        return found

    def release(self, call, done):
        if call not in self.rows:
            return None
        self.pour()
        self.tapes.pop(call, None)
        self.released.append(self.rows.pop(call))
        done(len(self.released[-1]), 0)
        return f"/evidence/{call}"

    def adopt(self, call, folder):
        self.adopted.append((call, folder))
        self.open(c.OpenEvidence(call, folder))

    def closed_elsewhere(self, call, written, missing):
        self.adopted.append((call, written, missing))


class One(Running):
    def __init__(self, number):
        with (
            patch("tests.kit.media_engine.Engine", SharedEngine),
            patch("tests.kit.media_engine.Evidence", SharedEvidence),
        ):
            super().__init__(handover=("0", "1"), number=number)


class Socket:
    """The module `socket`, as far as `shared_engine` knows it: descriptors become the test's sockets again."""

    known: ClassVar[dict] = {}

    @classmethod
    def socket(cls, *, fileno):
        return cls.known[fileno]


@pytest.fixture
def two(engine, monkeypatch):
    line = Line()
    monkeypatch.setattr(shared_engine, "Handover", line)
    monkeypatch.setattr(shared_engine, "socket", Socket)
    monkeypatch.setattr(media_wire.WireSocket, "setblocking", lambda self, flag: None, raising=False)
    made = [One(0), One(1)]
    made[1].engine._ports.next = iter(range(40_000, 50_000, 2))
    made[0].line = line
    return made


def move(two, *legs, captures=(), source=0):
    """Hand legs over; the events of both."""
    here, there = two[source], two[1 - source]
    for name in legs:
        for track in here.engine._legs[name].tracks.values():
            Socket.known |= {sock.fileno(): sock for sock in (track.pair.rtp, track.pair.rtcp)}
    before = len(there.events)
    here_said = here.do(MoveLegs(legs, captures, 1 - source))
    there.engine._handover.read()
    media_wire.settle()
    return here_said, there.events[before:]


def sent(running, name, medium="audio"):
    """What left on a leg."""
    media_wire.settle()
    return [parse(data) for data, _ in running.sockets(name, medium)[0].sent]


def test_a_leg_goes_on_elsewhere_as_if_nothing_had_been(two):
    here, there = two
    here.do(c.OpenEvidence("call", "/evidence/call"))
    here.leg(GUEST, "audio", "video", evidence="call")
    there.leg(HOST, "audio", "video")
    there.do(c.Join("room", HOST, "host"))
    for number in range(5):
        here.say(GUEST, 100 + number)
        here.say(
            GUEST, 200 + number, "video", payload_type=96, payload=b"\x65key" if number == 0 else b"\x41x"
        )
        there.say(HOST, 300 + number)
        for one in two:
            one.pass_time(0.02)
    before = sent(here, GUEST)
    received = here.engine._legs[GUEST].report().streams[0].received
    said, arrived = move(two, GUEST, captures=("call",))
    assert said == []
    assert arrived[-1] == LegsMoved((GUEST,))
    assert there.evidence.adopted[0] == ("call", "/evidence/call")
    assert GUEST not in here.engine._legs
    assert not any(sock.fileno() in here.loop.handlers for sock in there.sockets(GUEST))
    there.do(c.Join("room", GUEST, "guest"))
    for number in range(5, 10):
        there.say(GUEST, 100 + number)
        there.say(HOST, 300 + number)
        there.pass_time(0.02)
    after = sent(there, GUEST)[len(before) :]
    assert after, "the guest hears its host"
    assert {packet.ssrc for packet in (*before, *after)} == {before[0].ssrc}
    assert after[0].sequence == (before[-1].sequence + 1) & 0xFFFF
    assert there.engine._legs[GUEST].report().streams[0].received == received + 5
    assert there.engine._legs[GUEST].report().streams[0].lost == 0
    assert [event for event in there.events if isinstance(event, c.MediaStarted) and event.leg == GUEST] == []
    shown = sent(there, HOST, "video")
    assert shown, "the last group of pictures came along"
    assert not here.loop.failures
    assert not there.loop.failures
    assert not [event for event in here.events if isinstance(event, c.LegReport) and event.leg == GUEST]


def test_who_is_believed_stays_believed_and_a_stranger_does_not_become_it(two):
    here, there = two
    here.leg(GUEST)
    here.say(GUEST, 1)
    move(two, GUEST)
    track = there.engine._legs[GUEST].tracks["audio"]
    assert track.latch.latched == PHONE
    assert not track.latch.receive(("6.6.6.6", 1), 9, 1, there.loop.now)
    here_again, _ = move(two, GUEST, source=1)
    assert here_again == []
    assert here.engine._legs[GUEST].tracks["audio"].latch.latched == PHONE


def test_what_is_played_and_typed_goes_on_where_it_was(two):
    here, there = two
    here.leg(GUEST)
    here.say(GUEST, 1)
    here.do(c.Play(GUEST, "p", ("tone:waiting", "pause:60")))
    here.engine._legs[GUEST].send_digits("5")
    here.pass_time(1.0)
    position = here.engine._legs[GUEST].carry()["position"]
    move(two, GUEST)
    assert there.engine._legs[GUEST].carry()["position"] == position
    there.loop.now = here.loop.now
    there.pass_time(5.0)
    assert c.PlayEnded(GUEST, "p") in there.events


def test_gates_modes_and_rooms_come_along(two):
    here, there = two
    for name in (HOST, GUEST, "nurse"):
        here.leg(name)
    here.do(c.SetGates(GUEST, silent=True, host_picture=False), c.SetStaff("nurse", "whisper"))
    here.do(c.Join("room", HOST, "host"), c.Join("room", GUEST, "guest"), c.Join("room", "nurse", "staff"))
    _, arrived = move(two, HOST, GUEST, "nurse")
    assert arrived[-1] == LegsMoved((HOST, GUEST, "nurse"))
    rooms = there.engine._rooms
    assert dict(rooms.members("room")) == {HOST: "host", GUEST: "guest", "nurse": "staff"}
    assert rooms.gates(GUEST).silent
    assert rooms.mode("nurse") == "whisper"
    assert there.engine._legs[GUEST].tracks["audio"].sender.silent


def test_what_a_phone_may_still_miss_comes_along(two):
    here, there = two
    for name in (HOST, GUEST):
        here.leg(name, "audio", "video")
    here.do(c.Join("room", HOST, "host"), c.Join("room", GUEST, "guest"))
    here.say(GUEST, 1, "video", payload_type=96)
    here.engine._legs[GUEST].tracks["video"].sender.repeat([], here.loop.now)  # its first NACK
    here.say(HOST, 300, "video", payload_type=96)
    missed = sent(here, GUEST, "video")[-1]
    move(two, HOST, GUEST)
    before = len(sent(there, GUEST, "video"))
    there.engine._legs[GUEST].tracks["video"].sender.repeat([missed.sequence], there.loop.now)
    assert sent(there, GUEST, "video")[before:] == [missed]


def test_keys_come_along_and_counts_with_them(two):
    here, there = two
    key = bytes(range(30))
    here.do(c.OpenLeg(GUEST, ("audio",), "127.0.0.1"))
    crypto = c.Sdes(suite=SUITE, send=key, receive=key)
    secured = msgspec.structs.replace(stream("audio", (PCMA, EVENTS)), crypto=crypto)
    here.do(c.ConfigureLeg(GUEST, (secured,), (PHONE[0],)))
    here.pass_time(0.5)
    before = here.engine._legs[GUEST].protections["audio"].carry()
    _, arrived = move(two, GUEST)
    assert arrived == [LegsMoved((GUEST,))], "no new keys are told of"
    after = there.engine._legs[GUEST].protections["audio"].carry()
    assert after == before
    assert not there.engine._legs[GUEST].tracks["audio"].plain


def test_a_handshake_under_way_is_not_interrupted(two):
    here, _ = two
    here.do(c.OpenLeg(GUEST, ("audio",), "127.0.0.1"))
    crypto = c.Dtls(fingerprints=(("sha-256", bytes(32)),), active=False)
    secured = msgspec.structs.replace(stream("audio", (PCMA, EVENTS)), crypto=crypto)
    here.do(c.ConfigureLeg(GUEST, (secured,), (PHONE[0],)))
    assert move(two, GUEST) == ([c.Refused("MoveLegs", GUEST, "shaking_hands")], [])
    assert GUEST in here.engine._legs


def test_legs_that_can_not_go_stay_as_they_are(two):
    here, _ = two
    here.leg(GUEST)
    here.line.error = ConnectionRefusedError(111, "Connection refused")
    assert move(two, GUEST) == ([c.Refused("MoveLegs", GUEST, "unreachable")], [])
    here.say(GUEST, 1)
    assert any(isinstance(event, c.MediaStarted) for event in here.events)
    assert here.do(MoveLegs(("nobody",), (), 1)) == [c.Refused("MoveLegs", "nobody", "unknown_leg")]


def test_what_can_not_be_gone_on_with_is_told_and_closed(two, monkeypatch):
    here, there = two
    here.leg(GUEST)
    monkeypatch.setattr(there.engine, "_go_on", lambda *_: 1 / 0)
    closed = []
    monkeypatch.setattr(shared_engine.os, "close", closed.append)
    _, arrived = move(two, GUEST)
    assert arrived == [c.Refused("MoveLegs", GUEST, "broken")]
    assert len(closed) == 2
    assert there.loop.failures


def test_whoever_asks_what_is_held_is_told_of_what_is_in_the_socket_already(two):
    here, there = two
    here.leg(GUEST)
    Socket.known |= {s.fileno(): s for s in here.sockets(GUEST)}
    here.do(MoveLegs((GUEST,), (), 1))
    told = there.do(c.Query("q"))
    assert [type(event) for event in told] == [LegsMoved, c.Holdings]
    assert [holding.leg for holding in told[1].legs] == [GUEST]


def test_one_engine_alone_refuses():
    running = Running()
    running.leg(GUEST)
    assert running.do(MoveLegs((GUEST,), (), 1)) == [c.Refused("MoveLegs", GUEST, "unreachable")]
