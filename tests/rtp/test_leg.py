import itertools

import pytest

from rtp.control import Codec, PictureWanted, Play, PlayEnded
from rtp.leg import Leg
from rtp.prompts import Prompts
from rtp.wiring import Gates
from tests.kit.media_wire import (
    EVENTS,
    H264,
    PCMA,
    PCMU,
    PHONE,
    Wire,
    packet,
    rtcp_socket,
    rtp_socket,
    sent,
    stream,
)

SILENT = b"\xd5" * 160
ZIP = Play("leg", "zip", ("tone:zip",))


class Setting:
    def __init__(self, codecs=(PCMA, EVENTS), media=("audio",), **more):
        self.wire = Wire()
        self.leg = Leg("leg", None, "127.0.0.1", Prompts(), self.wire.around)
        for medium in media:
            track = self.wire.track("leg", medium)
            self.leg.add(track, "name")
            track.configure(
                stream(medium, codecs if medium == "audio" else (H264,), **more),
                frozenset({PHONE[0]}),
                self.wire.loop.now,
            )

    @property
    def audio(self):
        return self.leg.tracks["audio"]

    def beats(self, count):
        for _ in range(count):
            if not self.leg.content(self.wire.loop.now):
                self.leg.beat(self.wire.loop.now)
            self.wire.loop.now += 0.02
        left, rtp_socket(self.audio).sent = sent(self.audio), []
        return left


def test_a_leg_in_no_room_gets_silence_every_20_ms():
    left = Setting().beats(50)
    assert [p.payload for p in left] == [SILENT] * 50
    assert [p.marker for p in left] == [True] + [False] * 49
    assert {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(left)} == {160}


def test_a_play_ends_and_is_told():
    setting = Setting()
    setting.leg.play(ZIP)
    left = setting.beats(12)
    assert sum(p.payload != SILENT for p in left) == 10
    assert [p.payload for p in left[10:]] == [SILENT] * 2
    assert setting.wire.events == [PlayEnded("leg", "zip")]


def test_a_repeated_play_goes_on_undisturbed_and_another_replaces_it():
    setting = Setting()
    setting.leg.play(ZIP)
    setting.beats(4)
    setting.leg.play(ZIP)
    assert sum(p.payload != SILENT for p in setting.beats(12)) == 6
    setting.leg.play(Play("leg", "a", ("pause:1000",)))
    setting.leg.play(Play("leg", "b", ("pause:40",)))
    setting.beats(5)
    assert setting.wire.events == [PlayEnded("leg", "zip"), PlayEnded("leg", "b")]


def test_a_stopped_play_is_not_told():
    setting = Setting()
    setting.leg.play(Play("leg", "x", ("tone:waiting",), loop=True))
    assert any(p.payload != SILENT for p in setting.beats(3))
    setting.leg.stop_play()
    assert {p.payload for p in setting.beats(100)} == {SILENT}
    assert setting.wire.events == []


def test_the_short_tone_is_laid_over_relayed_sound():
    setting = Setting()
    sender = setting.audio.sender
    loop = setting.wire.loop
    sender.relay(99, packet(0), PCMA, 0, 0, loop.now)
    setting.leg.play(ZIP)
    rtp_socket(setting.audio).sent = []
    for sequence in range(1, 14):
        loop.now += 0.02
        sender.relay(99, packet(sequence), PCMA, sequence, sequence * 160, loop.now)
        setting.leg.beat(loop.now)
    left = sent(setting.audio)
    assert [p.payload != b"x" * 160 for p in left] == [True] * 10 + [False] * 3
    assert {(b.sequence - a.sequence, b.timestamp - a.timestamp) for a, b in itertools.pairwise(left)} <= {
        (1, 160),
        (1 - 65536, 160),
        (1, 160 - (1 << 32)),
    }
    assert setting.wire.events == [PlayEnded("leg", "zip")]
    assert sender.straight


def test_the_short_tone_goes_on_alone_where_the_peer_falls_silent():
    setting = Setting()
    sender = setting.audio.sender
    sender.relay(99, packet(0), PCMA, 0, 0, setting.wire.loop.now)
    setting.leg.play(ZIP)
    for sequence in range(1, 5):
        setting.wire.loop.now += 0.02
        sender.relay(99, packet(sequence), PCMA, sequence, sequence * 160, setting.wire.loop.now)
    rtp_socket(setting.audio).sent = []
    left = setting.beats(20)
    tone = Prompts().frames("tone:zip", "PCMA")
    assert [p.payload for p in left if p.payload in tone] == list(tone[4:])
    assert setting.wire.events == [PlayEnded("leg", "zip")]


