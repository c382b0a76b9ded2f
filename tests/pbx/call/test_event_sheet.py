"""A call's events reach its log in order; what a disk refuses waits for it."""

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from pbx.call import event_sheet
from pbx.call.event_sheet import MAX_KEPT, EventSheet, HandingOn
from recordings import events

WALL = 1_800_000_000_000_000_000


def entry(event, **fields):
    return (event, fields, WALL, 5.0)


def told(folder):
    return [(e["seq"], e["event"]) for e in events.read_events(folder / "events.jsonl")]


def test_events_of_several_turns_are_one_log(tmp_path):
    sheet = EventSheet("c", str(tmp_path / "c"))
    sheet.write([entry("call_arrived", number="1"), entry("call_answered")])
    sheet.write([entry("call_ended", cause="bye")])
    sheet.close()
    assert told(tmp_path / "c") == [(1, "call_arrived"), (2, "call_answered"), (3, "call_ended")]
    first = json.loads((tmp_path / "c" / "events.jsonl").read_bytes().split(b"\n")[0])
    assert first["number"] == "1"
    assert first["mono"] == 5.0


def full(_fd, _data):
    raise OSError(28, "No space left on device")


def test_what_a_full_disk_refuses_is_said_once_and_written_when_it_has_room(tmp_path, monkeypatch):
    sheet = EventSheet("c", str(tmp_path / "c"))
    sheet.write([entry("one")])
    for again in ("two", "five"):
        with monkeypatch.context() as patched, capture_logs() as lines:
            patched.setattr(events.os, "write", full)
            sheet.write([entry(again), entry("three")])
            sheet.write([entry("four")])
        assert [(line["event"], line["event_name"]) for line in lines] == [("event_not_recorded", again)]
        sheet.write([entry("with room")])
    sheet.close()
    names = ["one", "two", "three", "four", "with room", "five", "three", "four", "with room"]
    assert told(tmp_path / "c") == list(enumerate(names, 1))


def test_what_waits_for_a_full_disk_is_bounded_and_the_rest_is_counted_in_the_log(tmp_path, monkeypatch):
    sheet = EventSheet("c", str(tmp_path / "c"))
    with monkeypatch.context() as patched:
        patched.setattr(events.os, "write", full)
        sheet.write([entry("early"), entry("early")])
        sheet.write([entry("late")] * MAX_KEPT)
    sheet.close()
    found = events.read_events(tmp_path / "c" / "events.jsonl")
    assert [e["event"] for e in found] == ["not_recorded"] + ["late"] * MAX_KEPT
    assert (found[0]["events"], found[0]["reason"]) == (2, "No space left on device")


def test_a_folder_that_cant_be_made_is_said_and_tried_again(tmp_path):
    (tmp_path / "c").write_text("in the way")
    sheet = EventSheet("c", str(tmp_path / "c"))
    with capture_logs() as lines:
        sheet.write([entry("one")])
    assert [line["event"] for line in lines] == ["event_not_recorded"]
    with pytest.raises(NotADirectoryError):
        sheet.close()
    (tmp_path / "c").unlink()
    sheet.close()
    assert told(tmp_path / "c") == [(1, "one")]


def test_a_sheet_nothing_was_written_on_is_closed_without_a_file(tmp_path):
    EventSheet("c", str(tmp_path / "c")).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["\udcff", "a\nb", "\x00", "小王"])
def test_what_a_phone_wrote_comes_back(tmp_path, text):
    sheet = EventSheet("c", str(tmp_path))
    sheet.write([entry("text", text=text, number=2**70)])
    sheet.close()
    (found,) = events.read_events(tmp_path / "events.jsonl")
    assert (found["text"], found["number"]) == (text, 2**70)


@pytest.fixture
def handing_on(tmp_path):
    (tmp_path / "spool").mkdir()
    return HandingOn(tmp_path / "spool")


def spool(tmp_path):
    return {path.name: json.loads(path.read_bytes()) for path in (tmp_path / "spool").iterdir()}


def test_the_recorder_hears_of_each_call_once_its_log_is_closed(tmp_path, handing_on):
    people = [{"role": "caller", "user": "小王"}]
    for call in ("a", "b", "c"):
        sheet = EventSheet(call, str(tmp_path / call))
        sheet.write([entry("call_ended")])
        handing_on.take(sheet, call, str(tmp_path / call), people)
    handing_on.close()
    assert spool(tmp_path) == {
        f"{call}.json": {"call": call, "folder": str(tmp_path / call), "people": people} for call in "abc"
    }
    for call in ("a", "b", "c"):
        assert told(tmp_path / call) == [(1, "call_ended")]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(28, "No space left on device"), ["evidence_not_finished", "evidence_given_up"]),
        (TypeError("a bug"), ["evidence_not_finished"]),
    ],
)
def test_a_call_that_cant_be_handed_on_costs_no_other(tmp_path, handing_on, monkeypatch, fault, told):
    draft = event_sheet._draft

    def failing(path, data):
        if path.endswith("/b"):
            raise fault
        return draft(path, data)

    monkeypatch.setattr(event_sheet, "_draft", failing)
    with capture_logs() as lines:
        for call in ("a", "b", "c"):
            handing_on.take(EventSheet(call, str(tmp_path / call)), call, str(tmp_path / call), [])
        handing_on.close()
    assert [(line["event"], line["call"]) for line in lines] == [(event, "b") for event in told]
    assert sorted(spool(tmp_path)) == ["a.json", "c.json"]


