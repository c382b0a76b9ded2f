import errno
import threading

import pytest

from rtp.call_evidence import MAX_WAITING, RING_FULL, CallEvidence
from rtp.control import CloseEvidence, EvidenceClosed, EvidenceOpened, OpenEvidence, Refused
from rtp.evidence import MANY_CALLS, MAX_REMEMBERED, MOST_RESTS, PORTION, EvidenceKeeper
from tests.kit.captures import Factory, Kept, Sink

A, B = ("10.0.0.1", 1), ("10.0.0.2", 2)
OPEN, CLOSE = OpenEvidence("call", "/folder"), CloseEvidence("call")


@pytest.fixture
def kept():
    made = Kept()
    yield made
    made.factory.may_open.set()
    made.keeper.shut()


def test_open_write_close(kept):
    assert kept.keeper.open(OPEN) == []
    assert kept.settled() == [EvidenceOpened("call")]
    assert kept.keeper.open(OPEN) == [EvidenceOpened("call")]
    evidence = kept.keeper.find("call")
    evidence.packet(1, A, B, b"one")
    evidence.sip(2, A, B, "udp", b"SIP")
    assert kept.factory.opened[0].rows == [("rtp", b"one"), ("udp", b"SIP")]
    assert kept.keeper.close(CLOSE) == []
    assert kept.keeper.find("call") is None
    assert kept.settled() == [EvidenceClosed("call", 2, 100)]
    assert kept.keeper.close(CLOSE) == [EvidenceClosed("call", 2, 100)]


def test_packets_that_come_while_the_file_is_opened_are_in_it_in_order(kept):
    kept.factory.may_open.clear()
    kept.keeper.open(OPEN)
    evidence = kept.keeper.find("call")
    early = evidence.packet  # as a track holds it
    early(1, A, B, b"one")
    evidence.sip(2, A, B, "tcp", b"two")
    kept.factory.may_open.set()
    kept.settled()
    early(3, A, B, b"three")
    evidence.packet(4, A, B, b"four")
    assert kept.factory.opened[0].rows == [
        ("rtp", b"one"),
        ("tcp", b"two"),
        ("rtp", b"three"),
        ("rtp", b"four"),
    ]


def test_closing_what_is_being_opened_loses_nothing(kept):
    kept.factory.may_open.clear()
    kept.keeper.open(OPEN)
    kept.keeper.find("call").packet(1, A, B, b"one")
    assert kept.keeper.close(CLOSE) == []
    assert kept.keeper.close(CLOSE) == []  # being closed
    kept.factory.may_open.set()
    assert kept.settled() == [EvidenceOpened("call"), EvidenceClosed("call", 1, 100)]


def test_flushes_are_in_the_thread_and_synced_once_a_second(kept):
    kept.keeper.open(OPEN)
    kept.settled()
    for tenth in range(21):
        kept.keeper.tick(50 + tenth / 10)
        kept.settled()
    sink = kept.factory.opened[0]
    # Where not all can be synced at once, each is after it was flushed.
    assert sink.flushes == [False, True, *[False] * 10, True, *[False] * 10, True]
    assert kept.factory.together == [[sink]] * 3
    assert sink.threads == {"evidence"}


def test_many_are_flushed_half_as_often_and_synced_as_ever(kept):
    for number in range(MANY_CALLS - 1):
        kept.keeper.open(OpenEvidence(f"call-{number}", "/evidence"))
    kept.settled()
    kept.factory.at_once = True
    first = kept.factory.opened[0]
    for tenth in range(10):
        kept.keeper.tick(50 + tenth / 10)
        kept.settled()
    assert len(first.flushes) == 10
    kept.keeper.open(OpenEvidence("one more", "/evidence"))
    kept.settled()
    for tenth in range(20):
        kept.keeper.tick(51 + tenth / 10 + tenth % 2 * 0.03)  # every other is late
        kept.settled()
    assert len(first.flushes) == 10 + 10
    assert len(kept.factory.together) == 3


