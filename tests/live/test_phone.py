"""The scripted phones against strangers: baresip answers them, SIPp asks them everything that may be asked in a call."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.media import Media
from tests.live.kit.sipp import Sipp

ROOT = Path(__file__).parents[2]
FAR = ("127.0.0.1", 9)


class Running:
    """One scripted phone in a process of its own."""

    def __init__(self, command: str, *arguments: str) -> None:
        code = f"import sys; from pbx.phone.{command} import main; sys.exit(main(sys.argv[1:]))"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "LANG": "en_US.UTF-8"},
        )  # fmt: skip
        self.said = ""

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self, timeout: float = 30) -> tuple[int, dict[str, Any]]:
        """Wait for the end: exit code and report."""
        try:
            out, self.said = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, self.said = self._process.communicate()
            raise TimeoutError(f"the phone goes on:\n{self.said}\n{out}") from None
        lines = out.splitlines()
        assert len(lines) == 1, f"{out}\n{self.said}"
        return self._process.returncode, json.loads(lines[0])


NewPhone = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[NewPhone]:
    """`start("caller", "--seconds", "3")`."""
    made: list[Running] = []

    def new(command: str, *arguments: str) -> Running:
        made.append(Running(command, *arguments))
        return made[-1]

    yield new
    for one in made:
        one._process.kill()
        one._process.communicate()


@pytest.fixture
def bob(media: Media, tmp_path: Path) -> Iterator[Baresip]:
    account = Account("bob", tone=1000, picture="blue", auto_answer=True, audio_codecs="opus,pcma")
    with Baresip(account, exchange=FAR, folder=tmp_path / "bob", media=media) as phone:
        yield phone


@pytest.mark.parametrize("audio", ["pcma", "opus"])
def test_sound_and_picture_both_ways(audio: str, media: Media, tmp_path: Path, start: NewPhone) -> None:
    account = Account("bob", tone=1000, picture="blue", auto_answer=True, audio_codecs=audio)
    with Baresip(account, exchange=FAR, folder=tmp_path / "bob", media=media) as bob:
        place = f"127.0.0.1:{bob.sip_port}"
        caller = start("caller", "--server", place, "--to", f"sip:bob@{place}", "--seconds", "4")
        bob.wait("CALL_ESTABLISHED")
        bob.wait_to_hear(440)
        picture = bob.snapshot()
        code, report = caller.end()
        bob.wait("CALL_CLOSED")
    assert picture.stat().st_size > 5000, "the test card is no plain grey"
    assert code == 0
    assert (report["sip_status"], report["ended_by"]) == (200, "us")
    assert report["tone_hz"] == pytest.approx(1000, abs=3)
    assert report["rms"] > 3000
    assert report["frames_decoded"] > 20
    for medium, least in (("audio", 180), ("video", 40)):
        counts = report["media"][medium]
        assert counts["sent"] >= least
        assert counts["received"] >= least
        assert counts["lost"] == 0
    times = report["times_ms"]
    assert 0 < times["answered"] < times["first_audio"] < 2000
    assert times["first_video"] < 3000


def test_a_phone_without_camera(bob: Baresip, start: NewPhone) -> None:
    place = f"127.0.0.1:{bob.sip_port}"
    caller = start(
        "caller", "--server", place, "--to", f"sip:bob@{place}", "--seconds", "2", "--audio-only", "--json"
    )
    code, report = caller.end()
    assert code == 0
    assert caller.said == ""
    assert report["media"]["video"] == {"sent": 0, "received": 0, "lost": 0}
    assert report["media"]["audio"]["received"] > 60


def test_hung_up_by_the_other_side(bob: Baresip, start: NewPhone) -> None:
    place = f"127.0.0.1:{bob.sip_port}"
    caller = start("caller", "--server", place, "--to", f"sip:bob@{place}")
    bob.wait("CALL_ESTABLISHED")
    bob.wait_to_hear(440)
    bob.hang_up()
    code, report = caller.end(10)
    assert (code, report["ended_by"]) == (0, "peer")


def test_held_by_the_other_side(bob: Baresip, start: NewPhone) -> None:
    place = f"127.0.0.1:{bob.sip_port}"
    caller = start("caller", "--server", place, "--to", f"sip:bob@{place}", "--seconds", "6")
    bob.wait("CALL_ESTABLISHED")
    bob.wait_to_hear(440)
    bob.command("hold")
    time.sleep(1.5)
    bob.command("resume")
    code, report = caller.end()
    assert code == 0
    # 6 s are 300 packets of 20 ms; while held we send none
    assert 190 < report["media"]["audio"]["sent"] < 265
    assert "refused" not in caller.said


def test_interrupted(bob: Baresip, start: NewPhone) -> None:
    place = f"127.0.0.1:{bob.sip_port}"
    caller = start("caller", "--server", place, "--to", f"sip:bob@{place}")
    bob.wait("CALL_ESTABLISHED")
    caller.interrupt()
    code, report = caller.end(8)
    assert (code, report["ended_by"]) == (0, "interrupt")
    bob.wait("CALL_CLOSED")


def test_a_desk_signs_in_and_answers_all_that_is_asked(tmp_path: Path, start: NewPhone) -> None:
    with Sipp("phone_is_asked", exchange=FAR, folder=tmp_path / "sipp", calls=2) as sipp:
        place = f"127.0.0.1:{sipp.sip_port}"
        desk = start("desk", "--user", "d1", "--password", "secret-1", "--server", place)
        code, report = desk.end()
        sipp.wait(10).check(2)
    assert (code, report["role"], report["ended_by"]) == (0, "desk", "peer")
    assert (report["sip_status"], report["evidence_id"]) == (200, "20261122-0001")
    assert report["messages"] == ["You are number 1 in the queue."]
    assert "signed in" in desk.said
    assert "key frame" in desk.said
    times = report["times_ms"]
    assert 0 < times["trying"] <= times["answered"]
    # Refused at first, the picture came with the second offer and lasted 1.5 s.
    assert report["media"]["video"]["sent"] > 10


def test_a_wrong_password(tmp_path: Path, start: NewPhone) -> None:
    with Sipp("phone_is_asked", exchange=FAR, folder=tmp_path / "sipp", calls=1) as sipp:
        place = f"127.0.0.1:{sipp.sip_port}"
        desk = start("desk", "--user", "d1", "--password", "secret-2", "--server", place)
        code, report = desk.end()
        sipp.wait(10).check(1)
    assert (code, report["sip_status"], report["ended_by"]) == (1, 401, "refused")
    assert report["times_ms"]["answered"] is None


def test_nobody_there(start: NewPhone) -> None:
    place = f"127.0.0.1:{ports.block(2)}"
    caller = start("caller", "--server", place, "--seconds", "1")
    code, report = caller.end(10)
    assert (code, report["sip_status"], report["ended_by"]) == (1, None, "us")
