"""Phones that send nothing while nobody speaks (DTX): missed when they are gone, not while they pause."""

import itertools

import pytest

from rtp.codecs import silence
from rtp.control import Codec, MediaLost, MediaStarted
from rtp.presence import PAUSE_SECONDS, Presence
from tests.kit.media_wire import EVENTS, PCMA, PCMU, Wire, engine, packet, rtp_socket, sent

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("engine")

OPUS = Codec("OPUS", 111, 48000, 2)
LOSS_SECONDS = 2.5
NOISE = b"\x4e"
STEP = 0.125
"""Seconds between two looks; a binary fraction, so that moments are exact."""


def rest(wire, track, seconds, sign=None):
    """Let time pass; the moments at which a loss was told, in seconds from now."""
    began, told = wire.loop.now, []
    for _ in range(round(seconds / STEP)):
        wire.loop.now += STEP
        before = len(wire.events)
        track.sweep(wire.loop.now, LOSS_SECONDS, sign=sign(wire.loop.now - began) if sign else None)
        told += [wire.loop.now - began] * (len(wire.events) - before)
    return told


def losses(wire):
    return [event for event in wire.events if isinstance(event, MediaLost)]


@pytest.mark.parametrize("theirs", [PCMA, PCMU, OPUS], ids=lambda codec: codec.name)
def test_who_said_it_pauses_is_not_missed_and_goes_on_in_one_stream(theirs):
    wire = Wire()
    caller, desk = wire.configured("caller"), wire.configured("desk", codecs=(theirs, EVENTS))
    caller.wire(desk, wire.loop.now)
    for number in range(5):
        wire.loop.read(rtp_socket(caller), packet(number))
    wire.loop.read(rtp_socket(caller), packet(5, NOISE, payload_type=13))
    newest = sent(desk)[-1]
    assert newest.payload_type == theirs.payload_type, "nobody agreed to comfort noise"
    assert theirs is not PCMA or newest.payload == silence(theirs)
    for _ in range(10):
        desk.sender.silence(wire.loop.now)
    assert rest(wire, caller, 10.0) == []
    wire.loop.read(rtp_socket(caller), packet(6, timestamp=11 * 8000))
    left = sent(desk)
    assert len(left) == 6 + 10 + 1
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(left)} == {1}, (
        "nothing looks lost"
    )
    assert caller.source.lost == 0
    assert sum(isinstance(event, MediaStarted) for event in wire.events) == 1, "it never was away"
    assert rest(wire, caller, 3.0) == [LOSS_SECONDS], "who speaks and then is not heard is missed as ever"


def test_who_pauses_and_gives_no_sign_of_life_is_missed():
    wire = Wire()
    caller = wire.configured("caller")
    caller.wire(None, wire.loop.now)
    wire.loop.read(rtp_socket(caller), packet(0))
    wire.loop.read(rtp_socket(caller), packet(1, NOISE, payload_type=13))
    assert rest(wire, caller, PAUSE_SECONDS + 3.0) == [PAUSE_SECONDS, PAUSE_SECONDS + LOSS_SECONDS]
    assert [round(event.seconds) for event in losses(wire)] == [15, 18]
    wire.loop.read(rtp_socket(caller), packet(2))
    assert isinstance(wire.events[-1], MediaStarted)


def test_a_long_pause_is_believed_while_rtcp_comes():
    wire = Wire()
    caller = wire.configured("caller")
    began = wire.loop.now
    wire.loop.read(rtp_socket(caller), packet(1, NOISE, payload_type=13))
    # A report each 5 s for a minute, then none.
    told = rest(wire, caller, 80.0, lambda passed: began + min(passed, 60.0) // 5 * 5)
    assert told[0] == 60.0 + PAUSE_SECONDS


def test_rtcp_alone_is_no_pause():
    wire = Wire()
    caller = wire.configured("caller")
    wire.loop.read(rtp_socket(caller), packet(1))
    assert rest(wire, caller, 3.0, lambda _: wire.loop.now) == [LOSS_SECONDS], (
        "who said nothing of a pause is missed in time"
    )


def test_nobody_looked_for_a_while():
    presence = Presence()
    presence.expect(receiving=True, now=0.0)
    presence.pause(1.0)
    assert presence.missed(1.0, 17.0, LOSS_SECONDS, late=2.0) is None
    assert presence.missed(1.0, 18.5, LOSS_SECONDS, late=2.0) == 15.5
    goes_on = Presence.restore(presence.snapshot())
    assert goes_on.snapshot() == presence.snapshot()
