"""The event log of one call, as the scribe writes it.

in → out: `recordings.events.Entry`s → lines of `events.jsonl`. No fault here may touch a call: what can't be written is said in
the log, event by event, and the next is tried again.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from recordings.events import Entry, EventLog

log = structlog.get_logger("signalling")


class EventSheet:
    """See the module. Everything happens in one thread at a time."""

    def __init__(self, call: str, folder: str) -> None:
        """`folder`: where the call's evidence is; made when the first event is written."""
        self._call = call
        self._folder = folder
        self._log: EventLog | None = None

    def write(self, items: Sequence[Entry]) -> None:
        """Write events (`scribe.Sheet`), all with one call of the system if the disk takes them."""
        try:
            self._opened(items[0]).extend(items)
        except OSError:
            for item in items:
                self._write_one(item)

    def _write_one(self, item: Entry) -> None:
        try:
            self._opened(item).extend([item])
        except OSError as error:
            log.error("event_not_recorded", call=self._call, event_name=item[0], why=str(error))

    def _opened(self, item: Entry) -> EventLog:
        if self._log is None:
            self._log = EventLog(self._call, self._folder, wall_ns=item[2], mono=item[3])
        return self._log

    def close(self) -> None:
        """Put everything on the disk and close. Raises OSError."""
        if self._log is not None:
            self._log.close()


def hand_on(events: EventSheet, spool: Path, call: str, folder: str, people: list[dict[str, Any]]) -> None:
    """Close the log of a call and tell the recorder, by a file in its spool, that the folder is complete."""
    try:
        events.close()
        _drop(spool / f"{call}.json", msgspec.json.encode({"call": call, "folder": folder, "people": people}))
    except OSError as error:
        log.error("evidence_not_finished", call=call, why=str(error))


def _drop(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
