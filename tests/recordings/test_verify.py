import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recordings.verify as module
from recordings.manifest import read_manifest, seal_originals, state_derived, write_manifest
from recordings.verify import NotEvidenceError, Problem, main, verify
from tests.kit.evidence import SyntheticCall, names
from tests.kit.rtp_media import START_NS, sound

FILES = ("call.pcapng", "events.jsonl", "manifest.json", "call.mkv", "snapshot.jpg")


def build(folder: Path) -> Path:
    """The evidence of a call of half a second, with derived files in name."""
    call = SyntheticCall(folder)
    call.caller_sound(sound("PCMA", 440, 0.5, ssrc=1))
    call.negotiate_usual("PCMA", None)
    call.signalling("PCMA", None)
    call.sip.append((0.4, ("2001:db8::1", 5060), ("2001:db8::2", 5060), "tcp", b"BYE sip:x SIP/2.0\r\n\r\n"))
    call.write()
    manifest = seal_originals(
        folder, "call-1", wall_ns=START_NS, people=[{"role": "caller", "name": "王小明"}]
    )
    (folder / "call.mkv").write_bytes(b"a film of a kind" * 40)
    (folder / "snapshot.jpg").write_bytes(b"\xff\xd8picture\xff\xd9")
    state_derived(folder, manifest, state="made", failed=None, report={"senders": [], "ignored": 0})
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("evidence") / "call-1")


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "call-1"))


def named(folder: Path) -> set[tuple[str, str]]:
    verdict = verify(folder)
    assert verdict.intact == (not verdict.problems)
    return {(problem.file, problem.what) for problem in verdict.problems}


def test_untouched_evidence_is_intact(good: Path) -> None:
    verdict = verify(good)
    assert verdict.problems == ()
    assert verdict.intact
    assert set(verdict.files) == set(FILES) - {"manifest.json"}
    assert verdict.call == "call-1"


