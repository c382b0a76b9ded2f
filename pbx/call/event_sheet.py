"""The event log of one call, as the scribe writes it.

in → out: `recordings.events.Entry`s → lines of `events.jsonl`. No fault here may touch a call: what can't be written is said in
the log and kept, and is tried again with the next event, and when the call is over every few seconds until the disk takes it.
"""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from pbx.call.leftovers import Leftover
from recordings.events import Entry, EventLog
from recordings.folder import sync_filesystem

log = structlog.get_logger("signalling")

MAX_KEPT: Final = 2_000
"""Events of one call that wait for a disk that refuses; a call of an hour has some hundred."""
MAX_REFUSED: Final = 5_000
"""Calls that are over and wait for it, some 20 KB each: a day of the busiest centre."""
RETRY_SECONDS: Final = 2.0
"""Between two attempts to complete their folders."""
GATHER_SECONDS: Final = 0.1
"""Calls that end within it are completed together."""
TOGETHER: Final = 4
"""So many files of calls that ended are synced as a whole filesystem: each fsync has it commit by itself, three for a call."""
SWEEP_AGAIN_SECONDS: Final = 10.0
"""Until what was left is looked for again, where the evidence or the spool can't be read."""
MOST: Final = 100
"""Completed at a time: each has two files open."""


Find = Callable[[Callable[[str], bool]], Iterator[Leftover]]
"""Gives what is left, told who says whether a call is in hand."""


class EventSheet:
    """See the module. Everything happens in one thread at a time."""

    def __init__(self, call: str, folder: str, there: Callable[[], None] = lambda: None) -> None:
        """`folder`: where the call's evidence is; made when the first event is written. `there` raises OSError while that may not be done."""
        self._there = there
        self._call = call
        self._folder = folder
        self._log: EventLog | None = None
        self._kept: list[Entry] = []
        self._lost = 0
        self._why = ""  # the disk refuses, and this was said
        self.before = 0
        """Lines a process that died had for it: what of them is not there when it is opened is lost, and said."""
        self.since = math.inf
        """When the file was opened, monotonic seconds."""

    def write(self, items: Sequence[Entry]) -> None:
        """Write events (`scribe.Sheet`), all with one call of the system if the disk takes them."""
        if self._kept:
            items = [*self._kept, *items]
        try:
            self._extend(items)
        except OSError as error:
            self._keep(items, error)
        else:
            self._kept, self._why = [], ""

    def settle(self) -> int | None:
        """Write what was kept; return the file's descriptor, None without one. Raises OSError; it can be tried again."""
        if self._kept:
            self._extend(self._kept)
            self._kept, self._why = [], ""
        return None if self._log is None else self._log.file

    def close(self, *, synced: bool = False) -> None:
        """Put everything on the disk, unless somebody has since `settle`, and close. Raises OSError; what was kept can be tried again."""
        self.settle()
        if self._log is not None:
            self._log.close(synced=synced)

    def _extend(self, items: Sequence[Entry]) -> None:
        written = self._opened(items[0])
        if self._lost:
            wall, mono = items[0][2:]
            lost: Entry = ("not_recorded", {"reason": self._why, "events": self._lost}, wall, mono)
            written.extend([lost, *items])
            self._lost = 0
        else:
            written.extend(items)

    def _opened(self, item: Entry) -> EventLog:
        if self._log is None:
            self._there()
            opened = EventLog(self._call, self._folder, wall_ns=item[2], mono=item[3])
            if (gone := self.before - opened.seq) > 0:
                self._state(opened, gone, item)
            self._log, self.since = opened, time.monotonic()
        return self._log

    @staticmethod
    def _state(opened: EventLog, gone: int, item: Entry) -> None:
        fields = {"reason": "signalling died before the disk took them", "events": gone}
        try:
            opened.append("not_recorded", fields, wall_ns=item[2], mono=item[3])
        except BaseException:
            opened.close(synced=True)
            raise

    def _keep(self, items: Sequence[Entry], error: OSError) -> None:
        """Keep the newest of what was refused; once for each time the disk begins to refuse, say so."""
        if not self._why:
            log.error("event_not_recorded", call=self._call, event_name=items[0][0], why=str(error))
        self._why = error.strerror or str(error)
        gone = max(0, len(items) - MAX_KEPT)
        self._lost += gone
        self._kept = list(items[gone:])


@dataclass(slots=True)
class _Over:
    """A call that is over."""

    sheet: EventSheet
    call: str
    folder: str
    people: list[dict[str, Any]]
    refused: bool = False
    """The disk refused it before, which was said."""

    def told(self) -> bytes:
        """What the recorder reads in its spool: the folder is complete."""
        return msgspec.json.encode({"call": self.call, "folder": self.folder, "people": self.people})


