"""Blocks as the API makes them (`pbx.api.blocks`): of effect at once, and what can't be done is told in both languages."""

from collections.abc import Awaitable
from typing import Final, Protocol

import asyncpg
import structlog

from pbx.api.exchange import ExchangeError
from pbx.storage.blocks import BlockError
from pbx.storage.database import Database, DatabaseAwayError

__all__ = ["BlockService"]

REASONS: Final = {
    "unknown_account": (404, "没有这个账号", "There is no such account"),
    "not_a_caller": (409, "只能停用报警人账号", "Only a caller's account is blocked here"),
    "blocked_already": (409, "该账号已停用", "The account is blocked already"),
    "not_blocked": (409, "该账号未停用", "The account is not blocked"),
    "database_away": (503, "数据库暂不可用", "The database is away; try again"),
}


class Store(Protocol):
    """The blocks as `pbx.storage.blocks.Blocks` keeps them."""

    async def block(self, database: Database, user: str, why: str, by: str) -> None: ...
    async def unblock(self, database: Database, user: str, by: str) -> None: ...


class Followers(Protocol):
    """Who is to read the accounts again when one was blocked."""

    async def refresh(self, database: Database) -> None: ...


class BlockService:
    """See the module."""

    def __init__(self, blocks: Store, accounts: Followers, database: Database) -> None:
        self._blocks, self._accounts, self._database = blocks, accounts, database
        self._log = structlog.get_logger()

    async def block(self, user: str, why: str, by: str) -> None:
        """Block an account."""
        await self._done(self._blocks.block(self._database, user, why, by))

    async def unblock(self, user: str, by: str) -> None:
        """End a block."""
        await self._done(self._blocks.unblock(self._database, user, by))

    async def _done(self, work: Awaitable[None]) -> None:
        try:
            await work
        except BlockError as error:
            raise _told(error.code) from error
        except DatabaseAwayError as error:
            raise _told("database_away") from error
        try:
            await self._accounts.refresh(self._database)
        except (DatabaseAwayError, OSError, asyncpg.PostgresError) as error:
            # It is written; the next reading of the accounts shows it.
            self._log.warning("block_known_later", why=f"{type(error).__name__}: {error}")


def _told(code: str) -> ExchangeError:
    status, zh, en = REASONS[code]
    return ExchangeError(status, code, zh, en)
