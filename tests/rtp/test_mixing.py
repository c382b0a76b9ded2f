"""Rooms of three and more on the whole engine: what each phone hears is measured by the strength of each one's tone."""

import itertools
from unittest.mock import patch

import numpy as np
import pytest

from rtp import control as c
from rtp import g711
from rtp.codecs import Decoder
from rtp.mixing import BEAT_SECONDS
from rtp.rtcp import SenderReport
from rtp.rtcp import parse as parse_rtcp
from rtp.sequence import signed32
from rtp.voices import Ear, Voice
from tests.kit.conversation import (
    FRAME,
    G722,
    ROLES,
    TONES,
    Conversation,
    audible,
    samples,
    steepest,
    strong,
    unbroken,
)
from tests.kit.media_wire import PCMA, PCMU


@pytest.mark.parametrize(
    ("mode", "desk", "caller"),
    [
        ("listen", {"caller"}, {"desk"}),
        ("whisper", {"caller", "fire"}, {"desk"}),
        ("barge", {"caller", "fire"}, {"desk", "fire"}),
    ],
)
def test_who_hears_whom_in_each_mode(mode, desk, caller):
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetStaff("fire", mode))
    talk.talk(60)
    assert talk.heard("desk", 40) == desk
    assert talk.heard("caller", 40) == caller
    assert talk.heard("fire", 40) == {"desk", "caller"}
    assert talk.loop.failures == []


def test_four_in_a_room_and_staff_hear_each_other_only_when_they_barge():
    talk = Conversation("desk", "caller", "fire", "doctor")
    talk.do(c.SetStaff("fire", "barge"), c.SetStaff("doctor", "whisper"))
    talk.talk(60)
    assert talk.heard("desk", 40) == {"caller", "fire", "doctor"}
    assert talk.heard("caller", 40) == {"desk", "fire"}
    assert talk.heard("fire", 40) == {"desk", "caller"}
    assert talk.heard("doctor", 40) == {"desk", "caller", "fire"}


def test_a_silent_guest_is_sent_silence_alone_whatever_staff_do():
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetGates("caller", silent=True, host_picture=False))
    for mode in ("listen", "whisper", "barge"):
        talk.do(c.SetStaff("fire", mode))
        talk.talk(20)
    payloads = {p.payload for p in talk.sent("caller")}
    assert payloads == {b"\xd5" * FRAME}
    assert talk.heard("desk", 15) == {"caller", "fire"}
    assert talk.heard("fire", 15) == {"desk", "caller"}


def test_a_held_guest_is_apart_and_host_and_staff_go_on():
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetStaff("fire", "barge"), c.SetGates("caller", silent=False, host_picture=True, held=True))
    talk.talk(60)
    assert talk.heard("desk", 40) == {"fire"}
    assert talk.heard("fire", 40) == {"desk"}
    assert not talk.heard("caller", 40)


def test_a_listener_changes_nothing_for_those_who_talk():
    talk = Conversation("desk", "caller")
    talk.talk(10)
    talk.phone("fire")
    talk.do(c.Join("room", "fire", "staff"))
    talk.talk(20)
    talk.do(c.Leave("fire"))
    talk.talk(10)
    for name, other in (("desk", "caller"), ("caller", "desk")):
        sent = talk.sent(name)
        unbroken(sent[2:])
        assert len(sent) in {40, 41, 42}
        assert audible(sent[2:]) == {other}


@pytest.mark.parametrize("codec", [PCMA, PCMU])
def test_coming_and_going_breaks_no_stream_and_is_not_heard_as_a_click(codec):
    talk = Conversation("desk", "caller", codecs=dict.fromkeys(TONES, codec))
    times = []
    sock = talk.sockets("caller")[0]
    send = sock.sendto
    sock.sendto = lambda data, address: times.append(talk.loop.now) or send(data, address)
    talk.talk(20)
    talk.phone("fire")
    talk.do(c.SetStaff("fire", "barge"), c.Join("room", "fire", "staff"))
    talk.talk(30, "desk", "caller")
    talk.do(c.Leave("fire"))
    talk.talk(20, "desk", "caller")
    sent, times = talk.sent("caller")[2:], times[2:]
    unbroken(sent)
    assert max(b - a for a, b in itertools.pairwise(times)) <= 0.040 + 1e-6
    whole = samples(sent)
    plain = samples(sent[:10])
    assert audible(sent) == {"desk"}
    assert steepest(whole) <= 1.3 * steepest(plain), "a click"
    assert len(sent) >= 68


def test_every_mode_one_after_the_other_leaves_every_stream_whole():
    talk = Conversation("desk", "caller", "fire")
    for mode in ("listen", "whisper", "barge", "listen", "barge", "whisper", "listen"):
        talk.do(c.SetStaff("fire", mode))
        talk.talk(12)
    for name in ("desk", "caller", "fire"):
        unbroken(talk.sent(name)[2:])


