"""The outbox's files."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.storage.segments import (
    Line,
    Reader,
    SegmentFile,
    last_position,
    remove_applied,
    segments,
    stream_name,
)


def encoded(*positions: int) -> bytes:
    return b"".join(msgspec.json.encode(Line(n, "call", {"call": f"c{n}"})) + b"\n" for n in positions)


def put(folder, first: int, data: bytes) -> None:
    (folder / f"outbox-{first:016d}.jsonl").write_bytes(data)


def read_all(folder, durable: int, *, position: int = 0, limit: int = 100) -> list[int]:
    reader = Reader(folder, position)
    found: list[int] = []
    while lines := reader.read(durable, limit):
        found += [line.n for line in lines]
    return found


def test_lines_are_read_across_segments(tmp_path):
    put(tmp_path, 1, encoded(1, 2, 3))
    put(tmp_path, 4, encoded(4))
    put(tmp_path, 5, encoded(5, 6))
    assert read_all(tmp_path, 6) == [1, 2, 3, 4, 5, 6]
    assert read_all(tmp_path, 6, position=3) == [4, 5, 6]
    assert read_all(tmp_path, 6, position=4, limit=1) == [5, 6]
    assert read_all(tmp_path, 6, position=6) == []


def test_nothing_is_read_that_is_not_yet_durable(tmp_path):
    put(tmp_path, 1, encoded(1, 2, 3))
    reader = Reader(tmp_path, 0)
    assert [line.n for line in reader.read(2, 100)] == [1, 2]
    assert reader.read(2, 100) == []
    assert [line.n for line in reader.read(3, 100)] == [3]


def test_a_growing_segment_and_then_the_next_one(tmp_path):
    put(tmp_path, 1, encoded(1))
    reader = Reader(tmp_path, 0)
    assert [line.n for line in reader.read(1, 100)] == [1]
    put(tmp_path, 1, encoded(1, 2) + b'{"n":3,"ki')
    assert [line.n for line in reader.read(2, 100)] == [2]
    put(tmp_path, 3, encoded(3))
    assert [line.n for line in reader.read(3, 100)] == [3]


def test_a_line_written_again_after_a_failed_fsync_is_read_once(tmp_path):
    put(tmp_path, 1, encoded(1, 2, 3))
    put(tmp_path, 2, encoded(2, 3, 4))
    assert read_all(tmp_path, 4) == [1, 2, 3, 4]
    assert read_all(tmp_path, 4, position=2) == [3, 4]


@given(st.data())
def test_whatever_the_tail_lost_the_whole_lines_are_read_and_counted(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("torn")
    whole = encoded(1, 2, 3, 4)
    kept = data.draw(st.integers(0, len(whole)))
    put(folder, 1, whole[:kept])
    complete = whole[:kept].count(b"\n")
    assert last_position(folder) == complete
    put(folder, complete + 1, encoded(*range(complete + 1, 6)))  # what the next start writes
    assert read_all(folder, 5) == [1, 2, 3, 4, 5]


def test_garbage_inside_a_segment_is_passed_over(tmp_path):
    put(tmp_path, 1, encoded(1) + b"\x00" * 50 + b"\n" + b'{"n": "x"}\n' + encoded(2))
    assert read_all(tmp_path, 2) == [1, 2]
    assert last_position(tmp_path) == 2


def test_applied_segments_are_removed_and_the_newest_remembers(tmp_path):
    put(tmp_path, 1, encoded(1, 2))
    put(tmp_path, 3, encoded(3, 4))
    put(tmp_path, 5, encoded())
    assert remove_applied(tmp_path, 1) == 0
    assert remove_applied(tmp_path, 3) == 1
    assert remove_applied(tmp_path, 4) == 1
    assert [first for first, _ in segments(tmp_path)] == [5]
    assert last_position(tmp_path) == 4


def test_a_reader_goes_on_when_its_segment_was_removed(tmp_path):
    put(tmp_path, 1, encoded(1))
    reader = Reader(tmp_path, 0)
    reader.read(1, 10)
    put(tmp_path, 2, encoded(2))
    remove_applied(tmp_path, 1)
    assert [line.n for line in reader.read(2, 10)] == [2]


def test_other_files_are_none_of_ours(tmp_path):
    for name in ("outbox-1.jsonl", "outbox-0000000000000001.jsonl.bak", "outbox-000000000000000x.jsonl"):
        (tmp_path / name).write_bytes(encoded(9))
    assert segments(tmp_path) == []
    assert last_position(tmp_path) == 0


def test_the_name_stays_until_it_is_renewed(tmp_path):
    name = stream_name(tmp_path)
    assert stream_name(tmp_path) == name
    assert stream_name(tmp_path, renew=True) != name
    (tmp_path / "outbox-name").write_text("damaged")
    assert stream_name(tmp_path) not in {name, "damaged"}


def test_a_segment_is_private_and_emptied_when_it_held_no_promise(tmp_path):
    put(tmp_path, 1, b"torn")
    (tmp_path / "outbox-0000000000000001.jsonl").unlink()
    segment = SegmentFile(tmp_path, 1)
    segment.write(encoded(1))
    segment.close()
    assert segment.path.stat().st_mode & 0o777 == 0o600
    again = SegmentFile(tmp_path, 1)
    again.close()
    assert segment.path.read_bytes() == b""


def test_a_full_disk_is_an_error(tmp_path):
    (tmp_path / "outbox-0000000000000001.jsonl").symlink_to("/dev/full")
    segment = SegmentFile(tmp_path, 1)
    with pytest.raises(OSError, match="No space left"):
        segment.write(encoded(1))
    segment.close()