def test_the_short_tone_goes_first_in_a_codec_that_can_not_be_mixed():
    opus = Codec("OPUS", 111, 48000, 2)
    setting = Setting(codecs=(opus, EVENTS))
    setting.leg.play(ZIP)
    setting.audio.sender.relay(99, packet(1, payload_type=111), opus, 1, 960, setting.wire.loop.now)
    assert sent(setting.audio) == []
    setting.beats(11)
    assert setting.wire.events == [PlayEnded("leg", "zip")]
    assert setting.audio.sender.straight


def test_a_stopped_tone_is_heard_no_more():
    setting = Setting()
    setting.leg.play(ZIP)
    setting.leg.stop_play()
    setting.audio.sender.relay(99, packet(1), PCMA, 1, 160, setting.wire.loop.now)
    assert [p.payload for p in sent(setting.audio)] == [b"x" * 160]


def test_a_play_shuts_the_relay_and_opens_it_again():
    setting = Setting()
    sender = setting.audio.sender
    setting.leg.play(Play("leg", "p", ("pause:200",)))
    sender.relay(99, packet(1), PCMA, 1, 160, setting.wire.loop.now)
    assert sent(setting.audio) == []
    setting.beats(11)
    sender.relay(99, packet(2), PCMA, 2, 320, setting.wire.loop.now)
    assert [p.payload for p in sent(setting.audio)] == [b"x" * 160]


def test_relayed_sound_is_left_alone_until_it_stays_away():
    setting = Setting()
    for sequence in range(5):
        setting.audio.sender.relay(9, packet(sequence), PCMA, sequence, sequence * 160, setting.wire.loop.now)
        assert [p.payload for p in setting.beats(1)] == [b"x" * 160]
    assert [p.payload for p in setting.beats(5)] == [SILENT] * 3  # the first after more than 40 ms


def test_silent_mode_is_silence_whatever_is_played_or_keyed():
    setting = Setting()
    setting.leg.set_gates(Gates(silent=True))
    setting.leg.play(ZIP)
    assert setting.leg.send_digits("123") is None
    left = setting.beats(20)
    assert [p.payload for p in left] == [SILENT] * 20
    assert {p.payload_type for p in left} == {8}
    assert setting.wire.events == [PlayEnded("leg", "zip")]  # it ends in its time


def test_hold_plays_the_waiting_tone_and_a_prompt_goes_before_it():
    setting = Setting()
    setting.leg.set_gates(Gates(held=True))
    assert any(p.payload != SILENT for p in setting.beats(20))
    setting.leg.play(ZIP)
    setting.beats(11)
    assert setting.wire.events == [PlayEnded("leg", "zip")]
    setting.leg.set_gates(Gates())
    assert {p.payload for p in setting.beats(100)} == {SILENT}


def test_digits_are_rfc_4733_events_with_pauses():
    setting = Setting()
    assert setting.leg.send_digits("1#") is None
    left = setting.beats(30)
    events = [p for p in left if p.payload_type == 101]
    assert [p.payload[0] for p in events if p.marker] == [1, 11]
    # RFC 4733 §2.5.1.2: all packets of an event share the time stamp of its start.
    assert len({p.timestamp for p in events}) == 2
    assert sum(p.payload[1] & 0x80 != 0 for p in events) == 6  # the end, three times each
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(left)} == {1}
    stamps = [p.timestamp for p in left]
    assert all((b - a) & 0xFFFFFFFF < 160 * 10 for a, b in itertools.pairwise(stamps))


@pytest.mark.parametrize(
    ("codecs", "digits", "reason"),
    [
        ((PCMA,), "1", "no_telephone_event"),
        ((PCMA, EVENTS), "x", "bad_digit"),
        ((PCMA, EVENTS), "1" * 65, "too_many_digits"),
    ],
)
def test_digits_that_can_not_be_sent(codecs, digits, reason):
    setting = Setting(codecs)
    assert setting.leg.send_digits(digits) == reason
    assert {p.payload for p in setting.beats(3)} == {SILENT}


