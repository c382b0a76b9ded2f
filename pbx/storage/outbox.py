"""Rows are written behind the exchange: journal first, PostgreSQL when it is there, each row exactly once.

in → out: `append(kind, record)` returns at once; the writer's thread makes it durable; a task carries durable lines
into PostgreSQL in order. How far it came stands in `applied_outbox` and moves in the same transaction as the rows, so a
crash of either side, at any point, neither loses nor doubles one. PostgreSQL may be away for hours.

A row PostgreSQL will never take (its shape, not the server's state) goes to `outbox-refused.jsonl` and the next follows.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
import structlog

from pbx.storage import segments
from pbx.storage.connection import Connection
from pbx.storage.database import Database, DatabaseAwayError
from pbx.storage.records import statement
from pbx.storage.segments import Line, Reader
from pbx.storage.writer import Writer
from pbx.tasks import Tasks

__all__ = ["Outbox"]

BATCH: Final = 500  # rows in one transaction: some ten milliseconds
PAUSE: Final = 1.0  # seconds before trying again what the server refused
GATHER: Final = (
    0.1  # seconds between two transactions while there is little: a call's 15 rows go in one, not in ten
)
REFUSED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,  # an index row too long
    ValueError,
)
"""Errors that will come again whenever this row is tried."""


Tables = dict[str, list[tuple[object, ...]]]
"""INSERT → the values of its rows."""


class _MovedError(Exception):
    """Somebody else carries this outbox: our idea of its position is old."""


class Outbox:
    """The outbox of one journal folder."""

    def __init__(self, folder: Path, database: Database, tasks: Tasks) -> None:
        """`folder`: exists already, ours alone."""
        self._folder = folder
        self._database = database
        self._tasks = tasks
        self._log = structlog.get_logger()
        self._writer: Writer | None = None
        self._stream = ""
        self._applied: int | None = None
        self._first = 0
        self._at_start = 0
        self._reader: Reader | None = None
        self._unapplied: list[Line] = []
        self._tables: Tables | None = {}
        self._batch = BATCH
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._faulty = False
        self.refused = 0
        """Rows PostgreSQL will never take, since start."""

    async def start(self) -> None:
        """Find the end of the journal and begin to write and carry. Raises OSError."""
        loop = asyncio.get_running_loop()
        last = await asyncio.to_thread(self._open)

        def told(callback: Callable[..., None], *values: object) -> None:
            try:
                loop.call_soon_threadsafe(callback, *values)
            except RuntimeError:  # the loop has ended before the thread
                return

        self._writer = Writer(
            self._folder,
            last,
            on_durable=lambda: told(self._on_durable),
            on_fault=lambda error: told(self._on_fault, error),
        )
        self._writer.start()
        self._task = self._tasks.spawn(self._carry(), name="outbox")

    def append(self, kind: str, record: Mapping[str, object]) -> None:
        """Take a record (see `records`). Never waits; raises only when the outbox isn't started."""
        self._started.put(kind, record)

    @property
    def last(self) -> int:
        """The position of the row that was appended last."""
        return self._started.last

    @property
    def on_disk(self) -> int:
        """The position up to which every row is in the journal on disk."""
        return self._started.durable

    @property
    def pending(self) -> int:
        """Rows PostgreSQL does not have yet."""
        return self._started.last - (self._applied if self._applied is not None else self._first)

    @property
    def lost(self) -> int:
        """Rows dropped because the journal's disk refused for too long."""
        return self._started.lost

    @property
    def journal_ok(self) -> bool:
        """Whether the journal's disk took the last write."""
        return not self._faulty

    async def durable(self) -> None:
        """Wait until everything appended so far is on disk."""
        await self._until(lambda wanted: self._started.durable >= wanted)

    async def drained(self) -> None:
        """Wait until PostgreSQL has everything appended so far."""
        await self._until(lambda wanted: self._applied is not None and self._applied >= wanted)

    async def close(self) -> None:
        """Write what waits to the journal and end. Rows not yet in PostgreSQL follow at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)

    @property
    def _started(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("the outbox is not started")
        return self._writer

    def _open(self) -> int:
        self._stream = segments.stream_name(self._folder)
        found = segments.segments(self._folder)
        self._first = found[0][0] - 1 if found else 0
        self._at_start = segments.last_position(self._folder)
        return self._at_start

    def _on_durable(self) -> None:
        if self._faulty:
            self._faulty = False
            self._log.info("outbox_writes_again")
        self._wake()

    def _on_fault(self, error: OSError) -> None:
        if not self._faulty:
            self._faulty = True
            self._log.error("outbox_not_written", why=str(error))

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, reached: Callable[[int], bool]) -> None:
        wanted = self._started.last
        while not reached(wanted):
            await self._changed.wait()

    async def _carry(self) -> None:
        while True:
            await self._database.wait_up()
            try:
                await self._step()
            except DatabaseAwayError:
                self._retreat()
                await asyncio.sleep(PAUSE)
            except _MovedError:
                self._log.error("outbox_carried_by_another", stream=self._stream)
                self._retreat()
                await asyncio.sleep(PAUSE)
            except (asyncpg.PostgresError, OSError) as error:
                self._log.error("outbox_not_carried", why=f"{type(error).__name__}: {error}")
                self._retreat()
                await asyncio.sleep(PAUSE)
            except Exception:  # noqa: BLE001 - a bug must not end the task for good: rows wait on disk meanwhile
                self._log.exception("outbox_fault")
                self._retreat()
                await asyncio.sleep(PAUSE)

    def _retreat(self) -> None:
        """Forget where we are: whether the last commit went through only PostgreSQL knows. Take smaller steps."""
        self._reader = None
        self._unapplied = []
        self._batch = max(1, self._batch // 2)

    async def _step(self) -> None:
        changed = self._changed
        if self._reader is None:
            self._applied = await self._database.use(self._position)
            self._reader = Reader(self._folder, self._applied)
            self._wake()
            return
        if not self._unapplied:
            before = self._reader.segment
            durable, batch = self._started.durable, self._batch
            found = await asyncio.to_thread(_ready, self._reader, durable, batch, self._stream)
            self._unapplied, self._tables = found
            if before is not None and self._reader.segment != before:
                await asyncio.to_thread(segments.remove_applied, self._folder, self._applied or 0)
        if not self._unapplied:
            await changed.wait()
            return
        lines, tables = self._unapplied, self._tables
        try:
            await self._database.use(lambda connection: self._write_all(connection, lines, tables))
        except REFUSED:
            await self._database.use(lambda connection: self._write_each(connection, lines))
        self._applied = lines[-1].n
        self._unapplied = []
        self._batch = min(BATCH, 2 * self._batch)
        self._wake()
        if len(lines) < BATCH:
            await asyncio.sleep(GATHER)

    async def _position(self, connection: Connection) -> int:
        found = await connection.fetchval(
            "SELECT position FROM applied_outbox WHERE stream = $1", self._stream
        )
        if found is None:
            found = 0
            await self._begin(connection, found)
        if self._applied is None and found > self._at_start:
            # The journal was set back (an old copy, a disk that forgot): its numbers would mean other rows.
            self._log.error("outbox_renamed", stream=self._stream, journal=self._at_start, database=found)
            self._stream = await asyncio.to_thread(segments.stream_name, self._folder, renew=True)
            found = self._at_start
            await self._begin(connection, found)
        return int(found)

    async def _begin(self, connection: Connection, position: int) -> None:
        await connection.execute(
            "INSERT INTO applied_outbox (stream, position) VALUES ($1, $2)", self._stream, position
        )

    async def _move(self, connection: Connection, lines: Sequence[Line]) -> None:
        moved = await connection.fetchval(
            "UPDATE applied_outbox SET position = $3, written_at = clock_timestamp()"
            " WHERE stream = $1 AND position = $2 RETURNING position",
            self._stream,
            self._applied,
            lines[-1].n,
        )
        if moved is None:
            raise _MovedError

    async def _write_all(self, connection: Connection, lines: Sequence[Line], tables: Tables | None) -> None:
        if tables is None:
            raise ValueError("a row is none")
        async with connection.transaction():
            await self._move(connection, lines)
            for sql, rows in tables.items():
                await connection.executemany(sql, rows)

    async def _write_each(self, connection: Connection, lines: Sequence[Line]) -> None:
        refused: list[Line] = []
        async with connection.transaction():
            await self._move(connection, lines)
            for line in lines:
                try:
                    one = statement(line.kind, line.record, self._stream, line.n)
                    async with connection.transaction():
                        await connection.execute(one.sql, *one.values)
                except REFUSED as error:
                    self._log.error("outbox_row_refused", kind=line.kind, position=line.n, why=str(error))
                    refused.append(line)
            # Before the commit: a crash between the two writes a line twice there, never not at all.
            await asyncio.to_thread(_set_aside, self._folder / "outbox-refused.jsonl", refused)
        self.refused += len(refused)


def _ready(reader: Reader, durable: int, limit: int, stream: str) -> tuple[list[Line], Tables | None]:
    """Read the next rows and sort them by table, as the server is given them; None: one of them is none. Raises OSError.

    For a thread, in one go. Order is kept within each table. Between tables it says nothing: no row refers to one of another, and
    all of the transaction becomes visible at once. Each round to the server costs more than ten rows in it.
    """
    lines, tables = reader.read(durable, limit), Tables()
    for line in lines:
        try:
            one = statement(line.kind, line.record, stream, line.n)
        except ValueError:
            return lines, None
        tables.setdefault(one.sql, []).append(one.values)
    return lines, tables


def _set_aside(path: Path, lines: Sequence[Line]) -> None:
    if lines:
        segments.append_synced(path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