@pytest.fixture(scope="module")
def scratch(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that every example leaves as it was."""
    return Path(shutil.copytree(good, tmp_path_factory.mktemp("scratch") / "call-1"))


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_any_changed_byte_is_named(scratch: Path, name: str, place: float, flip: int) -> None:
    path = scratch / name
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    data[at] ^= flip
    try:
        path.write_bytes(data)
        assert name in {file for file, _what in named(scratch)}
    finally:
        data[at] ^= flip
        path.write_bytes(data)


def test_every_byte_of_the_manifest_counts(good: Path, tmp_path: Path) -> None:
    whole = (good / "manifest.json").read_bytes()
    path = tmp_path / "manifest.json"
    for at in range(len(whole)):
        flip = (0x01, 0x20, 0x80)[at % 3]  # another digit, another case, no ASCII
        path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
        problems: list[Problem] = []
        module._manifest(tmp_path, problems)
        assert [problem.file for problem in problems] == ["manifest.json"], at


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
)
def test_cut_longer_empty_or_gone(copy: Path, name: str, change: Callable[[Path], None]) -> None:
    change(copy / name)
    assert name in {file for file, _what in named(copy)}


def test_each_kind_of_problem_has_its_word(copy: Path) -> None:
    (copy / "call.mkv").unlink()
    (copy / "letter.txt").write_text("hello")
    (copy / "folder").mkdir()
    (copy / "snapshot.jpg").unlink()
    (copy / "snapshot.jpg").symlink_to("/etc/hostname")
    assert named(copy) == {
        ("call.mkv", "missing"),
        ("letter.txt", "unexpected"),
        ("folder", "unexpected"),
        ("snapshot.jpg", "unreadable"),
    }


def test_a_pipe_does_not_hang_it(copy: Path) -> None:
    (copy / "events.jsonl").unlink()
    os.mkfifo(copy / "events.jsonl")
    assert ("events.jsonl", "unreadable") in named(copy)


def test_without_manifest_it_is_not_sealed(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    assert named(copy) == {("manifest.json", "unsealed")}


def test_what_is_no_evidence(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", Path("/etc/hostname")):
        with pytest.raises(NotEvidenceError):
            verify(path)


def reseal(folder: Path) -> None:
    """Make a manifest that fits whatever is there: only structure can still tell."""
    (folder / "manifest.json").unlink()
    for name in ("call.mkv", "snapshot.jpg"):
        (folder / name).unlink()
    seal_originals(folder, "call-1", wall_ns=START_NS)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda d: d[:-1], "cut off"),
        (lambda d: d[:-8], "cut off"),
        (lambda d: b"", "empty"),
        (lambda d: b"\x00" + d[1:], "no section header"),
        (lambda d: d + b"\x00\x00\x00\x06\x00\x00\x00\x0d\x00\x00\x00\x0d", "impossible length"),
        (lambda d: d[:-1] + b"\x01", "two lengths differ"),
        (lambda d: d + bytes.fromhex("00000006 00000010 00000000 00000010"), "too short"),
        (lambda d: d + bytes.fromhex("00000006 00000020 00000007") + bytes(16) + bytes.fromhex("00000020"), "not described"),
        (lambda d: d + bytes.fromhex("00000006 00000020 00000000") + b"\xff" * 16 + bytes.fromhex("00000020"), "longer than its block"),
        (lambda d: d + bytes.fromhex("00000006 00000020 00000000") + bytes(16) + bytes.fromhex("00000020"), "no IP packet"),
    ],
)  # fmt: skip
def test_a_capture_that_is_not_well_formed(copy: Path, change: Callable[[bytes], bytes], detail: str) -> None:
    path = copy / "call.pcapng"
    path.write_bytes(change(path.read_bytes()))
    reseal(copy)
    [problem] = verify(copy).problems
    assert (problem.file, problem.what) == ("call.pcapng", "damaged")
    assert detail in problem.detail


def test_headers_in_the_capture_must_fit_their_payload(copy: Path) -> None:
    path = copy / "call.pcapng"
    data = path.read_bytes()
    for text in (b"a=rtpmap:8", b"BYE sip:x"):
        assert text in data
        path.write_bytes(data.replace(text, text.swapcase(), 1))
        reseal_and_back = read_manifest(copy)
        assert reseal_and_back is not None
        details = [p.detail for p in verify(copy).problems if p.what == "damaged"]
        assert len(details) == 1
        assert "UDP checksum" in details[0]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda d: d[:-1], "line 5: cut off"),
        (lambda d: d.replace(b'"seq":2', b'"seq":3'), "line 2: is not event 2"),
        (lambda d: d.replace(b'{"seq":3', b'["seq",3'), "line 3: is not JSON"),
        (lambda d: b"".join(d.splitlines(keepends=True)[1:]), "line 1: is not event 1"),
        (lambda d: d + b"[6]\n", "line 6: is not event 6"),
        (lambda d: d + b"[" * 100_000 + b"\n", "line 6: is not JSON"),
    ],
)
def test_a_log_that_is_not_well_formed(copy: Path, change: Callable[[bytes], bytes], detail: str) -> None:
    path = copy / "events.jsonl"
    assert path.read_bytes().count(b"\n") == 5 - 1
    path.write_bytes(path.read_bytes() + b'{"seq":5}\n')
    path.write_bytes(change(path.read_bytes()))
    reseal(copy)
    assert verify(copy).problems == (Problem("events.jsonl", "damaged", detail),)


def test_a_manifest_with_hostile_names(copy: Path) -> None:
    manifest = read_manifest(copy)
    assert manifest is not None
    files = manifest["original"]["files"]
    for name in ("../x", "/etc/passwd", "", "..", "manifest.json", "a\0b/c"):
        files[name] = {"sha256": "0" * 64, "bytes": 1}
    files["odd"] = {"sha256": 5}
    del manifest["derived"]["files"]
    write_manifest(copy, manifest)
    problems = verify(copy).problems
    assert len([p for p in problems if p.file == "manifest.json" and p.what == "damaged"]) == 8
    assert {p.file for p in problems if p.what == "unexpected"} == {"call.mkv", "snapshot.jpg"}


def test_a_format_of_the_future_is_not_judged_intact(copy: Path) -> None:
    manifest = read_manifest(copy)
    assert manifest is not None
    write_manifest(copy, {**manifest, "format": 2})
    assert ("manifest.json", "unreadable") in named(copy)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_manifest_is_survived(scratch: Path, data: bytes) -> None:
    path = scratch / "manifest.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(data)
        assert not verify(scratch).intact
    finally:
        path.write_bytes(whole)


# --- command line -----------------------------------------------------------------------------------------------


def test_exit_status_and_languages(copy: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert main([str(copy)]) == 0
    assert "完整:" in capsys.readouterr().out
    assert main([str(copy), "--lang", "en"]) == 0
    assert "INTACT" in capsys.readouterr().out
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    (copy / "call.mkv").write_bytes(b"x")
    assert main([str(copy)]) == 1
    out = capsys.readouterr().out
    assert "call.mkv: changed since it was recorded (1 bytes instead of 640)" in out
    assert "NOT INTACT" in out
    assert main(["--lang=zh", str(copy)]) == 1
    assert "call.mkv: 录制之后被改动" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 2
    assert main([str(tmp_path / "none")]) == 2
    assert main([]) == 2
    assert main(["--nonsense", str(copy)]) == 2
    assert main(["--help"]) == 0


def test_json_says_the_same(copy: Path, tmp_path: Path, capsys) -> None:
    assert main(["--json", str(copy)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["intact"] is True
    assert found["problems"] == []
    assert found["files"]["call.mkv"] == 640
    (copy / "call.mkv").unlink()
    assert main(["--json", str(copy)]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == [
        {"file": "call.mkv", "what": "missing", "detail": ""}
    ]
    assert main(["--json", str(tmp_path)]) == 2
    assert json.loads(capsys.readouterr().out)["intact"] is None


def test_a_failed_render_is_told_but_is_no_breach(copy: Path, capsys) -> None:
    manifest = read_manifest(copy)
    assert manifest is not None
    state_derived(copy, manifest, state="failed", failed="no decoder", report={})
    assert main([str(copy), "--lang", "en"]) == 0
    assert "no decoder" in capsys.readouterr().out


def test_both_languages_have_every_text() -> None:
    assert module.TEXT["en"].keys() == module.TEXT["zh"].keys()


def test_one_file_alone_is_enough(copy: Path, tmp_path: Path) -> None:
    """Copied elsewhere, with no site packages, no environment, no package around it, in a bare locale."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(module.__file__, elsewhere / "verify.py")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", "verify.py", *arguments],
            cwd=elsewhere, env={"LANG": "C"}, capture_output=True, text=True, check=False, encoding="utf-8",
        )  # fmt: skip

    done = run(str(copy))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"INTACT: {copy}: 4 files, call call-1"
    data = bytearray((copy / "call.pcapng").read_bytes())
    data[random.Random(3).randrange(len(data))] ^= 1
    (copy / "call.pcapng").write_bytes(data)
    done = run("--lang", "zh", str(copy))
    assert done.returncode == 1
    assert "✗ call.pcapng: 录制之后被改动" in done.stdout
    assert run(str(elsewhere)).returncode == 2
    assert names(elsewhere) == ["verify.py"]
