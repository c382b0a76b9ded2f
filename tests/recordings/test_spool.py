"""What waits is read once, whatever else waits: a look after a rush costs what is new."""

import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recordings.spool import MAX_SPOOL_FILE, Job, Spool, SpoolError


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    for name in ("spool", "evidence"):
        (tmp_path / name).mkdir()
    return Spool(tmp_path / "spool", tmp_path / "evidence")


def put(spool: Spool, call: str, **more: object) -> Path:
    folder = spool.folder.parent / "evidence" / call
    folder.mkdir(exist_ok=True)
    path = spool.folder / f"{call}.json"
    path.write_text(json.dumps({"call": call, "folder": str(folder), **more}))
    return path


def look(spool: Spool) -> list[str]:
    """The calls that were new, in the order they were given in; all are taken."""
    seen: list[str] = []

    def take(job: Job) -> bool:
        seen.append(job.call)
        return True

    spool.look(take)
    return seen


def test_what_was_taken_is_not_read_again(spool, monkeypatch) -> None:
    put(spool, "a")
    put(spool, "b")
    assert sorted(look(spool)) == ["a", "b"]
    read = []
    real = Spool.read
    monkeypatch.setattr(Spool, "read", lambda self, path: read.append(path.name) or real(self, path))
    assert look(spool) == []
    put(spool, "c")
    assert look(spool) == ["c"]
    assert read == ["c.json"]


def test_what_is_not_taken_is_given_again(spool) -> None:
    put(spool, "a")
    given = []
    for _ in range(2):
        spool.look(lambda job: given.append(job.call) or False)
    assert given == ["a", "a"]
    assert spool.next() is None


def test_least_tried_first_then_oldest(spool) -> None:
    for number, (call, tries) in enumerate([("x", 1), ("d", 0), ("c", 0), ("b", 2)]):
        path = put(spool, call, tries=tries)
        os.utime(path, ns=(0, 1_000 + number))
    assert look(spool) == ["d", "c", "x", "b"]
    order = []
    while (job := spool.next()) is not None:
        order.append(job.call)
        job.spool_file.unlink()
        spool.forget(job)
    assert order == ["d", "c", "x", "b"]


def test_a_changed_file_is_read_again_once_it_is_forgotten(spool) -> None:
    put(spool, "a")
    assert look(spool) == ["a"]
    put(spool, "a", tries=2, why="disk")
    job = spool.next()
    assert job is not None
    spool.forget(job)
    assert look(spool) == ["a"]
    job = spool.next()
    assert job is not None
    assert (job.tries, job.why) == (2, "disk")


def test_a_file_that_went_is_forgotten(spool) -> None:
    path = put(spool, "a")
    assert look(spool) == ["a"]
    path.unlink()
    assert look(spool) == []
    assert spool.next() is None


def test_a_refused_file_is_put_aside_and_the_others_served(spool) -> None:
    (spool.folder / "bad.json").write_bytes(b"{")
    (spool.folder / ".a.json.new").write_bytes(b"half")
    put(spool, "a")
    with capture_logs() as logs:
        assert look(spool) == ["a"]
    assert [entry["event"] for entry in logs] == ["spool_file_refused"]
    assert sorted(path.name for path in spool.folder.iterdir()) == [
        ".a.json.new",
        "a.json",
        "bad.json.refused",
    ]


@pytest.mark.parametrize(("more", "understood"), [(0, True), (1, False)])
def test_a_file_has_an_end(spool, more: int, understood: bool) -> None:
    path = put(spool, "a")
    text = path.read_text()
    path.write_text(text[:-1] + " " * (MAX_SPOOL_FILE - len(text) + more) + "}")
    if understood:
        assert spool.read(path).call == "a"
    else:
        with pytest.raises(SpoolError):
            spool.read(path)


def test_a_folder_that_is_gone_is_the_disks_fault(spool) -> None:
    spool.folder.rmdir()
    with pytest.raises(OSError, match="No such file"):
        look(spool)
