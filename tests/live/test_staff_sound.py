"""Staff in a room, on a running media process: three phones with a tone each, and what each of them hears."""

import itertools
import socket
import time
from collections.abc import Callable

import numpy as np

from rtp import control as c
from rtp import g711
from rtp.packet import Packet, parse
from tests.kit.rtp_media import tone
from tests.live.kit.worker import (
    FRAME,
    PCMA,
    SILENT,
    MediaProcess,
    Phone,
    media,  # noqa: F401 - a fixture
)

TONES = {"desk": 500, "caller": 900, "fire": 1300}
ROLES: dict[str, c.Role] = {"desk": "host", "caller": "guest", "fire": "staff"}
WAVES = {name: tone(hz, 1, 8000, level=0.2) for name, hz in TONES.items()}
WINDOW = 25
"""Packets in which the tones are looked for: half a second."""
PATIENCE = 20.0


class Talk:
    """Three phones that talk all the time and keep what they hear."""

    def __init__(self, media: MediaProcess) -> None:  # noqa: F811
        self.phones = {name: Phone(ssrc=hz) for name, hz in TONES.items()}
        self.heard: dict[str, list[Packet]] = {name: [] for name in TONES}
        for name, phone in self.phones.items():
            media.leg(name, phone, codecs=(PCMA,))
            media.signalling.send(c.Join("room", name, ROLES[name]))
        media.settle()
        self._number = 0

    def until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"{what}: { ({n: self.hears(n) for n in TONES}) }"
            begin = time.monotonic()
            for name, phone in self.phones.items():
                wave = WAVES[name][self._number * 160 % 8000 :][:160]
                phone.say(g711.encode_alaw(wave))
            self._number += 1
            for name, phone in self.phones.items():
                self.heard[name] += waiting(phone)
            time.sleep(max(0.0, begin + FRAME - time.monotonic()))

    def hears(self, name: str, since: int = 0) -> set[str]:
        return audible(self.heard[name][since:][-WINDOW:])

    def stage(self, **wanted: set[str]) -> dict[str, int]:
        """Talk on until each phone hears just this; where each one's packets began."""
        began = {name: len(heard) for name, heard in self.heard.items()}

        def reached() -> bool:
            return all(
                len(self.heard[name]) >= began[name] + WINDOW and self.hears(name, began[name]) == others
                for name, others in wanted.items()
            )

        self.until(reached, str(wanted))
        return began


def waiting(phone: Phone) -> list[Packet]:
    """What has arrived so far."""
    packets = []
    while True:
        try:
            packets.append(parse(phone.rtp.recv(9000, socket.MSG_DONTWAIT)))
        except BlockingIOError:
            return packets


def audible(packets: list[Packet]) -> set[str]:
    if len(packets) < WINDOW:
        return set()
    wave = np.concatenate([g711.decode_alaw(packet.payload) for packet in packets]).astype(float)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) / len(wave) * 4
    strength = {
        name: spectrum[round(hz * len(wave) / 8000) - 1 : round(hz * len(wave) / 8000) + 2].max()
        for name, hz in TONES.items()
    }
    return {name for name, level in strength.items() if level > 0.03 * 32767}


def unbroken(packets: list[Packet]) -> None:
    assert len({packet.ssrc for packet in packets}) == 1
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert 0 < (after.timestamp - before.timestamp) & 0xFFFFFFFF < 0x8000_0000


def test_staff_listen_whisper_and_barge(media: MediaProcess) -> None:  # noqa: F811
    talk = Talk(media)
    both = {"desk", "caller"}
    talk.stage(desk={"caller"}, caller={"desk"}, fire=both)
    media.signalling.send(c.SetStaff("fire", "whisper"))
    media.settle()
    began = talk.stage(desk={"caller", "fire"}, caller={"desk"}, fire=both)
    whispered = talk.heard["caller"][began["caller"] :]
    for start in range(0, len(whispered) - WINDOW + 1, 5):
        assert "fire" not in audible(whispered[start : start + WINDOW]), "a whisper reached the guest"
    media.signalling.send(c.SetStaff("fire", "barge"))
    media.settle()
    talk.stage(desk={"caller", "fire"}, caller={"desk", "fire"}, fire=both)

    media.signalling.send(c.SetGates("caller", silent=True, host_picture=False))
    media.settle()
    talk.until(lambda: talk.heard["caller"][-WINDOW:][0].payload == SILENT, "silent mode is not in force")
    began = talk.stage(desk={"caller", "fire"}, caller=set(), fire=both)
    assert {packet.payload for packet in talk.heard["caller"][began["caller"] :]} == {SILENT}

    media.signalling.send(c.SetGates("caller", silent=False, host_picture=True), c.Leave("fire"))
    media.settle()
    talk.stage(desk={"caller"}, caller={"desk"}, fire=set())
    for name in ("desk", "caller", "fire"):
        unbroken(talk.heard[name])
