"""Whatever a phone puts into its packets, the evidence verifies, the film can be made, and players read it (bar B10)."""

import json
import random
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings import pcapng
from recordings.manifest import seal_originals
from recordings.render import render
from recordings.verify import verify
from tests.kit.evidence import CALLER, CALLER_VIDEO, CODECS, US_CALLER_AUDIO, US_CALLER_VIDEO, SyntheticCall
from tests.kit.rtp_media import START_NS, Rtp, pictures, sound
from tests.kit.size import times

ROUNDS = times(3, 1_600)
"""Seconds of sound and picture in each of ten calls: three hundred packets a call in every run, a million in all at the bar's size."""
CODECS.setdefault("H263", (34, 90_000))
CODECS.setdefault("H263-1998", (96, 90_000))

DEEP = {
    "H264": (b"\x7c\x85", b"\x7c\x05", b"\x7c\x45", b"\x78\x00\x05", b"\x67", b"\x65", b"\x79", b"\x1f"),
    "H265": (
        b"\x62\x01\x93",
        b"\x62\x01\x13",
        b"\x62\x01\x53",
        b"\x60\x01\x00\x03",
        b"\x40\x01",
        b"\x26\x01",
        b"\x64\x01",
    ),
    "VP8": (b"\x90\x80\x00", b"\x90\xff", b"\x10\x00\x9d\x01\x2a", b"\x80\x80", b"\xff"),
    "H263": (b"\x00\x00\x00\x00", b"\x80\x00\x00\x00", b"\x40\xff"),
    "H263-1998": (b"\x04\x00", b"\x00\x00", b"\x07\xff\xff"),
}
"""First bytes that lead far into what reads them: fragments, aggregates, parameter sets, descriptors, key frames."""


def mutant(data: bytes, dice: random.Random, starts: tuple[bytes, ...]) -> bytes:
    """One packet as somebody would send it who wants to break its reader."""
    head, payload = data[:12], bytearray(data[12:])
    match dice.randrange(8):
        case 0:
            payload = payload[: dice.randrange(len(payload) + 1)]
        case 1:
            payload = bytearray(dice.choice(starts) + dice.randbytes(dice.choice((0, 1, 3, 40, 1400))))
        case 2:
            payload += dice.randbytes(dice.randrange(64))
        case 3:
            payload[: dice.randrange(8)] = dice.choice(starts)
        case 4:
            payload = bytearray(dice.choice((b"\x00", b"\xff", b"\x00\x00\x01")) * dice.randrange(400))
        case 5:
            head = head[:1] + bytes([head[1] ^ 0x80]) + head[2:]
        case 6:
            head = bytes([head[0] | dice.choice((0x0F, 0x10, 0x20, 0x3F))]) + head[1:]
        case _:
            for _ in range(dice.randrange(1, 20)):
                if payload:
                    payload[dice.randrange(len(payload))] = dice.randrange(256)
    return head + bytes(payload)


def again(packets: list[Rtp], clock: int, rounds: int) -> Iterator[Rtp]:
    """A second of packets as many times, in one stream."""
    for turn in range(rounds):
        for p in packets:
            _, sequence, timestamp = struct.unpack_from(">HHI", p.data)
            sequence, timestamp = (
                sequence + turn * len(packets) & 0xFFFF,
                timestamp + turn * clock & 0xFFFFFFFF,
            )
            yield Rtp(p.at + turn, p.data[:2] + struct.pack(">HI", sequence, timestamp) + p.data[8:])


def fuzzed(packets, dice, starts, share):
    for packet in packets:
        yield packet.at, mutant(packet.data, dice, starts) if dice.random() < share else packet.data
        if dice.random() < share / 4:
            yield packet.at + 0.001, dice.randbytes(dice.randrange(1, 60))


@pytest.mark.limit(60 + ROUNDS)
@pytest.mark.parametrize("share", [0.05, 0.7])
@pytest.mark.parametrize("name", ["H264", "H265", "VP8", "H263", "H263-1998"])
def test_fuzzed_payloads(tmp_path: Path, name: str, share: float) -> None:
    dice = random.Random(f"{name} {share}")
    like = name if name in {"H264", "H265", "VP8"} else "VP8"
    made = pictures(like, 1.0, ssrc=7, colour=(200, 30, 30), size=(160, 120))
    if name == "H263":  # its payload type is a static one (RFC 3551)
        made = [type(p)(p.at, bytes([p.data[0], p.data[1] & 0x80 | 34]) + p.data[2:]) for p in made]
    call = SyntheticCall(tmp_path)
    call.packets += [
        (at, CALLER_VIDEO, US_CALLER_VIDEO, data)
        for at, data in fuzzed(again(made, 90_000, ROUNDS), dice, DEEP[name], share)
    ]
    speech = sound("PCMA", 440, 1.0, ssrc=1)
    call.packets += [
        (at, CALLER, US_CALLER_AUDIO, data)
        for at, data in fuzzed(again(speech, 8000, ROUNDS), dice, (b"\x00",), share)
    ]
    call.negotiate_usual("PCMA", name)
    folder = call.write()
    film, picture = folder / "call.mkv", folder / "snapshot.jpg"
    report = render(folder, film, picture, call="call-1", original_sha256="ab" * 32)
    assert json.loads(json.dumps(report)) == report
    for file in (film, picture):
        if file.exists():
            done = subprocess.run(
                ["ffprobe", "-v", "error", "-show_format", str(file)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            file.unlink()  # derived files have their own place in the manifest (tests/recordings/test_recorder.py)
    seal_originals(folder, "call-1", wall_ns=START_NS)
    assert verify(folder).intact
    with (folder / "call.pcapng").open("rb") as capture:
        kept = Counter(one.data for one in pcapng.read(capture))
    sent = Counter(data for _, _, _, data in call.packets)
    assert not sent - kept, "what could not be understood is evidence too"
