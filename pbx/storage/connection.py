"""The part of asyncpg's connection that we use; asyncpg carries no types of its own."""

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["Connection", "Transaction"]


class Transaction(Protocol):
    """What `connection.transaction()` gives."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *error: object) -> object: ...


class Connection(Protocol):
    """The part of asyncpg's connection (pooled or not)."""

    async def execute(self, query: str, *values: object) -> str: ...

    async def executemany(self, query: str, rows: Sequence[Sequence[object]]) -> None: ...

    async def fetch(self, query: str, *values: object) -> list[Any]: ...

    async def fetchrow(self, query: str, *values: object) -> Any: ...

    async def fetchval(self, query: str, *values: object) -> Any: ...

    def transaction(self) -> Transaction: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...
