"""Any value becomes fit for JSON and PostgreSQL."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.storage.plain import MAX_DEPTH, MAX_TEXT, encoded, plain, text

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.text(st.sampled_from("\x00\ud800\udcff\udfffa")),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.sampled_from("ab\x00\udc80")), inner) | st.tuples(inner)
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_everything_can_be_written_as_json_and_holds_no_nul(value):
    written = msgspec.json.encode(plain(value))
    assert b"\\u0000" not in written.replace(b"\\\\", b"")  # six characters that only look like it stay
    assert msgspec.json.decode(written) == plain(value)


@given(ANYTHING)
def test_doing_it_twice_changes_nothing(value):
    assert plain(plain(value)) == plain(value)


@given(st.dictionaries(st.text(st.characters(codec=None)) | st.integers(), ANYTHING, max_size=3))
def test_a_record_is_encoded_as_what_is_plain_of_it(record):
    assert msgspec.json.decode(encoded(record)) == plain(record)


@pytest.mark.parametrize(
    "record",
    [
        {"call": "c1", "at": 2**60, "name": "王 小明", "silent": True, "desk": None},
        {"desks": [["d1", 1.5, None]], "counts": {"free": 3}},
        {"text": "x" * (MAX_TEXT + 1)},
        {"at": 2**63},
        {"text": "a\x00"},
        {"text": "no \\u0000 at all"},
        {"a\udcff": 1},
        {"desks": [float("nan")], "seconds": float("inf")},
        {"desks": [b"x"], "raw": b"\xff", "set": frozenset({1})},
        {"counts": {"a\x00": 3}, "more": {1: 3}},
    ],
)
def test_records_of_every_kind_are_encoded(record):
    assert msgspec.json.decode(encoded(record)) == plain(record)


def test_what_is_fit_stays_as_it_is():
    fit = {"a": [1, -1.5, "中文 😀", None, True, {"b": []}]}
    assert plain(fit) == fit
    assert plain(True) is True


def test_nul_and_undecodable_bytes_become_replacement_characters():
    assert text("a\x00b") == "a\ufffdb"
    assert text(b"a\xffb".decode("utf-8", "surrogateescape")) == "a\ufffdb"
    assert plain(b"\xff\x00") == "\ufffd\ufffd"


def test_numbers_json_readers_can_not_hold():
    assert plain(2**63 - 1) == 2**63 - 1
    assert plain(2**63) == str(2**63)
    assert plain(-(2**63) - 1) == str(-(2**63) - 1)
    assert plain([float("nan"), float("inf")]) == [None, None]


def test_long_texts_are_cut_at_the_limit():
    assert len(text("x" * MAX_TEXT)) == MAX_TEXT
    assert len(text("x" * (MAX_TEXT + 1))) == MAX_TEXT


def test_a_loop_ends():
    loop: list[object] = []
    loop.append(loop)
    depth, inner = 0, plain(loop)
    while isinstance(inner, list):
        depth, inner = depth + 1, inner[0]
    assert depth == MAX_DEPTH
