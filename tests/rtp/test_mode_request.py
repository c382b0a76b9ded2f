"""A phone on a bad radio link asks for less, and is sent less from then on (RFC 4867 §4.3.1)."""

import numpy as np
import pytest

from rtp import amr
from rtp.codecs import Encoder
from rtp.control import Codec, Play
from rtp.leg import Leg
from rtp.player import Player
from rtp.prompts import Prompts
from tests.kit.media_wire import PCMA, PHONE, Wire, engine, packet, rtp_socket, sent, stream

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("engine")

PROMPTS = Prompts()
AMR = Codec("AMR", 97, 8000, 1, "octet-align=1")


def mode_of(payload: bytes, codec: Codec = AMR) -> int:
    """The mode of the one frame of a payload."""
    (frame,) = amr.unpack(amr.form("AMR", codec.fmtp), payload)
    return frame[0] >> 3 & 15


def test_a_mode_request_holds_for_what_its_sender_hears():
    wire = Wire()
    mobile, desk = wire.configured("mobile", codecs=(AMR,)), wire.configured("desk", codecs=(PCMA,))
    mobile.wire(desk, wire.loop.now)
    desk.wire(mobile, wire.loop.now)
    speech = Encoder(AMR).encode(np.zeros(160, np.int16))
    modes = []
    for number, asked in enumerate((None, None, 2, None, 15, 9, 0)):
        if asked is not None:
            speech = bytes([asked << 4]) + speech[1:]
        elif number:
            speech = bytes([0xF0]) + speech[1:]
        wire.loop.read(rtp_socket(mobile), packet(number, speech, payload_type=97))
        wire.loop.read(rtp_socket(desk), packet(number, b"\xd5" * 160))
        wire.loop.now += 0.02
        modes.append(mode_of(sent(mobile)[-1].payload))
    assert modes == [7, 7, 2, 2, 2, 2, 0], "until it asks for another one"


def test_who_waits_hears_prompts_in_the_mode_it_asks_for():
    """Nobody listens to it yet: what it asks for stands in packets that go to nobody."""
    wire = Wire()
    leg = Leg("leg", None, "127.0.0.1", PROMPTS, wire.around)
    track = wire.track()
    leg.add(track, "name")
    track.configure(stream("audio", (AMR,)), frozenset({PHONE[0]}), wire.loop.now)
    leg.play(Play("leg", "p", ("tone:zip", "tone:zip", "tone:zip"), loop=True))
    speech = Encoder(AMR).encode(np.zeros(160, np.int16))
    modes = []
    for number in range(60):
        asked = 15 if number < 20 else 2 if number < 40 else 7
        wire.loop.read(rtp_socket(track), packet(number, bytes([asked << 4]) + speech[1:], payload_type=97))
        if not leg.content(wire.loop.now):
            leg.beat(wire.loop.now)
        wire.loop.now += 0.02
        modes.append(mode_of(sent(track)[-1].payload))
    assert modes == [7] * 20 + [2] * 20 + [7] * 20


@pytest.mark.parametrize(
    ("fmtp", "asked", "heard"),
    [("", 0, 0), ("octet-align=1", 5, 5), ("mode-set=0,2,4", 3, 2), ("mode-set=0,2,4", 7, 4), ("mode-set=4", 0, 4), ("", None, 7)],
)  # fmt: skip
def test_a_play_keeps_to_a_mode(fmtp, asked, heard):
    codec = Codec("AMR", 97, 8000, 1, fmtp)
    player, untouched = (Player(("tone:zip", "pause:40"), False, codec, PROMPTS) for _ in range(2))
    player.ask(asked)
    frames = [player.next_frame() for _ in range(11)]
    assert [mode_of(frame, codec) for frame in frames[:10]] == [heard] * 10
    assert len(frames) == len([untouched.next_frame() for _ in range(11)])
    assert player.position == untouched.position
    player.ask(7)
    assert player.next_frame() == untouched.next_frame(), "the best one again, as it lies there"


def test_what_is_made_anew_is_not_left_to_others():
    player = Player(("tone:zip",), False, AMR, PROMPTS)
    assert len(player.rest[0]) == 10
    player.ask(1)
    assert player.rest == ((), 0)


def test_other_codecs_have_no_mode():
    player = Player(("tone:zip",), False, PCMA, PROMPTS)
    player.ask(1)
    assert player.next_frame() == PROMPTS.frames("tone:zip", PCMA)[0]
