from hypothesis import given
from hypothesis import strategies as st

from recordings.reorder import MAX_DROPOUT, WINDOW, Ordered, Reorder
from recordings.rtp_header import RtpPacket
from recordings.streams import Format

FORM = Format("PCMA", 8000)


def packet(sequence: int) -> RtpPacket:
    return RtpPacket(8, marker=False, sequence=sequence & 0xFFFF, timestamp=0, ssrc=1, payload=b"x")


def feed(order: Reorder, sequences: list[int]) -> list[Ordered]:
    out: list[Ordered] = []
    for at, sequence in enumerate(sequences):
        out += order.push(packet(sequence), at, FORM)
    return out


def numbers(found: list[Ordered]) -> list[int]:
    return [ordered.packet.sequence for ordered in found]


def test_in_order_across_the_wrap_passes_at_once() -> None:
    order = Reorder()
    found = feed(order, list(range(65_530, 65_546)))
    assert numbers(found) == [*range(65_530, 65_536), *range(10)]
    assert not any(ordered.gap for ordered in found)
    assert [ordered.at_ns for ordered in found] == list(range(16))
    assert found[0].format == FORM


def test_a_late_packet_is_put_in_its_place() -> None:
    order = Reorder()
    assert numbers(feed(order, [65_534, 0, 1, 65_535, 2])) == [65_534, 65_535, 0, 1, 2]
    assert (order.missing, order.late, order.duplicates) == (0, 0, 0)


def test_a_gap_is_stated_when_the_window_is_full() -> None:
    order = Reorder()
    found = feed(order, [1, *range(4, 4 + WINDOW)])
    assert numbers(found) == [1], "one more may still come"
    found = feed(order, [4 + WINDOW])
    assert numbers(found) == list(range(4, 5 + WINDOW))
    assert [ordered.gap for ordered in found] == [True] + [False] * WINDOW
    assert order.missing == 2
    assert feed(order, [3]) == []
    assert order.late == 1


def test_duplicates_are_dropped() -> None:
    order = Reorder()
    assert numbers(feed(order, [1, 3, 3])) == [1]
    assert order.duplicates == 1
    assert numbers(feed(order, [2, 2])) == [2, 3]
    assert order.late == 1


def test_the_end_gives_what_is_held() -> None:
    order = Reorder()
    feed(order, [1, 3, 6])
    found = order.flush()
    assert [(o.packet.sequence, o.gap) for o in found] == [(3, True), (6, True)]
    assert order.missing == 3
    assert order.flush() == []


def test_a_far_jump_is_a_new_beginning_both_ways() -> None:
    for jump in (MAX_DROPOUT + 1, -MAX_DROPOUT - 1):
        order = Reorder()
        found = feed(order, [30_000, 30_002, 30_001 + jump, 30_002 + jump])
        assert numbers(found) == [30_000, 30_002, 30_001 + jump, 30_002 + jump]
        assert [ordered.gap for ordered in found] == [False, True, True, False]
        assert order.missing == 1


@given(st.integers(0, 65_535), st.permutations(range(12)), st.sets(st.integers(1, 30)), st.integers(0, 3))
def test_any_order_with_losses_and_repeats(first, shuffle, lost, repeat) -> None:
    sent = [n for n in range(40) if n not in lost]
    arriving = [0]
    for start in range(1, len(sent), 12):
        block = sent[start : start + 12]
        arriving += [block[i] for i in shuffle if i < len(block)]
    arriving = [n for n in arriving for _ in range(1 + (n % 4 < repeat))]
    order = Reorder()
    found = feed(order, [first + n for n in arriving]) + order.flush()
    assert numbers(found) == [(first + n) & 0xFFFF for n in sent]
    assert order.missing == len([n for n in lost if n < max(sent)])
    assert order.duplicates + order.late == len(arriving) - len(sent)
    gaps = [ordered.packet.sequence for ordered in found if ordered.gap]
    assert gaps == [(first + n) & 0xFFFF for n in sent if n and n - 1 in lost]