class HandingOn:
    """Completes the folders of finished calls and tells the recorder, in a thread that may wait for the disk."""

    def __init__(self, spool: Path, *, retry_seconds: float = RETRY_SECONDS) -> None:
        """`spool`: where the recorder looks for finished calls."""
        self._spool = str(spool)
        self._retry_seconds = retry_seconds
        self._disk = ThreadPoolExecutor(1, "evidence")
        self._waiting: deque[_Over] = deque()
        self._refused: deque[_Over] = deque()
        self._asked = False
        self._closing = threading.Event()
        self._again: threading.Timer | None = None

    def take(self, sheet: EventSheet, call: str, folder: str, people: list[dict[str, Any]]) -> None:
        """Take a call whose last line is written. By one thread at a time: the scribe's."""
        self._waiting.append(_Over(sheet, call, folder, people))
        if not self._asked:  # calls that end together wake the thread up once
            self._asked = True
            self._disk.submit(self._all)

    def sweep(self, find: Find, there: Callable[[], None]) -> None:
        """Complete what processes before this one left (`leftovers`); `there` as of `EventSheet`. By the scribe, or whoever tries again."""
        if not self._closing.is_set():
            self._disk.submit(self._sweep, find, there)

    def _sweep(self, find: Find, there: Callable[[], None]) -> None:
        try:
            there()
            for left in find(self._in_hand):
                if self._closing.is_set():
                    return
                self._take_over(left, there)
        except OSError as error:
            log.error("leftovers_not_looked_for", why=str(error))
            self._again = threading.Timer(SWEEP_AGAIN_SECONDS, self.sweep, (find, there))
            self._again.daemon = True
            self._again.start()
        if self._waiting:
            self._all()

    def _in_hand(self, call: str) -> bool:
        # Copies: the scribe may put one there meanwhile.
        return any(over.call == call for over in [*list(self._waiting), *list(self._refused)])

    def _take_over(self, left: Leftover, there: Callable[[], None]) -> None:
        folder = str(left.folder)
        sheet = EventSheet(left.call, folder, there)
        sheet.write([("left_open", left.fields, time.time_ns(), time.monotonic())])
        log.warning("evidence_left_open", call=left.call, **left.fields)
        self._waiting.append(_Over(sheet, left.call, folder, []))

    def close(self) -> None:
        """Wait until everything taken so far is done, or refused once more."""
        self._closing.set()
        if self._again is not None:
            self._again.cancel()
        self._disk.shutdown()

    def _all(self) -> None:
        if not self._refused:
            self._closing.wait(GATHER_SECONDS)
        self._asked = False  # before looking: who comes from now on asks again
        while True:
            last = self._closing.is_set()
            while self._waiting:
                self._together([self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))])
            if not self._refused:
                return
            if last:
                while self._refused:
                    log.error("evidence_given_up", call=self._refused.popleft().call)
                return
            self._closing.wait(self._retry_seconds)
            self._waiting.extend(self._refused)
            self._refused.clear()

    def _together(self, calls: list[_Over]) -> None:
        """Complete the folders of some calls, with one sync for all of them where that can be."""
        files: list[tuple[float, int]] = []  # since when each is open
        drafts: list[tuple[_Over, int]] = []
        for over in calls:
            with self._guarded(over):
                written = over.sheet.settle()
                draft = _draft(f"{self._spool}/{over.call}", over.told())
                drafts.append((over, draft))
                files.append((math.inf, draft))
                if written is not None:
                    files.append((over.sheet.since, written))
        synced = len(drafts) >= TOGETHER and _synced([file for _, file in sorted(files)])
        for over, draft in drafts:
            with self._guarded(over):
                try:
                    over.sheet.close(synced=synced)
                    if not synced:
                        os.fsync(draft)
                finally:
                    os.close(draft)
                os.replace(f"{self._spool}/{over.call}.new", f"{self._spool}/{over.call}.json")  # noqa: PTH105 - once for each call: two Paths cost as much as the rename
                if over.refused:
                    log.info("evidence_finished", call=over.call)

    @contextmanager
    def _guarded(self, over: _Over) -> Iterator[None]:
        """Try a call again whose files the disk refuses; a bug with one costs no other."""
        try:
            yield
        except OSError as error:
            if not over.refused:
                log.error("evidence_not_finished", call=over.call, why=str(error))
            over.refused = True
            self._refused.append(over)
            if len(self._refused) > MAX_REFUSED:
                log.error("evidence_given_up", call=self._refused.popleft().call)
        except Exception:
            log.exception("evidence_not_finished", call=over.call)


def _draft(path: str, data: bytes) -> int:
    """Write a file that is to appear whole or not at all, `path` with `.new` behind it; return its descriptor. Raises OSError."""
    file = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        written = os.write(file, data)
        while written < len(data):
            written += os.write(file, data[written:])
    except BaseException:
        os.close(file)
        raise
    return file


def _synced(files: Sequence[int]) -> bool:
    """Put the filesystems of these files on the disk, each once; False: each file is to be synced by itself.

    The first file of each is asked, so the one that is open longest has to come first: the kernel tells a file of faults since
    that was opened.
    """
    devices: dict[int, int] = {}
    for file in files:
        devices.setdefault(os.fstat(file).st_dev, file)
    return all(map(sync_filesystem, devices.values()))
