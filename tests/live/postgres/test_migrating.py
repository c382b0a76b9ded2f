"""A migration whose client, backend or server dies or hangs in the midst of it: the next one finishes it, and nobody waits for the dead."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from pbx.storage import database as database_module
from pbx.storage.database import Database
from pbx.storage.embedded import Embedded
from pbx.storage.migrate import migrate
from pbx.tasks import Tasks
from tests.live.kit.postgres import as_owner, until

pytestmark = [
    pytest.mark.usefixtures("told"),
    pytest.mark.beside,
    pytest.mark.may_block("migrations are read at the start"),
]

SLOW = "SELECT pg_sleep(300);"
CLIENT = """
import asyncio, asyncpg, pathlib, sys
from pbx.storage.migrate import migrate
async def run():
    await migrate(await asyncpg.connect(sys.argv[1], password=""), pathlib.Path(sys.argv[2]))
asyncio.run(run())
"""


@pytest.fixture
async def old(server: Embedded) -> str:
    """Make a database of its own; its address."""
    name = f"m{time.time_ns()}"
    await as_owner(server, f"CREATE DATABASE {name} OWNER at110")
    return server.dsn.replace("/at110?", f"/{name}?")


@pytest.fixture
def upgrade(tmp_path: Path) -> Path:
    """Two migrations, the second of which is under way for minutes."""
    (tmp_path / "0001_before.sql").write_text("CREATE TABLE before (a int);")
    (tmp_path / "0002_slow.sql").write_text(f"CREATE TABLE half (a int); {SLOW}")
    return tmp_path


def go_on(upgrade: Path) -> None:
    (upgrade / "0002_slow.sql").write_text("CREATE TABLE half (a int);")


async def in_the_midst(dsn: str) -> int:
    """Wait until the slow statement runs, and give the process that runs it."""
    connection = await asyncpg.connect(dsn, password="")
    try:
        async with asyncio.timeout(20):
            while True:
                found = await connection.fetchval(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
                )
                if found is not None:
                    return int(found)
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_the_next_does_not_wait_for_one_that_was_killed(old: str, upgrade: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CLIENT, old, str(upgrade)]) as client:
        await in_the_midst(old)
        client.kill()
    go_on(upgrade)
    connection = await asyncpg.connect(old, password="")
    async with asyncio.timeout(10):
        assert await migrate(connection, upgrade) == [2], "the first file stays done"
    await connection.close()


async def test_a_killed_server_is_migrated_when_it_is_back(
    server: Embedded, old: str, upgrade: Path, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "migrate", lambda connection: migrate(connection, upgrade))
    database = Database(old, tasks)
    database.start()
    await in_the_midst(old)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    go_on(upgrade)
    await until(lambda: not server.poll())
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(20):
        await database.wait_up()
    await database.use(lambda connection: connection.execute("INSERT INTO half VALUES (1)"))
    await database.close()


@pytest.mark.parametrize("how", ["runs", "hangs", "dies"])
async def test_an_exchange_that_ends_waits_for_no_migration(
    server: Embedded, old: str, upgrade: Path, tasks: Tasks, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(database_module, "migrate", lambda connection: migrate(connection, upgrade))
    database = Database(old, tasks)
    database.start()
    backend = await in_the_midst(old)
    assert server.pid is not None
    if how == "dies":
        os.kill(backend, signal.SIGKILL)
    with frozen(*((server.pid, backend) if how == "hangs" else ())):
        async with asyncio.timeout(8):  # the supervisor kills after ten seconds
            await database.close()
    await answers(
        server
    )  # one that is asked to end while it recovers from a killed backend takes long over it


async def answers(server: Embedded) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                return await as_owner(server, "SELECT 1")
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
