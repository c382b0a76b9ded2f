"""Who is believed on a port, what peers say and are told by RTCP, and what is said of those who say nothing."""

import struct
import time

from rtp import control as c
from rtp.rtcp import Bye, Description, PictureLoss, ReceiverReport, SenderReport
from rtp.rtcp import encode as encode_rtcp
from rtp.rtcp import parse as parse_rtcp
from tests.live.kit.worker import (
    PATIENCE,
    PCMA,
    SILENT,
    MediaProcess,
    Phone,
    both_engines,
    has,
    hear_raw,
    media,
    talk,
)

__all__ = ["media"]


@both_engines
def test_strangers_are_refused_and_a_new_port_is_found(media: MediaProcess) -> None:
    s = media.signalling
    guest, host, stranger = Phone(), Phone(ssrc=0x2222), Phone(host="127.0.0.2", ssrc=0x6666)
    media.phones.append(stranger)
    media.leg("guest", guest)
    media.leg("host", host)
    stranger.exchange = guest.exchange
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    media.settle()
    for _ in range(20):
        stranger.say(b"evil" * 40)
    talk([guest, stranger, host], 10, [b"x" * 160, b"evil" * 40, b"h" * 160])
    assert b"evil" * 40 not in {packet.payload for _, packet in host.hear(0.05)}
    assert not hear_raw(stranger.rtp, 0.05)
    report = s.wait(c.LegReport, lambda event: event.leg == "guest" and event.streams[0].rejected > 0)
    assert report.streams[0].rejected >= 20  # later ones are dropped by the kernel
    guest.rebind()  # another port, the same SSRC
    start = time.monotonic()
    back = None
    while time.monotonic() - start < 10.0 and back is None:  # within a second, says tests/rtp/test_track.py
        talk([guest, stranger], 1, [b"new!" * 40, b"evil" * 40])
        if b"new!" * 40 in {packet.payload for _, packet in host.hear(0.001)}:
            back = time.monotonic() - start
    assert back is not None
    host.say(b"h" * 160)
    assert guest.hear_until(bool), "what is sent to the guest goes to its new port"
    assert not hear_raw(stranger.rtp, 0.01)


def test_another_address_of_the_same_stream_is_found_within_three_seconds(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 5)
    guest.rebind("127.0.0.3")
    start = time.monotonic()
    back = None
    while time.monotonic() - start < 15.0 and back is None:
        talk([guest], 1, [b"new!" * 40])
        if b"new!" * 40 in {packet.payload for _, packet in host.hear(0.001)}:
            back = time.monotonic() - start
    assert back is not None
    assert back > 2.0  # and after 2.5 s, says tests/rtp/test_latch.py


def test_reinvite_with_a_new_address_is_followed_at_once(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 5)
    guest.rebind("127.0.0.3")
    s.send(c.ConfigureLeg("guest", media.streams({"audio": guest}, (PCMA,)), ("127.0.0.3",)))
    media.settle()
    host.hear(0.01)
    guest.say(b"new!" * 40)
    assert has(host.hear_until(lambda packets: has(packets, b"new!" * 40)), b"new!" * 40)


