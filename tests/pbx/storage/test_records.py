"""Which row each kind of record becomes."""

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.storage.migrate import FOLDER
from pbx.storage.records import KINDS, MAX_SHORT, statement

SCHEMA = "".join(path.read_text() for path in sorted(Path(FOLDER).glob("*.sql")))


def row(kind, record):
    """Give the statement's values by column name."""
    made = statement(kind, record, "s", 7)
    names = made.sql.split("(", 1)[1].split(")", 1)[0].split(", ")
    assert len(names) == len(made.values)
    return dict(zip(names, made.values, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_stands_in_the_migrations(kind):
    name_of = KINDS[kind].table
    table = SCHEMA.split(f"CREATE TABLE {name_of} (", 1)[1].split("\n);", 1)[0]
    for name in (*KINDS[kind].columns, "more"):
        assert f"\n    {name} " in table or f"\nALTER TABLE {name_of} ADD COLUMN {name} " in SCHEMA


def test_named_fields_go_to_columns_and_the_rest_to_more():
    made = row("call", {"call": "abc", "silent": True, "desk": "8001", "weather": {"wind": 3}})
    assert (made["call"], made["silent"], made["desk"], made["caller"]) == ("abc", True, "8001", None)
    assert json.loads(made["more"]) == {"weather": {"wind": 3}}


def test_times_may_be_nanoseconds_or_seconds():
    moment = dt.datetime(2026, 11, 22, 13, 0, 0, 250_000, tzinfo=dt.UTC)
    made = row("call", {"call": "abc", "started_at": 1795352400_250_000_999, "ended_at": 1795352400.25})
    assert (made["started_at"], made["ended_at"]) == (moment, moment)


@pytest.mark.parametrize("value", [-1, 10**30, float("nan"), float("inf"), "yesterday", True, [1]])
def test_a_time_that_is_none_goes_to_more(value):
    made = row("call_event", {"call": "abc", "at": value, "event": "x"})
    assert made["at"] is None
    assert "at" in json.loads(made["more"])


def test_a_text_too_long_for_an_index_is_cut_and_kept_whole_beside():
    contact = "sip:" + "é" * 2000
    made = row("registration", {"aor": "sip:a@b", "contact": contact})
    assert made["contact"] == contact[:MAX_SHORT]
    assert json.loads(made["more"])["contact"] == contact


def test_the_text_of_a_message_is_not_cut():
    assert row("message", {"call": "abc", "text": "中" * 5000})["text"] == "中" * 5000


def test_appended_rows_carry_their_place_in_the_outbox():
    made = row("call_event", {"call": "abc", "event": "queued"})
    assert (made["stream"], made["position"]) == ("s", 7)


@pytest.mark.parametrize(
    ("kind", "record"),
    [("call", {}), ("call", {"call": None}), ("call", {"call": ["x"]}), ("desk", {"state": "free"}),
     ("registration", {"aor": "sip:a@b"}), ("nonsense", {"call": "abc"}), ("", {})],
)  # fmt: skip
def test_what_names_no_row_is_refused(kind, record):
    with pytest.raises(ValueError, match=r"needs|no kind"):
        statement(kind, record, "s", 1)


@given(
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(
        st.sampled_from(
            sorted({name for kind in KINDS.values() for name in kind.columns} | {"other", "x\x00"})
        ),
        st.none() | st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.integers()),
    ),
)
def test_any_record_with_its_keys_has_values_of_the_right_types(kind, record):
    record.update(dict.fromkeys(KINDS[kind].keys, "key"))
    made = row(kind, record)
    for name, shape in KINDS[kind].columns.items():
        allowed = {"text": str, "long": str, "time": dt.datetime, "flag": bool}[shape]
        assert made[name] is None or isinstance(made[name], allowed)
        assert "\x00" not in str(made[name])
    json.loads(made["more"])
