import itertools

import pytest

from rtp.flood import (
    BURST_SECONDS,
    FACTOR,
    PICTURE_BYTES,
    RTCP_LEAST,
    WAITED_SECONDS,
    Limit,
    nominal,
    permitted,
    rtcp_permitted,
    seconds_per_byte,
)
from tests.kit.media_engine import GUEST, HOST, Running
from tests.kit.media_wire import EVENTS, H264, PCMA, PHONE, Codec, Wire, engine, packet, rtp_socket, stream

__all__ = ["engine"]


def test_what_codecs_need():
    assert nominal(PCMA) == 8000 + 1200
    assert nominal(Codec("L16", 97, 16000)) == 32_000 + 1200
    assert nominal(Codec("AMR-WB", 97, 16000)) == 3100 + 1200
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


@pytest.mark.usefixtures("engine")
def test_what_waits_when_its_source_is_believed_is_limited_too():
    """At the first packet, or the first after a silence, all that has come is read at once."""
    wire = Wire()
    guest, host = wire.configured("guest", codecs=(PCMA,)), wire.configured("host", codecs=(PCMA,))
    guest.wire(host, wire.loop.now)
    rtp_socket(guest).arriving.extend((packet(number), PHONE) for number in range(1000))
    wire.loop.read(rtp_socket(guest), packet(1000), PHONE)
    passed = host.sender.packets
    assert passed + guest.flooded == 1001
    assert 1 < passed * 172 <= permitted(guest.stream) * BURST_SECONDS + 2 * 172
    for number in range(1001, 1011):  # and counts for what comes next
        wire.loop.read(rtp_socket(guest), packet(number), PHONE)
    assert (host.sender.packets, guest.flooded) == (passed, 1011 - passed)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("seconds", "opened"), [(10, False), (10, True), (1, False)])
def test_after_a_stall_nothing_of_an_honest_phone_is_a_flood(seconds, opened):
    running = Running()
    running.leg(GUEST)
    running.leg(HOST)
    running.join(HOST, GUEST)
    track = running.engine._legs[GUEST].tracks["audio"]
    said = itertools.count()
    for _ in range(50):
        running.say(GUEST, next(said))
        running.pass_time(0.02)
    if opened:
        track._open()
    running.loop.now += seconds  # nothing ran
    running.say(GUEST, next(said))  # what a round of the loop reads before its timers
    running.pass_time(0.0)
    for _ in range(seconds * 50 - 1):
        running.say(GUEST, next(said))
    for _ in range(500):
        running.say(GUEST, next(said))
        running.pass_time(0.02)
    assert track.flooded == 0
    assert track.source.received == next(said)
    for _ in range(1000):
        running.say(GUEST, next(said))
    assert track.flooded > 1000 - 120, "the limit is what it was"


@pytest.mark.usefixtures("engine")
def test_after_a_stall_no_more_than_waited_is_permitted():
    running = Running()
    running.leg(GUEST)
    track = running.engine._legs[GUEST].tracks["audio"]
    running.say(GUEST, 0)
    running.loop.now += 8.0
    running.pass_time(0.0)
    for number in range(1, 10_000):
        running.say(GUEST, number)
    assert (10_000 - track.flooded) * 172 <= permitted(track.stream) * (BURST_SECONDS + 8.0) + 3 * 172


@pytest.mark.usefixtures("engine")
def test_of_a_longer_stall_ten_seconds_are_enough_for_what_the_kernel_keeps():
    running = Running()
    running.leg(GUEST)
    track = running.engine._legs[GUEST].tracks["audio"]
    running.say(GUEST, 0)
    running.loop.now += 3600.0
    running.pass_time(0.0)
    for number in range(1, 10_000):
        running.say(GUEST, number)
    passed = (10_000 - track.flooded) * 172
    assert passed > permitted(track.stream) * WAITED_SECONDS
    assert passed <= permitted(track.stream) * (BURST_SECONDS + WAITED_SECONDS) + 3 * 172


def test_what_rtcp_may_take():
    assert rtcp_permitted(stream(codecs=(PCMA,))) == rtcp_permitted(None) == RTCP_LEAST
    assert rtcp_permitted(stream("video", (H264,))) == FACTOR * PICTURE_BYTES // 20


def test_a_limit_permits_its_rate_and_a_second_of_burst():
    limit, passed = Limit(), 0
    assert all(limit.take(1_000_000, 0.0) for _ in range(10)), "no rate, no limit"
    limit.permit(100)
    for step in range(10_000):
        passed += limit.take(1, 1.0 + step / 1000)
    assert 1000 <= passed <= 1000 + 100 * BURST_SECONDS + 2
    assert limit.take(1, 60.0)


def test_a_restored_limit_goes_on_alike():
    one = Limit()
    one.permit(10)
    for _ in range(8):
        one.take(1, 5.0)
    two = Limit.restore(one.snapshot())
    assert [one.take(1, 5.0 + n / 20) for n in range(40)] == [two.take(1, 5.0 + n / 20) for n in range(40)]


def test_small_datagrams_count_as_larger_ones():
    limit = Limit()
    limit.permit(400)
    assert sum(limit.datagram(b"", 0.0) for _ in range(100)) == 400 * BURST_SECONDS / 40 + 1
