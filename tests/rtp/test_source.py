import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rtp.source import LEAPT, RESTARTED, SAME, Source

SSRC = 7


def receive(source, sequence, timestamp=0, arrival=0, ssrc=SSRC, rate=8000):
    return source.receive(ssrc, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, rate, arrival)


@given(st.integers(0, 0xFFFF), st.lists(st.booleans(), min_size=1, max_size=300))
def test_every_loss_is_counted_over_the_wrap(start, arrived):
    source = Source()
    receive(source, start)
    count, last = 1, 0
    for index, came in enumerate(arrived, 1):
        if came:
            assert receive(source, start + index) == SAME
            count, last = count + 1, index
    assert source.received == count
    assert source.lost == last + 1 - count
    assert source.extended_highest == start + last


@given(st.integers(0, 0xFFFF), st.permutations(range(1, 40)))
def test_order_does_not_matter_for_the_counts(start, order):
    source = Source()
    receive(source, start)
    for index in order:
        receive(source, start + index)
    assert (source.received, source.lost) == (40, 0)


def test_another_ssrc_restarts_and_totals_run_on():
    source = Source()
    assert receive(source, 10) == RESTARTED
    receive(source, 12)
    assert receive(source, 5000, ssrc=8) == RESTARTED
    receive(source, 5001, ssrc=8)
    assert (source.received, source.lost) == (4, 1)
    block = source.report(0, 0)
    assert (block.ssrc, block.lost, block.highest) == (8, 0, 5001)


def test_a_leap_needs_a_second_packet():
    # RFC 3550 A.1: "the sequence number made a very large jump".
    source = Source()
    receive(source, 10)
    assert receive(source, 20000) == LEAPT
    assert receive(source, 11) == SAME
    assert receive(source, 20000) == LEAPT
    assert receive(source, 20001) == RESTARTED
    assert receive(source, 20002) == SAME
    assert source.received == 4


def test_late_and_repeated_packets_are_received():
    source = Source()
    for sequence in (100, 101, 101, 99):
        receive(source, sequence)
    assert source.received == 4
    assert source.lost == -2  # RFC 3550 A.3: "the number lost may be negative if there are duplicates"


def test_gaps_are_noticed():
    source = Source()
    for sequence in (1, 2, 5, 6, 9):
        receive(source, sequence)
    assert source.gaps == 2


def test_fraction_is_of_the_interval():
    source = Source()
    for sequence in (0, 1, 2, 3):
        receive(source, sequence)
    assert source.report(0, 0).fraction_lost == 0
    for sequence in (5, 7):
        receive(source, sequence)
    assert source.report(1, 2).fraction_lost == 128  # two of four
    assert source.report(1, 2).fraction_lost == 0
    assert source.report(1, 2).lost == 2


def test_jitter_of_a_steady_stream_is_zero_and_of_an_unsteady_one_converges():
    steady, unsteady = Source(), Source()
    for index in range(500):
        receive(steady, index, index * 160, index * 160)
        receive(unsteady, index, index * 160, index * 160 + (80 if index % 2 else 0))
    assert steady.jitter == 0
    assert 75 <= unsteady.jitter <= 80
    assert 9.3 <= unsteady.jitter_ms <= 10


def test_jitter_survives_the_wrap_of_the_time_stamp():
    source = Source()
    for index in range(10):
        receive(source, index, (1 << 32) - 800 + index * 160, index * 160)
    assert source.jitter == 0


def test_no_report_before_the_first_packet():
    assert Source().report(0, 0) is None
    assert Source().jitter_ms == 0.0
    assert Source().lost == 0


PACKETS = st.lists(
    st.tuples(
        st.integers(1, 2), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.sampled_from([8000, 90000])
    ),
    max_size=60,
)


@given(PACKETS, PACKETS)
def test_a_restored_source_goes_on_alike(before, after):
    one = Source()
    for ssrc, sequence, timestamp, rate in before:
        one.receive(ssrc, sequence, timestamp, rate, 5)
    two = Source.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.snapshot())))
    for ssrc, sequence, timestamp, rate in after:
        assert one.receive(ssrc, sequence, timestamp, rate, 9) == two.receive(
            ssrc, sequence, timestamp, rate, 9
        )
    assert one.snapshot() == two.snapshot()
    assert one.report(1, 2) == two.report(1, 2)
