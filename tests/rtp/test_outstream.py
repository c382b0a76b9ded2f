from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rtp.outstream import MAX_RESUMED, NOBODY, OutStream

STEP = 160
RATE = 8000


def sent_by(stream, source, packets, now):
    """Relay (sequence, timestamp) pairs 20 ms apart; what leaves."""
    out = []
    for index, (sequence, timestamp) in enumerate(packets):
        at = now + 0.02 * index
        if stream.source != source:
            stream.enter(source, sequence, timestamp, RATE, STEP, at)
        out.append(stream.relay(sequence, timestamp, at))
    return out


STARTS = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
TURNS = st.lists(
    st.tuples(
        st.sampled_from(["relay", "local"]),
        STARTS,
        st.integers(1, 30),
        st.floats(0.0, 5.0),
    ),
    min_size=1,
    max_size=12,
)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), TURNS)
def test_any_order_of_sources_is_one_stream(sequence, timestamp, turns):
    stream = OutStream(1, sequence, timestamp)
    out, now = [], 100.0
    for number, (kind, (first, stamp), count, pause) in enumerate(turns, 2):
        now += pause
        for index in range(count):
            at = now + 0.02 * index
            if kind == "local":
                numbers = stream.local(number, RATE, STEP, at)[:2]
            else:
                packet = ((first + index) & 0xFFFF, (stamp + index * STEP) & 0xFFFFFFFF)
                numbers = sent_by(stream, number, [packet], at)[0]
            out.append((at, *numbers))
        now += 0.02 * count
    assert out[0][1] == (sequence + 1) & 0xFFFF
    for (at, number, stamp), (next_at, next_number, next_stamp) in pairwise(out):
        assert (next_number - number) & 0xFFFF == 1
        advance = (next_stamp - stamp) & 0xFFFFFFFF
        elapsed = (next_at - at) * RATE
        assert STEP <= advance <= max(STEP, elapsed) + 1
        assert advance >= elapsed - STEP - 1  # time that passed is in the time stamps


@given(STARTS, STARTS, st.lists(st.booleans(), min_size=1, max_size=100))
def test_gaps_of_a_source_stay_what_they_are(ours, theirs, arrived):
    stream = OutStream(1, *ours)
    packets = [
        ((theirs[0] + index) & 0xFFFF, (theirs[1] + index * STEP) & 0xFFFFFFFF)
        for index, came in enumerate([True, *arrived])
        if came
    ]
    out = sent_by(stream, 2, packets, 1.0)
    for (number, stamp), (sent_number, sent_stamp) in zip(packets, out, strict=True):
        assert (sent_number - out[0][0]) & 0xFFFF == (number - packets[0][0]) & 0xFFFF
        assert (sent_stamp - out[0][1]) & 0xFFFFFFFF == (stamp - packets[0][1]) & 0xFFFFFFFF


@given(STARTS, STARTS, st.permutations(range(12)))
def test_order_within_a_source_is_kept_and_no_number_serves_two_sources(ours, theirs, order):
    stream = OutStream(1, *ours)
    before = {stream.local(9, RATE, STEP, 0.02 * index)[0] for index in range(20)}
    packets = [((theirs[0] + i) & 0xFFFF, (theirs[1] + i * STEP) & 0xFFFFFFFF) for i in order]
    out = sent_by(stream, 2, packets, 1.0)
    for (number, _), sent in zip(packets, out, strict=True):
        if (number - packets[0][0]) & 0xFFFF >= 0x8000:
            assert sent is None  # older than the first: its number was somebody else's
        else:
            assert sent[0] not in before
            assert (sent[0] - out[0][0]) & 0xFFFF == (number - packets[0][0]) & 0xFFFF
    assert stream.local(9, RATE, STEP, 2.0)[0] not in before | {sent[0] for sent in out if sent}


def test_marker_only_at_the_first_packet_of_a_local_source():
    stream = OutStream(1, 0, 0)
    assert [stream.local(source, RATE, STEP, 0.02 * i)[2] for i, source in enumerate((5, 5, 6, 6, 5))] == [
        True, False, True, False, True,
    ]  # fmt: skip


