import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recordings import folder as folder_module
from recordings.events import EventLog
from recordings.folder import write_atomically
from recordings.manifest import ManifestError, encode, read_manifest, seal_originals, software, state_derived
from recordings.verify import canonical, self_digest
from tests.kit.evidence import names

WALL = 1_700_000_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "call-1"
    log = EventLog("call-1", str(made), wall_ns=WALL, mono=10.0)
    log.append("call_arrived", {}, wall_ns=WALL, mono=10.0)
    log.append("call_ended", {}, wall_ns=WALL + 5_000_000_000, mono=15.5)
    log.close()
    (made / "call.pcapng").write_bytes(b"packets")
    return made


def test_it_states_what_was_recorded(folder: Path) -> None:
    made = seal_originals(folder, "call-1", wall_ns=WALL, people=[{"role": "caller", "name": "王"}])
    raw = (folder / "manifest.json").read_bytes()
    assert json.loads(raw) == made
    assert list(made) == [
        "format", "call", "made_at", "software", "original", "derived", "people", "clocks", "seals", "gaps",
        "signature", "digest",
    ]  # fmt: skip
    assert made["original"]["files"]["call.pcapng"] == {
        "sha256": hashlib.sha256(b"packets").hexdigest(),
        "bytes": 7,
    }
    assert set(made["original"]["files"]) == {"call.pcapng", "events.jsonl"}
    assert made["derived"] == {"files": {}, "from": None, "state": "pending", "failed": None, "report": {}}
    assert (made["seals"], made["gaps"], made["signature"]) == ([], [], None)
    assert made["people"] == [{"role": "caller", "name": "王"}]
    assert made["clocks"]["last_event"] == {"at": "2023-11-14T22:13:25.000+00:00", "mono": 15.5}
    assert made["made_at"] == "2023-11-14T22:13:20.000+00:00"
    assert "王".encode() in raw
    assert (folder / "manifest.json").stat().st_mode & 0o777 == 0o600


def test_derived_files_are_added_and_name_their_source(folder: Path) -> None:
    made = seal_originals(folder, "call-1", wall_ns=WALL)
    (folder / "call.mkv").write_bytes(b"film")
    done = state_derived(folder, made, state="made", failed=None, report={"senders": []})
    assert read_manifest(folder) == done
    assert done["derived"]["files"] == {
        "call.mkv": {"sha256": hashlib.sha256(b"film").hexdigest(), "bytes": 4}
    }
    assert done["derived"]["from"] == made["original"]["files"]["call.pcapng"]["sha256"]
    assert done["original"] == made["original"]


def test_sealing_again_changes_nothing(folder: Path) -> None:
    made = seal_originals(folder, "call-1", wall_ns=WALL)
    assert seal_originals(folder, "call-1", wall_ns=WALL + 10**12) == made


def test_changed_originals_are_never_sealed_over(folder: Path) -> None:
    seal_originals(folder, "call-1", wall_ns=WALL)
    before = (folder / "manifest.json").read_bytes()
    (folder / "call.pcapng").write_bytes(b"Packets")
    with pytest.raises(ManifestError, match="originals"):
        seal_originals(folder, "call-1", wall_ns=WALL)
    assert (folder / "manifest.json").read_bytes() == before


def test_a_capture_put_aside_is_an_original_too(folder: Path) -> None:
    (folder / "call-damaged-1.pcapng").write_bytes(b"?")
    (folder / "notes.txt").write_bytes(b"?")
    made = seal_originals(folder, "call-1", wall_ns=WALL)
    assert set(made["original"]["files"]) == {"call.pcapng", "call-damaged-1.pcapng", "events.jsonl"}


@pytest.mark.parametrize("data", [b"", b"[]\n", b"{}\n", b"\xff", b"null\n", b'{"digest": 1}\n'])
def test_a_manifest_that_is_not_ours(folder: Path, data: bytes) -> None:
    (folder / "manifest.json").write_bytes(data)
    with pytest.raises(ManifestError, match="changed"):
        read_manifest(folder)
    assert read_manifest(folder.parent) is None


def test_another_form_of_the_same_content_is_not_ours(folder: Path) -> None:
    made = seal_originals(folder, "call-1", wall_ns=WALL)
    (folder / "manifest.json").write_bytes(json.dumps(made).encode())
    with pytest.raises(ManifestError):
        read_manifest(folder)


def test_the_digest_covers_everything_but_itself() -> None:
    one = {"a": 1, "digest": "x"}
    assert self_digest(one) == self_digest({"digest": "y", "a": 1})
    assert self_digest(one) != self_digest({"a": 2})
    assert self_digest({"a": 1}) == hashlib.sha256(b'{\n "a": 1\n}\n').hexdigest()
    assert canonical({"b": "说", "a": []}) == '{\n "a": [],\n "b": "说"\n}\n'.encode()


def test_software_is_named_with_a_hash() -> None:
    assert len(software()["recordings_sha256"]) == 64
    assert software()["name"] == "at110"


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch, call: str) -> None:
    path = tmp_path / "manifest.json"
    write_atomically(path, b"old")

    def broken(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    if call == "replace":
        monkeypatch.setattr(Path, "replace", broken)
    else:
        monkeypatch.setattr(folder_module.os, call, broken)
    with pytest.raises(OSError, match="Input/output"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["manifest.json"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON))
@example({"name": "\udc80\ud800", "q": '"\\/\b\f\n\r\t\x00\x1f\x7f\u2028', "n": [1e16, -0.0, 1e-7, 10**40]})
def test_it_is_written_in_the_one_form(manifest: dict) -> None:
    """Judged by the standard library, as `at110 verify` does it alone."""
    assert encode(manifest) == canonical(manifest)
