"""The routing log: one line for everything statistics are computed from, a file a day, kept apart from evidence.

in → out: notes → lines of `<state>/routing/2026-11-22.jsonl`; `read(folder, since, until)` → `routing.statistics.Event`s.

A line holds no name, number or text: only ids of calls, queues, desks and dispatchers.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from pbx.call.effects import Note
from pbx.call.exchange import Exchange
from routing.statistics import AGAIN, START, Event, from_record

DAY: Final = 86_400.0
NEAR_BYTES: Final = 1 << 20
"""Of a file's end; what happened in the last ten seconds stands in it."""

_WHAT: Final = {
    "call_arrived": "arrived",
    "put_through": "through",
    "desk_heard": "heard",
    "desk_lost": "lost",
    "call_ended": "ended",
    "desk_changed": "desk",
    "district": "district",
    "same_incident": "",  # what the note says of it
}


class Ledger:
    """See the module. `write` may be called by a thread; `line` may not."""

    def __init__(self, folder: Path, exchange: Exchange) -> None:
        self._folder = folder
        self._exchange = exchange
        self._ours: set[str] = set()
        self._day = (-1, folder)

    def line(self, note: Note, wall: float) -> tuple[Path, bytes] | None:
        """Return the file and the line for a note; None when statistics need nothing of it."""
        what = _WHAT.get(note.event)
        if what is None or self._is_ours(note):
            return None
        if not what and (what := str(note.fields["why"])) not in AGAIN:
            return None
        found = self._exchange.calls.get(note.call or "")
        desk = str(note.fields.get("desk") or "")
        room = self._exchange.rooms.peek(desk)
        record: dict[str, Any] = {"at": wall, "what": what}
        if note.call is not None:
            record |= {"call": note.call, "queue": "default" if found is None else found.entry.queue}
        if desk:
            record |= {"desk": desk, "agent": desk if room is None else room.agent or desk}
        if what == "desk":
            record["state"] = note.fields["state"] or ""
            record["serves"] = sorted(self._exchange.acd.rules.profile(record["agent"]).queues)
        elif what == "district":
            record["district"] = note.fields["district"] or ""
        elif what in AGAIN:
            record["incident"] = note.fields["incident"]
        return self._file(wall), msgspec.json.encode(record) + b"\n"

    def is_ours(self, call: str) -> bool:
        """Say whether a live call is one of a desk."""
        return call in self._ours

    def resume(self, call: str, *, ours: bool) -> None:
        """Take up a live call after a restart."""
        if ours:
            self._ours.add(call)

    def _is_ours(self, note: Note) -> bool:
        """Say whether a note is about a call of a desk: nobody waited."""
        if note.call is not None and note.fields.get("direction") == "outgoing":
            self._ours.add(note.call)
        ours = note.call in self._ours
        if note.call is not None and note.event == "call_ended":
            self._ours.discard(note.call)
        return ours

    def started(self, wall: float) -> tuple[Path, bytes]:
        """Return the line that says that nothing from before is still so."""
        return self._file(wall), msgspec.json.encode({"at": wall, "what": START}) + b"\n"

    def _file(self, wall: float) -> Path:
        day = int(wall // DAY)
        if day != self._day[0]:
            self._day = day, self._folder / f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d}.jsonl"
        return self._day[1]


def write(file: Path, line: bytes) -> None:
    """Append one line or several; a line torn by a crash before it is ended first. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(file, flags, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as out:
        size = out.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(out.fileno(), 1, size - 1) != b"\n"
        out.write((b"\n" if torn else b"") + line)


def write_once(file: Path, line: bytes) -> None:
    """Append one line unless it stands near the end already. Raises OSError."""
    try:
        with file.open("rb") as present:
            present.seek(max(0, present.seek(0, os.SEEK_END) - NEAR_BYTES))
            if line in present.read():
                return
    except FileNotFoundError:
        pass
    write(file, line)


def read(folder: Path, since: float, until: float) -> Iterator[Event]:
    """Give the events of the days from the one before `since` (desks signed in then) to `until`. Raises OSError."""
    first, last = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for at in (max(0.0, since - DAY), until))
    for file in sorted(folder.glob("????-??-??.jsonl")):
        if not first <= file.stem <= last:
            continue
        for line in file.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                record = msgspec.json.decode(line)
                event = from_record(record) if isinstance(record, dict) else None
                if event is not None:
                    yield event
