"""The tape of the native engine: what goes in comes out, in order, or is counted."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import pcapng
from tests.kit.native_engine import demand

A, B = ("10.0.0.1", 1), ("::1", 2)


@pytest.fixture(autouse=True, scope="module")
def _native():
    demand("native")


def make_tape(limit, head=pcapng.head):
    from rtp.native._relay import Tape

    return Tape(limit, head)


def poured(tape):
    rows, losses = [], []
    tape.pour(lambda *row: rows.append(row), lambda *loss: losses.append(loss))
    return rows, losses


ROWS = st.lists(
    st.tuples(
        st.integers(0, 1 << 62), st.sampled_from([A, B]), st.sampled_from([A, B]), st.binary(max_size=300)
    )
)


@given(ROWS, ROWS)
def test_rows_come_out_as_they_went_in(first, second):
    tape = make_tape(1 << 20)
    for rows in (first, second, first):
        for row in rows:
            tape(*row)
        assert tape.waiting == len(rows)
        assert poured(tape) == (rows, [])
        assert tape.waiting == 0


HOSTS = st.sampled_from(
    ["10.0.0.1", "255.255.255.255", "0.0.0.0", "::1", "fe80::1%eth0", "2001:db8::ffff", "no-address", ""]
)
ENDS = st.tuples(HOSTS, st.integers(0, 65_535))
PAYLOADS = st.binary(max_size=300) | st.integers(0, 9216).map(lambda size: b"\xff" * size)


@given(
    st.lists(st.tuples(st.integers(0, (1 << 63) - 1), ENDS, ENDS, PAYLOADS), max_size=30), st.integers(0, 30)
)
def test_blocks_are_those_of_the_capture_to_the_last_bit(rows, cut):
    tape = make_tape(1 << 20)
    losses = []
    for part in (rows[:cut], rows[cut:]):
        for row in part:
            tape(*row)
        data, packets = tape.encode(lambda *loss: losses.append(loss))
        assert packets == len(part)
        assert data == b"".join(pcapng.encode_batch([(*row, ()) for row in part]))
    assert losses == []
    assert tape.encode(None) == (b"", 0)


@given(PAYLOADS, ENDS, ENDS)
def test_checksums_that_come_out_as_zero(payload, source, destination):
    # Payloads whose last word makes the sum what it must be for 0: RFC 768 sends it as all ones.
    for word in (0, 0xFFFF):
        row = (1, source, destination, payload[: len(payload) & ~1] + word.to_bytes(2, "big"))
        checksum = int.from_bytes(pcapng.encode(*row)[-6 - len(row[3]) : -4 - len(row[3])], "big")
        wanted = (word + checksum) % 65_535
        row = (*row[:3], row[3][:-2] + wanted.to_bytes(2, "big"))
        tape = make_tape(1 << 20)
        tape(*row)
        assert tape.encode(None)[0] == pcapng.encode(*row)


def test_what_is_no_head_is_refused_and_nothing_is_lost_by_it():
    heads = [(b"short", 0, 0, b"")]
    tape = make_tape(1000, lambda *ends: heads.pop() if heads else pcapng.head(*ends))
    with pytest.raises(ValueError, match="no head"):
        tape.way(A, B)
    assert tape.waiting == 0
    tape(1, A, B, b"x")
    assert tape.encode(None) == (pcapng.encode(1, A, B, b"x"), 1)


def test_blocks_are_written_behind_the_end_of_a_file_and_nowhere_else(tmp_path):
    tape, losses = make_tape(1 << 20), []
    path = tmp_path / "c"
    path.write_bytes(b"before")
    rows = [(number, A, B, bytes(number)) for number in range(1, 200)]
    for row in rows:
        tape(*row)
    with path.open("ab", buffering=0) as file:
        assert tape.append(file.fileno(), 5, losses.append) is None
        assert tape.waiting == len(rows)
        wanted = b"".join(pcapng.encode(*row) for row in rows)
        assert tape.append(file.fileno(), 6, losses.append) == (len(wanted), len(rows), None, 0)
        assert tape.append(file.fileno(), 6 + len(wanted), losses.append) == (0, 0, None, 0)
    assert path.read_bytes() == b"before" + wanted
    assert losses == []
    assert tape.append(-1, 0, losses.append) is None


def test_what_takes_several_writes_is_whole_and_in_order(tmp_path):
    tape = make_tape(4 << 20)
    rows = [
        (number, *((A, B) if number % 3 else (B, B)), bytes([number % 251]) * (number * 37 % 1400))
        for number in range(1, 2000)
    ]
    for row in rows:
        tape(*row)
    wanted = b"".join(pcapng.encode_batch([(*row, ()) for row in rows]))
    assert len(wanted) > 4 * 256 * 1024
    with (tmp_path / "c").open("ab", buffering=0) as file:
        assert tape.append(file.fileno(), 0, None) == (len(wanted), len(rows), None, 0)
    assert (tmp_path / "c").read_bytes() == wanted


def test_what_a_full_disk_refuses_comes_back_whole():
    tape = make_tape(1 << 20)
    tape(1, A, B, b"x")
    with Path("/dev/full").open("wb", buffering=0) as file:
        assert tape.append(file.fileno(), 0, None) == (
            0,
            1,
            pcapng.encode(1, A, B, b"x"),
            errno.ENOSPC,
        )
    assert tape.waiting == 0


def test_what_finds_it_full_is_counted_and_told_once():
    tape = make_tape(1000)
    for number in range(10):
        tape(number, A, A, bytes(140))
    rows, losses = poured(tape)
    assert len(rows) == 5, "200 bytes each, as blocks"
    assert losses == [(5, 5, 9)]
    tape(11, A, B, b"again")
    assert poured(tape) == ([(11, A, B, b"again")], [])
