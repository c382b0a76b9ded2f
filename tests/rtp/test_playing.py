import pytest

from rtp import control as c
from rtp.leg import Leg
from rtp.packet import parse
from rtp.playing import FRAME, Playing
from rtp.prompts import Prompts
from tests.kit import media_wire
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import PCMA, engine

__all__ = ["engine"]
ZIP = c.Play(HOST, "zip", ("tone:zip",))
TONE = Prompts().frames("tone:zip", "PCMA")


@pytest.fixture
def talking(engine):
    """A desk whose phone was heard, and a guest in front who has said nothing yet."""
    site = Running()
    for leg in (HOST, GUEST):
        site.leg(leg)
    site.join(HOST, GUEST)
    site.say(HOST, 1)
    site.pass_time(0.1)
    site.sockets(HOST)[0].sent.clear()
    yield site
    assert site.loop.failures == []


def heard(site):
    """What the desk was sent since it was asked last."""
    media_wire.settle()
    sock = site.sockets(HOST)[0]
    packets, sock.sent = [parse(data) for data, _ in sock.sent], []
    return packets


def test_frames_and_what_was_laid_over_sound_are_one_play():
    playing = Playing(ZIP, PCMA, Prompts(), 2)
    assert [playing.next_frame(), playing.next_frame()] == list(TONE[:2])
    playing.skip(3)
    assert playing.overlay.used == 5 * FRAME
    playing.overlay.mixed(PCMA, b"\xd5" * FRAME)
    assert playing.next_frame() == TONE[6]


def test_a_play_goes_on_where_its_position_was_asked():
    playing = Playing(ZIP, PCMA, Prompts(), 2)
    playing.skip(4)
    other = Playing(ZIP, PCMA, Prompts(), 3)
    other.seek(*playing.position)
    assert other.next_frame() == playing.next_frame() == TONE[4]


def test_the_short_tone_needs_few_beats_of_python_where_the_guest_is_silent(talking, engine, monkeypatch):
    beats = []
    beat = Leg.beat
    monkeypatch.setattr(Leg, "beat", lambda leg, now: (beats.append(leg.leg), beat(leg, now)))
    talking.do(ZIP)
    talking.pass_time(0.3)
    tone = [packet.payload for packet in heard(talking) if packet.payload in TONE]
    assert tone == list(TONE)
    assert talking.events[-1] == c.PlayEnded(HOST, "zip")
    if engine.name == "native":
        assert beats.count(HOST) <= 3


def test_the_first_words_of_the_guest_take_the_tone_along_from_where_it_is(talking):
    talking.do(ZIP)
    talking.pass_time(0.1)
    alone = [packet.payload for packet in heard(talking)]
    assert alone == list(TONE[: len(alone)])
    assert 4 <= len(alone) <= 6
    talking.say(GUEST, 1)
    (laid,) = (packet.payload for packet in heard(talking))
    assert laid not in {*TONE, b"x" * 160}
    overlay = talking.engine._legs[HOST]._playing.overlay
    assert overlay.used == (len(alone) + 1) * FRAME
    talking.pass_time(0.2)
    assert c.PlayEnded(HOST, "zip") in talking.events
