"""Packets in the time the peer wants, on both engines: what is made here, and what is relayed and too long."""

import itertools
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp import control as c
from rtp import g711
from rtp.codecs import silence
from rtp.control import Codec, Play
from rtp.packet_time import Bundle, duration
from rtp.sequence import MASK16
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import (
    EVENTS,
    PCMA,
    PCMU,
    PHONE,
    Wire,
    engine,
    packet,
    rtp_socket,
    running,
    sent,
    stream,
)
from tests.kit.rtp_media import tone

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("engine")

OPUS = Codec("OPUS", 111, 48000, 2)
AMR = Codec("AMR", 97, 8000)
TIMES = (10, 20, 30, 40, 60)


@pytest.fixture(autouse=True)
def _disconnect():
    with patch("rtp.track.disconnect", lambda sock: sock.connect(None)):
        yield


def pair(codecs=(PCMA, EVENTS), theirs=None, **times):
    """A caller who is relayed to a desk that has these packet times."""
    wire = Wire()
    caller, desk = wire.configured("caller", codecs=codecs), wire.configured("desk", codecs=theirs or codecs)
    desk.configure(stream(codecs=theirs or codecs, **times), frozenset({PHONE[0]}), wire.loop.now)
    caller.wire(desk, wire.loop.now)
    return wire, caller, desk


def in_step(packets, per_ms=8):
    """The sequence has no hole and each packet begins where the one before ends."""
    for one, other in itertools.pairwise(packets):
        assert other.sequence == (one.sequence + 1) & MASK16
        assert (other.timestamp - one.timestamp) & 0xFFFFFFFF == len(one.payload)