def test_a_burst_that_was_late_runs_ahead_and_the_lead_is_given_back():
    stream = OutStream(1, 0, 0)
    sent_by(stream, 2, [(i, i * STEP) for i in range(5)], 0.0)  # until 0.08
    for at in (0.14, 0.16, 0.18):
        stream.local(1, RATE, STEP, at)
    # Packets 5…9 come at once, at 0.19: three of them were replaced by silence.
    late = [(i, i * STEP) for i in range(5, 10)]
    stream.enter(2, *late[0], RATE, STEP, 0.19)
    out = [stream.relay(*packet, 0.19) for packet in late]
    assert [number for number, _ in out] == [9, 10, 11, 12, 13]
    numbers = stream.local(1, RATE, STEP, 0.4)
    # The time stamp of 0.4 s is what 0.4 s of stream should be: the lead is gone (first packet: 160 at 0.0).
    assert abs(numbers[1] - (160 + int(0.4 * RATE))) <= STEP


ROADS = st.lists(st.tuples(st.booleans(), st.floats(0.0, 0.9)), min_size=2, max_size=60)


@given(STARTS, STARTS, ROADS)
def test_what_is_overtaken_by_silence_of_ours_has_a_place_of_its_own(ours, theirs, road):
    """Packets are lost, late and in disorder, silence fills each 40 ms: all that come leave, each as a number in its source's order."""
    stream = OutStream(1, *ours)
    arrivals = sorted(
        (0.02 * index + delay, index) for index, (lost, delay) in enumerate(road) if not lost or index == 0
    )
    left, filled, at, resumed = {}, [], arrivals[0][0], 0
    for arrival, index in arrivals:
        at += 0.04
        while at < arrival:
            filled.append(stream.local(1, RATE, STEP, at)[0])
            at += 0.02
        at = arrival
        packet = ((theirs[0] + index) & 0xFFFF, (theirs[1] + index * STEP) & 0xFFFFFFFF)
        if stream.source != 2:
            stream.enter(2, *packet, RATE, STEP, at)
            resumed += stream.source == 2
        left[index] = stream.relay(*packet, at)
    first = arrivals[0][1]
    late = {
        index for index in left if index < first
    }  # older than the source's first packet: there is no place before it
    numbers = [
        (left[index][0] - ours[0]) & 0xFFFF
        for index in sorted(left)
        if index not in late and left[index] is not None
    ]
    if resumed <= MAX_RESUMED:
        assert all(left[index] is not None for index in left if index not in late)
    assert numbers == sorted(set(numbers))
    assert not set(numbers) & {(number - ours[0]) & 0xFFFF for number in filled}


def test_a_packet_overtaken_by_its_successor_and_by_silence_keeps_its_number():
    stream = OutStream(1, 0, 0)
    sent_by(stream, 2, [(0, 0), (2, 2 * STEP)], 0.0)
    stream.local(1, RATE, STEP, 0.1)
    assert sent_by(stream, 2, [(1, STEP)], 0.11) == [(2, 160 + STEP)]
    assert stream.source == 1, "what is newer is what resumes the source"
    assert sent_by(stream, 2, [(3, 3 * STEP)], 0.12)[0][0] == 5


def test_a_long_absence_leaves_no_room():
    stream = OutStream(1, 0, 0)
    sent_by(stream, 2, [(0, 0)], 0.0)
    stream.local(1, RATE, STEP, 3.0)
    stream.local(1, RATE, STEP, 3.02)
    [(number, _)] = sent_by(stream, 2, [(40_000, 150 * STEP)], 3.04)
    assert number == 4


