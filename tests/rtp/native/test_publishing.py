"""What is C's and what is not, after each kind of change: who decides something new about packets must tell C."""

from unittest.mock import patch

import numpy as np
import pytest

from rtp.audience import Audience
from rtp.call_evidence import Both
from rtp.overlay import Overlay
from rtp.packet import parse
from tests.kit.media_wire import EVENTS, PCMA, PHONE, Wire, packet, rtp_socket, running, sent


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
        relayed, sunk, _ = self.wire.loop.relay.counts
        for _ in range(packets):
            self.sequence += 1
            self.wire.loop.read(rtp_socket(self.guest), packet(self.sequence, **more), PHONE)
        now = self.wire.loop.relay.counts
        return now[0] + now[1] - relayed - sunk

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


def test_a_socket_that_is_read_for_a_mix_or_opened_by_a_key_is_not_lent(talking):
    talking.guest.withhold(withheld=True)
    assert talking.say(5) == 0
    talking.guest.withhold(withheld=False)
    assert talking.say(5) == 5
    talking.guest.protect(lambda: None, None)
    assert not talking.guest._flow.lent
    talking.guest.protect(None, None)
    assert talking.say(5) == 5


def test_the_landing_after_a_mix_is_the_first_packet_alone(talking):
    guest = talking.guest
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

    first, second = make_tape(), make_tape()
    talking.guest.evidence = Both(first, second)
    assert talking.say(5) == 5
    assert (first.waiting, second.waiting) == (5, 5)
    talking.host.sender.evidence = Both(first, second)
    assert talking.say(5) == 0, "C writes one copy of what leaves"
    assert (first.waiting, second.waiting) == (15, 15)
    talking.guest.evidence = talking.host.sender.evidence = None
    assert talking.say(5) == 5
    assert (first.waiting, second.waiting) == (15, 15)


def test_digits_are_pythons(talking):
    assert talking.say(3, payload_type=101, payload=b"\x05\x0a\0\xa0") == 0
    assert parse(rtp_socket(talking.host).sent[-1][0]).payload_type == 101
    assert talking.say(5) == 5
