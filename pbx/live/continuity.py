"""Carries live state over the death of signalling: writes it down turn by turn, and takes it up again.

in → out: the end of a turn → changed state in the journal, then what the turn does to the outside; a start → the machines as
they were, and what is to be stated of the time in between.

No fault here may touch a call: a journal that can't be written is stated, and the exchange goes on without.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from pbx.live.attempts import Attempts
from pbx.live.frames import Frame, packed, unpacked
from pbx.live.journal import Found, Journal
from pbx.live.outward import ROW, Outward, opened

GRACE_SECONDS: Final = 8.0
"""How long after a restart nobody is given up for silence: what peers said meanwhile they repeat at least every four."""

log = structlog.get_logger("signalling")

Records = dict[str, Any]


class Source(Protocol):
    """What has live state."""

    def changes(self) -> Iterable[tuple[str, Any]]:
        """Give (name, plain data) of what may have changed since this was asked last; None: it is no more."""


class Rows(Protocol):
    """The outbox, as far as it is asked."""

    @property
    def last(self) -> int: ...
    @property
    def on_disk(self) -> int: ...
    def append(self, kind: str, record: Mapping[str, Any]) -> None: ...


@dataclass(slots=True)
class Numbers:
    """What `/metrics` shows."""

    fault: Gauge
    """1 while nothing is kept."""
    size: Gauge
    restored: Counter
    """Calls taken up again."""
    dropped: Counter
    """Records that could not be."""


@dataclass(slots=True)
class Left:
    """What a dead process left, ready to be taken up."""

    state: dict[str, Records] = field(default_factory=dict)
    """Source → name → plain data."""
    turns: list[Frame] = field(default_factory=list)
    died: tuple[float, int] | None = None
    """The last sign of its life: monotonic seconds, and nanoseconds since 1970."""
    last_row: int = 0
    """Rows the outbox had on disk at this start."""


class Continuity:
    """See the module."""

    def __init__(
        self,
        journal: Journal | None,
        attempts: Attempts,
        sources: Mapping[str, Source],
        *,
        outward: Outward,
        rows: Rows,
        numbers: Numbers,
    ) -> None:
        """`journal`: None where nobody would read it. `sources`: by a name of their own, without a colon."""
        self._journal = journal
        self._attempts = attempts
        self._sources = sources
        self._outward = outward
        self._rows = rows
        self._numbers = numbers
        self._records: dict[str, bytes] = {}
        self._fresh: frozenset[str] = frozenset()
        self._faulty = False

    # --- after a restart ----------------------------------------------------------------------------------------------

    def left(self, now: float) -> Left:
        """Read what a process before this one left, and leave out what it may have died of."""
        if self._journal is None:
            return Left()
        found = self._journal.read()
        if found.why not in (None, "no_journal"):
            log.warning("live_state_not_read", why=found.why)
        if found.cut:
            log.warning("live_state_cut", bytes=found.cut)
        if found.last is None:
            return Left(last_row=self._rows.last)
        failed = self._attempts.begin(now)
        self._records, self._fresh = _careful(found, failed), found.changed
        if failed:
            dropped = len(found.records) - len(self._records)
            log.error("live_state_dropped", attempts=failed, records=dropped)
            self._numbers.dropped.inc(dropped)
        state: dict[str, Records] = {name: {} for name in self._sources}
        for name, data in list(self._records.items()):
            source, _, record = name.partition(":")
            try:
                state[source][record] = unpacked(data)
            except (KeyError, msgspec.MsgspecError):
                self.lost(source, [record])
        return Left(state, found.turns, (found.last.mono, found.last.wall), self._rows.last)

    def lost(self, source: str, names: Iterable[str]) -> None:
        """Hear which records could not be taken up."""
        for name in names:
            if self._records.pop(f"{source}:{name}", None) is not None:
                log.error("live_record_dropped", record=f"{source}:{name}")
                self._numbers.dropped.inc()

    def again(self, left: Left, redo: Callable[[Sequence[Any]], None]) -> None:
        """Do again what turns did to files and database and may not have come there. `redo` takes all but rows."""
        newest = 0.0 if left.died is None else left.died[0]
        for turn in sorted(left.turns, key=lambda turn: turn.mono):
            position = turn.base
            for out in (out for data in turn.outs for out in opened(data)):
                if out[0] == ROW:
                    position += 1
                    if position > left.last_row:
                        self._rows.append(out[1], out[2])
                elif turn.mono >= newest - RECENT_SECONDS:
                    redo(out)

    def begin(self, left: Left) -> None:
        """Begin to write down, with what was taken up."""
        self._outward.hold()
        if self._journal is not None:
            now, wall = time.monotonic(), time.time_ns()
            recent = [turn for turn in left.turns if turn.mono >= now - RECENT_SECONDS and turn.outs]
            self._journal.begin(
                self._records, recent, mono=now, wall=wall, base=self._rows.last, fresh=self._fresh
            )
        self._records = {}
        self._stated()

    # --- turn by turn -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """End a turn: what changed is written down, then the world hears of it. A turn nobody hears of is written later."""
        if self._outward.waiting:
            self._write()
            self._outward.release()

    def beat(self) -> None:
        """Write a sign of life, and what was put off; call it every second."""
        now = time.monotonic()
        self._attempts.beat(now)
        self._write()
        self._outward.release()
        if self._journal is not None:
            wall = time.time_ns()
            self._journal.rewrite(mono=now, wall=wall, base=self._rows.last, durable=self._rows.on_disk)
            self._stated()

    def _write(self) -> None:
        changes: list[tuple[str, bytes | None]] = []
        take = changes.append
        for name, source in self._sources.items():
            try:
                for record, data in source.changes():
                    take((f"{name}:{record}", None if data is None else packed(data)))
            except Exception:
                log.exception("live_state_not_kept", source=name)
        outs, rows = self._outward.taken()
        journal = self._journal
        if journal is not None and (changes or outs):
            mono, wall = time.monotonic(), time.time_ns()
            kept = journal.append(changes, outs, mono=mono, wall=wall, base=self._rows.last, rows=rows)
            if kept is self._faulty:
                self._stated()

    def _stated(self) -> None:
        assert self._journal is not None or not self._faulty, "no journal, no fault"
        if self._journal is None:
            return
        fault = self._journal.fault
        if (fault is not None) is not self._faulty:
            self._faulty = fault is not None
            (log.error if self._faulty else log.info)(
                "live_journal_failed" if self._faulty else "live_journal_writes_again", why=fault
            )
        self._numbers.fault.set(int(self._faulty))
        self._numbers.size.set(self._journal.size)

    # --- the end ------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End in order: everybody was told goodbye, and nothing is left to take up."""
        self._write()
        self._outward.let_go()
        self._attempts.end()
        journal, self._journal, self._faulty = self._journal, None, False
        if journal is not None:
            journal.end()


RECENT_SECONDS: Final = 10.0
"""How far back files are looked at for what a dead process had begun; threads write within milliseconds."""


def open_journal(folder: Path, key: bytes | None, boot: str) -> Journal | None:
    """Return the journal, None without a key."""
    return None if key is None else Journal(folder, key, boot)


def _careful(found: Found, failed: int) -> dict[str, bytes]:
    """Leave out what the process may have died of, the more the oftener it did."""
    if failed >= 2:
        return {}
    if failed == 1:
        return {name: data for name, data in found.records.items() if name not in found.changed}
    return dict(found.records)
