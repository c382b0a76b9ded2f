"""What is C's and what is not, after each kind of change: who decides something new about packets must tell C."""

import itertools
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from recordings import pcapng
from rtp import control as c
from rtp import g711
from rtp.audience import Audience
from rtp.call_evidence import Both
from rtp.jitter import DRY
from rtp.leg import Leg
from rtp.overlay import Overlay
from rtp.packet import parse
from rtp.sender import Sender
from rtp.voices import Ear, Voice
from tests.kit.media_engine import Running
from tests.kit.media_wire import EVENTS, PCMA, PHONE, Wire, packet, rtp_socket, running, sent, settle, stream


@pytest.fixture
def talking():
    """Guest and host, latched and relayed; the next packet of the guest has number 3."""
    with running("native"), patch("rtp.track.disconnect", lambda sock: sock.connect(None)):
        wire = Wire()
        guest = wire.configured("guest", codecs=(PCMA, EVENTS))
        host = wire.configured("host", codecs=(PCMA, EVENTS))
        for track in (guest, host):
            wire.loop.read(rtp_socket(track), packet(1), PHONE)
        guest.wire(host, wire.loop.now)
        talk = Talk(wire, guest, host)
        talk.say(1)
        assert talk.say(5) == 5, "all of it is C's"
        yield talk


class Talk:
    def __init__(self, wire, guest, host):
        self.wire, self.guest, self.host, self.sequence = wire, guest, host, 1

    def say(self, packets, **more):
        """Let the guest say so many packets: how many of them C has carried."""
        before = sum(self.wire.loop.relay.counts[:3])
        for _ in range(packets):
            self.sequence += 1
            self.wire.loop.read(rtp_socket(self.guest), packet(self.sequence, **more), PHONE)
        return sum(self.wire.loop.relay.counts[:3]) - before

    @property
    def heard(self):
        return len(sent(self.host))


def test_from_the_first_nack_on_packets_are_kept_and_sent_again(talking):
    sender = talking.host.sender
    sender.repeat([sent(talking.host)[-1].sequence], 0.0)  # none is kept yet
    assert sender.history is not None
    before = talking.heard
    assert talking.say(5) == 0, "they are to be remembered, which C does not do"
    last = sent(talking.host)[-1]
    assert talking.heard == before + 5
    sender.repeat([last.sequence], talking.wire.loop.now)
    assert sent(talking.host)[-1] == last
    assert talking.heard == before + 6


def test_nothing_passes_by_what_has_the_last_hand_on_a_packet(talking):
    def wrap(onward):
        return lambda data: onward(data[:12] + b"sealed")

    talking.host.sender.protect(wrap)
    assert talking.say(5) == 0
    assert sent(talking.host)[-1].payload == b"sealed"
    talking.host.sender.protect(None)
    assert talking.say(5) == 5


def test_nothing_passes_a_silent_gate(talking):
    before = talking.heard
    talking.host.sender.set_silent(silent=True)
    assert talking.say(5) == 0
    assert talking.heard == before
    talking.host.sender.set_silent(silent=False)
    assert talking.say(5) >= 4, "the first one enters anew, in Python"


@pytest.mark.parametrize("change", ["override", "overlay"])
def test_what_is_played_meanwhile_goes_before_the_relay(talking, change):
    sender = talking.host.sender
    if change == "override":
        sender.override(overridden=True)
    else:
        sender.lay(Overlay(np.ones(8000, dtype=np.int16)))
    assert talking.say(5) == 0
    if change == "override":
        sender.override(overridden=False)
    else:
        sender.lay(None)
    assert talking.say(5) == 5


def test_a_socket_that_is_opened_by_a_key_is_not_lent(talking):
    talking.guest.protect(lambda: None, None)
    assert not talking.guest._flow.lent
    talking.guest.protect(None, None)
    assert talking.say(5) == 5


