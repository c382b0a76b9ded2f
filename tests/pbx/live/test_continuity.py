"""What a process that died left is taken up, done again where it must be, and never kills for ever."""

import errno
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from pbx.live import journal as journal_module
from pbx.live import key
from pbx.live.attempts import STEADY_SECONDS, Attempts
from pbx.live.continuity import Continuity, Numbers, open_journal
from pbx.live.outward import FILE, LINE, ROW, HeldMedia, HeldRows, HeldTransport, Outward
from pbx.sip.flow import Flow
from rtp.control import CloseLeg, Leave, Play, StopPlay

KEY = bytes(range(32))
BOOT = "11111111-2222-3333-4444-555555555555"
FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))


class Rows:
    """An outbox whose rows are on disk when `sync` says so."""

    def __init__(self, kept=()):
        self.rows = list(kept)
        self.on_disk = len(self.rows)

    @property
    def last(self):
        return len(self.rows)

    def append(self, kind, record):
        self.rows.append((kind, record))


class Source:
    """A machine that is a dict."""

    def __init__(self):
        self.state, self.changed, self.broken = {}, {}, False

    def set(self, name, data):
        self.state[name] = self.changed[name] = data

    def changes(self):
        changed, self.changed = self.changed, {}
        if self.broken:
            raise RuntimeError("a bug")
        yield from changed.items()


class Process:
    """A signalling process as far as it matters here."""

    def __init__(self, folder: Path, rows=(), *, key=KEY):
        registry = CollectorRegistry()
        self.numbers = Numbers(
            Gauge("fault", "", registry=registry), Gauge("size", "", registry=registry),
            Counter("restored", "", registry=registry), Counter("dropped", "", registry=registry),
        )  # fmt: skip
        self.source, self.rows, self.outward = Source(), Rows(rows), Outward()
        self.held = HeldRows(self.outward, self.rows)
        self.told: list[str] = []
        self.attempts = Attempts(folder)
        self.continuity = Continuity(
            open_journal(folder, key, BOOT), self.attempts, {"machine": self.source},
            outward=self.outward, rows=self.rows, numbers=self.numbers,
        )  # fmt: skip

    def start(self, now=100.0):
        left = self.continuity.left(now)
        self.source.state.update(left.state.get("machine", {}))
        again = []
        self.continuity.again(left, again.append)
        self.continuity.begin(left)
        return again

    def turn(self, name, data, *, row=None):
        self.source.set(name, data)
        if row is not None:
            self.held.append("row", {"n": row})
        self.outward.do(lambda: self.told.append(name))
        self.continuity.settle()


def test_state_is_written_before_the_world_hears(tmp_path):
    one = Process(tmp_path)
    one.start()
    one.source.set("call", {"state": "waiting"})
    seen = []
    one.outward.do(lambda: seen.append(open_journal(tmp_path, KEY, BOOT).read().records))
    assert seen == []
    one.continuity.settle()
    assert list(seen[0]) == ["machine:call"]


def test_a_turn_nobody_hears_of_is_written_with_the_next(tmp_path):
    one = Process(tmp_path)
    one.start()
    one.source.set("quiet", 1)
    one.continuity.settle()
    assert open_journal(tmp_path, KEY, BOOT).read().records == {}
    one.turn("loud", 2)
    two = Process(tmp_path)
    two.start()
    assert two.source.state == {"quiet": 1, "loud": 2}


def test_every_row_is_there_once_however_much_of_them_the_dead_process_got_to_the_disk(tmp_path):
    one = Process(tmp_path / "0")
    one.start()
    for n in range(5):
        one.turn(f"call{n}", n, row=n)
    for there in range(6):
        two = Process(tmp_path / "0", one.rows.rows[:there])
        two.attempts.end()
        two.start()
        assert [record["n"] for _, record in two.rows.rows] == [0, 1, 2, 3, 4]
        two.attempts.end()
        (tmp_path / "0" / "journal").unlink()
        one.continuity._journal.fault = None
        one.continuity._journal.begin(
            one.continuity._journal.table,
            [frame for _, _, frame in one.continuity._journal._outs],
            mono=200.0, wall=0, base=5,
        )  # fmt: skip


def test_what_was_done_to_files_is_handed_on_to_be_looked_for(tmp_path):
    one = Process(tmp_path)
    one.start()
    one.outward.do(lambda: None, (LINE, "c", "event", {"a": 1}, 5, 1.5, 3))
    one.outward.do(lambda: None, (FILE, "day", b"line"))
    one.continuity.settle()
    again = Process(tmp_path).start()
    assert again == [[LINE, "c", "event", {"a": 1}, 5, 1.5, 3], [FILE, "day", b"line"]]


def test_what_a_process_died_of_soon_after_it_took_it_up_is_left_out(tmp_path, monkeypatch):
    clock = [10.0]
    monkeypatch.setattr("pbx.live.continuity.time.monotonic", lambda: clock[0])
    one = Process(tmp_path)
    one.start()
    one.turn("old", 1)
    clock[0] = 20.0
    one.turn("poison", 1)
    two = Process(tmp_path)
    two.start()
    assert two.source.state == {"old": 1, "poison": 1}
    three = Process(tmp_path)
    three.start()
    assert three.source.state == {"old": 1}, "it died at once: what was touched last is left out"
    four = Process(tmp_path)
    four.start()
    assert four.source.state == {}, "and again: new calls must be taken at all costs"
    five = Process(tmp_path)
    five.start()
    assert five.source.state == {}


