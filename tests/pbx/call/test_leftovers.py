"""Evidence that a dead exchange left is found, said to be left, and handed to the recorder; nobody else's is touched."""

import fcntl
import json
from functools import partial

import pytest
from structlog.testing import capture_logs

from pbx.call import event_sheet, leftovers
from pbx.call.event_sheet import EventSheet, HandingOn
from recordings.events import EventLog, read_events
from recordings.folder import utc
from recordings.verify import verify

ARRIVED = 1_795_000_000.0
WALL = int(ARRIVED * 1e9)


def name(number, after=0.0):
    return f"{leftovers.stamp(ARRIVED + after)}-{number:032x}"


class Site:
    def __init__(self, folder):
        self.evidence, self.spool = folder / "evidence", folder / "spool"
        self.evidence.mkdir()
        self.spool.mkdir()
        self.known = set()

    def call(self, number, *events, after=0.0, capture=True):
        call = name(number, after)
        folder = self.evidence / call
        log = EventLog(call, str(folder), wall_ns=WALL, mono=1.0)
        for event in events:
            log.append(event, {}, wall_ns=WALL, mono=1.0)
        log.close()
        if capture:
            (folder / "call.pcapng").write_bytes(b"")
        return call

    def found(self):
        return [left.call for left in self.find(self.known.__contains__)]

    def find(self, known):
        before = leftovers.stamp(ARRIVED + 60)
        return leftovers.find(self.evidence, self.spool, before=before, known=known)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_call_that_nobody_ends_any_more_is_found_and_what_is_not_known_is_said(site):
    died, whole = (
        site.call(1, "call_arrived", "call_answered"),
        site.call(2, "call_arrived", "capture_closed"),
    )
    fields = {left.call: left.fields for left in site.find(lambda _call: False)}
    at = utc(WALL)
    assert fields == {
        died: {"events": 2, "last": at, "why": "died", "missing": None},
        whole: {"events": 2, "last": at, "why": "not_handed_on", "missing": 0},
    }


def test_nobody_elses_is_touched(site):
    site.call(1, "call_arrived")
    site.known.add(name(1))
    sealed, waiting, refused = (site.call(number, "call_arrived") for number in (2, 3, 4))
    (site.evidence / sealed / "manifest.json").write_text("{}")
    (site.spool / f"{waiting}.json").write_text("{}")
    (site.spool / f"{refused}.json.refused").write_text("{}")
    site.known.add(site.call(5, "call_arrived", after=60.0))  # of this process, in its first second
    site.call(6, "call_arrived", after=3600.0)
    (site.evidence / "notes").mkdir()
    (site.evidence / name(7)).mkdir()  # nothing was written
    assert site.found() == []
    late = site.call(9, "call_arrived", after=60.0)
    assert site.found() == [late], "of the process that died in that second"
    site.known.add(late)
    written = site.call(8, "call_arrived")
    with (site.evidence / written / "call.pcapng").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert site.found() == [], "its media process lives"
    assert site.found() == [written]


def test_it_is_handed_to_the_recorder_with_a_line_that_says_so(site):
    died = site.call(1, "call_arrived", capture=False)
    handing_on = HandingOn(site.spool)
    with capture_logs() as lines:
        handing_on.sweep(site.find, lambda: None)
        handing_on._disk.submit(lambda: None).result()
        handing_on.close()
    assert [line["event"] for line in lines] == ["evidence_left_open"]
    assert json.loads((site.spool / f"{died}.json").read_text())["call"] == died
    events = read_events(site.evidence / died / "events.jsonl")
    assert [(event["seq"], event["event"]) for event in events] == [(1, "call_arrived"), (2, "left_open")]
    assert (events[1]["why"], events[1]["missing"], events[1]["events"]) == ("died", None, 1)
    assert site.found() == [], "once"


def test_what_is_in_hand_already_is_not_taken_twice(site):
    call = site.call(1, "call_arrived")
    handing_on = HandingOn(site.spool, retry_seconds=0.0)
    handing_on._waiting.append(
        event_sheet._Over(EventSheet(call, str(site.evidence / call)), call, str(site.evidence / call), [])
    )
    handing_on.sweep(site.find, lambda: None)
    handing_on._disk.submit(lambda: None).result()
    handing_on.close()
    events = read_events(site.evidence / call / "events.jsonl")
    assert [event["event"] for event in events] == ["call_arrived"]


class Later:
    """A timer that is put down, and goes off when the test says."""

    def __init__(self, timers, seconds, work, given):
        timers.append((seconds, partial(work, *given)))
        self.daemon = False

    def start(self):
        pass

    def cancel(self):
        pass


def test_a_disk_that_is_not_there_is_asked_again(site, monkeypatch):
    died = site.call(1, "call_arrived")
    again = []
    monkeypatch.setattr(event_sheet.threading, "Timer", partial(Later, again))
    away = [True]

    def there():
        if away[0]:
            raise OSError(19, "is its disk mounted?")

    handing_on = HandingOn(site.spool)
    with capture_logs() as lines:
        handing_on.sweep(site.find, there)
        handing_on._disk.submit(lambda: None).result()
    assert [line["event"] for line in lines] == ["leftovers_not_looked_for"]
    assert list(site.spool.iterdir()) == []
    away[0] = False
    ((seconds, work),) = again
    assert seconds == event_sheet.SWEEP_AGAIN_SECONDS
    work()
    handing_on._disk.submit(lambda: None).result()
    handing_on.close()
    assert [path.name for path in site.spool.iterdir()] == [f"{died}.json"]
    work()  # it is closed: nothing happens


def test_what_a_dead_process_had_in_memory_is_missing_in_numbers(tmp_path):
    """The disk was full for long, and signalling was killed: seven lines were noted, two are there."""
    folder = tmp_path / "c"
    log = EventLog("c", str(folder), wall_ns=WALL, mono=1.0)
    log.extend([("call_arrived", {}, WALL, 1.0), ("call_answered", {}, WALL, 1.0)])
    log.close()
    sheet = EventSheet("c", str(folder))
    sheet.before = 7
    sheet.write([("server_outage", {}, WALL, 2.0)])
    sheet.write([("call_ended", {}, WALL, 2.0)])
    sheet.close()
    events = read_events(folder / "events.jsonl")
    assert [event["event"] for event in events[2:]] == ["not_recorded", "server_outage", "call_ended"]
    assert events[2]["events"] == 5
    assert verify(folder).problems, "it is not sealed"
    whole = EventSheet("c", str(folder))
    whole.before = 5
    whole.write([("later", {}, WALL, 3.0)])
    whole.close()
    assert read_events(folder / "events.jsonl")[-1]["seq"] == 6, "nothing is missing"


def test_a_full_disk_that_takes_not_even_that_line_is_tried_again(tmp_path, monkeypatch):
    sheet = EventSheet("c", str(tmp_path / "c"))
    sheet.before = 3

    def full(_fd, _data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("recordings.events.os.write", full)
        sheet.write([("one", {}, WALL, 1.0)])
    sheet.write([("two", {}, WALL, 1.0)])
    sheet.close()
    events = read_events(tmp_path / "c" / "events.jsonl")
    assert [event["event"] for event in events] == ["not_recorded", "one", "two"]
    assert events[0]["events"] == 3
