import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import recordings.recorder as module
from recordings.capture import Capture
from recordings.manifest import read_manifest
from recordings.recorder import Recorder, RecorderSettings, drop
from recordings.render import CancelledError
from recordings.spool import Job, Spool
from recordings.store import set_up
from recordings.verify import verify
from tests.kit.evidence import SyntheticCall, names
from tests.kit.rtp_media import pictures, sound


@pytest.fixture
def settings(tmp_path: Path) -> RecorderSettings:
    return RecorderSettings(
        evidence=str(tmp_path / "evidence"), spool=str(tmp_path / "spool"), poll_seconds=0.01
    )


@pytest.fixture
def recorder(settings: RecorderSettings) -> Recorder:
    made = Recorder(settings)
    made.prepare()
    return made


def call(settings: RecorderSettings, name: str = "call-1", *, picture: bool = True) -> Path:
    """The originals of a finished call, handed over."""
    folder = Path(settings.evidence) / name
    made = SyntheticCall(folder, call=name)
    made.caller_sound(sound("PCMA", 440, 0.6, ssrc=1))
    if picture:
        made.caller_picture(pictures("H264", 0.6, ssrc=2, colour=(0, 0, 200), size=(176, 144)))
    made.negotiate_usual("PCMA", "H264" if picture else None)
    made.write()
    drop(settings.spool, name, str(folder), people=({"role": "caller", "identity": "sip:a@example.org"},))
    return folder


def spool(settings: RecorderSettings) -> list[str]:
    return names(settings.spool)


def derived(folder: Path) -> dict:
    manifest = read_manifest(folder)
    assert manifest is not None
    found: dict = manifest["derived"]
    return found


def test_a_finished_call_is_sealed_rendered_and_leaves_the_spool(settings, recorder) -> None:
    folder = call(settings)
    assert recorder.turn()
    assert names(folder) == [
        "call.mkv",
        "call.pcapng",
        "events.jsonl",
        "manifest.json",
        "snapshot.jpg",
    ]
    assert verify(folder).intact
    assert derived(folder)["state"] == "made"
    assert derived(folder)["failed"] is None
    assert derived(folder)["report"]["film"]["pictures"] == 9
    assert (folder / "call.mkv").stat().st_mode & 0o777 == 0o600
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest["people"][0]["identity"] == "sip:a@example.org"
    assert spool(settings) == []
    assert names(settings.evidence) == ["call-1"]
    assert not recorder.turn(), "nothing left to do"


def test_originals_of_all_calls_are_hashed_before_the_first_render(settings, recorder, monkeypatch) -> None:
    folders = [call(settings, f"call-{n}", picture=False) for n in range(3)]
    rendered = []

    def look(*arguments, **more):
        rendered.append(arguments[0].name)
        assert all((folder / "manifest.json").exists() for folder in folders)
        return real(*arguments, **more)

    real = module.render
    monkeypatch.setattr(module, "render", look)
    assert [recorder.turn() for _ in range(4)] == [True, True, True, False]
    assert rendered == ["call-0", "call-1", "call-2"], "oldest first"
    assert all(verify(folder).intact for folder in folders)


def test_a_call_without_media_has_nothing_to_derive(settings, recorder) -> None:
    folder = Path(settings.evidence) / "call-1"
    SyntheticCall(folder).write()
    drop(settings.spool, "call-1", str(folder))
    recorder.turn()
    assert derived(folder)["state"] == "nothing"
    assert verify(folder).intact
    assert spool(settings) == []


def test_a_call_without_capture_says_so(settings, recorder) -> None:
    folder = call(settings)
    (folder / "call.pcapng").unlink()
    recorder.turn()
    assert derived(folder)["failed"] == "there is no capture"
    assert spool(settings) == []
    assert verify(folder).intact