@pytest.mark.parametrize("ms", TIMES)
def test_silence_leaves_in_the_time_that_is_wished(ms):
    wire, _, desk = pair(ptime=ms)
    for _ in range(12):
        desk.sender.silence(wire.loop.now)
        wire.loop.now += 0.020
    left = sent(desk)
    assert [len(one.payload) for one in left] == [ms * 8] * (240 // ms)
    assert [one.marker for one in left] == [True] + [False] * (len(left) - 1)
    in_step(left)
    assert desk.sender.packets == len(left)


@pytest.mark.parametrize("ms", [10, 30, 60])
def test_a_prompt_is_whole_and_what_follows_it_is_in_step(ms):
    made = Running()
    made.do()
    made.leg(GUEST)
    wire = made.engine._legs[GUEST]
    track = wire.tracks["audio"]
    track.configure(
        stream(codecs=(PCMA, EVENTS), max_ptime=ms, ptime=ms), frozenset({PHONE[0]}), made.loop.now
    )
    made.do(Play(GUEST, "p", ("tone:zip",), False))
    made.pass_time(0.5)
    left = sent(track)
    tone = b"".join(made.prompts.frames("tone:zip", PCMA))
    whole = b"".join(one.payload for one in left)
    assert tone in whole
    assert whole.strip(b"\xd5") == tone.strip(b"\xd5")
    assert max(len(one.payload) for one in left) == ms * 8
    in_step(left)


@pytest.mark.parametrize("codec", [OPUS, AMR], ids=lambda codec: codec.name)
@pytest.mark.parametrize("ms", [40, 60])
def test_frames_are_joined(codec, ms):
    wire, _, desk = pair((codec, EVENTS), ptime=ms)
    for _ in range(6):
        desk.sender.silence(wire.loop.now)
        wire.loop.now += 0.020
    left = sent(desk)
    assert len(left) == 120 // ms
    steps = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(left)]
    assert set(steps) == {ms * codec.clock_rate // 1000}


def test_silent_mode_stays_silent_in_every_packet_time():
    for codec in (PCMA, PCMU, Codec("G722", 9, 8000), OPUS, AMR):
        for ms in TIMES:
            wire, _, desk = pair((codec,), ptime=ms)
            desk.sender.local_frame(7, codec, b"loud", 160, wire.loop.now)
            desk.sender.set_silent(silent=True)
            before = len(sent(desk))
            for _ in range(6):
                desk.sender.silence(wire.loop.now)
                wire.loop.now += 0.020
            assert desk.sender.gate.stopped == 0
            assert len(sent(desk)) > before


def test_a_digit_comes_after_what_waits():
    wire, _, desk = pair(ptime=60)
    desk.sender.local_frame(7, PCMA, b"a" * 160, 160, wire.loop.now)
    desk.sender.local_frame(7, PCMA, b"b" * 160, 160, wire.loop.now)
    desk.sender.local_frame(7, PCMA, b"c" * 160, 160, wire.loop.now)
    desk.sender.local_frame(7, PCMA, b"d" * 160, 160, wire.loop.now + 0.02)
    desk.sender.local_frame(8, EVENTS, b"\x05\x0a\0\xa0", 160, wire.loop.now + 0.04)
    assert [one.payload[:1] for one in sent(desk)] == [b"a", b"d", b"\x05"]
    assert [len(one.payload) for one in sent(desk)] == [480, 160, 4]


@pytest.mark.parametrize("codec", [PCMA, OPUS], ids=lambda codec: codec.name)
def test_what_is_cut_off_before_its_first_packet_is_full_leaves_short(codec):
    wire, _, desk = pair((codec, EVENTS), ptime=60)
    quiet = silence(codec)
    desk.sender.local_frame(7, codec, quiet, 20 * codec.clock_rate // 1000, wire.loop.now)
    desk.sender.local_frame(8, EVENTS, b"\x05\x0a\0\xa0", 160, wire.loop.now + 0.02)
    assert [one.payload for one in sent(desk)] == [quiet, b"\x05\x0a\0\xa0"]


def test_nothing_of_before_leaves_when_silent_mode_begins():
    wire, _, desk = pair(ptime=60)
    desk.sender.local_frame(7, PCMA, b"loud" * 40, 160, wire.loop.now)
    desk.sender.set_silent(silent=True)
    desk.sender.set_silent(silent=False)
    for _ in range(3):
        desk.sender.silence(wire.loop.now)
    assert [one.payload for one in sent(desk)] == [silence(PCMA) * 3]


@pytest.mark.parametrize("ms", [60, 100, 200])
def test_a_phone_of_long_packets_is_not_filled_up_with_silence(ms):
    wire, caller, desk = pair()
    for number in range(5):
        wire.loop.read(rtp_socket(caller), packet(number, b"x" * 8 * ms, timestamp=number * 8 * ms))
        for late in (0.041, ms / 1000 - 0.001):
            assert not desk.sender.starving(wire.loop.now + late)
        assert desk.sender.starving(wire.loop.now + ms / 1000 + 0.021)
        wire.loop.now += ms / 1000
    assert [len(one.payload) for one in sent(desk)] == [8 * ms] * 5


def test_silence_begins_where_a_long_packet_ends():
    wire, caller, desk = pair()
    wire.loop.read(rtp_socket(caller), packet(1, b"x" * 1600))
    desk.sender.silence(wire.loop.now)  # as when somebody holds at once
    desk.sender.silence(wire.loop.now + 0.02)
    wire.loop.read(rtp_socket(caller), packet(2, b"y" * 1600, timestamp=3200))
    in_step(sent(desk)[:3])


@given(
    st.lists(st.sampled_from([1, 7, 10, 20, 30, 40, 60, 100, 200]), min_size=1, max_size=12),
    st.sampled_from(TIMES),
    st.sampled_from(["python", "native"]),
)
def test_what_is_too_long_is_cut_and_stays_one_stream(lengths, bound, name):
    """The octets stay, in order and in step, and from the first packet that was too long on none is."""
    with running(name):
        wire, caller, desk = pair(max_ptime=bound)
        timestamp, said = 0, b""
        for number, ms in enumerate(lengths):
            payload = bytes((number + 1,)) * 8 * ms
            wire.loop.read(rtp_socket(caller), packet(number, payload, timestamp=timestamp))
            timestamp += 8 * ms
            wire.loop.now += ms / 1000
            said += payload
        left = sent(desk)
        assert max((len(one.payload) for one in left), default=0) <= bound * 8
        whole = b"".join(one.payload for one in left)
        assert said.startswith(whole)
        assert len(said) - len(whole) < 160 + bound * 8, "what waits for its packet to be full"
        for one, other in itertools.pairwise(left):
            assert other.sequence == (one.sequence + 1) & MASK16


def test_what_was_lost_of_long_packets_stays_lost_and_in_its_length():
    wire, caller, desk = pair(max_ptime=20)
    for number in (0, 1, 3):
        wire.loop.now = 100 + number * 0.06
        wire.loop.read(rtp_socket(caller), packet(number, bytes((number,)) * 480, timestamp=number * 480))
    left = sent(desk)
    assert [one.payload[0] for one in left] == [0, 0, 0, 1, 1, 1, 3, 3, 3]
    first = left[0]
    assert [(one.timestamp - first.timestamp) & 0xFFFFFFFF for one in left] == [
        160 * n for n in (0, 1, 2, 3, 4, 5, 9, 10, 11)
    ]
    assert [(one.sequence - first.sequence) & MASK16 for one in left] == [0, 1, 2, 3, 4, 5, 9, 10, 11]


@pytest.mark.parametrize("ms", [40, 60, 100, 200])
def test_what_is_transcoded_of_long_packets_keeps_time(ms):
    wire, caller, desk = pair((PCMA,), (PCMU,))
    for number in range(6):
        wire.loop.read(rtp_socket(caller), packet(number, b"\x55" * 8 * ms, timestamp=number * 8 * ms))
        wire.loop.now += ms / 1000 + 0.005 * (number % 2)
    in_step(sent(desk))
    assert len(sent(desk)) == 6 * ms // 20


def test_opus_with_frames_that_are_too_long_is_made_anew():
    wire, caller, desk = pair((OPUS,), max_ptime=40)
    bundle = Bundle(OPUS, 60)
    ((long, _),) = [one for _ in range(3) for one in bundle.push(silence(OPUS))]
    wire.loop.read(rtp_socket(caller), packet(0, silence(OPUS), payload_type=111))
    wire.loop.read(rtp_socket(caller), packet(1, long, payload_type=111, timestamp=960))
    left = sent(desk)
    assert [duration(OPUS, one.payload) for one in left] == [20, 20, 20, 20]


def test_who_takes_less_than_a_frame_is_sent_a_codec_that_can_be_cut():
    _, _, desk = pair((OPUS, PCMA), max_ptime=10)
    assert desk.sender.codec == PCMA
    _, _, desk = pair((OPUS,), max_ptime=10)
    assert desk.sender.codec == OPUS, "it has no other: 20 ms are sent"


def test_a_mix_leaves_in_the_time_that_is_wished():
    made = Running()
    for name in (GUEST, HOST):
        made.leg(name)
    made.leg("staff")

    track = made.engine._legs[HOST].tracks["audio"]
    made.do(c.ConfigureLeg(HOST, (stream(codecs=(PCMA, EVENTS), ptime=10, max_ptime=10),), (PHONE[0],)))
    made.join(GUEST, HOST)
    made.do(c.Join("room", "staff", "staff"), c.SetStaff("staff", "barge"))
    for number in range(40):
        for name in (GUEST, "staff"):
            made.say(name, number, payload=bytes((number,)) * 160, timestamp=number * 160)
        made.pass_time(0.02)
    left = sent(track)
    assert len(left) > 50
    assert {len(one.payload) for one in left} == {80}
    in_step(left)


@pytest.mark.parametrize(("spoken", "taken"), [((10, 30, 60), (30, 60, 10)), ((60, 10, 100), (10, 40, 30))])
def test_who_speaks_and_takes_other_packets_is_heard_and_hears_in_a_mix(spoken, taken):
    made, hertz = Running(), (500, 900, 1300)
    names = (HOST, GUEST, "staff")
    for name, ms in zip(names, taken, strict=True):
        made.leg(name)
        made.do(c.ConfigureLeg(name, (stream(codecs=(PCMA, EVENTS), ptime=ms, max_ptime=ms),), (PHONE[0],)))
    made.join(GUEST, HOST)
    made.do(c.Join("room", "staff", "staff"), c.SetStaff("staff", "barge"))
    waves = [g711.encode_alaw(tone(hz, 2, 8000, level=0.2)) * 2 for hz in hertz]
    said = [0, 0, 0]
    for beat in range(200):
        for number, (name, ms) in enumerate(zip(names, spoken, strict=True)):
            while said[number] * ms <= beat * 20:
                at = said[number] * ms * 8
                payload = waves[number][at % 16000 : at % 16000 + ms * 8]
                made.say(name, said[number], payload=payload, timestamp=at)
                said[number] += 1
        made.pass_time(0.02)
    for number, (name, ms) in enumerate(zip(names, taken, strict=True)):
        left = sent(made.engine._legs[name].tracks["audio"])
        assert {len(one.payload) for one in left[10:]} == {ms * 8}
        in_step(left[10:])
        wave = g711.decode_alaw(b"".join(one.payload for one in left)[-8000:]).astype(float)
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) / len(wave) * 4
        loud = {hz for hz in hertz if spectrum[hz - 1 : hz + 2].max() > 4000}
        assert loud == set(hertz) - {hertz[number]}
