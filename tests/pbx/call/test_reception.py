"""Who begins when: the order of calls for help, and that offering more than can be served takes nothing from what is."""

import heapq
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.call import reception as module
from pbx.call.reception import Reception, Waiting
from pbx.live.frames import packed, unpacked
from pbx.sip.effects import Cancelled, RequestArrived
from pbx.sip.flow import Flow
from tests.kit import sip

HERE = ("192.0.2.1", 5060)


def flow(host="198.51.100.7", port=5062):
    return Flow("udp", HERE, (host, port))


def invite(name, *, host="198.51.100.7"):
    asked = sip.cached_request(branch=f"z9hG4bK{name}", call_id=f"call-{name}")
    return RequestArrived(f"INVITE {name}", asked, flow(host))


def cancel(name):
    asked = sip.cached_request(method="CANCEL", branch=f"z9hG4bK{name}", call_id=f"call-{name}")
    return Cancelled(f"INVITE {name}", asked, flow())


def filled(*names, host="198.51.100.7"):
    it = Reception()
    for at, name in enumerate(names):
        it.arrive(invite(name, host=host), host, float(at))
    return it


def order(it):
    found = []
    while (one := it.next()) is not None:
        found.append(one.event.transaction.removeprefix("INVITE "))
    return found


# --- order --------------------------------------------------------------------------------------------------------------


def test_of_one_source_the_oldest_goes_first():
    it = filled("a", "b", "c")
    assert len(it) == 3
    assert order(it) == ["a", "b", "c"]
    assert (len(it), it.empty, it.next()) == (0, True, None)


def test_sources_take_turns():
    it = filled(*(f"flood{n}" for n in range(4)))
    it.arrive(invite("ann"), "203.0.113.1", 9.0)
    it.arrive(invite("bob"), "203.0.113.2", 9.5)
    it.arrive(invite("bob2"), "203.0.113.2", 9.6)
    assert order(it) == ["flood0", "ann", "bob", "flood1", "bob2", "flood2", "flood3"]


def test_who_gives_up_makes_way_for_all_others_and_is_taken_down():
    it = filled("a", "b", "c")
    one, forgotten = it.cancel(cancel("a"))
    assert (one.event.transaction, one.cancelled, forgotten) == ("INVITE a", cancel("a"), None)
    assert len(it) == 2
    assert it.cancel(cancel("a")) is None, "a CANCEL that comes again"
    assert it.cancel(cancel("stranger")) is None
    it.arrive(invite("d"), "198.51.100.7", 3.0)
    found = [it.next() for _ in range(4)]
    assert [one.event.transaction[-1] for one in found] == ["b", "c", "d", "a"]
    assert [one.cancelled is not None for one in found] == [False, False, False, True]


def test_of_very_many_that_gave_up_the_oldest_is_forgotten(monkeypatch):
    monkeypatch.setattr(module, "MAX_GIVEN_UP", 2)
    it = filled("a", "b", "c")
    assert it.cancel(cancel("a"))[1] is None
    assert it.cancel(cancel("b"))[1] is None
    assert it.cancel(cancel("c"))[1].event.transaction == "INVITE a"
    assert not it.holds("call-a")
    assert order(it) == ["b", "c"]


def crowd(monkeypatch, **sources):
    """So many calls of each source; four begin in time."""
    monkeypatch.setattr("pbx.call.pace.LEAST", 4)
    it = Reception()
    it.patience = 0.0
    for source, count in sources.items():
        for n in range(count):
            it.arrive(invite(f"{source}{n}", host=source), source, 1.0)
    return it


def test_who_would_not_begin_in_time_is_late(monkeypatch):
    it = crowd(monkeypatch, ann=3)
    assert it.most(1.0) == 4
    assert not it.late("ann", 1.0)
    it.arrive(invite("ann3"), "ann", 1.0)
    assert it.late("ann", 1.0)
    it.cancel(cancel("ann0"))
    assert not it.late("ann", 1.0), "who gave up stands in nobody's way"


def test_the_pace_of_now_says_how_many_begin_in_time():
    it = filled(*map(str, range(1700)))
    assert it.late("198.51.100.7", 0.0), "50 a second are supposed, 1,600 in 32 s"
    for n in range(1, 600):
        it.next()
        it.began(n / 100)
    assert it.most(6.0) > 2400, "100 a second were begun"
    assert not it.late("198.51.100.7", 6.0)


