"""The journal holds what was written to it, however the process or the disk fails."""

import errno
import os
import stat
import tracemalloc

import pytest

from pbx.live import journal as module
from pbx.live.frames import Frame
from pbx.live.journal import FILE, Journal, boot_id

KEY, OTHER = bytes(range(32)), bytes(32)
BOOT = "11111111-2222-3333-4444-555555555555"


def made(folder, records=None, **how):
    journal = Journal(folder, how.pop("key", KEY), how.pop("boot", BOOT))
    assert journal.begin(records or {}, [], mono=1.0, wall=10, base=0)
    return journal


def put(journal, at, *changes, outs=(), rows=0, base=0):
    return journal.append(list(changes), list(outs), mono=at, wall=int(at * 10), base=base, rows=rows)


def read(folder, key=KEY, boot=BOOT):
    return Journal(folder, key, boot).read()


def test_what_changed_last_is_what_is_found(tmp_path):
    journal = made(tmp_path / "live", {"a": b"1", "b": b"1"})
    assert put(journal, 2.0, ("a", b"2"), ("c", b"3"))
    assert put(journal, 3.0, ("b", None), ("c", b"3"), ("never", None))
    found = read(tmp_path / "live")
    assert found.records == journal.table == {"a": b"2", "c": b"3"}
    assert (found.why, found.cut, found.last.mono, found.last.wall) == (None, 0, 3.0, 30)


def test_nobody_else_may_read_it(tmp_path):
    made(tmp_path / "live")
    assert stat.S_IMODE((tmp_path / "live").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "live" / FILE).stat().st_mode) == 0o600


def test_what_did_not_change_is_not_written(tmp_path):
    journal = made(tmp_path)
    put(journal, 2.0, ("a", b"x" * 1000))
    size = journal.size
    put(journal, 2.1, ("a", b"x" * 1000))
    assert journal.size == size
    put(journal, 9.0, ("a", b"x" * 1000))
    assert size < journal.size < size + 200, "a sign of life"
    assert read(tmp_path).last.mono == 9.0


def test_a_torn_tail_is_cut_at_every_byte(tmp_path):
    journal = made(tmp_path)
    put(journal, 2.0, ("a", b"1"))
    before = journal.size
    put(journal, 3.0, ("a", b"2"), ("b", b"2"))
    data = (tmp_path / FILE).read_bytes()
    for cut in range(before, len(data)):
        (tmp_path / FILE).write_bytes(data[:cut])
        found = read(tmp_path)
        assert (found.records, found.cut) == ({"a": b"1"}, cut - before)


def test_what_is_no_journal_of_this_run_is_not_taken(tmp_path):
    assert read(tmp_path).why == "no_journal"
    made(tmp_path, {"a": b"1"})
    assert read(tmp_path, key=OTHER).why == "other_run"
    assert read(tmp_path, boot="another").why == "other_boot"
    (tmp_path / FILE).write_bytes(b"something else")
    assert read(tmp_path).why == "not_a_journal"
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    assert read(tmp_path).why == "unreadable"