@pytest.mark.parametrize(
    ("calls", "rests"),
    [
        (PORTION, []),
        (PORTION + 1, [PORTION]),
        (200, list(range(10, 200, 10))),
        (1000, list(range(48, 1000, 48))),
    ],
)
def test_the_thread_rests_after_each_portion_of_the_captures(kept, calls, rests):
    for number in range(calls):
        kept.keeper.open(OpenEvidence(f"call-{number}", "/evidence"))
    kept.settled()
    kept.factory.at_once = True
    kept.keeper.tick(50.0)
    kept.settled()
    assert kept.rests == rests
    assert len(rests) <= MOST_RESTS
    assert [sink.flushes for sink in kept.factory.opened] == [[False]] * calls


def test_what_is_synced_at_once_is_not_synced_one_by_one(kept):
    for call in ("a", "b", "c"):
        kept.keeper.open(OpenEvidence(call, "/evidence"))
    kept.settled()
    a, b, c = kept.factory.opened
    kept.factory.at_once = True
    kept.keeper.tick(50.0)
    kept.settled()
    assert [sink.flushes for sink in (a, b, c)] == [[False]] * 3
    assert kept.factory.together == [[a, b, c]]

    def refuse(*, sync):
        raise OSError(errno.EIO, "no")

    b.flush = refuse
    kept.factory.at_once = False
    kept.keeper.tick(51.0)
    events = kept.settled()
    assert [type(event) for event in events] == [Refused], "told of the one that could not be written"
    assert kept.factory.together[1:] == [[a, c]], "and the others are synced all the same"
    assert [sink.flushes for sink in (a, c)] == [[False, False, True]] * 2


def test_a_busy_disk_is_not_asked_again(kept):
    kept.keeper.open(OPEN)
    kept.settled()
    blocked = threading.Event()
    kept.keeper._jobs.put(lambda: blocked.wait(10))
    for tenth in range(5):
        kept.keeper.tick(50 + tenth / 10)
    blocked.set()
    kept.settled()
    assert kept.factory.opened[0].flushes == [False, True]


@pytest.mark.parametrize(("fault", "reason"), [(OSError(28, "full"), "disk"), (KeyError("bug"), "evidence")])
def test_a_failing_flush_is_told_once_until_it_works_again(kept, fault, reason):
    kept.keeper.open(OPEN)
    kept.settled()
    told = []
    for tenth, state in enumerate([fault, fault, None, fault]):
        kept.factory.fault = state
        kept.keeper.tick(50 + tenth / 10)
        told.append(kept.settled())
    assert told == [
        [Refused("OpenEvidence", "call", reason)],
        [],
        [EvidenceOpened("call")],
        [Refused("OpenEvidence", "call", reason)],
    ]
    kept.factory.fault = None


def test_a_file_that_can_not_be_opened_is_tried_again_each_second(kept):
    kept.factory.fault = OSError(28, "full")
    kept.keeper.open(OPEN)
    assert kept.settled() == [Refused("OpenEvidence", "call", "disk")]
    kept.keeper.find("call").packet(1, A, B, b"one")
    kept.keeper.tick(50.0)
    assert kept.settled() == []  # told already
    kept.factory.fault = None
    kept.keeper.tick(50.5)
    assert kept.settled() == []
    kept.keeper.tick(51.0)
    assert kept.settled() == [EvidenceOpened("call")]
    assert kept.factory.opened[0].rows == [("rtp", b"one")]


def test_evidence_that_never_opened_can_be_closed(kept):
    kept.factory.fault = OSError(28, "full")
    kept.keeper.open(OPEN)
    kept.settled()
    assert kept.keeper.close(CLOSE) == [EvidenceClosed("call", 0, 0)]
    assert kept.keeper.calls == ()


def test_a_close_that_fails_is_told_and_ends(kept):
    kept.keeper.open(OPEN)
    kept.settled()
    kept.factory.fault = OSError(5, "I/O error")
    kept.keeper.close(CLOSE)
    assert kept.settled() == [Refused("CloseEvidence", "call", "disk"), EvidenceClosed("call", 0, 0)]


def test_what_is_being_closed_is_held_still(kept):
    """Signalling that connects then hears of it, and asks again for the answer that nobody heard."""
    kept.keeper.open(OPEN)
    kept.settled()
    kept.keeper.close(CLOSE)
    assert kept.keeper.calls == ("call",)
    assert kept.keeper.close(CLOSE) == []
    assert kept.settled() == [EvidenceClosed("call", 0, 100)]
    assert kept.keeper.calls == ()