@pytest.mark.parametrize(
    ("sources", "late"),
    [
        ({"flood": 9}, {"flood"}),  # in front of a stranger stands one of them
        ({"flood": 9, "ann": 1, "bob": 1}, {"flood", "ann", "bob"}),  # before ann's second: 2 of flood, 1 of ann, 1 of bob
        ({"flood": 9, "ann": 1}, {"flood"}),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, {"a", "b", "c", "d", "stranger"}),
        ({"a": 2, "b": 2}, {"a", "b"}),
    ],
)  # fmt: skip
def test_what_stands_in_front_is_counted_with_the_turns_of_the_sources(monkeypatch, sources, late):
    it = crowd(monkeypatch, **sources)
    assert {source for source in (*sources, "stranger") if it.late(source, 1.0)} == late


def test_nobody_is_late_before_as_many_begin_in_its_place(monkeypatch):
    """What `late` counts is what a call would have in front of it."""
    it = crowd(monkeypatch, flood=7, ann=2, bob=1)
    for source in ("flood", "ann", "bob", "stranger"):
        monkeypatch.setattr("pbx.call.pace.LEAST", 1)
        front = (
            next(
                n
                for n in range(1, 20)
                if monkeypatch.setattr("pbx.call.pace.LEAST", n) or not it.late(source, 1.0)
            )
            - 1
        )
        twin = crowd(monkeypatch, flood=7, ann=2, bob=1)
        twin.arrive(invite("last"), source, 2.0)
        assert front >= order(twin).index("last"), source


def test_pairs_of_ports_they_will_ask_for():
    it = filled("a", "b")
    assert it.pairs == 2
    seen = sip.request(
        branch="z9hG4bKv", call_id="v", body=b"v=0\r\nm=audio 9 RTP/AVP 8\r\nm=video 9 RTP/AVP 99\r\n"
    )
    it.arrive(RequestArrived("INVITE v", seen, flow()), "198.51.100.7", 2.0)
    off = sip.request(
        branch="z9hG4bKo", call_id="o", body=b"v=0\r\nm=audio 9 RTP/AVP 8\r\nm=video 0 RTP/AVP 99\r\n"
    )
    it.arrive(RequestArrived("INVITE o", off, flow()), "198.51.100.7", 2.0)
    assert it.pairs == 5
    it.cancel(cancel("a"))
    assert it.pairs == 4
    order(it)
    assert it.pairs == 0


def test_call_ids_are_known_until_the_call_begins():
    it = filled("a", "b")
    it.cancel(cancel("a"))
    assert it.holds("call-a")
    assert it.holds("call-b")
    it.next()
    assert not it.holds("call-b")
    it.next()
    assert not it.holds("call-a")


def test_the_same_call_id_twice():
    it = filled("a")
    it.arrive(RequestArrived("INVITE again", invite("a").request, flow()), "198.51.100.7", 1.0)
    it.next()
    assert it.holds("call-a")
    it.next()
    assert not it.holds("call-a")


def test_strain_is_how_long_the_oldest_waits():
    it = filled("a", "b")  # since 0.0 and 1.0
    assert it.strain(0.0) == 0.0
    assert it.strain(2.0) == pytest.approx(0.1)
    assert it.strain(1000.0) == 1.0
    it.next()
    assert it.strain(2.0) == pytest.approx(0.05)
    it.cancel(cancel("b"))
    assert it.strain(1000.0) == 0.0, "who gave up is no haste"


def test_a_phone_that_moves_is_answered_where_it_is():
    it = filled("a")
    it.arrive(invite("b", host="203.0.113.9"), "203.0.113.9", 1.0)
    it.moved(flow("203.0.113.9"), flow("203.0.113.9", 7000))
    assert [one.event.flow.remote[1] for one in it] == [5062, 7000]


class Line:
    """What any order of arrivals, turns and CANCELs must keep."""

    def __init__(self):
        self.it, self.now, self.made = Reception(), 0.0, 0
        self.waiting, self.given_up, self.begun = [], [], []

    def arrive(self, host):
        self.made += 1
        self.now += 1.0
        self.it.arrive(invite(str(self.made)), f"10.0.0.{host}", self.now)
        self.waiting.append((str(self.made), host))

    def cancel(self, which):
        if self.waiting:
            one = self.waiting.pop(which % len(self.waiting))
            assert self.it.cancel(cancel(one[0])) is not None
            self.given_up.append(one[0])

    def next(self, _):
        one = self.it.next()
        if one is None:
            assert self.waiting + self.given_up == []
            return
        name = one.event.transaction.removeprefix("INVITE ")
        self.begun.append(name)
        if one.cancelled is not None:
            assert self.waiting == [], "somebody waits who did not give up"
            assert self.given_up.pop(0) == name
            return
        host = next(host for other, host in self.waiting if other == name)
        assert next(other for other, at in self.waiting if at == host) == name, (
            "an older one of its source waits"
        )
        self.waiting.remove((name, host))


