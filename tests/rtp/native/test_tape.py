"""The tape of the native engine: what goes in comes out, in order, or is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.native_engine import demand

A, B = ("10.0.0.1", 1), ("::1", 2)


@pytest.fixture(autouse=True, scope="module")
def _native():
    demand("native")


def make_tape(limit):
    from rtp.native._relay import Tape

    return Tape(limit)


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


def test_what_finds_it_full_is_counted_and_told_once():
    tape = make_tape(1000)
    for number in range(10):
        tape(number, A, B, bytes(184))
    rows, losses = poured(tape)
    assert len(rows) == 5, "200 bytes each, with their head"
    assert losses == [(5, 5, 9)]
    tape(11, A, B, b"again")
    assert poured(tape) == ([(11, A, B, b"again")], [])
