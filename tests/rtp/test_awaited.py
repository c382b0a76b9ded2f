"""A key frame that was asked for is asked for again until it comes (RFC 4585 §6.3.1), over a road that loses what it likes."""

import random

import msgspec
import pytest

from rtp.control import Codec
from rtp.picture import INTERVAL_SECONDS, PATIENCE_SECONDS, TIMES
from tests.kit.media_wire import H264, NativeStillLoop, Wire, engine, packet, rtp_socket, sent

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("engine")

KEY, SLICE = b"\x65key", b"\x41slice"
VP9 = Codec("VP9", 96, 90000)
H263 = Codec("H263-1998", 96, 90000)
PICTURES = {
    H264: (KEY, SLICE), VP9: (KEY, SLICE),
    H263: (b"\x04\0\x80\x02\x08\0\0\0", b"\x04\0\x80\x02\x0a\0\0\0"),
}  # fmt: skip
BEAT = 1 / 15
SWEEP = 0.1


class Filmed:
    """A phone that shows its caller, and who sees that. A request that comes to it is answered with its next picture."""

    def __init__(self, codec=H264, *, seen=True, deaf=0, obeys=True):
        """`deaf`: so many requests are lost on the way to it."""
        self.wire = Wire()
        self.caller = self.wire.configured("caller", "video", (codec,))
        self.desk = self.wire.configured("desk", "video", (codec,))
        self.deaf, self.obeys = deaf, obeys
        self.key, self.slice = PICTURES[codec]
        self.asked = []
        self.keys = []
        self._to_make = False
        self._number = 0
        self.caller.ask_picture = self._request
        self._swept = self.wire.loop.now
        self.wire.loop.read(rtp_socket(self.desk), packet(1, SLICE, payload_type=96))  # it is latched
        if seen:
            self.see()

    def see(self):
        self.caller.wire(self.desk, self.wire.loop.now)

    def _request(self):
        self.asked.append(self.wire.loop.now)
        if self.deaf:
            self.deaf -= 1
        elif self.obeys:
            self._to_make = True

    def beat(self, *, lost=False, key=False):
        """One picture, and the sweeps until the next."""
        self._number += 1
        key, self._to_make = key or self._to_make, False
        if key:
            self.keys.append((self.wire.loop.now, not lost))
        if not lost:
            data = packet(self._number, self.key if key else self.slice, payload_type=96)
            self.wire.loop.read(rtp_socket(self.caller), data)
        self.wire.loop.now += BEAT
        if self.wire.loop.now - self._swept >= SWEEP:
            self._swept = self.wire.loop.now
            self.caller.sweep(self._swept, 5.0)

    def beats(self, count):
        for _ in range(count):
            self.beat()

    @property
    def special(self):
        return self.caller._routes[96].special


def calm(codec=H264):
    """A picture that is seen, whose requests are answered, some time ago."""
    film = Filmed(codec)
    film.beats(30)
    film.asked.clear()
    film.keys.clear()
    return film


@pytest.mark.parametrize("codec", [H264, H263], ids=lambda codec: codec.name)
def test_a_request_that_was_lost_is_made_again_until_the_key_frame_comes(codec):
    film = calm(codec)
    film.deaf = 2
    film.beat(lost=True)
    film.beats(30)
    assert len(film.asked) == 3
    assert [arrived for _, arrived in film.keys] == [True]
    assert all(
        b - a < PATIENCE_SECONDS + SWEEP + BEAT for a, b in zip(film.asked, film.asked[1:], strict=False)
    )


@pytest.mark.parametrize("codec", [H264, H263], ids=lambda codec: codec.name)
def test_a_key_frame_that_came_is_not_asked_for_again(codec):
    film = calm(codec)
    film.beat(lost=True)
    film.beats(60)
    assert len(film.asked) == 1
    assert len(film.keys) == 1


def test_a_key_frame_that_was_lost_is_asked_for_again():
    film = calm()
    film.beat(lost=True)
    while not film.asked:
        film.beat()
    film.beat(lost=True)
    film.beats(30)
    assert [arrived for _, arrived in film.keys] == [False, True]


def test_what_is_looked_at_is_sent_on_all_the_same_and_then_no_longer_looked_at():
    film = calm()
    before = len(sent(film.desk))
    film.beat(lost=True)
    film.deaf = 1
    while not film.asked:
        film.beat()
    assert film.special is not None
    while film.special is not None:
        film.beat()
    film.beats(10)
    left = [one.payload for one in sent(film.desk)[before:]]
    assert left.count(KEY) == 1
    assert len(left) == film._number - 30 - 1, "all but the lost one"
    if isinstance(film.wire.loop, NativeStillLoop):
        relayed = film.wire.loop.relay.counts[0]
        film.beats(10)
        assert film.wire.loop.relay.counts[0] == relayed + 10, "C carries it again"


def test_a_phone_that_makes_no_key_frames_is_left_alone():
    film = calm()
    film.obeys = False
    film.beat(lost=True)
    film.beats(90)
    assert len(film.asked) == 1 + TIMES
    assert film.special is None


def test_of_a_codec_nobody_here_can_read_a_request_counts_as_answered():
    film = Filmed(VP9)
    film.beats(30)
    film.asked.clear()
    film.beat(lost=True)
    film.beats(60)
    assert len(film.asked) == 1
    assert film.special is None


def test_of_who_waits_it_is_asked_again_too():
    film = Filmed(seen=False, deaf=3)
    film.beats(60)
    assert len(film.asked) == 4
    assert film.caller.group.packets
    film.see()
    assert len(film.asked) == 5, "whoever sees it now wants the newest"
    film.beats(2)
    assert film.special is None


def test_routes_laid_anew_and_another_process_go_on_waiting():
    film = calm()
    film.obeys = False
    film.beat(lost=True)
    while not film.asked:
        film.beat()
    film.see()
    assert film.special is not None
    data = msgspec.msgpack.decode(msgspec.msgpack.encode(film.caller.carry()))
    there = Wire().track("caller", "video")
    there.resume(data)
    assert there.pictures.awaiting
    assert there.pictures.next_due == film.caller.pictures.next_due


@pytest.mark.parametrize("seed", range(40))
def test_within_a_second_of_the_last_loss_the_picture_is_whole(seed):
    """Each request and each picture may be lost while the road is bad; then nothing is. Every single try must do."""
    dice = random.Random(seed)
    film = calm()
    last = 0.0
    for _ in range(dice.randrange(2, 60)):
        film.deaf = int(dice.random() < 0.3)
        lost = dice.random() < 0.2
        if lost:
            last = film.wire.loop.now
        film.beat(lost=lost)
    film.deaf = 0
    ended = film.wire.loop.now
    film.beats(30)
    whole = [at for at, arrived in film.keys if arrived and at > last]
    if last:
        assert whole, "none came"
        assert whole[0] - max(last, ended) <= INTERVAL_SECONDS + SWEEP + 3 * BEAT < 1.0
    spacing = [b - a for a, b in zip(film.asked, film.asked[1:], strict=False)]
    assert all(gap >= PATIENCE_SECONDS - 1e-9 for gap in spacing)
