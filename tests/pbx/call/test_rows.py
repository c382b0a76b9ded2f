"""Every note of a call is an event of it in the database; some change its own row as well."""

from typing import Any

import pytest

from pbx.call.effects import Note
from pbx.call.rows import rows

ARRIVED = {
    "number": "13800138000",
    "user": "wang",
    "name": "王",
    "verified": False,
    "silent": True,
    "trunk": "city",
}


@pytest.mark.parametrize(
    ("event", "fields", "changed"),
    [
        ("talk_ended", {"why": "hung_up"}, {"ended_at": 5, "reason": "talk:hung_up", "state": "ended"}),
        ("call_answered", {}, {"answered_at": 5}),
        ("put_through", {"desk": "d1"}, {"attached_at": 5, "desk": "d1", "state": "active"}),
        ("desk_lost", {"desk": "d1"}, {"state": "waiting"}),
        ("silent_on", {}, {"silent": True}),
        ("silent_off", {}, {"silent": False}),
        ("call_ended", {"cause": "caller"}, {"ended_at": 5, "reason": "caller", "state": "ended"}),
        ("keyframe_wanted", {}, None),
    ],
)
def test_a_note_changes_what_it_says(
    event: str, fields: dict[str, Any], changed: dict[str, Any] | None
) -> None:
    found = rows(Note(event, "c1", fields), "c1", fields, 5)
    assert found[0] == ("call_event", {"call": "c1", "at": 5, "event": event, **fields})
    assert found[1:] == ([] if changed is None else [("call", {"call": "c1", **changed})])


@pytest.mark.parametrize(
    ("more", "identity"),
    [({}, "unverified"), ({"unavailable": True}, "unavailable"), ({"verified": True}, "verified")],
)
def test_a_call_that_arrives_has_a_row_with_how_sure_its_identity_is(
    more: dict[str, Any], identity: str
) -> None:
    fields = ARRIVED | more
    _, (kind, row) = rows(Note("call_arrived", "c1", fields), "c1", fields, 5)
    assert kind == "call"
    assert row == {
        "call": "c1",
        "started_at": 5,
        "state": "waiting",
        "caller": "13800138000",
        "account": "wang",
        "name": "王",
        "identity": identity,
        "silent": True,
        "evidence": "c1",
        "trunk": "city",
    }


def test_a_talk_of_desks_is_a_call_that_is_up_at_once() -> None:
    fields = {"desk": "d1", "user": "li"}
    _, (kind, row) = rows(Note("talk_began", "t1", fields), "t1", fields, 5)
    assert kind == "call"
    assert (row["state"], row["caller"], row["account"], row["desk"]) == ("active", "d1", "li", "d1")
    assert (row["started_at"], row["identity"], row["silent"]) == (5, "verified", False)


def test_what_was_written_is_a_message_beside_its_event() -> None:
    fields = {"from": "caller", "text": "救命"}
    told = rows(Note("text", "c1", fields), "c1", fields, 5)
    assert [kind for kind, _ in told] == ["call_event", "message"]
    assert told[1][1] == {
        "call": "c1",
        "at": 5,
        "sender": "caller",
        "content_type": "text/plain",
        "text": "救命",
    }
