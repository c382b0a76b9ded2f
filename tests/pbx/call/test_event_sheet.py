"""A call's events reach its log in order; a disk that refuses costs those it refuses."""

import json

import pytest
from structlog.testing import capture_logs

from pbx.call import event_sheet
from pbx.call.event_sheet import EventSheet, HandingOn
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


def test_a_full_disk_costs_the_events_it_refuses_and_says_which(tmp_path, monkeypatch):
    sheet = EventSheet("c", str(tmp_path / "c"))
    sheet.write([entry("one")])

    def full(_fd, _data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr(events.os, "write", full)
        sheet.write([entry("two"), entry("three")])
    assert [(line["event"], line["event_name"]) for line in lines] == [
        ("event_not_recorded", "two"),
        ("event_not_recorded", "three"),
    ]
    sheet.write([entry("four")])
    sheet.close()
    assert told(tmp_path / "c") == [(1, "one"), (2, "four")]


def test_a_folder_that_cant_be_made_is_said_and_tried_again(tmp_path):
    (tmp_path / "c").write_text("in the way")
    sheet = EventSheet("c", str(tmp_path / "c"))
    with capture_logs() as lines:
        sheet.write([entry("one")])
    assert [line["event"] for line in lines] == ["event_not_recorded"]
    (tmp_path / "c").unlink()
    sheet.write([entry("two")])
    sheet.close()
    assert told(tmp_path / "c") == [(1, "two")]


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


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), TypeError("a bug")])
def test_a_call_that_cant_be_handed_on_costs_no_other(tmp_path, handing_on, monkeypatch, fault):
    drop = event_sheet._drop

    def failing(path, data):
        if path.endswith("/b"):
            raise fault
        drop(path, data)

    monkeypatch.setattr(event_sheet, "_drop", failing)
    with capture_logs() as lines:
        for call in ("a", "b", "c"):
            handing_on.take(EventSheet(call, str(tmp_path / call)), call, str(tmp_path / call), [])
        handing_on.close()
    assert [(line["event"], line["call"]) for line in lines] == [("evidence_not_finished", "b")]
    assert sorted(spool(tmp_path)) == ["a.json", "c.json"]
