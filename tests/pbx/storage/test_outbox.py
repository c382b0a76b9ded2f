"""Rows reach PostgreSQL exactly once, in order, whatever fails and whenever."""

import asyncio
import json
import random

import pytest

from pbx.storage import outbox as module
from pbx.storage.outbox import Outbox
from pbx.storage.segments import segments, stream_name
from pbx.tasks import Tasks
from tests.kit.postgres import POISON, FakeDatabase


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "GATHER", 0.0)


class Started:
    """An outbox that runs for the length of a `with`."""

    def __init__(self, folder, database):
        self._tasks = Tasks("test")
        self.outbox = Outbox(folder, database, self._tasks)

    async def __aenter__(self):
        await self.outbox.start()
        return self.outbox

    async def __aexit__(self, *_):
        await self.outbox.close()
        await self._tasks.close()


async def drained(outbox):
    async with asyncio.timeout(20):
        await outbox.drained()


def names(database):
    """The `event` of every row of call_events, as PostgreSQL has them."""
    return [row[2] for row in database.rows if row[0] == "call_events"]


def event(n):
    return {"call": "c0ffee00", "event": str(n), "at": 1.0}


async def test_rows_arrive_in_order(tmp_path):
    database = FakeDatabase()
    async with Started(tmp_path, database) as outbox:
        for n in range(1200):
            outbox.append("call_event", event(n))
        await drained(outbox)
        assert outbox.pending == 0
    assert names(database) == [str(n) for n in range(1200)]


async def test_order_is_kept_within_each_table(tmp_path):
    database = FakeDatabase()
    async with Started(tmp_path, database) as outbox:
        for n in range(5):
            outbox.append("call", {"call": f"c{n}"})
            outbox.append("desk", {"desk": f"d{n}"})
        await drained(outbox)
    for kind in "cd":
        assert [row[1] for row in database.rows if row[1][0] == kind] == [f"{kind}{n}" for n in range(5)]


async def test_nothing_waits_while_postgresql_is_away_and_all_arrives_later(tmp_path):
    database = FakeDatabase()
    database.here.clear()
    async with Started(tmp_path, database) as outbox:
        for n in range(100):
            outbox.append("call_event", event(n))
        await outbox.durable()
        assert outbox.pending == 100
        assert database.rows == []
        database.here.set()
        await drained(outbox)
    assert names(database) == [str(n) for n in range(100)]


async def test_rows_written_before_a_restart_arrive_after_it(tmp_path):
    away = FakeDatabase()
    away.here.clear()
    for start in range(3):
        async with Started(tmp_path, away) as outbox:
            outbox.append("call_event", event(start))
    database = FakeDatabase()
    async with Started(tmp_path, database) as outbox:
        assert outbox.pending == 3
        outbox.append("call_event", event(3))
        await drained(outbox)
    assert names(database) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("seed", range(25))
async def test_exactly_once_whatever_fails_whenever(tmp_path, seed):
    draw = random.Random(seed)
    rate = draw.choice([0.05, 0.2, 0.4])
    database = FakeDatabase(lambda: draw.random() < rate)
    sent = 0
    for _ in range(draw.randrange(1, 4)):
        async with Started(tmp_path, database) as outbox:
            for _ in range(draw.randrange(0, 200)):
                outbox.append("call_event", event(sent))
                sent += 1
                if draw.random() < 0.1:
                    await asyncio.sleep(0)
            if draw.random() < 0.5:
                await outbox.durable()
    async with Started(tmp_path, database) as outbox:
        await drained(outbox)
    assert names(database) == [str(n) for n in range(sent)]


async def test_a_row_postgresql_will_never_take_is_set_aside_and_the_others_follow(tmp_path, told):
    database = FakeDatabase()
    database.here.clear()
    async with Started(tmp_path, database) as outbox:
        outbox.append("call_event", event(0))
        outbox.append("call_event", event(POISON))
        outbox.append("desk", {"state": "free"})  # names no desk
        outbox.append("no such kind", {})
        outbox.append("call_event", event(1))
        database.here.set()
        await drained(outbox)
        assert outbox.refused == 3
    assert names(database) == ["0", "1"]
    aside = [json.loads(line) for line in (tmp_path / "outbox-refused.jsonl").read_text().splitlines()]
    assert [line["n"] for line in aside] == [2, 3, 4]
    assert [line["position"] for line in told if line["event"] == "outbox_row_refused"] == [2, 3, 4]


