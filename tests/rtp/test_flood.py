import pytest

from rtp.flood import BURST_SECONDS, FACTOR, PICTURE_BYTES, nominal, permitted, seconds_per_byte
from tests.kit.media_wire import EVENTS, H264, PCMA, PHONE, Codec, Wire, engine, packet, rtp_socket, stream

__all__ = ["engine"]


def test_what_codecs_need():
    assert nominal(PCMA) == 8000 + 1200
    assert nominal(Codec("AMR-WB", 97, 16000)) == 32_000 + 1200
    assert permitted(stream(codecs=(PCMA, EVENTS))) == FACTOR * 9200
    assert permitted(stream("video", (H264,))) == FACTOR * PICTURE_BYTES
    assert permitted(None) == permitted(stream(codecs=())) == 0
    assert seconds_per_byte(None) == 0.0


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("rate", [50, 100, 5000])
def test_twice_the_rate_passes_and_the_rest_is_counted(rate):
    wire = Wire()
    guest, host = wire.configured("guest", codecs=(PCMA,)), wire.configured("host", codecs=(PCMA,))
    guest.wire(host, wire.loop.now)
    seconds = 10
    for number in range(rate * seconds):
        wire.loop.read(rtp_socket(guest), packet(number), PHONE)
        wire.loop.now += 1 / rate
    passed = rate * seconds - guest.flooded
    assert guest.source.received == host.sender.packets == passed
    if rate <= 100:
        assert guest.flooded == 0
    else:
        assert passed * 172 <= permitted(guest.stream) * (seconds + BURST_SECONDS) + 2 * 172


@pytest.mark.usefixtures("engine")
def test_a_flood_of_misshapen_packets_is_limited_too():
    wire = Wire()
    guest = wire.configured("guest", codecs=(PCMA,))
    wire.loop.read(rtp_socket(guest), packet(1), PHONE)
    for _ in range(1000):
        wire.loop.read(rtp_socket(guest), b"\x80", PHONE)
    assert guest.rejected + guest.flooded == 1000
    assert guest.flooded > 500