@pytest.mark.parametrize("gone", [1, 2])
def test_what_the_network_loses_is_concealed(gone):
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetStaff("fire", "barge"))
    talk.lose["caller"] = set(range(30, 30 + gone))
    talk.talk(60)
    wave = samples(talk.sent("fire")[20:50])
    loudness = [np.sqrt(np.mean(part.astype(float) ** 2)) for part in wave.reshape(-1, FRAME)]
    assert min(loudness) > 0.5 * np.median(loudness)
    assert talk.engine._around.load.concealed >= gone


def test_a_phone_of_another_codec_hears_the_same_mix():
    talk = Conversation("desk", "caller", "fire", codecs={"fire": PCMU})
    talk.do(c.SetStaff("fire", "barge"))
    talk.talk(60)
    assert {p.payload_type for p in talk.sent("fire")} == {0}
    assert talk.heard("fire", 40) == {"desk", "caller"}
    assert talk.heard("caller", 40) == {"desk", "fire"}


def test_wide_band_phones_are_mixed_in_wide_band_with_a_narrow_one_among_them():
    talk = Conversation("desk", "caller", "fire", codecs={"desk": G722, "caller": G722})
    talk.do(c.SetStaff("fire", "barge"))
    talk.talk(60)
    for name, others in (("desk", {"caller", "fire"}), ("caller", {"desk", "fire"})):
        decoder = Decoder(G722)
        packets = [p for p in talk.sent(name) if p.payload_type == 9]
        unbroken(packets[2:])
        wave = np.concatenate([decoder.decode(p.payload) for p in packets])[-40 * 320 :]
        assert strong(wave, 16_000) == others
    assert talk.heard("fire", 40) == {"desk", "caller"}
    talk.do(c.Leave("fire"))
    talk.talk(10, "desk", "caller")
    unbroken([p for p in talk.sent("caller") if p.payload_type == 9][2:])


def test_comfort_noise_is_noise_and_not_loss():
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetStaff("fire", "barge"))
    talk.talk(20)
    number = talk.said["caller"]
    talk.say(
        "caller", (number + 65_500) & 0xFFFF, payload=b"\x2d", payload_type=13, ssrc=1000 + TONES["caller"]
    )
    talk.said["caller"] += 1
    before = talk.engine._around.load.concealed
    talk.talk(40, "desk", "fire")
    assert talk.heard("fire", 30) == {"desk"}
    assert talk.engine._around.load.concealed == before
    report = next(e for e in talk.do(c.CloseLeg("caller")) if isinstance(e, c.LegReport))
    assert (report.streams[0].lost, report.streams[0].rejected) == (0, 0)


def test_comfort_noise_between_two_is_silence_and_not_loss():
    talk = Conversation("desk", "caller")
    talk.talk(5)
    number = talk.said["caller"]
    talk.say(
        "caller", (number + 65_500) & 0xFFFF, payload=b"\x2d", payload_type=13, ssrc=1000 + TONES["caller"]
    )
    talk.said["caller"] += 1
    talk.talk(10, "desk")
    assert {p.payload for p in talk.sent("desk")[6:]} == {b"\xd5" * FRAME}
    talk.talk(5)
    report = next(e for e in talk.do(c.CloseLeg("caller")) if isinstance(e, c.LegReport))
    assert (report.streams[0].lost, report.streams[0].rejected) == (0, 0)


def test_staff_are_recorded_with_the_guest_whatever_they_may_do():
    talk = Conversation()
    talk.do(c.OpenEvidence("call", "/f"))
    for name in ("desk", "caller", "fire"):
        talk.phone(name)
    rows = talk.evidence.rows["call"]
    talk.do(*[c.Join("room", name, ROLES[name]) for name in ("desk", "caller", "fire")])
    for mode in ("listen", "whisper", "barge"):
        talk.do(c.SetStaff("fire", mode))
        before = len(rows)
        talk.one("fire")
        assert len(rows) == before + 1
    talk.do(c.Leave("caller"))
    before = len(rows)
    talk.one("fire")
    assert len(rows) == before


def test_staff_see_the_guest_and_the_guest_the_host():
    talk = Conversation("desk", "caller", "fire", "doctor", media=("audio", "video"))
    for sequence in range(3):
        for name in ("desk", "caller", "fire"):
            talk.say(name, sequence, "video", payload=name.encode(), payload_type=96)
    seen = {name: {p.payload for p in talk.sent(name, "video")} for name in ROLES}
    assert seen == {
        "desk": {b"caller"}, "fire": {b"caller"}, "doctor": {b"caller"}, "caller": {b"desk"},
    }  # fmt: skip
    talk.pass_time(5.0)
    assert c.PictureWanted("caller") in talk.do(c.WantPicture("doctor"))
    talk.do(c.Leave("fire"))
    before = len(talk.sent("fire", "video"))
    talk.say("caller", 3, "video", payload=b"caller", payload_type=96)
    assert len(talk.sent("fire", "video")) == before


def test_a_stall_is_made_good_and_a_long_one_is_left_out():
    talk = Conversation("desk", "caller", "fire")
    talk.talk(10)
    before = len(talk.sent("fire"))
    for name in ("desk", "caller"):
        for _ in range(2):
            talk.one(name)
    talk.loop.now += 0.040
    talk.pass_time(0.001)
    assert len(talk.sent("fire")) - before in {1, 2, 3}
    talk.loop.now += 10.0
    before = len(talk.sent("fire"))
    talk.pass_time(0.001)
    assert len(talk.sent("fire")) - before <= 4


