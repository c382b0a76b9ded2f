"""Everything is written, in order, by one thread, whatever single sheets do."""

import threading

import pytest

from pbx import scribe as module
from pbx.scribe import Scribe


class Sheet:
    def __init__(self):
        self.items = []
        self.writes = 0
        self.threads = set()
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()

    def write(self, items):
        self.begun.set()
        assert self.gate.wait(60)
        self.items += items
        self.writes += 1
        self.threads.add(threading.current_thread().name)


@pytest.fixture
def faults():
    return []


@pytest.fixture
def made(faults):
    found = Scribe(faults.append)
    yield found
    found.close()


def test_each_sheet_has_its_items_in_order_and_few_writes(made):
    sheets = [Sheet() for _ in range(3)]
    for number in range(3000):
        made.put(sheets[number % 3], number)
    made.flush()
    for which, sheet in enumerate(sheets):
        assert sheet.items == list(range(which, 3000, 3))
        assert sheet.threads == {"scribe"}
        assert sheet.writes < 1000, "items are gathered"


def test_what_is_being_written_counts_as_waiting(made):
    sheet = Sheet()
    sheet.gate.clear()
    made.put(sheet, 1)
    assert sheet.begun.wait(60)
    assert made.waiting == 1, "the disk has not taken it"
    sheet.gate.set()
    made.flush()
    assert sheet.items == [1]
    made.close()
    assert made.waiting == 0


def test_threads_together_lose_nothing(made):
    sheet = Sheet()

    def speak(who):
        for number in range(500):
            made.put(sheet, (who, number))

    threads = [threading.Thread(target=speak, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.flush()
    for who in range(4):
        assert [number for one, number in sheet.items if one == who] == list(range(500))


def test_what_follows_is_done_when_all_before_it_is_written(made):
    sheet, seen = Sheet(), []
    sheet.gate.clear()
    for number in range(10):
        made.put(sheet, number)
    made.then(sheet, lambda: seen.append(list(sheet.items)))
    assert seen == []
    sheet.gate.set()
    made.flush()
    assert seen == [list(range(10))]


def test_a_sheet_that_raises_silences_no_other(made, faults):
    class Broken:
        def write(self, items):
            raise RuntimeError(len(items))

    sheet = Sheet()
    made.put(Broken(), 1)
    made.put(sheet, 2)
    made.flush()
    assert sheet.items == [2]
    assert [type(fault) for fault in faults] == [RuntimeError]


def test_closing_writes_what_waits_and_what_comes_later_is_written_at_once(faults):
    made, sheet = Scribe(faults.append), Sheet()
    made.put(sheet, 1)
    made.close()
    assert sheet.items == [1]
    made.put(sheet, 2)
    assert sheet.items == [1, 2]
    made.flush()


def test_a_disk_that_hangs_costs_items_and_no_time(made, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 100)
    sheet, done = Sheet(), []
    sheet.gate.clear()
    for number in range(1000):
        made.put(sheet, number)
    assert 800 <= made.lost <= 900  # the thread may have taken a hundred before it was stopped
    made.then(sheet, lambda: done.append(True))
    sheet.gate.set()
    made.flush()
    assert sheet.items == sorted(sheet.items)
    assert len(sheet.items) == 1000 - made.lost
    assert done == [True], "what must follow is never dropped"