def test_a_process_that_lives_long_enough_is_forgiven(tmp_path):
    attempts = Attempts(tmp_path)
    assert attempts.begin(100.0) == 0
    attempts.beat(100.0 + STEADY_SECONDS / 2)
    assert Attempts(tmp_path).begin(101.0) == 1
    attempts = Attempts(tmp_path)
    assert attempts.begin(102.0) == 2
    attempts.beat(102.0 + STEADY_SECONDS)
    assert Attempts(tmp_path).begin(200.0) == 0


def test_a_disk_that_refuses_stops_nobody_and_is_stated(tmp_path, monkeypatch):
    one = Process(tmp_path)
    one.start()

    def full(_descriptor, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "write", full)
        one.turn("call", 1)
        one.turn("call", 2)
    assert one.told == ["call", "call"]
    assert one.numbers.fault._value.get() == 1
    one.continuity.beat()
    assert one.numbers.fault._value.get() == 0
    two = Process(tmp_path)
    two.start()
    assert two.source.state == {"call": 2}


def test_a_bug_in_writing_stops_nobody(tmp_path):
    one = Process(tmp_path)
    one.start()
    one.source.broken = True
    one.turn("call", 1)
    assert one.told == ["call"]


def test_a_bug_in_doing_stops_nothing_else(tmp_path):
    one = Process(tmp_path)
    one.start()
    one.outward.do(lambda: 1 / 0)
    one.turn("call", 1)
    assert one.told == ["call"]


def test_an_unreadable_record_costs_itself(tmp_path):
    one = Process(tmp_path)
    one.start()
    one.turn("good", 1)
    one.continuity._journal.append(
        [("machine:bad", b"\x92"), ("nobody:x", b"\x01")], [], mono=1.0, wall=1, base=0
    )
    two = Process(tmp_path)
    two.start()
    assert two.source.state == {"good": 1}
    assert two.numbers.dropped._value.get() == 2


def test_without_a_key_nothing_is_kept_and_everything_goes_on(tmp_path):
    one = Process(tmp_path, key=None)
    one.start()
    one.turn("call", 1, row=1)
    one.continuity.beat()
    one.continuity.end()
    assert (one.told, len(one.rows.rows)) == (["call"], 1)
    assert list(tmp_path.iterdir()) == []


def test_an_orderly_end_leaves_nothing(tmp_path):
    one = Process(tmp_path)
    one.start()
    one.turn("call", 1)
    one.continuity.end()
    one.outward.do(lambda: one.told.append("after the end"))
    one.continuity.settle()
    one.continuity.beat()
    assert one.told == ["call", "after the end"]
    assert list(tmp_path.iterdir()) == [], "who looks once more begins no new one"


def test_another_run_s_journal_is_not_taken(tmp_path):
    one = Process(tmp_path)
    one.start()
    one.turn("call", 1)
    two = Process(tmp_path, key=bytes(32))
    two.start()
    assert two.source.state == {}


# --- between the machines and the world -------------------------------------------------------------------------------


class World:
    def __init__(self):
        self.sent = []

    def send(self, *what):
        self.sent.append(what)

    def expect(self, *what):
        self.sent.append(what)


def test_what_is_sent_before_the_sockets_are_bound_waits_for_them():
    world, outward = World(), Outward()
    transport = HeldTransport(outward, world)
    transport.send(b"early", FLOW)
    assert world.sent == []
    transport.open()
    transport.send(b"late", FLOW)
    transport.expect("tls", ("192.0.2.9", 5061), "name")
    assert world.sent == [(b"early", FLOW), (b"late", FLOW), ("tls", ("192.0.2.9", 5061), "name")]


def test_what_loops_on_a_leg_is_remembered():
    media = HeldMedia(Outward(), World())
    tone = Play("leg-1", "c/1", ("tone:waiting",), loop=True)
    media.send(tone)
    media.send(Play("leg-2", "c/2", ("tone:waiting",), loop=True))
    media.send(Leave("leg-1"))
    media.send(StopPlay("leg-2"))
    records = dict(media.changes())
    assert records["leg-2"] is None
    other = HeldMedia(Outward(), World())
    assert other.resume({"leg-1": records["leg-1"]}) == []
    assert other.plays == {"leg-1": tone}
    media.send(CloseLeg("leg-1"))
    assert dict(media.changes()) == {"leg-1": None}


def test_rows_of_any_value_can_be_kept():
    outward, rows = Outward(), Rows()
    outward.hold()
    HeldRows(outward, rows).append("row", {"odd": Path("/x"), "text": "\udce9"})
    outs, count = outward.taken()
    assert (len(outs), count) == (1, 1)
    assert ROW.encode() in outs[0]
    outward.let_go()
    assert len(rows.rows) == 1


# --- the key ------------------------------------------------------------------------------------------------------------


def test_the_key_is_handed_over_in_memory():
    descriptor = key.make()
    one = key.take({key.VARIABLE: str(descriptor)})
    assert one is not None
    assert len(one) == 32
    assert key.take({key.VARIABLE: str(descriptor)}) == one, "the next process gets the same"
    assert key.take({key.VARIABLE: str(key.make())}) != one


@pytest.mark.parametrize("number", ["", "x", "٣", "987654"])
def test_whoever_is_given_no_key_has_none(number):
    assert key.take({key.VARIABLE: number}) is None
    assert key.take({}) is None