def test_a_play_before_an_answer_ends_in_time_and_begins_again_with_a_codec():
    wire = Wire()
    leg = Leg("leg", None, "127.0.0.1", Prompts(), wire.around)
    track = wire.track()
    leg.add(track, "name")
    leg.play(Play("leg", "long", ("tone:zip", "pause:10000")))
    for _ in range(5):
        leg.beat(wire.loop.now)
    assert sent(track) == []
    track.configure(stream(codecs=(PCMU,)), frozenset({PHONE[0]}), wire.loop.now)
    leg.beat(wire.loop.now)
    assert [p.payload_type for p in sent(track)] == [0]
    assert sent(track)[0].payload != b"\xff" * 160


def test_a_peer_that_takes_nothing_gets_nothing_and_plays_still_end():
    setting = Setting(sending=False)
    setting.leg.play(ZIP)
    assert setting.beats(12) == []
    assert setting.wire.events == [PlayEnded("leg", "zip")]


def test_a_leg_without_sound_is_content():
    setting = Setting(media=("video",))
    assert setting.leg.content(100.0)
    setting.leg.beat(100.0)
    assert rtp_socket(setting.leg.tracks["video"]).sent == []


@pytest.mark.parametrize(("feedback", "packets"), [(("nack pli",), 1), (("ccm fir",), 1), ((), 0)])
def test_a_key_frame_is_asked_for_by_rtcp_or_by_signalling(feedback, packets):
    setting = Setting(media=("video",), feedback=feedback)
    track = setting.leg.tracks["video"]
    setting.wire.loop.read(rtp_socket(track), packet(1, b"\x65x", payload_type=96))
    setting.wire.events.clear()
    track.want_picture(setting.wire.loop.now)
    assert len(rtcp_socket(track).sent) == packets
    assert setting.wire.events == ([] if packets else [PictureWanted("leg")])


def test_a_wish_goes_on_to_whoever_sends_the_picture():
    setting = Setting(media=("video",))
    source = setting.wire.configured("other", "video", (H264,))
    setting.wire.loop.read(rtp_socket(source), packet(1, payload_type=96))
    source.wire(setting.leg.tracks["video"], setting.wire.loop.now)
    setting.wire.loop.now += 2.0
    setting.leg.reports["video"]._on_picture_wanted(setting.wire.loop.now)
    assert setting.wire.asked == ["other", "other"]


def test_a_wish_told_by_signalling_is_the_same_wish():
    setting = Setting(media=("video",))
    source = setting.wire.configured("other", "video", (H264,))
    setting.wire.loop.read(rtp_socket(source), packet(1, payload_type=96))
    source.wire(setting.leg.tracks["video"], setting.wire.loop.now)
    setting.wire.loop.now += 2.0
    setting.leg.picture_wanted(setting.wire.loop.now)
    assert setting.wire.asked == ["other", "other"]
    sound = Setting()
    sound.leg.picture_wanted(sound.wire.loop.now)
    assert sound.wire.events == []


def test_report():
    setting = Setting()
    setting.wire.loop.read(rtp_socket(setting.audio), packet(1))
    setting.wire.loop.read(rtp_socket(setting.audio), packet(4))
    (report,) = setting.leg.report().streams
    assert (report.medium, report.received, report.lost, report.rejected, report.sent) == (
        "audio",
        2,
        2,
        0,
        0,
    )


def test_the_codec_of_a_play_follows_a_new_offer():
    setting = Setting()
    setting.leg.play(Play("leg", "w", ("tone:waiting",), loop=True))
    assert {p.payload_type for p in setting.beats(3)} == {8}
    g722 = Codec("G722", 9, 8000)
    setting.audio.configure(stream(codecs=(g722,)), frozenset({PHONE[0]}), setting.wire.loop.now)
    assert {p.payload_type for p in setting.beats(3)} == {9}


def test_a_leg_to_which_nothing_can_be_sent_needs_no_beat_but_for_a_play():
    setting = Setting(remote=None)
    now = setting.wire.loop.now
    assert setting.leg.content(now)
    setting.leg.play(ZIP)
    assert not setting.leg.content(now)
    assert setting.beats(12) == []
    assert setting.wire.events == [PlayEnded("leg", "zip")]
    assert setting.leg.content(setting.wire.loop.now)
    for more, content in (({}, False), ({"sending": False}, True), ({}, False)):
        setting.audio.configure(stream("audio", (PCMA, EVENTS), **more), frozenset({PHONE[0]}), now)
        assert setting.leg.content(setting.wire.loop.now) is content
    assert [p.payload for p in setting.beats(3)] == [SILENT] * 3
