"""The pool of connections to PostgreSQL, which may go away at any time and for hours.

in → out: `start()` returns at once; `up` tells how it stands; `use(work)` gives `work` a connection for at most
`COMMAND_SECONDS` a statement and raises `DatabaseAwayError` for whatever a dead, hanging, full or read-only server does.
Nothing on the way of a call may await it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
import structlog

from pbx.storage.connection import Connection
from pbx.storage.migrate import MIGRATE_SECONDS, MigrationError, migrate
from pbx.tasks import Tasks

__all__ = ["AWAY", "Connection", "Database", "DatabaseAwayError"]

COMMAND_SECONDS: Final = 2.0  # bars F5: each query ends within two seconds
CONNECT_SECONDS: Final = 2.0
MIN_CONNECTIONS: Final = 1
MAX_CONNECTIONS: Final = 5
PROBE_SECONDS: Final = (
    1.0  # so that a silent death shows within two seconds, with the probe's own limit below
)
PROBE_LIMIT: Final = 1.0
CLOSE_SECONDS: Final = 0.5
"""From telling the task to end until it is told again: the roll-back a cancelled migration begins waits for a server that may hang, and
a server that dies just then has the driver raise that in place of the cancellation.
"""
PAUSES: Final = (0.2, 0.5, 1.0, 2.0)  # between attempts to connect; the last repeats

AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a connection lost in mid-query may raise, bare
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, statement cancelled
    asyncpg.InsufficientResourcesError,  # too many connections, disk full, out of memory
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.InvalidTransactionStateError,  # read-only after a failover
    asyncpg.ObjectNotInPrerequisiteStateError,  # a lock held for long
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""Errors that say nothing of the statement and everything of the server: trying again later is right."""

T = TypeVar("T")


class _Pool(Protocol):
    async def acquire(self, *, timeout: float) -> Connection: ...  # noqa: ASYNC109 - asyncpg's own signature

    async def release(self, connection: Connection, *, timeout: float) -> None: ...  # noqa: ASYNC109 - asyncpg's own signature

    def terminate(self) -> None: ...


class DatabaseAwayError(Exception):
    """PostgreSQL can't be used now; try again later."""


