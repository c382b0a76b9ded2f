"""The callers' book as the API changes it (`pbx.api.callers`): what can't be done is told in both languages."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import asyncpg
import structlog

from pbx.api.exchange import ExchangeError, View
from pbx.storage.database import Database, DatabaseAwayError
from pbx.storage.histories import Histories, UnknownMarkError

__all__ = ["CallerService"]

T = TypeVar("T")


class Followers(Protocol):
    """Who is to read the accounts again when one changed."""

    async def refresh(self, database: Database) -> None: ...


class CallerService:
    """See the module."""

    def __init__(self, histories: Histories, accounts: Followers, database: Database) -> None:
        self._histories, self._accounts, self._database = histories, accounts, database
        self._log = structlog.get_logger()

    async def mark(self, call: str, mark: str, note: str, by: str) -> int:
        """Mark a call; gives the number of the mark."""
        unknown = (
            404,
            "not_markable",
            "没有这个呼叫，或无法确认来电人",
            "There is no such call, or nobody vouched for who called",
        )
        return await self._use(self._histories.mark, unknown, call, mark, note, by)

    async def withdraw_mark(self, mark: int, by: str) -> None:
        """Take a mark back."""
        unknown = (
            404,
            "unknown_mark",
            "没有这项标记，或已撤销",
            "There is no such mark, or it was withdrawn",
        )
        await self._use(self._histories.withdraw, unknown, mark, by)

    async def marks(self) -> Sequence[View]:
        """Give the marks, the newest first."""
        return await self._use(self._histories.marks, None)

    async def set_needs(self, user: str, language: str | None, needs: tuple[str, ...]) -> None:
        """Say what an account's person needs to be understood; of effect for its next call."""
        unknown = (404, "unknown_account", "没有这个账号", "There is no such account")
        await self._use(self._histories.set_needs, unknown, user, language, needs)
        try:
            await self._accounts.refresh(self._database)
        except (DatabaseAwayError, OSError, asyncpg.PostgresError) as error:
            # It is written; the next reading of the accounts shows it.
            self._log.warning("needs_known_later", why=f"{type(error).__name__}: {error}")

    async def _use(
        self, work: Callable[..., Awaitable[T]], unknown: tuple[int, str, str, str] | None, *arguments: Any
    ) -> T:
        try:
            return await work(self._database, *arguments)
        except UnknownMarkError as error:
            assert unknown is not None, "who asks for all finds none unknown"
            raise ExchangeError(*unknown) from error
        except DatabaseAwayError as error:
            raise ExchangeError(
                503, "database_away", "数据库暂不可用", "The database is away; try again"
            ) from error
