"""What the media process refuses, and what it goes on doing: without signalling, without room on the disk, after a stall, at its end."""

import json
import os
import signal
import time

from rtp import control as c
from tests.live.kit.worker import (
    PATIENCE,
    MediaProcess,
    Phone,
    Signalling,
    both_engines,
    has,
    media,
    talk,
)

__all__ = ["media"]

STALL_FRAMES = 200
"""Four seconds of 20 ms: twice what may come at once at other times (bar L9), and less than a socket holds."""


def test_refusals(media: MediaProcess) -> None:
    s = media.signalling
    for name in ("a", "b"):
        media.leg(name, Phone())
    s.send(c.Join("r", "a", "guest"), c.Join("r", "b", "guest"))
    assert s.wait(c.Refused) == c.Refused("Join", "b", "second_guest")
    s.send(c.Join("r", "b", "host"), c.CloseLeg("x"), c.CloseEvidence("x"), c.PassDtmf("b", "%"))
    assert s.wait(c.Refused) == c.Refused("CloseLeg", "x", "unknown_leg")
    assert s.wait(c.Refused) == c.Refused("CloseEvidence", "x", "unknown_call")
    assert s.wait(c.Refused) == c.Refused("PassDtmf", "a", "bad_digit")
    opened = []
    for number in range(30):
        s.send(c.OpenLeg(f"n{number}", ("audio",), "127.0.0.1"))
        opened.append(number)
    assert s.wait(c.Refused).reason == "no_ports"


def test_media_goes_on_without_signalling_and_tells_what_it_holds(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    media.leg("guest", guest)
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    media.settle()
    s.socket.close()
    time.sleep(0.05)
    talk([guest, host], 5)
    assert has(host.hear_until(lambda packets: has(packets, b"x" * 160)), b"x" * 160)
    media.signalling = Signalling(media.socket_path)
    holdings = media.signalling.wait(c.Holdings)
    assert {(leg.leg, leg.room, leg.role) for leg in holdings.legs} == {
        ("guest", "room", "guest"),
        ("host", "room", "host"),
    }
    s.socket = media.signalling.socket


def test_a_full_disk_is_stated_once_and_stops_nothing(media: MediaProcess) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    s.send(
        c.OpenEvidence("call", str(media.folder)),
        c.NoteSip("call", 1, ("1.2.3.4", 5), ("6.7.8.9", 10), "udp", b"SIP"),
    )
    media.leg("guest", guest, evidence="call")
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    (media.folder / "full").touch()
    talk([guest, host], 20)
    assert s.wait(c.Refused) == c.Refused("OpenEvidence", "call", "disk")
    talk([guest, host], 10)
    assert s.none(c.Refused)
    assert has(host.hear_until(lambda packets: has(packets, b"x" * 160)), b"x" * 160)
    (media.folder / "full").unlink()
    time.sleep(0.3)
    s.send(c.CloseEvidence("call"))
    s.wait(c.EvidenceClosed)
    rows = media.evidence("call")
    assert rows[0][0] == "sip"
    assert sum(src == guest.address for _, _, src, _, _ in rows) == 30


@both_engines
def test_evidence_is_closed_when_the_process_ends(media: MediaProcess) -> None:
    s = media.signalling
    guest = Phone()
    s.send(c.OpenEvidence("call", str(media.folder)))
    media.leg("guest", guest, evidence="call")
    media.settle()
    guest.say(b"last" * 40)
    s.wait(c.MediaStarted)
    media.process.send_signal(signal.SIGTERM)
    assert media.process.wait(PATIENCE) == 0
    assert any(data.endswith(b"last" * 40) for _, _, _, _, data in media.evidence("call"))


@both_engines
def test_what_waited_while_the_process_was_stopped_is_relayed_and_recorded_and_no_flood(
    media: MediaProcess,
) -> None:
    s = media.signalling
    guest, host = Phone(), Phone(ssrc=0x2222)
    s.send(c.OpenEvidence("call", str(media.folder)))
    s.wait(c.EvidenceOpened)
    media.leg("guest", guest, evidence="call")
    media.leg("host", host)
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    talk([guest, host], 10)
    media.settle()
    os.kill(media.process.pid, signal.SIGSTOP)
    try:
        talk([guest], STALL_FRAMES)
    finally:
        os.kill(media.process.pid, signal.SIGCONT)
    talk([guest, host], 20)
    said = STALL_FRAMES + 30
    report = s.wait(c.LegReport, lambda event: event.leg == "guest" and event.streams[0].received >= said)
    one = report.streams[0]
    assert (one.lost, one.rejected, one.flooded) == (0, 0, 0)
    s.send(c.CloseEvidence("call"))
    s.wait(c.EvidenceClosed)
    rows = (media.folder / "call.json").read_text().splitlines()
    assert sum(json.loads(row)[2] == list(guest.address) for row in rows) == said
    assert not [row for row in rows if "left_out" in row]
    heard = [packet for _, packet in host.hear(0.05) if packet.payload == b"x" * 160]
    assert len(heard) == said
