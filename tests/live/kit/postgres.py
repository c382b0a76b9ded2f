"""What tests of the real PostgreSQL do with it beside its own ways: as its owner, and until something is so."""

import asyncio

import asyncpg

from pbx.storage.database import Database, DatabaseAwayError
from pbx.storage.embedded import Embedded
from pbx.storage.outbox import Outbox


class Told(list[tuple[str, dict[str, object]]]):
    """What the supervisor said."""

    def __call__(self, event: str, fields: dict[str, object]) -> None:
        self.append((event, fields))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self]


async def as_owner(server: Embedded, sql: str) -> None:
    connection = await asyncpg.connect(server.dsn.replace("user=at110", "user=postgres"), password="")
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def rows(database: Database, sql: str) -> list[asyncpg.Record]:
    async with asyncio.timeout(30):
        while True:
            await database.wait_up()
            try:
                return await database.use(lambda connection: connection.fetch(sql))
            except DatabaseAwayError:
                await asyncio.sleep(0.05)


async def until(reached) -> None:
    async with asyncio.timeout(30):
        while not reached():
            await asyncio.sleep(0.01)


async def drained(outbox: Outbox) -> None:
    async with asyncio.timeout(60):
        await outbox.drained()