def test_a_call_the_disk_had_no_room_for_is_handed_on_when_it_has(tmp_path, monkeypatch):
    (tmp_path / "spool").mkdir()
    refused, tries = threading.Event(), []

    def sometimes(fd, data):
        tries.append(fd)
        if len(tries) == 3:
            refused.set()
        if len(tries) <= 3:
            full(fd, data)
        return write(fd, data)

    write = events.os.write
    monkeypatch.setattr(events.os, "write", sometimes)
    handing_on = HandingOn(tmp_path / "spool", retry_seconds=0.001)
    sheet = EventSheet("c", str(tmp_path / "c"))
    with capture_logs() as lines:
        sheet.write([entry("call_ended")])
        handing_on.take(sheet, "c", str(tmp_path / "c"), [])
        assert refused.wait(10)
        handing_on.close()
    assert list(spool(tmp_path)) == ["c.json"]
    assert told(tmp_path / "c") == [(1, "call_ended")]
    assert [line["event"] for line in lines] == [
        "event_not_recorded",
        "evidence_not_finished",
        "evidence_finished",
    ]


def finished(tmp_path, handing_on, calls, arrived=None):
    """Let calls end at once; they are completed in one go as soon as `handing_on` closes. `arrived`: in which order they had begun."""
    sheets = {call: EventSheet(call, str(tmp_path / call)) for call in calls}
    for call in arrived or calls:
        sheets[call].write([entry("call_ended")])
    for call, sheet in sheets.items():
        handing_on._waiting.append(event_sheet._Over(sheet, call, str(tmp_path / call), []))
    handing_on._closing.set()
    handing_on._all()
    handing_on.close()


@pytest.fixture
def syncs(monkeypatch):
    """Paths that were synced, each by itself or `*` for their filesystem; whether the latter works is to be set in `works`."""
    done, works = [], [True]

    def name(fd):
        return Path(f"/proc/self/fd/{fd}").readlink().name

    def whole(fd):
        path = Path(f"/proc/self/fd/{fd}").readlink()
        done.append(f"*{path.parent.name}/{path.name}")
        return works[0]

    monkeypatch.setattr(event_sheet, "sync_filesystem", whole)
    monkeypatch.setattr(events.os, "fsync", lambda fd: done.append(name(fd)))
    return done, works


def test_calls_that_end_together_are_synced_in_one_go(tmp_path, handing_on, syncs):
    done, _ = syncs
    finished(tmp_path, handing_on, "abcd", arrived="cabd")
    assert done == ["*c/events.jsonl"], "the file that is open longest"
    assert sorted(spool(tmp_path)) == ["a.json", "b.json", "c.json", "d.json"]
    assert all(told(tmp_path / call) == [(1, "call_ended")] for call in "abcd")


def test_few_calls_do_not_wait_for_what_others_write(tmp_path, handing_on, syncs):
    done, _ = syncs
    finished(tmp_path, handing_on, "abc")
    assert done == [one for call in "abc" for one in ("events.jsonl", call, f"{call}.new")], (
        "log, its folder, what tells the recorder"
    )


def test_a_filesystem_that_cant_be_synced_has_each_file_synced(tmp_path, handing_on, syncs):
    done, works = syncs
    works[0] = False
    finished(tmp_path, handing_on, "abcde")
    assert done == [
        "*a/events.jsonl", *(one for call in "abcde" for one in ("events.jsonl", call, f"{call}.new"))
    ]  # fmt: skip
    assert len(spool(tmp_path)) == 5


def test_each_filesystem_is_synced_once(tmp_path, handing_on, syncs, monkeypatch):
    done, _ = syncs
    real = os.fstat

    def elsewhere(fd):
        found = real(fd)
        spooled = Path(f"/proc/self/fd/{fd}").readlink().suffix == ".new"
        return SimpleNamespace(st_dev=7 if spooled else 8, st_size=found.st_size)

    monkeypatch.setattr(events.os, "fstat", elsewhere)
    finished(tmp_path, handing_on, "abcd")
    assert done == ["*a/events.jsonl", "*spool/a.new"]


def test_nothing_is_made_where_a_disk_is_not_mounted_and_all_is_written_when_it_is(tmp_path):
    away = True

    def there():
        if away:
            raise OSError(19, "is its disk mounted?")

    sheet = EventSheet("c", str(tmp_path / "c"), there)
    with capture_logs() as lines:
        sheet.write([entry("one")])
        sheet.write([entry("two")])
    assert [line["event"] for line in lines] == ["event_not_recorded"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="mounted"):
        sheet.close()
    away = False
    sheet.close()
    assert told(tmp_path / "c") == [(1, "one"), (2, "two")]
