"""What the calls of this run left on disk is judged by programs of others (How it is shown, 8).

The last file to run: it looks at the evidence of every test before it.
"""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.live.kit import media, sound, tshark
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange, at110, evidence_in, read_events

CALLER, DESK = 440, 1000
VERIFY = Path(__file__).parents[2] / "recordings" / "verify.py"


def probe(file: Path) -> dict[str, Any]:
    """Ask ffprobe for streams and format; AssertionError when it complains."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{file}: {done.stderr}"
    assert not done.stderr.strip(), f"{file}: {done.stderr}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def folder(exchange: Exchange, media: media.Media, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence of one call of five seconds with sound and picture both ways."""
    where = tmp_path_factory.mktemp("evidence")
    person = exchange.dispatchers[0]
    host = Account(person.user, person.password, tone=DESK, picture="blue", auto_answer=True)
    guest = Account("eva", tone=CALLER, picture="red")
    with (
        Baresip(host, exchange=exchange.sip, folder=where / "desk", media=media) as desk,
        Baresip(guest, exchange=exchange.sip, folder=where / "caller", media=media) as caller,
    ):
        exchange.sign_in(person.user)
        caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
        call = exchange.call_of("eva", state="active")
        exchange.until(lambda: desk.heard.seconds > 5, "the call's sound stopped")
        caller.hang_up()
        exchange.wait_gone(call["call"])
    return exchange.evidence(call["call"])


def test_capture_holds_ladder_and_streams(folder: Path) -> None:
    ladder = tshark.ladder(folder / "call.pcapng")
    for step in ("INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"):
        assert step in ladder, ladder
    sip = tshark.fields(folder / "call.pcapng", ("udp.srcport", "sdp.media"), "sip.Method == INVITE")
    assert sip, "the caller's offer"
    offered = {int(media.split()[1]) for media in sip[0][1].split(",")}
    streams = tshark.streams(folder / "call.pcapng")
    received = [stream for stream in streams if stream.source in offered]
    sent = [stream for stream in streams if stream.destination in offered]
    for direction in (received, sent):
        assert sorted(stream.codec.lower() for stream in direction) == ["g711a", "h264"], streams
        assert all(stream.packets > 4 * 50 for stream in direction if stream.codec.lower() == "g711a"), (
            streams
        )
    assert all(stream.lost == 0 for stream in streams), streams


def test_film_has_the_picture_and_both_voices(folder: Path, tmp_path: Path) -> None:
    found = probe(folder / "call.mkv")
    kinds = [stream["codec_type"] for stream in found["streams"]]
    assert kinds.count("audio") == 2
    assert kinds.count("video") >= 1
    assert all(s["codec_name"] == "h264" for s in found["streams"] if s["codec_type"] == "video"), (
        "not re-encoded"
    )
    assert float(found["format"]["duration"]) > 4.5
    tones = []
    for track in range(2):
        wav = tmp_path / f"{track}.wav"
        subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-i",
                str(folder / "call.mkv"),
                "-map",
                f"0:a:{track}",
                "-ac",
                "1",
                str(wav),
            ],
            check=True,
        )
        tones.append(_tone(wav))
    assert sorted(round(tone, -1) for tone in tones) == [CALLER, DESK], "each party has a track of its own"


def _tone(wav: Path) -> float:
    return sound.read(wav).part(2, 4).tone


def test_snapshot_shows_the_caller(folder: Path) -> None:
    assert media.border(folder / "snapshot.jpg") == "red"


def test_events_tell_the_call(folder: Path) -> None:
    events = read_events(folder)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    names = [event["event"] for event in events]
    told = [name for name in names if name in {"call_arrived", "call_answered", "put_through", "call_ended"}]
    assert told == ["call_arrived", "call_answered", "put_through", "call_ended"], names


def test_the_api_gives_the_evidence(exchange: Exchange, folder: Path) -> None:
    answer = exchange.api("GET", f"/api/evidence/{folder.name}")
    text = json.dumps(answer)
    for name in ("call.pcapng", "events.jsonl", "manifest.json", "call.mkv", "snapshot.jpg"):
        assert name in text, answer


@pytest.mark.parametrize("name", ["call.pcapng", "events.jsonl", "manifest.json", "call.mkv", "snapshot.jpg"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_changed_byte_is_named(folder: Path, tmp_path: Path, name: str, place: float) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    assert at110("verify", copy).returncode == 0, "the untouched copy"
    data = bytearray((copy / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x01
    (copy / name).chmod(0o600)
    (copy / name).write_bytes(data)
    verdict = at110("verify", copy)
    assert verdict.returncode == 1, verdict.stdout
    assert name in verdict.stdout + verdict.stderr, verdict.stdout


@pytest.mark.limit(400)
def test_all_evidence_of_this_run_is_intact(states: list[Path], folder: Path, tmp_path: Path) -> None:
    folders = [one for state in states for one in evidence_in(state)]
    assert folder in folders
    with ThreadPoolExecutor(2) as pool:  # they wait for other programs
        problems = [problem for found in pool.map(_problems, folders) for problem in found]
    assert not problems, f"{len(problems)} problems in {len(folders)} folders:\n" + "\n".join(problems)
    # All at once: starting Wireshark for each takes longer than reading it. mergecap names the file it can't read.
    everything = tmp_path / "all.pcapng"
    captures = [one / "call.pcapng" for one in folders]
    merged = subprocess.run(
        ["mergecap", "-w", everything, *captures], capture_output=True, text=True, check=False
    )
    assert merged.returncode == 0, merged.stderr
    assert not merged.stderr.strip(), merged.stderr
    assert len(tshark.streams(everything)) >= 4, "sound and picture of the call above, both ways"


def _problems(folder: Path) -> list[str]:
    """Say what verify and ffprobe find wrong with the evidence of a call."""
    # The one file strangers are given; `at110 verify` is the same and was tried above.
    verdict = subprocess.run(
        [sys.executable, str(VERIFY), str(folder)], capture_output=True, text=True, check=False
    )
    problems = (
        [f"verify: {verdict.stdout.strip()[-400:]}{verdict.stderr[-400:]}"] if verdict.returncode else []
    )
    try:
        if (folder / "call.mkv").exists():
            probe(folder / "call.mkv")
    except AssertionError as error:
        problems.append(str(error))
    return [f"{folder}: {problem}" for problem in problems]