def test_a_failing_render_is_tried_three_times_then_stated(settings, recorder, monkeypatch) -> None:
    folder, other = call(settings), call(settings, "call-2", picture=False)
    real = module.render
    tries = []

    def failing(where, *arguments, **more):
        tries.append(where.name)
        if where.name == "call-1":
            raise ValueError("a fault of its own")
        return real(where, *arguments, **more)

    monkeypatch.setattr(module, "render", failing)
    with capture_logs() as logs:
        while recorder.turn():
            pass
    assert tries == ["call-1", "call-2", "call-1", "call-1"], "a failing one waits behind the others"
    assert derived(folder)["state"] == "failed"
    assert derived(folder)["failed"] == "ValueError: a fault of its own"
    assert derived(other)["state"] == "made"
    assert verify(folder).intact
    assert verify(folder).failed == "ValueError: a fault of its own"
    assert spool(settings) == []
    assert names(settings.evidence) == ["call-1", "call-2"]
    assert [entry["event"] for entry in logs if entry.get("call") == "call-1"] == [
        "evidence_sealed", "render_failed", "render_failed", "render_failed", "render_given_up",
    ]  # fmt: skip


def test_a_render_that_kills_the_process_counts_too(settings, monkeypatch) -> None:
    folder = call(settings)

    class Killed(BaseException):
        pass

    def deadly(*_arguments, **_more):
        raise Killed

    monkeypatch.setattr(module, "render", deadly)
    for _ in range(3):
        made = Recorder(settings)
        made.prepare()
        with pytest.raises(Killed):
            made.turn()
        assert spool(settings) == ["call-1.json"]
    made = Recorder(settings)
    assert made.turn()
    assert derived(folder)["failed"] == "the renderer ended the process"
    assert spool(settings) == []


@pytest.mark.parametrize("after", ["seal", "move", "state"])
def test_a_crash_in_between_is_repaired(settings, monkeypatch, after: str) -> None:
    folder = call(settings)

    class Crash(BaseException):
        pass

    def crash(*_arguments, **_more):
        raise Crash

    target = {"seal": "render", "move": "state_derived"}.get(after)
    first = Recorder(settings)
    first.prepare()
    if target is not None:
        monkeypatch.setattr(module, target, crash)
    else:
        monkeypatch.setattr(Recorder, "_finish", crash)
    with pytest.raises(Crash):
        first.turn()
    monkeypatch.undo()
    (Path(settings.evidence) / f"{module.MAKING}call-1").mkdir(exist_ok=True)  # what kill -9 leaves
    second = Recorder(settings)
    second.prepare()
    assert second.turn()
    assert verify(folder).intact
    assert derived(folder)["state"] == "made"
    assert spool(settings) == []
    assert names(settings.evidence) == ["call-1"]


def test_changed_originals_are_refused_not_sealed_again(settings, recorder, monkeypatch) -> None:
    folder = call(settings)
    monkeypatch.setattr(Recorder, "_derive", lambda *_arguments: None)
    recorder.turn()
    monkeypatch.undo()
    data = bytearray((folder / "call.pcapng").read_bytes())
    data[-20] ^= 1
    (folder / "call.pcapng").write_bytes(data)
    with capture_logs() as logs:
        assert not Recorder(settings).turn()
    assert logs[0]["event"] == "spool_file_refused"
    assert spool(settings) == ["call-1.json.refused"]
    assert not verify(folder).intact


def test_stopping_leaves_the_call_for_the_next_start(settings, monkeypatch) -> None:
    folder = call(settings)

    def stopped(*_arguments, **_more):
        raise CancelledError

    monkeypatch.setattr(module, "render", stopped)
    for _ in range(5):
        Recorder(settings).turn()
    monkeypatch.undo()
    assert json.loads((Path(settings.spool) / "call-1.json").read_bytes())["tries"] == 0, (
        "no fault of the call's"
    )
    assert not Recorder(settings, stopping=lambda: True).turn()
    assert spool(settings) == ["call-1.json"]
    assert Recorder(settings).turn()
    assert derived(folder)["state"] == "made"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"call": 1, "folder": 2}', b'{"call": "x", "folder": "/etc"}',
     b'{"call": "x", "folder": "EVIDENCE"}', b'{"call": "x", "folder": "EVIDENCE/none"}',
     b'{"call": "x", "folder": "EVIDENCE/../spool"}', b'{"call": "x", "folder": "EVIDENCE/x", "people": 5}'],
)  # fmt: skip
def test_spool_files_that_can_not_be_served_are_put_aside(settings, recorder, content: bytes) -> None:
    (Path(settings.spool) / "x.json").write_bytes(content.replace(b"EVIDENCE", settings.evidence.encode()))
    (Path(settings.spool) / ".draft.json").write_bytes(b"half")
    folder = call(settings)
    assert recorder.turn()
    assert verify(folder).intact
    assert spool(settings) == [".draft.json", "x.json.refused"]


