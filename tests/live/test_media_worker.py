"""The media process itself, over its control socket, with real UDP sockets as phones."""

import time
from functools import partial

from rtp import control as c
from rtp.packet import Packet
from tests.live.kit.worker import (
    EVENTS,
    FRAME,
    H264_HOST,
    PCMA,
    PCMU,
    SILENT,
    MediaProcess,
    Phone,
    both_engines,
    has,
    hear_raw,
    media,
    talk,
    unbroken,
)

__all__ = ["media"]


@both_engines
def test_guest_and_host_hear_each_other_with_mapped_payload_types(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(payload_type=8, ssrc=0x2222, sequence=100)
    guest_video = Phone(payload_type=96, ssrc=0x3333, step=3000)
    host_video = Phone(payload_type=105, ssrc=0x4444, step=3000)
    s.send(c.OpenEvidence("call-1", str(media.folder)))
    s.wait(c.EvidenceOpened)
    media.leg("guest", guest, guest_video, evidence="call-1")
    media.leg("host", host, host_video, pictures=(H264_HOST,), codecs=(EVENTS, PCMU, PCMA))
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    s.wait(c.Joined, lambda event: event.leg == "guest")
    for phone, payload in ((guest, b"g"), (host, b"h"), (guest_video, b"G"), (host_video, b"H")):
        phone.say(payload * 100)
    for medium in ("audio", "video"):
        first = s.wait(c.FirstRelayed, lambda event, medium=medium: event.medium == medium)  # type: ignore[misc]
        assert (first.room, first.leg) == ("room", "guest")
    for phone, payload, payload_type in (
        (host, b"g", 8), (guest, b"h", 8), (host_video, b"G", 105), (guest_video, b"H", 96)
    ):  # fmt: skip
        all_heard = phone.hear_until(partial(has, payload=payload * 100))
        heard = [packet for packet in all_heard if packet.payload == payload * 100]
        assert [packet.payload_type for packet in heard] == [payload_type]
    s.send(c.CloseEvidence("call-1"))
    closed = s.wait(c.EvidenceClosed)
    rows = media.evidence("call-1")
    assert closed.packets == len(rows)
    seen = {(src, dst, data[12:112]) for _, _, src, dst, data in rows}
    assert (guest.address, guest.exchange, b"g" * 100) in seen  # received from the guest
    assert (host.address, host.exchange, b"h" * 100) in seen  # received from the host, as received
    assert (guest.exchange, guest.address, b"h" * 100) in seen  # sent to the guest
    assert (guest_video.address, guest_video.exchange, b"G" * 100) in seen
    s.send(c.CloseEvidence("call-1"))
    assert s.wait(c.EvidenceClosed) == closed


@both_engines
def test_desk_leg_stays_one_stream_while_guests_change(media: MediaProcess) -> None:
    s = media.signalling
    host = Phone(ssrc=0x2222)
    guests = [Phone(ssrc=0x5000 + i, sequence=i * 20000, timestamp=i << 30) for i in range(3)]
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"))
    for i, guest in enumerate(guests):
        media.leg(f"guest-{i}", guest)
    host.say()
    packets: list[Packet] = []
    for i, guest in enumerate(guests):
        s.send(c.Join("room", f"guest-{i}", "guest"))
        media.settle()
        talk(
            [guest, *[other for other in guests if other is not guest]],
            12,
            [bytes([65 + i]) * 160, b"?" * 160, b"?" * 160],
        )
        said = bytes([65 + i]) * 160
        packets += host.hear_until(
            lambda heard, said=said: sum(packet.payload == said for packet in heard) >= 6  # type: ignore[misc]
        )
        s.send(c.Leave(f"guest-{i}"))
        time.sleep(0.1)
    packets += [packet for _, packet in host.hear(0.05)]
    unbroken(packets)
    payloads = [packet.payload for packet in packets]
    assert b"?" * 160 not in payloads  # nobody who is not in the room
    for i in range(3):
        assert payloads.count(bytes([65 + i]) * 160) >= 6
        first = payloads.index(bytes([65 + i]) * 160)
        assert packets[first].marker


def test_silence_fills_every_gap_on_the_desk_leg(media: MediaProcess) -> None:
    host = Phone(ssrc=0x2222)
    media.leg("host", host)
    host.say()
    heard = host.hear_until(lambda packets: len(packets) >= 40)
    assert len(heard) >= 40  # how regularly is the beat's (tests/rtp/test_leg.py)
    assert {packet.payload for packet in heard} == {SILENT}
    unbroken(heard)


@both_engines
def test_silent_leg_gets_silence_and_nothing_else(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    picture = Phone(payload_type=96, ssrc=0x4444, step=3000)
    guest_picture = Phone(payload_type=96, ssrc=0x3333, step=3000)
    media.leg("guest", guest, guest_picture)
    media.leg("host", host, picture)
    guest.say()
    guest_picture.say()
    guest.hear(0.1)
    s.send(c.SetGates("guest", silent=True, host_picture=False))
    media.settle()
    guest.hear(0.001)
    while guest.hear(0.005):  # what had left before the gate closed
        pass
    start = time.monotonic()
    s.send(
        c.Join("room", "host", "host"),
        c.Join("room", "guest", "guest"),
        c.Play("guest", "p1", ("tone:zip", "tone:waiting"), loop=True),
        c.PassDtmf("host", "123"),
    )
    for _ in range(50):
        host.say(b"h" * 160)
        host.say(b"\0\x0a\0\xa0", payload_type=101)
        picture.say(b"P" * 500)
        guest.say(b"g" * 160)
        time.sleep(FRAME)
    heard = guest.hear(0.02)
    assert {packet.payload for _, packet in heard} == {SILENT}
    assert 10 <= len(heard) <= (time.monotonic() - start) / FRAME + 5
    unbroken([packet for _, packet in heard])
    assert not hear_raw(guest_picture.rtp, 0.01)
    assert has(host.hear_until(lambda packets: has(packets, b"g" * 160)), b"g" * 160)
    s.send(c.SetGates("guest", silent=False, host_picture=True), c.StopPlay("guest"))
    media.settle()
    host.say(b"h" * 160)
    picture.say(b"P" * 500)
    assert has(guest.hear_until(lambda packets: has(packets, b"h" * 160)), b"h" * 160)
    assert guest_picture.hear_until(bool)


def _tone_and_more(packets: list[Packet]) -> bool:
    """Whether there was a tone, and then the caller alone."""
    tone = [number for number, packet in enumerate(packets) if packet.payload not in {b"x" * 160, SILENT}]
    return bool(tone) and has(packets[tone[-1] :], b"x" * 160)


def test_the_short_tone_is_laid_over_the_relay_and_ends(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 3)
    s.send(c.Play("host", "zip", ("tone:zip",)))
    talk([guest], 10)
    assert s.wait(c.PlayEnded).play == "zip"
    talk([guest], 5)
    packets = host.hear_until(_tone_and_more)
    tone = [index for index, packet in enumerate(packets) if packet.payload not in {b"x" * 160, SILENT}]
    assert tone  # how long it is says tests/rtp/test_overlay.py
    assert has(packets[tone[-1] :], b"x" * 160)
    unbroken(packets)


def test_no_shared_sound_codec_is_transcoded(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(payload_type=0, ssrc=0x2222)
    media.leg("guest", guest, codecs=(PCMA,))
    media.leg("host", host, codecs=(PCMU,))
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    media.settle()
    talk([guest, host], 20, [b"\x2a" * 160, b"\x00" * 160])
    packets = host.hear_until(
        lambda packets: sum(packet.payload != b"\xff" * 160 for packet in packets) >= 10
    )
    unbroken(packets)
    assert {packet.payload_type for packet in packets} == {0}
    loud = [packet for packet in packets if packet.payload != b"\xff" * 160]
    assert len(loud) >= 10

    def spoken(packets: list[Packet]) -> bool:
        return any(packet.payload_type == 8 and packet.payload != SILENT for packet in packets)

    assert spoken(guest.hear_until(spoken))


@both_engines
def test_digits_pass_through_and_are_told_once(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest, codecs=(PCMA, EVENTS))
    media.leg("host", host, codecs=(PCMA, c.Codec("TELEPHONE-EVENT", 97, 8000)))
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 3)
    host.hear(0.01)
    start = guest.timestamp
    for end in (0, 0, 0x80, 0x80, 0x80):
        guest.say(bytes((5, end | 10, 1, 64)), payload_type=101, timestamp=start)
    assert s.wait(c.Dtmf) == c.Dtmf("guest", "5")
    heard = host.hear_until(lambda packets: sum(packet.payload_type == 97 for packet in packets) >= 5)
    passed = [packet for packet in heard if packet.payload_type == 97]
    assert len(passed) == 5
    assert len({packet.timestamp for packet in passed}) == 1
    assert s.none(c.Dtmf)
    s.send(c.PassDtmf("guest", "9#"))
    heard = host.hear_until(
        lambda packets: sum(packet.payload_type == 97 and packet.marker for packet in packets) >= 2
    )
    sent = [packet for packet in heard if packet.payload_type == 97]
    assert [packet.payload[0] for packet in sent if packet.marker] == [9, 11]
    assert len({packet.timestamp for packet in sent}) == 2


def test_the_host_can_hold_its_guest(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 3)
    s.send(c.SetGates("guest", silent=False, host_picture=True, held=True))
    media.settle()
    for phone in (guest, host):
        while phone.hear(0.002):
            pass
    talk([guest, host], 10, [b"g" * 160, b"h" * 160])
    assert {packet.payload for packet in host.hear_until(bool)} == {SILENT}
    held = {
        packet.payload
        for packet in guest.hear_until(lambda packets: any(packet.payload != SILENT for packet in packets))
    }
    assert b"h" * 160 not in held
    assert held - {SILENT}  # the waiting tone
