"""What needs no server; everything else is in tests/live/test_postgres.py."""

import asyncio
import gc
import logging

import pytest
from asyncpg.exceptions import ConnectionDoesNotExistError

from pbx.storage.database import Database
from pbx.tasks import Tasks


class PoolConnectionHolder:
    """As the driver's."""

    async def release(self) -> None:
        raise ConnectionDoesNotExistError("connection was closed in the middle of operation")


async def other() -> None:
    raise ConnectionError("somebody else's")


async def test_a_release_that_nobody_waits_for_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    """The driver gives connections back in a task of its own; other forgotten tasks are still told."""
    tasks = Tasks("test")
    database = Database("postgresql://nobody@127.0.0.1:1/none", tasks)
    database.start()
    try:
        with caplog.at_level(logging.INFO):
            for forgotten in (PoolConnectionHolder().release(), other()):
                task = asyncio.get_running_loop().create_task(forgotten)
                await asyncio.wait([task])
                del task
                gc.collect()
        told = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
        assert len(told) == 1
        assert "other()" in told[0]
    finally:
        await database.close()
        await tasks.close()
