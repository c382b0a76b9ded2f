"""Whether sound and picture of one moment stay together.

The caller shows a flash and sounds a beep at the same moment each second, over a road whose delay changes from packet to packet.
"""

import heapq
import random
import socket
import struct
import time
from typing import Final

import numpy as np

from tests.kit.rtp_media import Packetizer, packetize_h264, tone
from tests.live.kit import ports, sound
from tests.live.kit.oracle import Heard, Oracle
from tests.live.kit.road import SPS, STAP_A
from tests.live.kit.strangers import alaw
from tests.recordings.test_render import flashes

SECONDS: Final = 12
"""Our reports come every 4.5 s; what is within the first second, with the tone for the dispatcher, is not looked at."""
RATE: Final = 25
JITTER: Final = 0.030
FRAME: Final = 0.020
EARLY, LATE = 0.045, 0.125
"""Seconds by which sound may be before the picture, or behind it, unnoticed (ITU-R BT.1359)."""
QUIET: Final = b"\xd5\x55" * 80
"""20 ms of nothing from the caller; the exchange's own silence is another one."""
FILL: Final = b"\xd5" * 160
NTP_1970: Final = 2_208_988_800


class Reports:
    """The RTCP port beside a medium of an oracle phone: what it is told, and what it tells."""

    def __init__(self, phone: Oracle, medium: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        port = phone.audio_port if medium == "audio" else phone.video_port
        self.socket.bind((ports.ADDRESS, port + 1))
        self.socket.setblocking(False)

    def tell(self, ssrc: int, at: float, timestamp: int, to: int) -> None:
        """A sender report: this timestamp is this moment (seconds since 1970). The exchange's port is `to`."""
        ntp = int((at + NTP_1970) * (1 << 32))
        data = struct.pack(">BBHIQIII", 0x80, 200, 6, ssrc, ntp, timestamp & 0xFFFFFFFF, 0, 0)
        self.socket.sendto(data, (ports.ADDRESS, to))

    def told(self) -> list[tuple[float, int]]:
        """Sender reports that came since: (moment, timestamp)."""
        found: list[tuple[float, int]] = []
        while True:
            try:
                data = self.socket.recv(2000)
            except BlockingIOError:
                return found
            if len(data) >= 28 and data[1] == 200:
                _, _, _, _, ntp, timestamp = struct.unpack_from(">BBHIQI", data)
                found.append((ntp / (1 << 32) - NTP_1970, timestamp))


def moment(report: tuple[float, int], timestamp: int, rate: int) -> float:
    """When a packet's content was, by a sender report (RFC 3550 §6.4.1)."""
    ahead = (timestamp - report[1] + (1 << 31)) % (1 << 32) - (1 << 31)
    return report[0] + ahead / rate


def least(reports: list[tuple[float, int]], rate: int) -> tuple[float, int]:
    """The report of the least delay, which is what a phone keeps to: another tells of a packet that was late itself."""
    return min(reports, key=lambda report: moment(report, reports[0][1], rate))


def performance() -> list[tuple[float, str, bytes]]:
    """What is sent: (seconds from the beginning, medium, packet), each late by what the road makes of it."""
    dice = random.Random(110)
    beep = alaw(tone(1000, 0.2, 8000).astype(float)) + QUIET * 40
    voice, camera = Packetizer(8, 0x5051), Packetizer(96, 0x5052)
    sent = []
    for number in range(SECONDS * 50):
        at = number * 160 % 8000
        packet = voice.packet(number * 0.02, beep[at : at + 160], number * 160, marker=not number)
        sent.append((packet.at + dice.random() * JITTER, "audio", packet.data))
    for number, picture in enumerate(flashes(SECONDS, RATE)[: SECONDS * RATE]):
        payloads, late = packetize_h264(picture), dice.random() * JITTER
        for index, payload in enumerate(payloads):
            last = index == len(payloads) - 1
            packet = camera.packet(number / RATE, payload, number * 90_000 // RATE, marker=last)
            sent.append((packet.at + late + index * 0.0002, "video", packet.data))
    return sent


def perform(caller: Oracle, to: dict[str, int]) -> None:
    """Send it all in its time, with a sender report each second."""
    reports = {medium: Reports(caller, medium) for medium in to}
    sockets = {"audio": caller._audio, "video": caller._video}
    waiting = [(at, number, medium, data) for number, (at, medium, data) in enumerate(performance())]
    heapq.heapify(waiting)
    began, wall, told = time.monotonic(), time.time(), -1
    while waiting:
        at, _, medium, data = heapq.heappop(waiting)
        time.sleep(max(0.0, began + at - time.monotonic()))
        sockets[medium].sendto(data, (ports.ADDRESS, to[medium]))
        if int(at) > told:
            told = int(at)
            reports["audio"].tell(0x5051, wall + told, 0xFFFF_F000 + told * 8000, to["audio"] + 1)
            reports["video"].tell(0x5052, wall + told, 0xFFFF_F000 + told * 90_000, to["video"] + 1)
    for report in reports.values():
        report.socket.close()


def unbroken(heard: list[Heard]) -> list[list[Heard]]:
    """Sound in parts: where the exchange filled a pause of the road with silence its clock was set anew, and the next report says so."""
    parts: list[list[Heard]] = [[]]
    for packet in heard:
        if packet.payload_type != 8 or packet.payload == FILL:
            parts.append([])
        else:
            parts[-1].append(packet)
    return [part for part in parts if len(part) > 50]


def skews(heard: list[Heard], pictures: list[Heard], told: dict[str, list[tuple[float, int]]]) -> list[float]:
    """By how much sound is behind the picture of its moment, each beep by the reports that hold for its part."""
    flashes_at = shown(pictures, least(told["video"], 90_000))
    wall = time.time() - time.monotonic()
    found = []
    for part in unbroken(heard):
        valid = [report for report in told["audio"] if part[0].at <= report[0] - wall <= part[-1].at + FRAME]
        if valid:
            found += [within(at, flashes_at) for at in beeps(part, least(valid, 8000))]
    return found


def beeps(heard: list[Heard], report: tuple[float, int]) -> list[float]:
    """When beeps begin, by the reports."""
    found: list[float] = []
    for packet in heard:
        loud = np.abs(sound.alaw(packet.payload).samples) > 4000
        if packet.payload_type != 8 or not loud.any():
            continue
        at = moment(report, packet.timestamp + int(np.argmax(loud)), 8000)
        if not found or at - found[-1] > 0.5:
            found.append(at)
    return found


def shown(pictures: list[Heard], report: tuple[float, int]) -> list[float]:
    """When flashes are, by the reports: the pictures that begin with parameter sets are the white ones."""
    return sorted({moment(report, p.timestamp, 90_000) for p in pictures if _begins_key(p.payload)})


def _begins_key(payload: bytes) -> bool:
    """Whether a payload begins with parameter sets, alone or in a STAP-A (RFC 6184 §5.7.1)."""
    kind = payload[0] & 0x1F
    return kind == SPS or (kind == STAP_A and payload[3] & 0x1F == SPS)


def within(beep: float, flashes_at: list[float]) -> float:
    """By how much the sound of a moment is behind its picture; AssertionError when that is noticed."""
    skew = beep - min(flashes_at, key=lambda at: abs(at - beep))
    assert -EARLY <= skew <= LATE, (skew, beep, flashes_at)
    return skew