def test_rtcp_reports_key_frame_requests_and_bye(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = (
        Phone(payload_type=96, ssrc=0x3333, step=3000),
        Phone(payload_type=96, ssrc=0x4444, step=3000),
    )
    media.leg("guest", None, guest, feedback=("nack pli",))
    media.leg("host", None, host)
    guest.say(b"G" * 300)
    host.say(b"H" * 300)
    s.wait(c.MediaStarted, lambda event: event.leg == "guest")
    s.wait(c.MediaStarted, lambda event: event.leg == "host")
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    assert s.wait(c.PictureWanted).leg == "host"  # its phone knows no feedback
    guest.rtcp.settimeout(PATIENCE)
    wishes = [p for p in parse_rtcp(guest.rtcp.recv(2000)) if isinstance(p, PictureLoss)]
    assert [wish.media for wish in wishes] == [0x3333]
    guest.say(b"G" * 300)
    host.say(b"H" * 300)
    ours = guest.hear_until(bool)[0].ssrc
    deadline = time.monotonic() + PATIENCE
    report = None
    while report is None and time.monotonic() < deadline:
        packets = parse_rtcp(guest.rtcp.recv(2000))
        assert isinstance(packets[1], Description)
        report = next((p for p in packets if isinstance(p, SenderReport)), None)
    assert report is not None
    assert report.ssrc == ours
    assert report.packets == 1
    assert report.blocks[0].ssrc == 0x3333
    assert abs(report.ntp / 2**32 - 2208988800 - time.time()) < PATIENCE
    # The host's wish goes on to the guest.
    time.sleep(1.0)
    exchange_rtcp = (host.exchange[0], host.exchange[1] + 1)
    host.rtcp.sendto(encode_rtcp([ReceiverReport(1), PictureLoss(1, 2)]), exchange_rtcp)
    deadline = time.monotonic() + PATIENCE
    while not any(isinstance(p, PictureLoss) for p in parse_rtcp(guest.rtcp.recv(2000))):
        assert time.monotonic() < deadline
    s.send(c.CloseLeg("guest"))
    deadline = time.monotonic() + PATIENCE
    while not any(isinstance(p, Bye) for p in parse_rtcp(guest.rtcp.recv(2000))):
        assert time.monotonic() < deadline


def test_round_trip_from_a_receiver_report(media: MediaProcess) -> None:
    guest = Phone()
    media.leg("guest", guest)
    guest.say()
    ours = guest.hear_until(bool)[0].ssrc
    guest.rtcp.settimeout(PATIENCE)
    while True:
        packets = parse_rtcp(guest.rtcp.recv(2000))
        if isinstance(packets[0], SenderReport):
            break
    middle = packets[0].ntp >> 16 & 0xFFFFFFFF
    block = struct.pack("!IIIIII", ours, 0, 0, 0, middle, 0)
    guest.rtcp.sendto(
        struct.pack("!BBHI", 0x81, 201, 7, 0x1111) + block, (guest.exchange[0], guest.exchange[1] + 1)
    )
    report = media.signalling.wait(c.LegReport, lambda event: event.streams[0].round_trip_ms is not None)
    assert 0 <= (report.streams[0].round_trip_ms or 0.0) < PATIENCE * 1000


def test_loss_is_told_and_so_is_the_return(media: MediaProcess) -> None:
    s = media.signalling
    guest = Phone()
    media.leg("guest", guest)
    guest.say()
    s.wait(c.MediaStarted)
    lost = s.wait(c.MediaLost)
    assert lost.seconds >= 1.0
    assert s.wait(c.MediaLost).seconds >= 2.0
    guest.say()
    s.wait(c.MediaStarted)


def test_a_caller_that_never_sends_is_told_and_hears_the_exchange(media: MediaProcess) -> None:
    guest = Phone()
    media.leg("guest", guest)
    media.signalling.wait(c.MediaLost)
    media.signalling.send(c.Play("guest", "welcome", ("tone:waiting",), loop=True))
    assert (
        guest.hear_until(lambda packets: any(packet.payload != SILENT for packet in packets))[-1].payload
        != SILENT
    )


def test_ports_of_a_closed_leg_drain_and_come_back(media: MediaProcess) -> None:
    s = media.signalling
    for number in range(28):
        s.send(c.OpenLeg(f"n{number}", ("audio",), "127.0.0.1"))
        s.wait(c.LegOpened)
    later = c.OpenLeg("later", ("audio",), "127.0.0.1")
    s.send(c.CloseLeg("n3"), c.OpenLeg("late", ("audio", "video"), "127.0.0.1"), later)
    s.wait(c.LegOpened)
    assert s.wait(c.Refused).reason == "no_ports"  # n3's pair is open still
    deadline = time.monotonic() + 10
    while s.none(c.LegOpened) and time.monotonic() < deadline:
        time.sleep(0.2)
        s.send(later)
    s.wait(c.LegOpened)
