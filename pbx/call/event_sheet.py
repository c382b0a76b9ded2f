"""The event log of one call, as the scribe writes it.

in → out: `recordings.events.Entry`s → lines of `events.jsonl`. No fault here may touch a call: what can't be written is said in
the log, event by event, and the next is tried again.
"""

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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


class HandingOn:
    """Completes the folders of finished calls and tells the recorder, in a thread that may wait for the disk."""

    def __init__(self, spool: Path) -> None:
        """`spool`: where the recorder looks for finished calls."""
        self._spool = str(spool)
        self._disk = ThreadPoolExecutor(1, "evidence")
        self._waiting: deque[tuple[EventSheet, str, str, list[dict[str, Any]]]] = deque()
        self._asked = False

    def take(self, sheet: EventSheet, call: str, folder: str, people: list[dict[str, Any]]) -> None:
        """Take a call whose last line is written. By one thread at a time: the scribe's."""
        self._waiting.append((sheet, call, folder, people))
        if not self._asked:  # calls that end together wake the thread up once
            self._asked = True
            self._disk.submit(self._all)

    def close(self) -> None:
        """Wait until everything taken so far is done."""
        self._disk.shutdown()

    def _all(self) -> None:
        self._asked = False  # before looking: who comes from now on asks again
        while self._waiting:
            sheet, call, folder, people = self._waiting.popleft()
            try:
                hand_on(sheet, call, folder, people, self._spool)
            except Exception:
                log.exception("evidence_not_finished", call=call)


def hand_on(sheet: EventSheet, call: str, folder: str, people: list[dict[str, Any]], spool: str) -> None:
    """Close the log of a call and tell the recorder, by a file in its spool, that the folder is complete."""
    try:
        sheet.close()
        _drop(f"{spool}/{call}", msgspec.json.encode({"call": call, "folder": folder, "people": people}))
    except OSError as error:
        log.error("evidence_not_finished", call=call, why=str(error))


def _drop(path: str, data: bytes) -> None:
    """Write a file that appears whole or not at all, `path` with `.json` behind it."""
    file = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        written = os.write(file, data)
        while written < len(data):
            written += os.write(file, data[written:])
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(f"{path}.new", f"{path}.json")  # noqa: PTH105 - once for each call: two Paths cost as much as the rename
