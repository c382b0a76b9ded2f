"""What needs no server; everything else is in tests/live/postgres."""

import asyncio
import gc
import logging

import pytest
from asyncpg.exceptions import ConnectionDoesNotExistError

from pbx.storage.database import Database, DatabaseAwayError
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


class Pool:
    """As the driver's, with one connection: itself."""

    def __init__(self, closed: bool | None) -> None:
        self.closed = closed

    async def acquire(self, **_limit: float) -> "Pool":
        return self

    async def release(self, _connection: "Pool", **_limit: float) -> None:
        return

    def is_closed(self) -> bool:
        if self.closed is None:
            raise AttributeError("'NoneType' object has no attribute 'is_connected'")
        return self.closed


@pytest.mark.parametrize(
    ("closed", "raised"), [(True, DatabaseAwayError), (None, DatabaseAwayError), (False, AttributeError)]
)
async def test_a_connection_lost_in_mid_query_is_the_server_s_fault_and_a_bug_is_ours(
    closed: bool | None, raised: type[Exception]
) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none", Tasks("test"))
    database._pool, before = Pool(closed), database._pool  # type: ignore[assignment]
    database._came_up.set()

    async def work(_connection: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'bind_execute'")

    with pytest.raises(raised):
        await database.use(work)
    assert database.up is (raised is AttributeError)
    database._pool = before
