"""A gateway that hears on another port than it sends from, on real sockets, with both engines."""

import socket

import pytest

from rtp import control as c
from tests.live.kit.worker import FRAME, MediaProcess, Phone, both_engines, media

__all__ = ["media"]

pytestmark = pytest.mark.beside


@both_engines
def test_a_gateway_that_hears_elsewhere_is_sent_media_there(media: MediaProcess) -> None:
    gateway, desk = Phone(ssrc=0x1111), Phone(ssrc=0x2222)
    media.leg("gateway", gateway, asymmetric=True)
    media.leg("desk", desk)
    media.signalling.send(c.Join("room", "desk", "host"), c.Join("room", "gateway", "guest"))
    media.settle()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind((gateway.host, 0))
        mouth.setblocking(False)
        heard, said = 0, 0
        while heard < 25:  # packets of the desk at the port that was named; both are heard all the time
            mouth.sendto(gateway.packet(b"gateway".ljust(160)), gateway.exchange)
            desk.say(b"desk".ljust(160))
            said += 1
            heard += sum(packet.payload.startswith(b"desk") for _, packet in gateway.hear(FRAME))
            assert said < 1000, "the gateway hears nothing where it listens"
        assert any(packet.payload.startswith(b"gateway") for _, packet in desk.hear(0.1)), "it is not heard"
        with pytest.raises(BlockingIOError):
            mouth.recv(2000)