@given(
    st.lists(
        st.tuples(st.sampled_from(["arrive", "arrive", "next", "cancel"]), st.integers(0, 5)), max_size=60
    )
)
def test_nobody_is_lost_begun_twice_or_overtaken_by_one_of_its_source(steps):
    line = Line()
    for what, number in steps:
        getattr(line, what)(number)
        assert len(line.it) == len(line.waiting)
        held = Counter(host for _, host in line.waiting).values()
        assert line.it._sources == [
            sum(n >= many for n in held) for many in range(1, max(held, default=0) + 1)
        ]
    while not line.it.empty:
        line.next(0)
    assert sorted(line.begun, key=int) == [str(n + 1) for n in range(line.made)]


# --- overload, on simulated time -----------------------------------------------------------------------------------------

HEAR, BEGIN, LATER, BYE, TALK = 0.0004, 0.004, 0.004, 0.004, 0.1
"""Seconds of work: hearing an INVITE, beginning its call, what follows until it is up, its end; and how long it talks."""
CAPACITY = 1 / (HEAR + BEGIN + LATER + BYE)


def served(offered, seconds, *, line):
    """Offer so many calls a second to a server of one processor; return how many a second end. `line`: None: as they come."""
    now, due, ended, number = 0.0, [], 0, 0
    todo = deque()
    arrivals = [(n / offered, n, "invite") for n in range(int(offered * seconds))]
    heapq.heapify(due)
    due += arrivals
    heapq.heapify(due)
    while now < seconds:
        while due and due[0][0] <= now:
            todo.append(heapq.heappop(due))
        if todo:
            _, number, what = todo.popleft()
        elif line is not None and (one := line.next()) is not None:
            number, what = int(one.event.transaction.removeprefix("INVITE ")), "begin"
        elif due:
            now = due[0][0]
            continue
        else:
            break
        match what:
            case "invite" if line is not None:
                now += HEAR
                line.arrive(invite(str(number)), "198.51.100.7", now)
            case "invite":
                now += HEAR + BEGIN
                heapq.heappush(due, (now, number, "later"))
            case "begin":
                now += BEGIN
                heapq.heappush(due, (now, number, "later"))
            case "later":
                now += LATER
                heapq.heappush(due, (now + TALK, number, "bye"))
            case "bye":
                now += BYE
                ended += 1
    return ended / seconds


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_goodput_does_not_fall_when_more_come_than_can_be_served(factor):
    capacity = served(CAPACITY, 20.0, line=Reception())
    assert capacity > 0.95 * CAPACITY
    assert served(factor * CAPACITY, 20.0, line=Reception()) >= 0.9 * capacity


def test_begun_as_they_come_they_starve_each_other():
    assert served(4 * CAPACITY, 20.0, line=None) < 0.6 * CAPACITY


# --- across a restart ---------------------------------------------------------------------------------------------------


def written(it, records):
    """Write what changed into the records of a journal."""
    for name, data in it.changes():
        if data is None:
            records.pop(name, None)
        else:
            records[name] = packed(data)
    return records


def read(records, transactions):
    it = Reception()
    bad = it.resume({name: unpacked(data) for name, data in records.items()}, transactions.get)
    return it, bad


def test_all_that_have_not_begun_are_taken_up():
    it = filled("a", "b", "c", "d")
    records = written(it, {})
    it.cancel(cancel("b"))
    it.next()
    written(it, records)
    assert list(it.changes()) == []
    layer = {f"INVITE {name}": invite(name).request for name in "cd"}  # b's has ended: it was answered
    again, bad = read(records, layer)
    assert bad == []
    assert [(one.event.transaction, one.since, one.source) for one in again] == [
        ("INVITE c", 2.0, "198.51.100.7"), ("INVITE d", 3.0, "198.51.100.7"), ("INVITE b", 1.0, "198.51.100.7"),
    ]  # fmt: skip
    *_, last = again
    assert isinstance(last, Waiting)
    assert last.cancelled is not None
    assert last.event.request.encode() == invite("b").request.encode()
    assert last.cancelled.request.encode() == cancel("b").request.encode()
    assert order(again) == ["c", "d", "b"]
    assert written(again, records) == {}


def test_what_fits_nothing_is_said():
    it = filled("a", "b")
    it.cancel(cancel("b"))
    records = written(it, {})
    records |= {"INVITE x": packed([1]), "INVITE y": packed(["h", 1.0, ["udp"], None])}
    broken = unpacked(records["INVITE b"])
    records["INVITE b"] = packed([*broken[:3], [b"rubbish", *broken[3][1:]]])
    again, bad = read(records, {})
    assert sorted(bad) == ["INVITE a", "INVITE b", "INVITE x", "INVITE y"]
    assert again.empty
    response = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKr\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n"
    response += b"Call-ID: r\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    records = {"INVITE b": packed([*broken[:3], [response, *broken[3][1:]]])}
    assert read(records, {})[1] == ["INVITE b"]