def test_a_disk_that_refuses_is_told_once_and_tried_again(settings, recorder, monkeypatch) -> None:
    folder = call(settings)

    def full(*_arguments, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "seal_originals", full)
    with capture_logs() as logs:
        assert [recorder.turn() for _ in range(3)] == [False, False, False]
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("seal_failed", "[Errno 28] No space left on device")
    ]
    monkeypatch.undo()
    monkeypatch.setattr(module, "state_derived", full)
    assert not recorder.turn()
    monkeypatch.undo()
    assert recorder.turn()
    assert verify(folder).intact


def test_what_a_media_process_still_writes_is_sealed_when_it_has_closed_it(settings, recorder) -> None:
    """Signalling ended, or gave up, while the disk hung: a seal now would not fit what is written yet."""
    folder = call(settings)
    capture = Capture("call-1", str(folder))
    with capture_logs() as lines:
        assert not recorder.turn()
        assert not recorder.turn()
    assert [line["event"] for line in lines] == ["capture_in_use"]
    assert not (folder / "manifest.json").exists()
    capture.sip(1_800_000_000_000_000_000, ("192.0.2.1", 1), ("192.0.2.2", 2), "udp", b"late")
    capture.close()
    assert recorder.turn()
    assert verify(folder).intact
    assert spool(settings) == []


def test_a_spool_that_is_gone_is_no_end(settings, recorder) -> None:
    shutil.rmtree(settings.spool)
    assert not recorder.turn()


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".x", "a\0b"])
def test_names_that_can_not_be_files_are_refused(settings, name: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        drop(settings.spool, name, "/x")


def test_a_call_that_ends_as_the_exchange_ends_is_sealed_and_its_film_left(settings) -> None:
    """Signalling ends first: its last calls reach the spool just before the recorder is told to end."""
    folder = call(settings)
    code = (
        "import os, signal; from recordings.recorder import *;"
        "os.nice = lambda more: os.kill(os.getpid(), signal.SIGTERM);"  # before the first look into the spool
        f"run(RecorderSettings(evidence={settings.evidence!r}, spool={settings.spool!r}))"
    )
    root = Path(module.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)
    assert verify(folder).intact
    assert derived(folder)["state"] == "pending"
    assert spool(settings) == ["call-1.json"]
    assert Recorder(settings).turn()
    assert derived(folder)["state"] == "made"


def test_the_process_works_and_ends_in_order(settings, tmp_path: Path) -> None:
    folder = call(settings)
    code = (
        "import sys; from recordings.recorder import *; import structlog;"
        "structlog.configure(processors=[structlog.processors.JSONRenderer()]);"
        f"run(RecorderSettings(evidence={settings.evidence!r}, spool={settings.spool!r}, poll_seconds=0.01))"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(module.__file__).parent.parent,
    ) as process:
        assert process.stdout is not None
        seen = []
        try:
            for line in process.stdout:
                seen.append(json.loads(line)["event"])
                if seen[-1] == "evidence_derived":
                    low = min(19, os.getpriority(os.PRIO_PROCESS, 0) + module.NICENESS)
                    assert os.getpriority(os.PRIO_PROCESS, process.pid) == low
                    process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
        finally:
            process.kill()
    assert seen == ["recorder_ready", "evidence_sealed", "evidence_derived", "recorder_ended"]
    assert verify(folder).intact
    assert spool(settings) == []


@pytest.mark.parametrize("own", [True, False])
def test_a_session_of_its_own_stands_back_too(own) -> None:
    """Linux may share the processor out by session, and nice counts within one alone (sched(7)).

    A kernel without that has no such file, and a session in no group an empty one: there nice counts among all.
    """
    group = Path("/proc/self/autogroup")

    code = (
        "import os; from recordings.recorder import *; stand_back(4); print(os.getpriority(os.PRIO_PROCESS, 0));"
        f"print(Path({str(group)!r}).read_text() if Path({str(group)!r}).exists() else '', end='')"
    )
    ours = group.read_text() if group.exists() else ""
    low = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 4)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=Path(module.__file__).parent.parent, timeout=60,
        start_new_session=own, capture_output=True, text=True,
    )  # fmt: skip
    priority, _, its = done.stdout.partition("\n")
    assert int(priority) == low
    if its:
        assert int(its.split()[-1]) == (low if own else int(ours.split()[-1]))
    assert (group.read_text() if group.exists() else "") == ours, "the starter's session is left alone"