def test_a_voice_that_is_only_mixed_is_cs_and_what_is_more_is_not(talking):
    guest, now = talking.guest, talking.wire.loop.now
    voice = Voice("guest", 8000, talking.wire.around.buffer())
    guest.audience = Audience(voice)
    guest.wire(None, now)
    assert talking.say(5) == 5
    assert talking.wire.loop.relay.counts[2] == 5
    assert [voice.buffer.pull() for _ in range(6)] == [*[("PCMA", b"x" * 160)] * 5, DRY]
    talking.sequence += 1
    padded = b"\xa0" + packet(talking.sequence)[1:] + b"\0\0\0\4"
    handed = talking.wire.loop.relay.counts[3]
    talking.wire.loop.read(rtp_socket(guest), padded, PHONE)
    assert talking.wire.loop.relay.counts[3] == handed + 1, (
        "what stands behind the sound is Python's to take away"
    )
    assert voice.buffer.pull() == ("PCMA", b"x" * 160)
    assert talking.say(1, payload_type=101, payload=b"\x05\x0a\0\xa0") == 0
    guest.wire(talking.host, now)
    assert talking.say(5) == 0, "relayed and mixed"
    guest.audience = None
    guest.wire(None, now)
    held = len(voice.buffer.held)
    talking.say(5)
    assert len(voice.buffer.held) == held


def test_what_is_made_for_an_ear_goes_on_in_c_until_something_changes(talking):
    sender, loop = talking.host.sender, talking.wire.loop
    sender.steady(77, PCMA, b"1" * 160, 160, loop.now)  # a source that is new
    calls = []
    with patch.object(Sender, "steady", lambda *args: calls.append(args)):
        for number in (2, 3):
            loop.now += 0.02
            sender.steady(77, PCMA, b"%d" % number * 160, 160, loop.now)
        settle()
        assert calls == []
        first, second, third = sent(talking.host)[-3:]
        assert (second.sequence, third.sequence) == (first.sequence + 1 & 0xFFFF, first.sequence + 2 & 0xFFFF)
        assert third.timestamp - first.timestamp & 0xFFFFFFFF == 320
        for change in (
            lambda: sender.override(overridden=True),
            lambda: sender.override(overridden=False) or sender.set_silent(silent=True),
            lambda: sender.set_silent(silent=False) or setattr(sender, "expecting", lambda: None),
        ):
            change()
            sender.steady(77, PCMA, b"x" * 160, 160, loop.now)
        sender.expecting = None
        sender.steady(78, PCMA, b"x" * 160, 160, loop.now)
        sender.steady(77, PCMA, b"x" * 160, 160, loop.now + 0.1)
    assert len(calls) == 5


def test_what_fails_for_one_ear_or_voice_is_left_to_python_and_the_others_are_served(talking):
    from rtp.native._relay import NativeMix

    class Broken:
        @property
        def begun(self):
            raise KeyError("bug")

        buffer = plain = begun

    mix = NativeMix(g711.TO_LINEAR, g711.TO_CODE)
    idle = SimpleNamespace(begun=True, sender=SimpleNamespace(codec=None, relay_open=True))
    voice = Voice("guest", 8000, talking.wire.around.buffer())
    voice.buffer.push(1, ("PCMA", b"x" * 160))
    mix.arrange([Broken(), voice], [Broken(), idle])
    frames = np.zeros((2, 160), np.int16)
    assert mix.send(frames, 0.0) == (0, [0]), "nothing is to be sent to the other"
    assert mix.take(frames) == [0]
    assert frames[1].tolist() == g711.decode_alaw(b"x" * 160).tolist()
    assert not frames[0].any()
    assert mix.take(frames) == [0, 1], "nothing has come yet"
    with pytest.raises(ValueError, match="rows"):
        mix.take(frames[:1])
    with pytest.raises(ValueError, match="rows"):
        mix.send(frames[:1], 0.0)


@pytest.mark.parametrize(
    "decided",
    [
        lambda sender: sender.override(overridden=True),
        lambda sender: sender.set_silent(silent=True),
        lambda sender: setattr(sender, "expecting", lambda: None),
        lambda sender: sender.configure(None),
        lambda sender: sender.out.part(),
        lambda sender: sender.protect(lambda onward: onward),
    ],
)
def test_an_ear_is_c_s_until_something_is_decided(talking, decided):
    from rtp.native._relay import NativeMix

    sender, loop = talking.host.sender, talking.wire.loop
    ear = Ear("host", sender, 77, 8000, ())
    ear.begun = True
    mix = NativeMix(g711.TO_LINEAR, g711.TO_CODE)
    mix.arrange([], [ear])
    frames = np.full((1, 160), 1000, np.int16)
    assert mix.send(frames, loop.now) == (0, [0]), "the first packet is Python's"
    ear.send(sender.codec, b"x" * 160, loop.now)
    before = sender.packets
    for _ in range(3):
        assert mix.send(frames, loop.now) == (1, [])
    settle()
    assert sender.packets == before + 3
    assert talking.host.pair.rtp.sent[-1][0][12:] == g711.encode_alaw(frames[0])
    decided(sender)
    before = sender.packets
    assert mix.send(frames, loop.now)[0] == 0
    assert sender.packets == before


