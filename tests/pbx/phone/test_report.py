import json

import pytest

from pbx.phone.report import Report, text
from pbx.phone.stream import Outgoing, Picture, Sound
from rtp.control import Codec, Stream
from rtp.packet import Packet

PCMA = Codec("PCMA", 8, 8000)
REMOTE = ("127.0.0.1", 4000)


def hearer():
    made = Sound(440, Outgoing(7, 1, 1))
    made.configure(Stream(0, "audio", REMOTE, REMOTE, (PCMA,), (PCMA,), True, True))
    return made


def test_a_phone_that_never_got_through():
    assert Report("caller", ended_by="timeout").as_json(None, None) == {
        "role": "caller",
        "sip_status": None,
        "reason": None,
        "call_id": None,
        "evidence_id": None,
        "times_ms": {"trying": None, "answered": None, "first_audio": None, "first_video": None},
        "media": {
            "audio": {"sent": 0, "received": 0, "lost": 0},
            "video": {"sent": 0, "received": 0, "lost": 0},
        },
        "tone_hz": None,
        "rms": None,
        "frames_decoded": 0,
        "messages": [],
        "ended_by": "timeout",
    }


def test_times_count_from_the_invite():
    sound, picture = hearer(), Picture("caller", Outgoing(8, 1, 1))
    speaker = hearer()
    for number in range(30):
        packet = speaker.make() or b""
        if number != 5:
            sound.receive(packet, 100.25 + number * 0.02)
    report = Report("caller", 200, "OK", "c@h", "e1", invited=100.0, trying=100.0101, answered=100.05)
    told = report.as_json(sound, picture)
    assert told["times_ms"] == {"trying": 10.1, "answered": 50.0, "first_audio": 250.0, "first_video": None}
    assert told["media"]["audio"] == {"sent": 0, "received": 29, "lost": 1}
    assert told["tone_hz"] == pytest.approx(440, abs=4)
    assert report.was_answered


def test_repeated_packets_are_no_negative_loss():
    sound = hearer()
    for _ in range(3):
        sound.receive(Packet(8, 1, 1, 9, b"\xd5" * 160).encode(), 0)
    assert Report("desk").as_json(sound, None)["media"]["audio"]["lost"] == 0


def test_one_line_of_json_in_any_script():
    line = text(Report("caller", messages=["请稍候\n二"]).as_json(None, None))
    assert "\n" not in line
    assert "请稍候" in line
    assert json.loads(line)["messages"] == ["请稍候\n二"]
