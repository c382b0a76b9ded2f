"""What of the shift outlives a restart: who is away and why, whom to call back, and the routing log.

in → out: notes → files of the state folder, written by a thread. Nothing here decides anything, and no fault here may
touch a call.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from pbx.call import ledger
from pbx.call.callbacks import Callbacks
from pbx.call.effects import Note
from pbx.call.exchange import Exchange
from pbx.call.ledger import Ledger
from pbx.credentials import write_private
from pbx.live.outward import FILE, Outward
from pbx.scribe import Scribe

log = structlog.get_logger("signalling")

LOG_FOLDER: Final = "routing"
AWAY_FILE: Final = "away.json"
CALLBACKS_FILE: Final = "callbacks.json"


class Keeping:
    """See the module."""

    def __init__(
        self, state: Path, exchange: Exchange, scribe: Scribe, outward: Outward | None = None
    ) -> None:
        """Read what was kept; a damaged file is passed over and said. `scribe` writes the routing log."""
        self._state = state
        self._exchange = exchange
        exchange.away.update(_read(state / AWAY_FILE, dict[str, str], {}))
        self.callbacks = Callbacks(_read(state / CALLBACKS_FILE, list[dict[str, Any]], []))
        self._away = dict(exchange.away)
        self._ledger = Ledger(state / LOG_FOLDER, exchange)
        self._disk = ThreadPoolExecutor(1, "routing")
        self._scribe = scribe
        self._page = Page()
        self._outward = outward or Outward()
        self._kept: set[str] = set()  # calls to write down for a restart

    def started(self, wall: float) -> None:
        """State that nothing from before is still so. `wall`: seconds since 1970."""
        self._scribe.put(self._page, self._ledger.started(wall))

    def noted(self, note: Note, wall: float) -> None:
        """Take one note."""
        self.callbacks.noted(note, wall)
        if note.call is not None:
            self._kept.add(note.call)
        found = self._ledger.line(note, wall)
        if found is not None:
            file, line = found
            self._outward.do(partial(self._scribe.put, self._page, found), (FILE, file.name, line))

    def incident(self, call: str) -> str | None:
        """Return what a call that is live, or waits to be called back, belongs to; None when nobody knows it any more."""
        live, task = self._exchange.calls.get(call), self.callbacks.find(call)
        return live.incident if live is not None else None if task is None else str(task["incident"])

    # --- across a restart -------------------------------------------------------------------------------------------

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Give what is known of calls that may become tasks, and the tasks while no file has them."""
        kept, self._kept = self._kept, set()
        for call in kept:
            parts = (*self.callbacks.of(call), self._ledger.is_ours(call))
            yield f"call/{call}", list(parts) if any(parts) else None
        if self.callbacks.changed:
            yield "tasks/", self.callbacks.tasks()

    def resume(self, records: Mapping[str, Any]) -> None:
        """Take up what `changes` told."""
        if "tasks/" in records:
            self.callbacks = Callbacks(records["tasks/"])
            self.callbacks.changed = True
        for name, (live, follows, ours) in ((n, r) for n, r in records.items() if n.startswith("call/")):
            call = name.removeprefix("call/")
            if call in self._exchange.calls:
                self.callbacks.resume(call, live, follows)
                self._ledger.resume(call, ours=ours)

    def again(self, out: Sequence[Any]) -> None:
        """Do again what a dead process may not have written (`outward`), unless it has."""
        match out:
            case [kind, str(name), bytes(line)] if kind == FILE:
                file = self._state / LOG_FOLDER / name
                self._write(partial(ledger.write_once, file, line))

    def flush(self) -> None:
        """Store what changed; call it every second."""
        if self._exchange.away != self._away:
            self._away = dict(self._exchange.away)
            data = msgspec.json.encode(self._away)
            self._write(lambda: write_private(self._state / AWAY_FILE, data))
        if self.callbacks.changed:
            self.callbacks.changed = False
            tasks = msgspec.json.encode(self.callbacks.tasks())
            self._write(lambda: write_private(self._state / CALLBACKS_FILE, tasks))

    def close(self) -> None:
        """Store what changed and wait until it is on the disk."""
        self.flush()
        self._scribe.flush()
        self._disk.shutdown()

    def _write(self, work: Callable[[], None]) -> None:
        self._disk.submit(_guarded, work)


class Page:
    """The routing log, as the scribe writes it."""

    def write(self, items: Sequence[tuple[Path, bytes]]) -> None:
        """Append lines to their files (`scribe.Sheet`)."""
        for file, some in groupby(items, itemgetter(0)):
            _guarded(partial(ledger.write, file, b"".join([line for _, line in some])))


def _guarded(work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        log.error("routing_not_recorded", why=str(error))


def _read(file: Path, kind: Any, nothing: Any) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except FileNotFoundError:
        return nothing
    except (OSError, msgspec.MsgspecError) as error:
        log.error("not_read", file=file.name, why=str(error))
        return nothing
