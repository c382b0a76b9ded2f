"""Asks those who know more of a caller, all at once, and lets no call wait for any of them.

in → out: a question of the exchange → each source's answer, or why it has none, told once. Sources: `history` (PostgreSQL),
`subscriber` (the operator of the number, if the settings name a service).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
import structlog

from pbx.call.effects import AskFacts
from pbx.storage.database import Database, DatabaseAwayError
from pbx.storage.histories import Histories
from pbx.subscribers import HttpSubscribers, SubscriberError, Subscribers, SubscriberSettings
from pbx.tasks import Tasks

__all__ = ["CallerFacts"]

HISTORY_SECONDS: Final = 2.0
"""For a database under load; it is read for advice."""
MAX_AT_ONCE: Final = 200
"""Questions under way: as many as a burst of calls in one breath; those beyond go without advice."""

Done = Callable[[str, dict[str, Any] | None, str | None], None]


class CallerFacts:
    """See the module."""

    def __init__(
        self,
        histories: Histories,
        database: Database,
        tasks: Tasks,
        settings: SubscriberSettings,
        *,
        subscribers: Subscribers | None = None,
    ) -> None:
        """`subscribers`: in place of the service the settings name."""
        named = None if settings.url is None else HttpSubscribers(settings)
        self._histories, self._database, self._tasks = histories, database, tasks
        self._subscribers = subscribers or named
        self._running = 0
        self._log = structlog.get_logger("signalling")

    def ask(self, question: AskFacts, done: Done) -> None:
        """Ask; returns at once. `done` hears each source once, from the loop."""
        if self._running >= MAX_AT_ONCE:
            self._log.warning("caller_facts_left_out", call=question.call)
            return
        history = self._histories.of(self._database, question.call, question.account, question.number)
        self._start("history", self._history(history), done)
        if self._subscribers is not None and question.trunk is not None and question.number is not None:
            self._start("subscriber", self._subscribers.find(question.number), done)

    def _start(self, source: str, work: Awaitable[dict[str, Any]], done: Done) -> None:
        self._running += 1
        self._tasks.spawn(self._run(source, work, done), name="caller_facts")

    async def _run(self, source: str, work: Awaitable[dict[str, Any]], done: Done) -> None:
        try:
            found = await work
        except SubscriberError as error:
            done(source, None, str(error))
        else:
            done(source, found, None)
        finally:
            self._running -= 1

    async def _history(self, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(HISTORY_SECONDS):
                return await work
        except (DatabaseAwayError, TimeoutError, OSError):
            raise SubscriberError("database away") from None
        except asyncpg.PostgresError as error:
            raise SubscriberError(f"{type(error).__name__}") from error