class Database:
    """A pool that comes back by itself."""

    def __init__(self, dsn: str, tasks: Tasks, on_change: Callable[[bool], None] = lambda _up: None) -> None:
        """`on_change(up)` hears each change, from the loop."""
        self._dsn = dsn
        self._proof = _proof(dsn)
        self._tasks = tasks
        self._on_change = on_change
        self._pool: _Pool | None = None
        self._task: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        self._came_up = asyncio.Event()
        self._log = structlog.get_logger()
        self._told: str | None = None

    @property
    def up(self) -> bool:
        """Whether the last word from the server was a good one."""
        return self._came_up.is_set()

    def start(self) -> None:
        """Begin to connect, in the background, for ever."""
        if self._task is None:
            # Its pool logs a traceback for every failed attempt to connect; we tell each cause once.
            logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)
            asyncio.get_running_loop().set_exception_handler(self._unheard)
            self._task = self._tasks.spawn(self._keep(), name="database")

    async def wait_up(self) -> None:
        """Wait until it is up, however long."""
        await self._came_up.wait()

    async def use(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` on one connection. Raises DatabaseAwayError, or the asyncpg.PostgresError of a wrong statement."""
        pool = self._pool
        if pool is None or not self.up:
            raise DatabaseAwayError("not connected")
        try:
            connection = await pool.acquire(timeout=CONNECT_SECONDS)
        except AWAY as error:
            self._note_down(error)
            raise DatabaseAwayError(_words(error)) from error
        try:
            return await work(connection)
        except AWAY as error:
            # A connection that timed out would make the pool wait for a server that doesn't answer.
            _cut(connection)
            self._note_down(error)
            raise DatabaseAwayError(_words(error)) from error
        except AttributeError as error:
            # The driver forgets the protocol of a connection that ends in mid-query, and then stumbles over that itself.
            if not _lost(connection):
                raise
            self._note_down(error)
            raise DatabaseAwayError("connection lost") from error
        finally:
            await self._give_back(pool, connection)

    async def close(self) -> None:
        """End the task and the connections, at once."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_SECONDS)
        await self._drop()

    async def _give_back(self, pool: _Pool, connection: Connection) -> None:
        try:
            await pool.release(connection, timeout=COMMAND_SECONDS)
        except AWAY as error:
            self._note_down(error)

    async def _keep(self) -> None:
        attempt = 0
        while True:
            if self._pool is None:
                if await self._connect():
                    attempt = 0
                else:
                    await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                    attempt += 1
                    continue
            self._look.clear()
            try:
                await asyncio.wait_for(self._look.wait(), PROBE_SECONDS)
            except TimeoutError:
                pass
            if not await self._probe():
                await self._drop()

    async def _connect(self) -> bool:
        try:
            await self._migrate()
            self._pool = await asyncpg.create_pool(
                self._dsn,
                **self._proof,
                min_size=MIN_CONNECTIONS,
                max_size=MAX_CONNECTIONS,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                server_settings={
                    "application_name": "at110",
                    "statement_timeout": str(int(COMMAND_SECONDS * 1000)),
                },
            )
        except (*AWAY, MigrationError, asyncpg.PostgresError) as error:
            self._tell("database_away", _words(error))
            return False
        except Exception as error:  # noqa: BLE001 - a bug, ours or the driver's, must not end the task for good
            self._log.exception("database_fault", why=_words(error))
            return False
        self._told = None
        self._came_up.set()
        self._log.info("database_up")
        self._on_change(True)
        return True

    async def _migrate(self) -> None:
        connection = await asyncpg.connect(
            self._dsn, **self._proof, timeout=CONNECT_SECONDS, command_timeout=MIGRATE_SECONDS
        )
        try:
            if fresh := await migrate(connection):
                self._log.info("database_migrated", numbers=fresh)
        finally:
            connection.terminate()

    async def _probe(self) -> bool:
        pool = self._pool
        if pool is None:
            return False
        try:
            connection = await pool.acquire(timeout=PROBE_LIMIT)
            try:
                # The release stays outside of the limit: one that is cancelled goes on in a task of the driver's own, whose
                # failure nobody hears.
                async with asyncio.timeout(PROBE_LIMIT):
                    read_only = await connection.fetchval("SELECT current_setting('transaction_read_only')")
            except BaseException:
                _cut(connection)
                raise
            finally:
                await self._give_back(pool, connection)
        except (*AWAY, asyncpg.PostgresError) as error:
            self._note_down(error)
            return False
        if read_only != "off":
            self._note_down(ConnectionError("the server is read-only"))
            return False
        return self.up

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Say in a line that a connection could not be given back: the driver does that in a task of its own, which outlives
        whoever waited for it.
        """
        error, future = context.get("exception"), context.get("future")
        name = str(getattr(future.get_coro(), "__qualname__", "")) if isinstance(future, asyncio.Task) else ""
        if isinstance(error, AWAY) and name.startswith("PoolConnectionHolder."):
            self._log.info("database_release_failed", why=_words(error))
        else:
            loop.default_exception_handler(context)

    def _note_down(self, error: BaseException) -> None:
        if self._came_up.is_set():
            self._came_up.clear()
            self._tell("database_down", _words(error))
            self._on_change(False)
        self._look.set()

    async def _drop(self) -> None:
        pool, self._pool = self._pool, None
        if self._came_up.is_set():
            self._came_up.clear()
            self._on_change(False)
        if pool is not None:
            pool.terminate()

    def _tell(self, event: str, why: str) -> None:
        """Once per cause: an hour without a database must not fill the log."""
        if self._told != why:
            self._told = why
            self._log.warning(event, why=why)


def _cut(connection: Connection) -> None:
    """End a connection at once; one that was lost has left the pool by itself and says so."""
    try:
        connection.terminate()
    except asyncpg.InterfaceError:
        return


def _lost(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except (AttributeError, asyncpg.InterfaceError):  # without its protocol it can't even say so
        return True


def _proof(dsn: str) -> dict[str, str]:
    """Over a Unix socket the peer is the proof; without this asyncpg looks for ~/.pgpass, in the event loop, each time."""
    url = urlsplit(dsn)
    named = parse_qs(url.query)
    socket = named.get("host", [url.hostname or ""])[0].startswith("/")
    return {"password": ""} if socket and not url.password and "password" not in named else {}


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
