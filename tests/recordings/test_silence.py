import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recordings.silence as module
from recordings.events import EventLog
from recordings.manifest import seal_originals, state_derived
from recordings.silence import GRACE_NS, is_silence, prove
from recordings.verify import main
from rtp.codecs import silence
from rtp.packet_time import Bundle, chosen
from tests.kit.evidence import CALLER, US_CALLER_AUDIO, SyntheticCall
from tests.kit.rtp_media import START_NS, Packetizer, Rtp, sound

SILENT = {
    "PCMA": b"\xd5" * 160,
    "PCMU": b"\xff" * 160,
    "G722": b"\xfd" * 160,
    "OPUS": b"\xf8\xff\xfe",
    "AMR": bytes.fromhex("f449b1e0da0780"),
}
TYPES = {"PCMA": 8, "PCMU": 0, "G722": 9, "OPUS": 111, "AMR": 97}


def build(
    folder: Path,
    *,
    loud: tuple[float, ...] = (),
    codec: str = "PCMA",
    states: list[tuple[float, str]] | None = None,
    arrived: bool = False,
    negotiated: bool = True,
) -> Path:
    """A call of 4 s; silent mode by `states`; silence to the caller but for `loud` (s) and outside 1…3 s."""
    call = SyntheticCall(folder)
    call.caller_sound(sound("PCMA", 440, 0.2, ssrc=1))
    sender = Packetizer(TYPES[codec], 7)
    for number in range(200):
        at = number * 0.02
        talk = not arrived and not 1.0 <= at <= 3.0
        payload = b"\x12" * 160 if talk or any(abs(at - when) < 0.005 for when in loud) else SILENT[codec]
        packet: Rtp = sender.packet(at, payload, number * 160, marker=False)
        call.packets.append((packet.at, US_CALLER_AUDIO, CALLER, packet.data))
    if negotiated:
        call.negotiate("caller", "audio", US_CALLER_AUDIO[1], CALLER, codec)
    call.write()
    log = EventLog("call-1", str(folder), wall_ns=START_NS, mono=100.0)
    if arrived:
        log.append("call_arrived", {"silent": True}, wall_ns=START_NS, mono=100.0)
    for at, event in [(0.9, "silent_on"), (3.1, "silent_off")] if states is None else states:
        log.append(event, {"by": "d1"}, wall_ns=START_NS + round(at * 1e9), mono=100.0 + at)
    log.close()
    manifest = seal_originals(folder, "call-1", wall_ns=START_NS, people=[])
    state_derived(folder, manifest, state="made", failed=None, report={"senders": [], "ignored": 0})
    return folder


@pytest.mark.parametrize("codec", SILENT)
def test_silence_of_every_codec_is_proved(
    tmp_path: Path, codec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(tmp_path / "call", codec=codec)
    proof = prove(folder)
    assert proof.silent
    assert proof.spans == ((START_NS + 900_000_000 + GRACE_NS, START_NS + 3_100_000_000 - GRACE_NS),)
    assert 80 <= proof.packets <= 90
    assert main(["--silence", str(folder)]) == 0
    assert "SILENT" in capsys.readouterr().out


@pytest.mark.parametrize("codec", SILENT)
def test_one_loud_packet_is_found(tmp_path: Path, codec: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build(tmp_path / "call", codec=codec, loud=(2.0,))
    (loud,) = prove(folder).loud
    assert loud.codec == codec
    assert abs(loud.at_ns - START_NS - 2_000_000_000) < 5_000_000
    assert (loud.rms is None) == (codec not in module.SMALLEST)
    assert main(["--silence", "--lang", "zh", str(folder)]) == 1
    assert "静默不成立" in capsys.readouterr().out


def test_one_altered_packet_breaks_the_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build(tmp_path / "call")
    capture = folder / "call.pcapng"
    data = bytearray(capture.read_bytes())
    at = data.rfind(SILENT["PCMA"], 0, len(data) // 2)
    data[at + 5] ^= 0x20
    capture.write_bytes(data)
    assert main(["--silence", "--lang", "en", str(folder)]) == 1
    assert "call.pcapng" in capsys.readouterr().out


def test_a_call_that_arrives_silent_is_silent_from_the_first_packet(tmp_path: Path) -> None:
    folder = build(tmp_path / "call", arrived=True, states=[])
    assert prove(folder).packets == 200
    assert prove(folder).silent
    assert len(prove(build(tmp_path / "loud", arrived=True, states=[], loud=(0.0, 3.98))).loud) == 2


def test_the_caller_is_not_proved_loud_by_what_it_says_itself(tmp_path: Path) -> None:
    folder = build(tmp_path / "call", arrived=True, states=[])
    assert prove(folder).loud == ()


def test_without_silent_spans_nothing_is_to_be_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(tmp_path / "call", states=[])
    assert main(["--silence", "--lang", "en", str(folder)]) == 0
    assert "NOTHING TO PROVE" in capsys.readouterr().out


def test_without_the_callers_ports_nothing_is_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(tmp_path / "call", negotiated=False)
    assert main(["--silence", "--lang", "en", str(folder)]) == 1
    assert "NOT PROVED" in capsys.readouterr().out


def test_no_evidence_and_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--silence", str(tmp_path)]) == 2
    assert main(["--silence"]) == 2
    capsys.readouterr()


def test_json_tells_the_spans_and_the_loud_packets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(tmp_path / "call", loud=(2.0,))
    assert main(["--silence", "--json", str(folder)]) == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["silent"] is False
    assert len(told["loud"]) == 1


def test_it_stands_alone_beside_verify(tmp_path: Path) -> None:
    folder = build(tmp_path / "call")
    alone = tmp_path / "alone"
    alone.mkdir()
    source = Path(module.__file__).parent
    for name in ("verify.py", "silence.py"):
        shutil.copy(source / name, alone)
    command = [sys.executable, str(alone / "verify.py"), "--silence", "--lang", "en", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={}, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "SILENT" in ran.stdout


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        ("G722", b"\xfd" * 80 + b"\xfc"),
        ("OPUS", b"\xf9\xff\xfe"),
        ("PCMA", b""),
        ("PCMA", b"\xd5\x54"),
        ("OPUS", b"\xf8"),
        ("G729", b""),
    ],
)
def test_what_is_no_silence(codec: str, payload: bytes) -> None:
    assert not is_silence(codec, payload)


@pytest.mark.parametrize("ms", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("codec", [*SILENT, "AMR;octet-align=1"])
def test_silence_is_known_in_every_packet_it_may_leave_in(codec: str, ms: int) -> None:
    bundle = Bundle(codec, chosen(codec, ms, ms))
    made = [one for _ in range(6) for one, _ in bundle.push(silence(codec))]
    assert made
    assert all(is_silence(codec.partition(";")[0], one) for one in made)


def test_loudness_is_that_of_the_codec() -> None:
    from rtp import g711

    for code in range(256):
        assert module._alaw(code) == abs(int(g711.ALAW_TO_LINEAR[code]))
        assert module._ulaw(code) == abs(int(g711.ULAW_TO_LINEAR[code]))