def test_it_is_rewritten_when_it_has_grown(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REWRITE_BYTES", 2000)
    journal = made(tmp_path)
    for n in range(100):
        put(journal, 2.0 + n, ("a", b"x" * 90 + b"%d" % n), outs=[b"out %d" % n], base=n, rows=1)
    assert journal.size > 10_000
    assert journal.rewrite(mono=103.0, wall=0, base=100, durable=98)
    assert journal.size < 3000
    found = read(tmp_path)
    assert found.records == journal.table == {"a": b"x" * 90 + b"99"}
    kept = [out for turn in found.turns for out in turn.outs]
    assert kept[-1] == b"out 99"
    assert b"out 98" in kept, "a row that is not on disk yet"
    assert b"out 1" not in kept
    assert not journal.rewrite(mono=104.0, wall=0, base=100, durable=100)


def test_what_many_turns_did_becomes_few_frames_when_it_is_rewritten(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REWRITE_BYTES", 2000)
    monkeypatch.setattr(module, "GATHERED_OUTS", 30)
    journal = made(tmp_path)
    for n in range(100):  # the 50th row is another's: the positions have a gap there
        base = n if n < 50 else n + 1
        put(journal, 2.0 + n / 1000, ("a", b"x" * 200), outs=[b"out %d" % n], base=base, rows=1)
    assert journal.rewrite(mono=3.0, wall=0, base=101, durable=0)
    turns = [turn for turn in read(tmp_path).turns if turn.outs]
    assert [(turn.base, len(turn.outs)) for turn in turns] == [(0, 30), (30, 20), (51, 30), (81, 20)]
    assert [out for turn in turns for out in turn.outs] == [b"out %d" % n for n in range(100)]


def test_what_is_kept_of_turns_is_no_reason_to_rewrite_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REWRITE_BYTES", 2000)
    journal = made(tmp_path)
    for n in range(100):
        put(journal, 2.0 + n / 1000, outs=[b"o" * 300], base=n, rows=1)
    assert not journal.rewrite(mono=3.0, wall=0, base=100, durable=0)
    assert journal.rewrite(mono=20.0, wall=0, base=100, durable=100), "it is on the disk, and long ago"
    assert journal.size < 1000


def test_a_death_while_it_is_rewritten_leaves_the_old_one(tmp_path, monkeypatch):
    journal = made(tmp_path, {"a": b"1"})

    def dies(_self, _target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.Path, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            journal.begin({"a": b"2"}, [], mono=2.0, wall=0, base=0)
    assert read(tmp_path).records == {"a": b"1"}
    assert made(tmp_path, {"a": b"3"}).fault is None


def test_a_disk_that_refuses_leaves_no_old_state_and_is_tried_again(tmp_path, monkeypatch):
    journal = made(tmp_path, {"a": b"1"})

    def full(_descriptor, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", full)
        assert not put(journal, 2.0, ("a", b"2"))
        assert journal.fault == "No space left on device"
        assert read(tmp_path).why == "no_journal"
        assert not put(journal, 3.0, ("b", b"3"))
        assert not journal.rewrite(mono=4.0, wall=0, base=0, durable=0)
    assert journal.rewrite(mono=5.0, wall=0, base=0, durable=0)
    assert journal.fault is None
    assert read(tmp_path).records == {"a": b"2", "b": b"3"}


def test_a_write_that_is_cut_short_goes_on(tmp_path, monkeypatch):
    journal = made(tmp_path)
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    assert put(journal, 2.0, ("a", b"x" * 100))
    assert read(tmp_path).records == {"a": b"x" * 100}


def test_it_tells_what_was_written_last(tmp_path):
    journal = made(tmp_path, {"old": b"1"})
    put(journal, 2.0, ("early", b"1"))
    put(journal, 5.0, ("late", b"1"))
    put(journal, 5.5, ("last", b"1"))
    assert read(tmp_path).changed == {"late", "last"}


def test_what_is_fresh_alone_counts_as_written_last_when_it_is_rewritten(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE_BYTES", 100)
    journal = Journal(tmp_path, KEY, BOOT)
    records = {f"r{n}": bytes(30) for n in range(20)}
    turns = [Frame(7.5, 75, 3, [], [b"row"]), Frame(9.5, 95, 4, [], [b"row"])]
    assert journal.begin(records, turns, mono=10.0, wall=100, base=8, fresh=frozenset({"r3", "r7"}))
    found = read(tmp_path)
    assert len(found.turns) > 6, "in pieces"
    assert (found.records, found.changed, found.cut) == (records, {"r3", "r7"}, 0)
    put(journal, 10.2, ("r9", b"1"))
    assert read(tmp_path).changed == {"r3", "r7", "r9"}
    put(journal, 12.0, ("r1", b"1"))
    assert read(tmp_path).changed == {"r1"}
    assert journal.begin(journal.table, [], mono=13.0, wall=130, base=8)
    assert read(tmp_path).changed == frozenset()
    put(journal, 13.1, ("r2", b"1"))
    assert read(tmp_path).changed == {"r2"}


def test_rewriting_it_takes_no_multiple_of_its_size(tmp_path):
    journal = made(tmp_path, {f"record/{n}": os.urandom(1500) for n in range(6000)})
    tracemalloc.start()
    try:
        assert journal.begin(journal.table, [], mono=2.0, wall=20, base=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert journal.size > 9_000_000
    assert peak < 2_500_000, "a third of its size, most of that a copy of the table itself"
    assert read(tmp_path).records == journal.table


def test_an_orderly_end_leaves_nothing(tmp_path):
    journal = made(tmp_path, {"a": b"1"})
    journal.end()
    assert read(tmp_path).why == "no_journal"
    assert journal.table == {}


def test_turns_of_before_are_kept(tmp_path):
    journal = Journal(tmp_path, KEY, BOOT)
    turns = [Frame(0.5, 5, 7, [("x", b"1")], [b"row"])]
    assert journal.begin({"a": b"1"}, turns, mono=1.0, wall=10, base=8)
    found = read(tmp_path)
    assert [(turn.base, turn.outs) for turn in found.turns if turn.outs] == [(7, [b"row"])]
    assert found.records == {"a": b"1"}
    assert found.last.mono == 1.0


def test_this_machine_has_a_boot_id():
    assert len(boot_id()) == 36
