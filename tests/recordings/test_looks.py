"""Pictures of live calls, out of captures that still grow."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from recordings.capture import Capture
from recordings.leases import FOLDER, LEASE_SECONDS
from recordings.looks import Look, Looks, Tail
from recordings.pcapng import PcapngError
from tests.kit.evidence import CALLER, US_CALLER_AUDIO, US_CALLER_VIDEO, SyntheticCall, nanoseconds
from tests.kit.rtp_media import Rtp, pictures, sound

RED, BLUE = (200, 30, 30), (30, 30, 200)
VIDEO = ("198.51.100.7", 40_002)


def never() -> bool:
    return False


def colour(jpeg: bytes, tmp_path: Path) -> str:
    path = tmp_path / "seen.jpg"
    path.write_bytes(jpeg)
    with av.open(str(path)) as container:
        red, _, blue = np.median(
            next(iter(container.decode(video=0))).to_ndarray(format="rgb24")[60:], axis=(0, 1)
        )
    return "red" if red > blue else "blue"


def begun(folder: Path, name: str = "H264") -> Capture:
    """A live call: its events, and a capture that is open."""
    call = SyntheticCall(folder)
    call.negotiate_usual("PCMA", name)
    call.write()
    (folder / "call.pcapng").unlink()
    return Capture("call-1", str(folder))


def put(capture: Capture, *streams: list[Rtp]) -> None:
    for p in sorted((p for stream in streams for p in stream), key=lambda p: p.at):
        audio = p.data[1] & 0x7F == 8
        source, destination = (CALLER, US_CALLER_AUDIO) if audio else (VIDEO, US_CALLER_VIDEO)
        capture.packet(nanoseconds(p.at), source, destination, p.data)
    capture.flush(sync=False)


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    made = tmp_path / "evidence" / "call-1"
    made.mkdir(parents=True)
    return made


class Setting:
    def __init__(self, tmp_path: Path) -> None:
        self.now = 1_790_000_000.0
        self.spool = tmp_path / "spool"
        self.spool.mkdir()
        self.looks = Looks(tmp_path / "evidence", self.spool, stopping=never, wall=lambda: self.now)

    def lease(self, folder: Path, call: str = "call-1") -> Path:
        path = self.spool / FOLDER / f"{call}.json"
        path.write_text(json.dumps({"folder": str(folder)}))
        os.utime(path, (self.now, self.now))
        return path

    @property
    def picture(self) -> Path:
        return self.spool / FOLDER / "call-1.jpg"


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    made = Setting(tmp_path)
    yield made
    made.looks.close()


@pytest.mark.parametrize("name", ["H264", "H265", "VP8"])
def test_the_newest_picture_is_shown_and_follows_the_call(
    setting: Setting, tmp_path: Path, evidence: Path, name: str
) -> None:
    capture = begun(evidence, name)
    put(capture, pictures(name, 1.0, ssrc=2, colour=RED), sound("PCMA", 440, 1.0, ssrc=1))
    setting.lease(evidence)
    setting.looks.turn()
    assert colour(setting.picture.read_bytes(), tmp_path) == "red"
    first = setting.picture.stat().st_mtime_ns
    assert 0.8e9 < first - nanoseconds(0) <= 1.0e9, "the moment the newest picture came"
    put(capture, pictures(name, 1.0, ssrc=3, colour=BLUE, begin=1.0))
    setting.now += 0.3
    setting.looks.turn()
    assert setting.picture.stat().st_mtime_ns == first, "one a second"
    setting.now += 0.7
    setting.looks.turn()
    assert colour(setting.picture.read_bytes(), tmp_path) == "blue"
    capture.close()


@pytest.mark.parametrize("later", [LEASE_SECONDS + 0.1, -3600.0])
def test_a_lease_that_ran_out_leaves_nothing(
    setting: Setting, tmp_path: Path, evidence: Path, later: float
) -> None:
    """Also where the clock is set back: what nobody looks at any more would be read for an hour."""
    put(begun(evidence), pictures("H264", 0.5, ssrc=2, colour=RED))
    setting.lease(evidence)
    setting.looks.turn()
    assert setting.picture.exists()
    setting.now += later
    setting.looks.turn()
    assert list((setting.spool / FOLDER).iterdir()) == []


def test_nothing_is_shown_between_a_loss_and_the_next_key_frame(
    setting: Setting, tmp_path: Path, evidence: Path
) -> None:
    capture = begun(evidence)
    stream = pictures("H264", 2.0, ssrc=2, colour=RED)
    keys = [p for p in stream if p.at < 1.0]
    put(capture, keys[:1] + keys[2:])  # a part of the first key frame is missing
    look = Look(evidence)
    look.catch_up(never)
    seen = look.frame
    put(capture, pictures("H264", 0.5, ssrc=4, colour=BLUE, begin=2.0))
    look.catch_up(never)
    assert look.frame is not None
    assert look.frame is not seen
    assert look.moment >= nanoseconds(2.0)
    look.close()


def test_a_lease_outside_the_evidence_is_refused(setting: Setting, tmp_path: Path, evidence: Path) -> None:
    put(begun(evidence), pictures("H264", 0.5, ssrc=2, colour=RED))
    lease = setting.lease(tmp_path)
    setting.looks.turn()
    assert not lease.exists()
    assert not setting.picture.exists()


def test_a_broken_capture_ends_its_look_and_no_other(
    setting: Setting, tmp_path: Path, evidence: Path
) -> None:
    put(begun(evidence), pictures("H264", 0.5, ssrc=2, colour=RED))
    other = tmp_path / "evidence" / "aaaa"
    other.mkdir()
    (other / "events.jsonl").write_bytes(b"")
    (other / "call.pcapng").write_bytes(b"no capture at all")
    setting.lease(other, "aaaa")
    setting.lease(evidence)
    setting.looks.turn()
    assert setting.picture.exists()
    assert not (setting.spool / FOLDER / "aaaa.json").exists()


def test_a_tail_gives_each_packet_once_however_the_file_grows(tmp_path: Path) -> None:
    folder = tmp_path / "call-1"
    call = SyntheticCall(folder)
    call.caller_sound(sound("PCMA", 440, 1.0, ssrc=1))
    whole = (call.write() / "call.pcapng").read_bytes()
    growing = tmp_path / "growing"
    growing.write_bytes(b"")
    with growing.open("rb") as reader, growing.open("ab", buffering=0) as writer:
        tail, seen = Tail(reader), []
        for at in range(0, len(whole), 777):
            writer.write(whole[at : at + 777])
            seen += tail.take()
        assert tail.take() == []
    assert len(seen) == 50
    assert sorted({record.at_ns for record in seen}) == [record.at_ns for record in seen]


def test_a_tail_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"x" * 100)
    with file.open("rb") as reader, pytest.raises(PcapngError):
        Tail(reader).take()


def test_large_pictures_are_made_smaller(setting: Setting, tmp_path: Path, evidence: Path) -> None:
    put(begun(evidence), pictures("H264", 0.3, ssrc=2, colour=RED, size=(1280, 720)))
    setting.lease(evidence)
    setting.looks.turn()
    with av.open(str(setting.picture)) as container:
        frame = next(iter(container.decode(video=0)))
    assert (frame.width, frame.height) == (640, 360)


def test_it_runs_until_it_is_stopped(tmp_path: Path) -> None:
    waited: list[float] = []
    looks = Looks(tmp_path, tmp_path, stopping=lambda: len(waited) >= 2)
    begin = time.monotonic()
    looks.run(waited.append)
    assert len(waited) == 2
    assert time.monotonic() - begin < 5
