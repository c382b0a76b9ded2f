"""What the database is told of a call: rows that a note of it makes or changes.

in → out: `Note` → (table, columns) for the outbox; a row of `call` holds only what changed.
"""

from typing import Any

from pbx.call.effects import Note

Row = tuple[str, dict[str, Any]]


def rows(note: Note, call: str, fields: dict[str, Any], wall_ns: int) -> list[Row]:
    """Return the rows of a note. `fields`: the note's, named so that none clashes with a column; `wall_ns`: when, Unix time."""
    found: list[Row] = [("call_event", {"call": call, "at": wall_ns, "event": note.event, **fields})]
    if note.event == "text":
        told = {"sender": note.fields["from"], "content_type": "text/plain", "text": note.fields["text"]}
        found.append(("message", {"call": call, "at": wall_ns, **told}))
    elif (changed := _changed(note, call, wall_ns)) is not None:
        found.append(("call", {"call": call, **changed}))
    return found


def _changed(note: Note, call: str, wall_ns: int) -> dict[str, Any] | None:
    """Give what a note changes in the row of its call; None when nothing."""
    fields = note.fields
    match note.event:
        case "call_arrived":
            unproved = "unavailable" if fields.get("unavailable") else "unverified"
            return {
                "started_at": wall_ns,
                "state": "waiting",
                "caller": fields["number"],
                "account": fields["user"],
                "name": fields["name"],
                "identity": "verified" if fields["verified"] else unproved,
                "silent": fields["silent"],
                "evidence": call,
                "trunk": fields.get("trunk"),
            }
        case "talk_began":
            return {
                "started_at": wall_ns,
                "state": "active",
                "caller": fields["desk"],
                "account": fields["user"],
                "desk": fields["desk"],
                "identity": "verified",
                "silent": False,
                "evidence": call,
            }
        case "talk_ended":
            return {"ended_at": wall_ns, "reason": f"talk:{fields['why']}", "state": "ended"}
        case "call_answered":
            return {"answered_at": wall_ns}
        case "put_through":
            return {"attached_at": wall_ns, "desk": fields["desk"], "state": "active"}
        case "desk_lost":
            return {"state": "waiting"}
        case "silent_on" | "silent_off":
            return {"silent": note.event == "silent_on"}
        case "call_ended":
            return {"ended_at": wall_ns, "reason": fields["cause"], "state": "ended"}
    return None