async def test_nul_and_undecodable_bytes_do_not_stop_it(tmp_path):
    database = FakeDatabase()
    async with Started(tmp_path, database) as outbox:
        outbox.append("message", {"call": "c0ffee00", "text": "a\x00b\udcff", "odd": b"\x00\xff"})
        await drained(outbox)
    assert "a\ufffdb\ufffd" in database.rows[0]


async def test_a_record_of_any_size_is_taken(tmp_path):
    database = FakeDatabase()
    async with Started(tmp_path, database) as outbox:
        outbox.append("call_event", {**event(0), **{f"f{n}": "中" * 60_000 for n in range(20)}})
        outbox.append("call_event", event(1))
        await drained(outbox)
    assert names(database) == ["0", "1"]
    assert "too_long" in json.loads(database.rows[0][4])


async def test_applied_segments_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("pbx.storage.writer.MAX_SEGMENT", 1000)
    database = FakeDatabase()
    async with Started(tmp_path, database) as outbox:
        for n in range(30):
            outbox.append("call_event", event(n))
            await drained(outbox)
        outbox.append("call_event", event(30))
        await drained(outbox)
    assert len(await asyncio.to_thread(segments, tmp_path)) <= 3
    assert names(database) == [str(n) for n in range(31)]


def set_back(folder):
    """Make the journal an old copy of itself that knows only the first row."""
    for _, path in segments(folder):
        path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")


async def test_a_journal_that_was_set_back_loses_nothing_new_and_repeats_nothing_old(tmp_path, told):
    database = FakeDatabase()
    async with Started(tmp_path, database) as outbox:
        for n in range(3):
            outbox.append("call_event", event(n))
        await drained(outbox)
    await asyncio.to_thread(set_back, tmp_path)
    old = await asyncio.to_thread(stream_name, tmp_path)
    async with Started(tmp_path, database) as outbox:
        for n in range(3, 6):
            outbox.append("call_event", event(n))
        await drained(outbox)
    assert names(database) == [str(n) for n in range(6)]
    assert await asyncio.to_thread(stream_name, tmp_path) != old
    assert "outbox_renamed" in [line["event"] for line in told]


async def test_a_full_disk_delays_but_loses_nothing(tmp_path, monkeypatch, told):
    monkeypatch.setattr("pbx.storage.writer.RETRY_SECONDS", 0.01)
    database = FakeDatabase()
    (tmp_path / "outbox-0000000000000001.jsonl").symlink_to("/dev/full")
    async with Started(tmp_path, database) as outbox:
        outbox.append("call_event", event(0))
        async with asyncio.timeout(5):
            while outbox.journal_ok:
                await asyncio.sleep(0)
        assert names(database) == []
        await asyncio.to_thread((tmp_path / "outbox-0000000000000001.jsonl").unlink)
        outbox.append("call_event", event(1))
        await drained(outbox)
        assert outbox.journal_ok
        assert outbox.lost == 0
    assert names(database) == ["0", "1"]
    told_events = [line["event"] for line in told]
    assert told_events.count("outbox_not_written") == 1
    assert told_events.count("outbox_writes_again") == 1


async def test_a_disk_full_for_too_long_costs_the_newest_and_says_how_many(tmp_path, monkeypatch):
    monkeypatch.setattr("pbx.storage.writer.MAX_WAITING", 500)
    monkeypatch.setattr("pbx.storage.writer.RETRY_SECONDS", 0.01)
    database = FakeDatabase()
    (tmp_path / "outbox-0000000000000001.jsonl").symlink_to("/dev/full")
    async with Started(tmp_path, database) as outbox:
        for n in range(20):
            outbox.append("call_event", event(n))
        lost = outbox.lost
        assert 0 < lost < 20
        await asyncio.to_thread((tmp_path / "outbox-0000000000000001.jsonl").unlink)
        await drained(outbox)
    assert names(database) == [str(n) for n in range(20 - lost)]


async def test_using_it_before_its_start_is_a_bug_and_told_so(tmp_path):
    outbox = Outbox(tmp_path, FakeDatabase(), Tasks("test"))
    with pytest.raises(RuntimeError, match="not started"):
        outbox.append("call", {"call": "x"})
