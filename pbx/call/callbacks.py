"""Callers who gave up before anybody took them: tasks to call them back, until somebody did or they dialled again.

in → out: notes → tasks (who, where from, what was seen, said and written), plain data that outlives a restart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pbx.call.effects import Note

MAX_TASKS: Final = 1000
"""Open tasks that are kept; the oldest go first. More than that no watch can call back."""
MAX_TEXTS: Final = 20
MAX_CHARACTERS: Final = 2000
"""Of all texts of a task together: the file of a thousand tasks, written anew when one changes, stays at a few MB."""
MAX_PLACES: Final = 5


class Callbacks:
    """All open tasks. A silent caller is never called back by itself: a ringing phone may be what kills."""

    def __init__(self, tasks: Sequence[Mapping[str, Any]] = ()) -> None:
        self._tasks: dict[str, dict[str, Any]] = {str(task["call"]): _current(task) for task in tasks}
        self._live: dict[str, dict[str, Any]] = {}
        self._ours: dict[str, str] = {}  # a desk's call to somebody -> the call it follows
        self.changed = False
        """Set when the tasks are others than were stored last."""

    def tasks(self) -> list[dict[str, Any]]:
        """Return the open tasks, the oldest first."""
        return [dict(task) for task in self._tasks.values()]

    def find(self, call: str) -> dict[str, Any] | None:
        """Return one open task."""
        return self._tasks.get(call)

    def done(self, call: str) -> bool:
        """Close a task; False when there is none."""
        self.changed = self.changed or call in self._tasks
        return self._tasks.pop(call, None) is not None

    def of(self, call: str) -> tuple[dict[str, Any] | None, str | None]:
        """Return what is known of a live call, and which call a desk's call follows: for the journal."""
        return self._live.get(call), self._ours.get(call)

    def resume(self, call: str, live: dict[str, Any] | None, follows: str | None) -> None:
        """Take up what `of` gave after a restart."""
        if live is not None:
            self._live[call] = _current(live)
        if follows is not None:
            self._ours[call] = follows

    def noted(self, note: Note, wall: float) -> None:
        """Take one note."""
        if note.call is None:
            return
        fields = note.fields
        if note.event == "call_arrived" and fields.get("direction") == "outgoing":
            self._ours[note.call] = str(fields.get("first_call") or "")
        elif note.event == "call_arrived":
            self._arrived(note.call, fields, wall)
        if note.call in self._ours:
            self._called_back(note.call, note.event)
        live = self._live.get(note.call)
        if live is None:
            return
        match note.event:
            case "location_sent" if len(live["places"]) < MAX_PLACES:
                live["places"].append(str(fields.get("geolocation", "")))
            case "location" if _weight(fields) >= _weight(live["place"]):
                live["place"] = dict(fields)
            case "district":
                live["district"] = {"district": fields.get("district"), "by": fields.get("by")}
            case "text" if fields.get("from") == "caller" and len(live["texts"]) < MAX_TEXTS:
                live["texts"].append({"at": wall, "text": _cut(live["texts"], str(fields.get("text", "")))})
            case "media_started" if fields.get("medium") == "video" and fields.get("leg") == "caller":
                live["picture"] = True
            case "same_incident":
                live["incident"] = str(fields.get("incident"))
                # The person is there again: whatever was open of this incident is.
                for call in [c for c, t in self._tasks.items() if t["incident"] == live["incident"]]:
                    self.done(call)
            case "silent_on":
                live["silent"] = True
            case "put_through":
                live["served"] = True
            case "call_ended":
                self._ended(note.call, fields, wall)

    def _arrived(self, call: str, fields: Mapping[str, Any], wall: float) -> None:
        self._live[call] = {
            "call": call,
            "incident": call,
            "arrived": wall,
            "number": fields.get("number"),
            "account": fields.get("user"),
            "name": fields.get("name"),
            "verified": bool(fields.get("verified")),
            "blocked": fields.get("blocked"),
            "silent": bool(fields.get("silent")),
            "queue": fields.get("queue", "default"),
            "places": [],
            "place": None,
            "district": None,
            "texts": [],
            "picture": False,
            "served": False,
        }

    def _called_back(self, call: str, event: str) -> None:
        """Close the task a desk's call follows when that is picked up."""
        if event == "put_through":
            self.done(self._ours[call])
        elif event == "call_ended":
            del self._ours[call]

    def _ended(self, call: str, fields: Mapping[str, Any], wall: float) -> None:
        live = self._live.pop(call)
        if live.pop("served") or fields.get("while") not in {"waiting", "arriving"}:
            return
        if any(other["incident"] == live["incident"] for other in self._live.values()):
            return  # it dialled again and is there: of its two calls this one had lost its road
        self._tasks[call] = {**live, "abandoned": wall, "evidence": call}
        self.changed = True
        while len(self._tasks) > MAX_TASKS:
            del self._tasks[next(iter(self._tasks))]


def _weight(place: Mapping[str, Any] | None) -> int:
    """Say how much a place counts: of two that count the same the later one is shown, as `Trail.best` has it."""
    if place is None:
        return -1
    shaped = "shape" in place
    return shaped + (shaped and place.get("by") != "caller")


def _cut(texts: Sequence[Mapping[str, Any]], text: str) -> str:
    """Return what of a text there is room for; the whole stands in the evidence."""
    room = max(0, MAX_CHARACTERS - sum(len(one["text"] or "") for one in texts))
    return text if len(text) <= room else f"{text[:room]}…"


def _current(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task in today's shape; those stored by older programs have of texts only the moments, no place and no block."""
    texts = [one if isinstance(one, dict) else {"at": one, "text": None} for one in task["texts"]]
    return {"place": None, "district": None, "blocked": None, **task, "texts": texts}