def test_the_cost_is_told_once_there_is_any():
    talk = Conversation("desk", "caller")
    talk.talk(10)
    assert not any(isinstance(event, c.SoundLoad) for event in talk.events)
    talk.phone("fire")
    talk.do(c.Join("room", "fire", "staff"))
    talk.talk(300)
    told = [event for event in talk.events if isinstance(event, c.SoundLoad)]
    assert len(told) == 2
    assert told[-1].mixing_seconds > 0
    assert told[-1].mixed == pytest.approx(5 / BEAT_SECONDS, abs=10)
    assert told[-1].voices == 2


def test_when_the_last_listener_is_gone_nothing_beats():
    talk = Conversation("desk", "caller", "fire")
    talk.talk(3)
    talk.do(c.CloseLeg("fire"))
    talk.pass_time(0.1)
    assert not any(callback == talk.engine._mixing._beat for _, callback in talk.loop.timers)
    assert talk.engine._mixing.hearers("desk") == ()


@pytest.mark.parametrize("mode", ["listen", "barge"])
def test_sound_and_picture_of_the_guest_stay_together_by_our_own_reports(mode):
    """What the desk's phone works out from sender reports (RFC 3550 §6.4.1): relayed, and mixed while somebody barges."""
    talk = Conversation("desk", "caller", "fire", media=("audio", "video"))
    talk.do(c.SetStaff("fire", mode))
    dice = np.random.default_rng(110)
    said = {}
    begin = talk.loop.now
    with patch("rtp.reports._time_ns", lambda: int(talk.loop.now * 1e9)):
        for number in range(600):
            talk.pass_time(begin + number * 0.020 + 0.004 - talk.loop.now)
            payload = g711.encode_alaw(dice.integers(-8000, 8000, FRAME).astype(np.int16))
            said[payload] = talk.loop.now
            talk.say("caller", number & 0xFFFF, payload=payload, timestamp=number * FRAME)
            picture = number.to_bytes(4, "big") * 20
            said[picture] = talk.loop.now
            talk.say(
                "caller", number & 0xFFFF, "video", payload=picture, payload_type=96, timestamp=number * 1800
            )
    moments = {medium: told(talk, medium, rate) for medium, rate in (("audio", 8000), ("video", 90_000))}
    # How much later than it was said each is to be shown; the phone shows both by one clock.
    late = {
        medium: [shown - said[payload] for payload, shown in shown_at.items() if payload in said]
        for medium, shown_at in moments.items()
    }
    assert min(len(values) for values in late.values()) > 450
    for sound in (min(late["audio"]), max(late["audio"])):
        for picture in (min(late["video"]), max(late["video"])):
            assert -0.125 <= picture - sound <= 0.045


def told(talk, medium, rate):
    """Payload → when the desk's phone is to play it, by the last report sent before it arrived, on our clock."""
    packets = talk.sockets("desk", medium)
    reports = [r for data, _ in packets[1].sent for r in parse_rtcp(data) if isinstance(r, SenderReport)]
    assert len(reports) >= 2
    first = reports[0]
    base = first.ntp / 2**32
    moments = {p.payload: signed32(first.rtp, p.timestamp) / rate for p in talk.sent("desk", medium)}
    drift = (reports[-1].ntp - first.ntp) / 2**32 - signed32(first.rtp, reports[-1].rtp) / rate
    assert abs(drift) < 0.045
    return {payload: base + moment for payload, moment in moments.items()}


@pytest.mark.parametrize("broken", ["rtp.voices.Voice.take", "rtp.voices.Ear.send", "rtp.voices.Ear.wants"])
def test_one_failure_ends_nobody_elses_sound(broken):
    talk = Conversation("desk", "caller", "fire")
    talk.do(c.SetStaff("fire", "barge"))
    talk.talk(10)
    whole = getattr(Ear if "Ear" in broken else Voice, broken.rpartition(".")[2])

    def failing(self, *arguments):
        if self.leg == "fire":
            raise KeyError("bug")
        return whole(self, *arguments)

    with patch(broken, failing):
        talk.talk(40)
    assert talk.heard("desk", 30) >= {"caller"}
    assert {name.partition(".")[0] for name, _ in talk.loop.failures} == {"fire"}
    talk.talk(40)
    assert talk.heard("fire", 30) == {"desk", "caller"}
    assert talk.heard("desk", 30) == {"caller", "fire"}


def test_the_beat_goes_on_after_a_failure_of_all_of_it():
    talk = Conversation("desk", "caller", "fire")
    talk.talk(5)
    with patch("rtp.mixer.Mixer.mix", side_effect=ValueError("bug")), pytest.raises(ValueError, match="bug"):
        talk.pass_time(0.1)
    talk.talk(40)
    assert talk.heard("fire", 30) == {"desk", "caller"}
