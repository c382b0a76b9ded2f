import pytest

from rtp.leg import Leg
from rtp.lost_wishes import QUIET_SECONDS, LostWishes
from rtp.prompts import Prompts
from tests.kit.media_wire import H264, PHONE, StillLoop, Wire, packet, rtp_socket, stream


class Road:
    """A peer's road, swept every 100 ms."""

    def __init__(self):
        self.loop = StillLoop()
        self.gaps = 0
        self.wished = []
        self.wishes = LostWishes(self.loop, lambda: self.gaps, self.wished.append)

    def go(self, seconds, *, gap_every=0.0):
        end = self.loop.now + seconds
        next_gap = self.loop.now
        while self.loop.now < end:
            if gap_every and self.loop.now >= next_gap:
                self.gaps += 1
                next_gap += gap_every
            self.wishes.look(self.loop.now)
            self.loop.now += 0.1
            due = [timer for timer in self.loop.timers if timer[0] <= self.loop.now]
            for timer in due:
                self.loop.timers.remove(timer)
                timer[1](self.loop.now)


def test_nothing_is_wished_where_nothing_is_lost():
    road = Road()
    road.go(10.0)
    assert road.wished == []


def test_once_after_a_loss_and_not_while_it_goes_on():
    road = Road()
    road.go(2.0, gap_every=0.2)
    assert road.wished == []
    ended = road.loop.now
    road.go(5.0)
    (at,) = road.wished
    assert at - ended <= QUIET_SECONDS + 0.11
    road.go(0.1, gap_every=1.0)
    road.go(1.0)
    assert len(road.wished) == 2


@pytest.mark.parametrize(("feedback", "wished"), [(("nack pli",), 1), (("ccm fir",), 1), ((), 0)])
def test_a_leg_passes_it_on_to_whoever_sends_its_picture_unless_its_wishes_come_by_sip(feedback, wished):
    wire = Wire()
    leg = Leg("leg", None, "127.0.0.1", Prompts(), wire.around)
    video = wire.track("leg", "video")
    leg.add(video, "name")
    video.configure(stream("video", (H264,), feedback=feedback), frozenset({PHONE[0]}), wire.loop.now)
    other = wire.configured("other", "video", (H264,))
    wire.loop.read(rtp_socket(other), packet(1, b"\x65x", payload_type=96))
    other.wire(video, wire.loop.now)
    wire.loop.read(rtp_socket(other), packet(2, b"\x65x", payload_type=96))
    wire.asked.clear()
    for number in (1, 2, 4):
        wire.loop.read(rtp_socket(video), packet(number, b"\x41x", payload_type=96))
    leg.lost_wishes.look(wire.loop.now)
    wire.loop.now += 2.0
    for _, callback in wire.loop.timers:
        callback(wire.loop.now)
    assert wire.asked == ["other"] * wished


def test_a_leg_without_a_picture_has_none():
    wire = Wire()
    leg = Leg("leg", None, "127.0.0.1", Prompts(), wire.around)
    leg.add(wire.track("leg", "audio"), "name")
    assert leg.lost_wishes is None
