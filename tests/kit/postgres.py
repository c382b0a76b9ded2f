"""A PostgreSQL that is a dict: transactions, upserts by position, and failure wherever a test wants it."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from pbx.storage.database import DatabaseAwayError

POISON = "poison"


class FakeConnection:
    """Knows the statements the outbox sends."""

    def __init__(self, server: "FakeDatabase") -> None:
        self._server = server

    def transaction(self) -> "FakeTransaction":
        return FakeTransaction(self._server)

    async def fetchval(self, query: str, *values: Any) -> Any:
        self._server.step()
        if query.startswith("SELECT position"):
            return self._server.positions.get(values[0])
        assert query.startswith("UPDATE applied_outbox")
        stream, before, after = values
        if self._server.positions.get(stream) != before:
            return None
        self._server.positions[stream] = after
        return after

    async def execute(self, query: str, *values: Any) -> str:
        self._server.step()
        if query.startswith("INSERT INTO applied_outbox"):
            self._server.positions[values[0]] = values[1]
        else:
            self._insert(query, values)
        return "INSERT 0 1"

    async def executemany(self, query: str, rows: list[tuple[Any, ...]]) -> None:
        self._server.step()
        for row in rows:
            self._insert(query, row)

    def _insert(self, query: str, values: tuple[Any, ...]) -> None:
        if POISON in values:
            raise asyncpg.DataError("poison")
        self._server.rows.append((query.split()[2], *values))


class FakeTransaction:
    """Undone when it fails; a transaction in a transaction is a savepoint."""

    def __init__(self, server: "FakeDatabase") -> None:
        self._server = server

    async def __aenter__(self) -> None:
        self._before = copy.copy(self._server.positions), copy.copy(self._server.rows)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._server.positions, self._server.rows = self._before
        else:
            try:
                self._server.step()
            except DatabaseAwayError:  # lost before the commit arrived
                self._server.positions, self._server.rows = self._before
                raise
            self._server.step()  # lost on the way of the commit's answer


class FakeDatabase:
    """Stands in for `pbx.storage.database.Database`."""

    def __init__(self, fails: Callable[[], bool] = lambda: False) -> None:
        """`fails()` is asked before each step of the server."""
        self.fails = fails
        self.positions: dict[str, int] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.here = asyncio.Event()
        self.here.set()

    def step(self) -> None:
        if self.fails():
            raise DatabaseAwayError("made to fail")

    async def wait_up(self) -> None:
        await self.here.wait()

    async def use(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        self.step()
        return await work(FakeConnection(self))