def test_unknown_call(kept):
    assert kept.keeper.close(CLOSE) == [Refused("CloseEvidence", "call", "unknown_call")]


def test_shut_closes_everything_also_what_is_being_opened():
    kept = Kept()
    kept.keeper.open(OpenEvidence("a", "/"))
    kept.settled()
    kept.keeper.open(OpenEvidence("b", "/"))
    events = kept.keeper.shut()
    assert {event.call for event in events if isinstance(event, EvidenceClosed)} == {"a", "b"}
    assert not any(thread.is_alive() for thread in kept.keeper._threads)


def test_what_waits_is_bounded_and_the_rest_is_counted():
    evidence = CallEvidence("call", "/")
    for _ in range(MAX_WAITING + 3):
        evidence.packet(1, A, B, b"x")
    assert (evidence.waiting, evidence.left_out) == (MAX_WAITING, 3)
    sink = Sink(Factory())
    evidence.attach(sink)
    assert len(sink.rows) == MAX_WAITING


def test_results_of_closed_calls_are_bounded(kept):
    for number in range(MAX_REMEMBERED + 1):
        evidence = CallEvidence(str(number), "/")
        kept.keeper._ended(evidence, EvidenceClosed(str(number), 0, 0), None)
    assert kept.keeper.close(CloseEvidence("0")) == [Refused("CloseEvidence", "0", "unknown_call")]
    assert kept.keeper.close(CloseEvidence("1")) == [EvidenceClosed("1", 0, 0)]


def test_an_answer_does_not_wait_for_the_disk_of_other_calls(kept):
    kept.keeper.open(OpenEvidence("other", "/other"))
    kept.settled()
    busy, free = threading.Event(), threading.Event()

    def slow(*, sync):
        busy.set()
        assert free.wait(10)

    kept.factory.opened[0].flush = slow
    kept.keeper.tick(0.0)
    assert busy.wait(10)
    kept.keeper.open(OPEN)
    reached = threading.Event()
    kept.keeper._openings.put(reached.set)
    assert reached.wait(10)
    assert kept.keeper.collect() == [EvidenceOpened("call")]
    free.set()


def test_a_call_that_comes_back_is_opened_after_it_was_closed(kept):
    order = []
    kept.keeper.open(OPEN)
    kept.settled()
    first = kept.factory.opened[0]
    close = first.close

    def closing():
        order.append("closed")
        return close()

    first.close = closing
    opening = kept.factory.open

    def opened(call, folder):
        order.append("opened")
        return opening(call, folder)

    kept.factory.open = opened
    kept.keeper.close(CLOSE)
    kept.keeper.open(OPEN)
    kept.settled()
    assert order == ["closed", "opened"]


def test_what_is_left_out_is_stated_in_the_file_also_when_that_opens_later(kept):
    kept.factory.may_open.clear()
    kept.keeper.open(OPEN)
    evidence = kept.keeper.find("call")
    evidence.lose(7, 1, 2, "flood")
    kept.factory.may_open.set()
    kept.settled()
    evidence.lose(3, 4, 5, "flood")
    assert kept.factory.opened[0].losses == [(7, 1, 2, "flood"), (3, 4, 5, "flood")]


class ListTape:
    """A tape of Python's."""

    def __init__(self, head):
        self.rows = []
        self.lost = None

    @property
    def waiting(self):
        return len(self.rows)

    def __call__(self, *row):
        self.rows.append(row)

    def pour(self, packet, left_out):
        rows, self.rows = self.rows, []
        for row in rows:
            packet(*row)
        if self.lost is not None:
            left_out(*self.lost)
            self.lost = None

    def append(self, file, end, left_out):
        raise AssertionError("the sink lets nobody")

    def encode(self, left_out):
        data, count = b"".join(b"|" + row[3] for row in self.rows), len(self.rows)
        self.pour(lambda *row: None, left_out)
        return data, count


