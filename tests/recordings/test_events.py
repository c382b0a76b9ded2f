import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import events as module
from recordings.events import EventLog, encode, read_events
from recordings.folder import utc

WALL = 1_700_000_000_123_456_789


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_bytes().split(b"\n")[:-1]]


def test_a_line_says_when_by_two_clocks(tmp_path: Path) -> None:
    log = EventLog("call-1", str(tmp_path / "call-1"), wall_ns=WALL, mono=5.0)
    assert log.append("call_arrived", {"from": "sip:小王@example.org"}, wall_ns=WALL, mono=5.25) == 1
    assert log.append("call_ended", {}, wall_ns=WALL + 999_999, mono=6.0) == 2
    log.sync()
    log.close()
    log.close()
    path = tmp_path / "call-1" / "events.jsonl"
    assert lines(tmp_path / "call-1") == [
        {
            "seq": 1, "at": "2023-11-14T22:13:20.123+00:00", "mono": 5.25, "call": "call-1",
            "event": "call_arrived", "from": "sip:小王@example.org",
        },
        {"seq": 2, "at": "2023-11-14T22:13:20.124+00:00", "mono": 6.0, "call": "call-1", "event": "call_ended"},
    ]  # fmt: skip
    assert "小王".encode() in path.read_bytes(), "readable as it is"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_several_events_are_written_as_one_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    log = EventLog("c", str(tmp_path), wall_ns=WALL, mono=0.0)
    assert log.extend([("x", {}, WALL, 0.0), ("y", {"n": 1}, WALL, 0.5)]) == 2
    with pytest.raises(ValueError, match="seq"):
        log.extend([("z", {}, WALL, 1.0), ("z", {"seq": 9}, WALL, 1.0)])
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "write", lambda _fd, _data: (_ for _ in ()).throw(OSError(5, "broken")))
        with pytest.raises(OSError, match="broken"):
            log.extend([("z", {}, WALL, 1.0)])
    assert log.append("z", {}, wall_ns=WALL, mono=2.0) == 3
    log.close()
    assert [(e["seq"], e["event"], e["mono"]) for e in lines(tmp_path)] == [
        (1, "x", 0.0),
        (2, "y", 0.5),
        (3, "z", 2.0),
    ]


def test_reopening_goes_on_counting(tmp_path: Path) -> None:
    for expected in (1, 2):
        log = EventLog("c", str(tmp_path), wall_ns=WALL, mono=0.0)
        assert log.append("x", {}, wall_ns=WALL, mono=0.0) == expected
        log.close()


def test_a_torn_line_is_removed_and_stated(tmp_path: Path) -> None:
    log = EventLog("c", str(tmp_path), wall_ns=WALL, mono=0.0)
    log.append("x", {}, wall_ns=WALL, mono=0.0)
    log.close()
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"seq":2,"at"')
    EventLog("c", str(tmp_path), wall_ns=WALL, mono=1.0).close()
    assert [(e["seq"], e["event"], e.get("bytes_removed")) for e in lines(tmp_path)] == [
        (1, "x", None),
        (2, "log_repaired", 13),
    ]


def test_reserved_names_are_refused(tmp_path: Path) -> None:
    log = EventLog("c", str(tmp_path), wall_ns=WALL, mono=0.0)
    with pytest.raises(ValueError, match="call"):
        log.append("x", {"call": "other"}, wall_ns=WALL, mono=0.0)
    assert log.append("x", {}, wall_ns=WALL, mono=0.0) == 1
    log.close()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch) -> None:
    log = EventLog("c", str(tmp_path), wall_ns=WALL, mono=0.0)
    log.append("x", {}, wall_ns=WALL, mono=0.0)
    real = module.os.write
    calls = []

    def short(fd: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(fd, data[:7])

    monkeypatch.setattr(module.os, "write", short)
    with pytest.raises(OSError, match="No space"):
        log.append("y", {}, wall_ns=WALL, mono=0.0)
    monkeypatch.undo()
    assert log.append("z", {}, wall_ns=WALL, mono=0.0) == 2
    log.close()
    assert [e["event"] for e in lines(tmp_path)] == ["x", "z"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text().filter(lambda k: k not in module.RESERVED), json_values, max_size=4))
def test_any_text_stays_on_one_line_and_comes_back(fields) -> None:
    line = encode(1, "c", "x", fields, wall_ns=WALL, mono=1.0)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    found = json.loads(line)
    assert {key: found[key] for key in fields} == fields


def test_bytes_that_are_no_text_survive() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    line = encode(1, "c", "x", {"from": name}, wall_ns=WALL, mono=1.0)
    assert json.loads(line)["from"].encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_reading_stops_at_nothing(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none") == []
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"seq":1}\n[]\nnot json\n\xff\n{"seq":2}\n')
    assert read_events(path) == [{"seq": 1}, {"seq": 2}]


def test_utc_is_exact_to_the_millisecond() -> None:
    assert utc(1_700_000_000_999_999_999) == "2023-11-14T22:13:20.999+00:00"
    assert utc(0) == "1970-01-01T00:00:00.000+00:00"