def test_what_was_really_lost_stays_visible_when_the_source_resumes():
    stream = OutStream(1, 0, 0)
    sent_by(stream, 2, [(i, i * STEP) for i in range(5)], 0.0)
    stream.local(1, RATE, STEP, 0.13)
    [(number, stamp)] = sent_by(stream, 2, [(9, 9 * STEP)], 0.18)
    assert number == 11  # 5…8 lost: silence has a number of its own, and the four may still come
    assert stamp == 160 + 9 * STEP


def test_an_event_keeps_its_time_stamp_and_time_goes_on_after_it():
    # RFC 4733 §2.5.1.2
    stream = OutStream(1, 0, 0)
    stream.local(1, RATE, STEP, 0.0)
    stamps = [stream.local(3, RATE, 160 if i == 0 else 0, 0.02 + 0.02 * i)[1] for i in range(7)]
    assert len(set(stamps)) == 1
    assert stream.local(1, RATE, STEP, 0.16)[1] == stamps[0] + int(0.14 * RATE)


def test_part_makes_the_same_source_begin_anew():
    stream = OutStream(1, 0, 0)
    sent_by(stream, 2, [(100, 5000)], 0.0)
    stream.part()
    assert (stream.source, stream.relaying) == (NOBODY, False)
    [(number, _)] = sent_by(stream, 2, [(150, 5000 + 50 * STEP)], 1.0)
    assert number == 2


def test_skip_leaves_a_gap():
    stream = OutStream(1, 0, 0)
    stream.local(2, RATE, STEP, 0.0)
    stream.skip(2, 2 * STEP)
    assert stream.local(2, RATE, STEP, 0.06)[:2] == (4, 640)


def test_time_stamp_of_now():
    stream = OutStream(1, 0, 0)
    assert stream.timestamp_at(5.0) == 0
    stream.local(2, RATE, STEP, 1.0)
    assert stream.timestamp_at(1.5) == 160 + 4000


def test_clock_rate_may_change_with_the_source():
    stream = OutStream(1, 0, 0)
    stream.local(2, 8000, 160, 0.0)
    assert stream.local(3, 48000, 960, 1.0)[1] == 160 + 48000


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["relay", "local", "part", "skip"]), st.integers(1, 4), STARTS, st.floats(0, 1)
    ),
    max_size=40,
)


def act(stream, action, now):
    kind, source, (sequence, timestamp), _ = action
    if kind == "relay":
        if stream.source != source:
            stream.enter(source, sequence, timestamp, RATE, STEP, now)
        return stream.relay(sequence, timestamp, now)
    if kind == "local":
        return stream.local(source, RATE, STEP, now)
    return stream.part() if kind == "part" else stream.skip(1, STEP)


@given(ACTIONS, ACTIONS)
def test_a_restored_stream_goes_on_alike(before, after):
    one, now = OutStream(1, 2, 3), 0.0
    for action in before:
        now += action[3]
        act(one, action, now)
    two = OutStream.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.snapshot())))
    for action in after:
        now += action[3]
        assert act(one, action, now) == act(two, action, now)
    assert one.snapshot() == two.snapshot()


def test_another_way_of_the_same_sound_goes_on_without_a_seam():
    stream = OutStream(1, 10, 1000)
    stream.enter(5, 7, 70, 8000, 160, 100.0)
    first = stream.relay(7, 70, 100.0)
    stream.part()
    stream.go_on(6, 100.03)
    assert stream.relaying
    assert stream.local(6, 8000, 160, 100.033) == (first[0] + 1, first[1] + 160, False)
    stream.close_up(100.06)
    stream.enter(5, 9, 390, 8000, 160, 100.06)
    assert stream.relay(9, 390, 100.06) == (first[0] + 2, first[1] + 320)


def test_after_a_pause_there_is_a_seam_and_time_has_passed():
    stream = OutStream(1, 10, 1000)
    stream.go_on(6, 100.0)
    assert not stream.relaying
    stream.local(6, 8000, 160, 100.0)
    stream.go_on(7, 101.0)
    stream.close_up(101.0)
    _, timestamp, begins = stream.local(7, 8000, 160, 101.0)
    assert begins
    assert timestamp == 1160 + 8000