def test_many_that_wait_are_read_a_few_times_each_not_once_for_each_other(
    settings, recorder, monkeypatch
) -> None:
    """After a rush the films of hundreds are made one after the other."""
    count = 12
    folders = [Path(settings.evidence) / f"call-{number}" for number in range(count)]
    for folder in folders:
        SyntheticCall(folder, call=folder.name).write()
        drop(settings.spool, folder.name, str(folder))
    read = []
    real = Spool.read
    monkeypatch.setattr(Spool, "read", lambda self, path: read.append(path.name) or real(self, path))
    while recorder.turn():
        pass
    assert spool(settings) == []
    assert all(derived(folder)["state"] == "nothing" for folder in folders)
    assert len(read) == 2 * count, "to be sealed, and when its turn has come"


def test_a_folder_that_went_before_its_turn_is_refused(settings, recorder) -> None:
    folder = call(settings, picture=False)
    assert recorder.seal()
    shutil.rmtree(folder)
    assert recorder.turn()
    assert spool(settings) == ["call-1.json.refused"]
    assert not recorder.turn()


def test_nothing_is_refused_for_a_disk_that_is_not_mounted(
    tmp_path: Path, settings: RecorderSettings
) -> None:
    """What is handed over while it is away, and what was sealed before, is done when it is back."""
    evidence, aside = Path(settings.evidence), tmp_path / "aside"
    store = set_up(evidence, tmp_path)
    recorder = Recorder(replace(settings, store=store))
    recorder.prepare()
    first = call(settings, "call-1", picture=False)
    assert recorder.seal()
    call(settings, "call-2", picture=False)
    evidence.rename(aside)
    evidence.mkdir()
    waiting = spool(settings)
    for _ in range(3):
        assert not recorder.turn()
    assert (spool(settings), list(evidence.iterdir())) == (waiting, [])
    # One that begins meanwhile makes nothing there either.
    late = Recorder(replace(settings, store=store))
    late.prepare()
    assert not late.turn()
    assert list(evidence.iterdir()) == []
    evidence.rmdir()
    aside.rename(evidence)
    while recorder.turn():
        pass
    assert spool(settings) == []
    assert [derived(folder)["state"] for folder in (first, evidence / "call-2")] == ["made", "made"]


@pytest.mark.parametrize("when", ["reading", "rendering"])
def test_a_disk_that_goes_in_the_middle_is_no_try_and_no_refusal(
    tmp_path: Path, settings: RecorderSettings, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    evidence, aside = Path(settings.evidence), tmp_path / "aside"
    recorder = Recorder(replace(settings, store=set_up(evidence, tmp_path)))
    recorder.prepare()
    call(settings, "call-1", picture=False)

    def goes() -> None:
        evidence.rename(aside)
        evidence.mkdir()

    if when == "reading":
        read = Spool.read

        def gone(self: Spool, path: Path) -> Job:
            goes()
            monkeypatch.setattr(Spool, "read", read)
            return read(self, path)

        monkeypatch.setattr(Spool, "read", gone)
    else:

        def torn(*_given: object, **_how: object) -> None:
            goes()
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("recordings.recorder.render", torn)
    recorder.turn()
    assert spool(settings) == ["call-1.json"]
    monkeypatch.undo()
    shutil.rmtree(evidence)
    aside.rename(evidence)
    assert json.loads((Path(settings.spool) / "call-1.json").read_text()).get("tries", 0) in (0, 1)
    while recorder.turn():
        pass
    assert spool(settings) == []
    assert derived(evidence / "call-1")["state"] == "made"