def test_a_tape_is_poured_out_before_each_flush_and_before_the_end():
    factory = Factory()
    keeper = EvidenceKeeper(factory, lambda: None, ListTape)
    keeper.open(OPEN)
    evidence = keeper.find("call")
    evidence.packet(1, A, B, b"before the file is open")
    keeper._pass()
    keeper.collect()
    (sink,) = factory.opened
    keeper.tick(1.0)
    keeper._pass()
    assert [data for _, data in sink.rows] == [b"before the file is open"]
    evidence.packet(2, A, B, b"after")
    evidence.tape.lost = (5, 10, 20)
    keeper.collect()
    keeper.close(CLOSE)
    events = keeper.shut()
    assert events == [EvidenceClosed("call", 2, 100)]
    assert sink.losses == [(5, 10, 20, RING_FULL)]


def test_a_sink_that_says_how_is_given_packets_as_they_stand_in_the_file():
    factory = Factory()
    keeper = EvidenceKeeper(factory, lambda: None, ListTape)
    keeper.open(OPEN)
    evidence = keeper.find("call")
    evidence.packet(1, A, B, b"one")
    keeper._pass()
    keeper.collect()
    (sink,) = factory.opened
    sink.takes_blocks = True
    keeper.tick(1.0)
    keeper._pass()
    assert sink.rows == [("encoded", b"|one")]
    sink.takes_blocks = False
    evidence.packet(2, A, B, b"two")
    evidence.tape.lost = (5, 10, 20)
    keeper.collect()
    keeper.tick(2.0)
    keeper._pass()
    assert sink.rows[1:] == [("rtp", b"two")]
    assert sink.losses == [(5, 10, 20, RING_FULL)]
    keeper.shut()


def test_what_was_written_straight_into_the_file_is_flushed_only_to_be_synced():
    factory = Factory()
    keeper = EvidenceKeeper(factory, lambda: None, ListTape)
    keeper.open(OPEN)
    keeper._pass()
    keeper.collect()
    (sink,) = factory.opened
    sink.append = lambda append, left_out: True
    for now in (1.0, 1.1, 2.0):
        keeper.tick(now)
        keeper._pass()
        keeper.collect()
    assert sink.flushes == [True, True]
    sink.append = lambda append, left_out: False  # something is to be written before, or with it
    keeper.tick(2.1)
    keeper._pass()
    assert sink.flushes == [True, True, False]
    keeper.shut()


def test_a_capture_is_released_to_another_process_without_a_word(kept):
    kept.keeper.open(OPEN)
    kept.settled()
    kept.keeper.find("call").packet(1, A, B, b"one")
    told = []
    assert kept.keeper.release("call", lambda *packets: told.append(packets)) == "/folder"
    assert kept.keeper.calls == ()
    assert kept.settled() == []
    assert told == [(1, 0)]
    assert kept.keeper.release("call", lambda *_: None) is None


def test_an_adopted_capture_is_opened_when_the_other_process_has_closed_it(kept):
    kept.keeper.adopt("call", "/folder")
    kept.keeper.adopt("call", "/folder")
    kept.keeper.find("call").packet(1, A, B, b"two")
    kept.settled()
    assert not kept.factory.opened
    kept.keeper.closed_elsewhere("call", 5, 0)
    kept.keeper.closed_elsewhere("another", 5, 0)
    assert kept.settled() == [EvidenceOpened("call")]
    assert kept.factory.opened[0].rows == [("rtp", b"two")]
    kept.keeper.close(CLOSE)
    assert kept.settled() == [EvidenceClosed("call", 6, 100)], "of both processes"


def test_an_adopted_capture_of_a_process_that_died_is_opened_after_a_while(kept):
    kept.keeper.adopt("call", "/folder")
    kept.factory.fault = BlockingIOError(11, "Resource temporarily unavailable")
    kept.keeper.tick(100.0)
    assert kept.settled() == [], "the other process has it still: nothing to tell anybody"
    kept.factory.fault = None
    kept.keeper.tick(101.1)
    assert kept.settled() == [EvidenceOpened("call")]


def test_what_another_process_could_not_write_is_stated(kept):
    kept.factory.fault = OSError(28, "No space left on device")
    kept.keeper.open(OPEN)
    kept.settled()
    kept.keeper.find("call").packet(1, A, B, b"one")
    told = []
    kept.keeper.release("call", lambda *packets: told.append(packets))
    kept.settled()
    assert told == [(0, 1)]
    kept.factory.fault = None
    kept.keeper.adopt("call", "/folder")
    kept.keeper.closed_elsewhere("call", *told[0])
    kept.settled()
    assert kept.factory.opened[0].losses[0][0] == 1
