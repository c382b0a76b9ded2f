import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.jitter import DRY, LEAST_PATIENCE, LOST, Gap, JitterBuffer

USUAL_FRAMES = 10
"""Packets of 20 ms that may wait."""
WAYS = st.lists(st.one_of(st.none(), st.integers(0, 60), st.just(-1)), max_size=200)


def heard(buffer, pulls):
    return [buffer.pull() for _ in range(pulls)]


@given(st.integers(0, 0xFFFF), WAYS)
def test_whatever_comes_in_any_order_is_given_once_and_in_order(start, way):
    """None: a pull; a number: that packet arrives (again)."""
    buffer, given_out = JitterBuffer(), []
    sent = {}
    for step in way:
        if step is None or step < 0:
            entry = buffer.pull()
            if not isinstance(entry, Gap):
                given_out.append(entry)
        else:
            sent[step] = True
            buffer.push((start + step) & 0xFFFF, step)
    for _ in range(3 * USUAL_FRAMES + 70):
        entry = buffer.pull()
        if not isinstance(entry, Gap):
            given_out.append(entry)
    assert len(buffer.held) <= USUAL_FRAMES
    assert set(given_out) <= sent.keys()
    # More packets in a row from the past than any network makes are a stream that has begun anew.
    turns = sum(later <= earlier for earlier, later in itertools.pairwise(given_out))
    assert turns <= len(way) // 6
    if turns == 0:
        assert len(set(given_out)) == len(given_out)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=100))
def test_what_comes_by_ones_and_twos_all_comes_out(bursts):
    buffer, out, number = JitterBuffer(), [], 65_500
    for burst in bursts:
        for _ in range(min(burst, USUAL_FRAMES - len(buffer.held))):
            buffer.push(number & 0xFFFF, number)
            number += 1
        out.append(buffer.pull())
    out += heard(buffer, USUAL_FRAMES + 1)
    assert [entry for entry in out if not isinstance(entry, Gap)] == list(range(65_500, number))
    assert buffer.lost == buffer.overflown == 0


def test_packets_out_of_order_and_repeated_ones_are_put_right():
    buffer = JitterBuffer()
    for number in (1, 3, 2, 3, 1):
        buffer.push(number, number)
    assert heard(buffer, 4) == [1, 2, 3, DRY]
    buffer.push(2, 2)
    assert (buffer.late, buffer.pull()) == (0, DRY), "a repeated packet is not a late one"


def test_a_lost_packet_is_concealed_once_and_costs_no_delay():
    buffer = JitterBuffer()
    out = []
    for number in range(1, 9):
        if number not in {3, 6}:
            buffer.push(number, number)
        out.append(buffer.pull())
    assert out == [1, 2, DRY, 4, 5, DRY, 7, 8]
    assert (buffer.lost, len(buffer.held)) == (2, 0)


def test_with_later_ones_at_hand_it_is_known_to_be_lost():
    buffer = JitterBuffer()
    for number in (1, 2, 4):
        buffer.push(number, number)
    assert heard(buffer, 4) == [1, 2, LOST, 4]


def test_a_late_one_makes_the_delay_longer_and_nothing_is_left_out():
    buffer = JitterBuffer()
    buffer.push(1, 1)
    assert heard(buffer, 2) == [1, DRY]
    buffer.push(2, 2)
    buffer.push(3, 3)
    assert buffer.pull() == 2
    assert len(buffer.held) == 1


def test_one_that_comes_after_it_was_given_up_is_counted_and_gives_the_next_ones_time():
    buffer = JitterBuffer()
    for number in (1, 3):
        buffer.push(number, number)
    assert heard(buffer, 3) == [1, LOST, 3]
    buffer.push(2, 2)
    buffer.push(4, 4)
    assert (buffer.late, heard(buffer, 2)) == (1, [DRY, 4])


def test_a_delay_longer_than_needed_is_told_after_two_seconds():
    buffer = JitterBuffer()
    buffer.push(0, 0)
    buffer.push(1, 1)
    for number in range(2, LEAST_PATIENCE + 2):
        assert not buffer.hurry
        buffer.push(number, number)
        buffer.pull()
    assert buffer.hurry
    buffer.merged()
    assert not buffer.hurry


def test_patience_doubles_where_the_shorter_delay_was_too_short_and_halves_in_quiet():
    buffer = JitterBuffer()
    buffer.push(0, 0)
    buffer.merged()
    assert heard(buffer, 2) == [0, DRY]
    buffer.push(1, 1)
    assert buffer.pull() == 1
    assert buffer.snapshot()["patience"] == 2 * LEAST_PATIENCE
    for number in range(2, 2 * LEAST_PATIENCE + 2):
        buffer.push(number, number)
        buffer.pull()
    assert buffer.snapshot()["patience"] == LEAST_PATIENCE


def test_too_many_waiting_cost_the_oldest():
    buffer = JitterBuffer()
    for number in range(USUAL_FRAMES + 1):
        buffer.push(number, number)
    assert buffer.overflown == USUAL_FRAMES // 2
    assert buffer.pull() == USUAL_FRAMES // 2


@pytest.mark.parametrize("leap", [30_000, -30_000])
def test_a_leap_begins_anew(leap):
    buffer = JitterBuffer()
    buffer.push(40_000, "old")
    buffer.push((40_000 + leap) & 0xFFFF, "new")
    assert heard(buffer, 2) == ["new", DRY]


def test_a_stream_that_begins_anew_a_little_below_is_taken_after_a_few():
    buffer = JitterBuffer()
    for number in range(100, 110):
        buffer.push(number, number)
        buffer.pull()
    for number in range(50, 60):
        buffer.push(number, number)
    assert buffer.pull() == 55


def test_before_the_first_packet_nothing_is_missing():
    buffer = JitterBuffer()
    assert heard(buffer, 3) == [DRY, DRY, DRY]
    buffer.push(9, "x")
    assert buffer.pull() == "x"
    assert (repr(LOST), repr(DRY)) == ("LOST", "DRY")


@pytest.mark.parametrize(
    ("span", "most"), [(5, 40), (1, 40), (10, 20), (20, 10), (30, 7), (60, 4), (100, 3), (200, 3)]
)
def test_so_many_packets_wait_as_are_200_ms(span, most):
    buffer = JitterBuffer()
    buffer.span = span
    for number in range(most):
        buffer.push(number, number)
    assert len(buffer.held) == most == buffer.most
    buffer.push(most, most)
    assert buffer.overflown == most // 2
    assert buffer.pull() == most // 2


@pytest.mark.parametrize(("span", "free"), [(10, 4), (20, 2), (40, 1), (60, 0)])
def test_what_was_concealed_while_it_was_dry_is_not_concealed_again(span, free):
    """Two pulls that gave nothing are 40 ms: as many packets as hold that are stepped over when later ones come."""
    buffer = JitterBuffer()
    buffer.span = span
    buffer.push(0, 0)
    assert [buffer.pull(), buffer.pull(), buffer.pull()] == [0, DRY, DRY]
    buffer.push(6, 6)
    pulled = [buffer.pull() for _ in range(6 - free)]
    assert pulled == [LOST] * (5 - free) + [6]
    assert buffer.lost == 5