def test_packets_within_the_bound_of_their_hearer_are_cs(talking):
    talking.host.configure(
        stream(codecs=(PCMA, EVENTS), max_ptime=30), frozenset({PHONE[0]}), talking.wire.loop.now
    )
    talking.guest.wire(talking.host, talking.wire.loop.now)
    talking.say(1)
    assert talking.say(5, payload=b"x" * 240) == 5
    before = talking.heard
    assert talking.say(1, payload=b"x" * 480) == 0
    assert talking.heard == before + 3
    assert talking.say(5) == 0, "a stream that is cut stays Python's"


@pytest.mark.parametrize("bound", [None, 20])
def test_the_landing_after_a_mix_is_the_first_packet_alone(talking, bound):
    guest = talking.guest
    talking.host.configure(
        stream(codecs=(PCMA, EVENTS), max_ptime=bound), frozenset({PHONE[0]}), talking.wire.loop.now
    )
    guest.audience = Audience(None, landing=np.zeros(160, dtype=np.int16))
    guest.wire(talking.host, talking.wire.loop.now)
    talking.say(1)
    assert talking.say(5) == 5


def test_parting_and_joining_again_and_the_end(talking):
    guest = talking.guest
    before = talking.heard
    guest.wire(None, talking.wire.loop.now)
    assert talking.say(5) == 5, "counted and kept, not relayed"
    assert talking.heard == before
    guest.wire(talking.host, talking.wire.loop.now)
    talking.say(1)
    assert talking.say(5) == 5
    talking.host.end()
    before = talking.heard
    talking.say(5)
    assert talking.heard == before
    guest.end()
    assert not guest._flow.lent
    guest.wire(None, talking.wire.loop.now)
    assert not guest._flow.lent, "nothing lends the socket of a leg that has ended"


def test_evidence_that_is_no_tape_keeps_packets_in_python(talking):
    rows = []
    talking.guest.evidence = lambda *row: rows.append(row)
    assert talking.say(5) == 0
    assert len(rows) == 5
    from rtp.native.track import make_tape

    first, second = make_tape(pcapng.head), make_tape(pcapng.head)
    talking.guest.evidence = Both((first, second))
    assert talking.say(5) == 5
    assert (first.waiting, second.waiting) == (5, 5)
    talking.host.sender.evidence = Both((first, second))
    assert talking.say(5) == 0, "C writes one copy of what leaves"
    assert (first.waiting, second.waiting) == (15, 15)
    talking.guest.evidence = talking.host.sender.evidence = None
    assert talking.say(5) == 5
    assert (first.waiting, second.waiting) == (15, 15)


def test_digits_are_pythons(talking):
    assert talking.say(3, payload_type=101, payload=b"\x05\x0a\0\xa0") == 0
    assert parse(rtp_socket(talking.host).sent[-1][0]).payload_type == 101
    assert talking.say(5) == 5


def test_what_is_played_and_silence_go_on_in_c_and_each_change_is_pythons(talking):
    """Frames of the waiting tone: 220. Python begins each item and each silence, and what it changes it sends by itself."""
    running = Running()
    running.leg("guest")
    said = itertools.count(1)
    beats = []
    whole = Leg.beat

    def beat(leg, now):
        beats.append(now)
        whole(leg, now)

    with patch.object(Leg, "beat", beat):

        def count(seconds):
            del beats[:]
            before = len(running.sockets("guest")[0].sent)
            for _ in range(round(seconds * 50)):
                running.say("guest", next(said))  # who says nothing is not believed for long
                running.pass_time(0.02)
            return len(beats), len(running.sockets("guest")[0].sent) - before

        python, sent = count(2.0)
        assert (python <= 2, sent) == (True, 100), "silence"
        running.do(c.Play("guest", "p", ("tone:waiting",), loop=True))
        assert count(4.0) == (1, 200)
        assert count(4.0) == (1, 200), "the tone begins again"
        running.engine._legs["guest"].send_digits("5")
        python, sent = count(1.0)
        assert sent == 50
        assert 8 < python < 30, "the digit"
        running.do(c.SetGates("guest", True, True, False))
        assert count(1.0) == (50, 50), "what passes the silent gate is looked at"
        running.do(c.SetGates("guest", False, True, False))
        assert count(0.5)[0] <= 2
        running.do(c.StopPlay("guest"))
        assert count(1.0) == (1, 50)
    assert running.loop.failures == []
