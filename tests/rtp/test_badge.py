"""The still image on the wire: numbers and timestamps that go on, whatever comes before and after."""

import itertools

import pytest

from rtp import control as c
from rtp.badge import EACH_SECONDS, LEAST_SECONDS
from rtp.packet import parse
from rtp.rtcp import PictureLoss, ReceiverReport
from rtp.rtcp import encode as encode_rtcp
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import PHONE, engine

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("engine")
STILL = (b"\x67sps", b"\x68pps", b"\x65one", b"\x65two")
ON = {"silent": False, "host_picture": True}


@pytest.fixture
def running():
    made = Running()
    made.prompts.still = lambda codec: STILL if codec == "H264" else ()
    for name in (HOST, GUEST):
        made.leg(name, "audio", "video")
        made.say(name, 1, "video", payload_type=96)
    yield made
    assert made.loop.failures == []


def pictures(running, name=GUEST):
    return [parse(data) for data, _ in running.sockets(name, "video")[0].sent]


def unbroken(packets):
    assert len({one.ssrc for one in packets}) == 1
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF < 0x8000_0000


def test_one_picture_a_second_with_one_timestamp_and_the_marker_on_its_last(running):
    running.do(c.SetGates(GUEST, silent=False, host_picture=False, still=True))
    running.pass_time(3.05 * EACH_SECONDS)
    sent = pictures(running)
    assert len(sent) in {3 * len(STILL), 4 * len(STILL)}
    for at in range(0, len(sent), len(STILL)):
        one = sent[at : at + len(STILL)]
        assert tuple(part.payload for part in one) == STILL
        assert len({part.timestamp for part in one}) == 1
        assert [part.marker for part in one] == [False, False, False, True]
    first, second = sent[0], sent[len(STILL)]
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == pytest.approx(90_000, rel=0.15)
    unbroken(sent)


def test_from_the_host_to_the_image_and_back_is_one_stream(running):
    running.join(HOST, GUEST)
    before = len(pictures(running))
    for number in range(2, 12):
        running.say(HOST, number, "video", payload_type=96, timestamp=number * 6000)
        running.pass_time(1 / 15)
    running.do(c.SetGates(GUEST, silent=False, host_picture=False, still=True))
    running.pass_time(2.5)
    for number in range(12, 20):  # the host goes on, unseen
        running.say(HOST, number, "video", payload_type=96, timestamp=number * 6000)
    running.do(c.SetGates(GUEST, **ON))
    running.pass_time(0.2)
    for number in range(60, 70):
        running.say(HOST, number, "video", payload_type=96, timestamp=number * 6000)
        running.pass_time(1 / 15)
    sent = pictures(running)[before:]
    stills = [one.payload in STILL for one in sent]
    assert stills[:10] == [False] * 10
    assert stills[-10:] == [True] * 0 + [False] * 10
    assert sum(stills) >= 2 * len(STILL)
    unbroken(sent)


def test_a_phone_that_asks_is_shown_it_at_once_but_not_in_a_flood(running):
    running.do(c.SetGates(GUEST, silent=False, host_picture=False, still=True))
    running.pass_time(0.15)
    rtcp = running.sockets(GUEST, "video")[1]
    count = len(pictures(running))
    running.pass_time(LEAST_SECONDS)
    for _ in range(20):
        rtcp.arriving.append((encode_rtcp([ReceiverReport(7), PictureLoss(7, 1)]), (PHONE[0], PHONE[1] + 1)))
        running.loop.handlers[rtcp.fileno()]()
    assert len(pictures(running)) == count + len(STILL)


def test_nothing_is_sent_without_the_gate_or_before_it_is_prepared(running):
    running.pass_time(2.5)
    assert pictures(running) == []
    running.prompts.still = lambda codec: ()
    running.do(c.SetGates(GUEST, silent=False, host_picture=False, still=True))
    running.pass_time(2.5)
    assert pictures(running) == []


def test_a_leg_that_is_closed_takes_its_badge_with_it(running):
    running.do(c.SetGates(GUEST, silent=False, host_picture=False, still=True))
    running.pass_time(1.5)
    assert pictures(running)
    socket = running.sockets(GUEST, "video")[0]
    running.do(c.CloseLeg(GUEST))
    count = len(socket.sent)
    running.pass_time(2.5)
    assert len(socket.sent) == count
    running.leg(GUEST)
    assert running.engine._legs[GUEST].badge is None


def test_a_leg_without_picture_has_no_badge(running):
    running.leg("sound only")
    running.do(c.SetGates("sound only", silent=False, host_picture=False, still=True))
    running.pass_time(1.5)
    assert running.engine._legs["sound only"].badge is None
