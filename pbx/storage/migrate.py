"""Numbered `.sql` files, applied in order, each once, under an advisory lock.

in → out: `migrate(connection)` → the numbers newly applied. A file that was applied must never change: its SHA-256 is
kept beside its number and compared.
"""

import asyncio
import contextlib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from pbx.storage.connection import Connection

__all__ = ["FOLDER", "MIGRATE_SECONDS", "Migration", "MigrationError", "migrate", "migrations"]

FOLDER: Final = Path(__file__).with_name("migrations")
LOCK: Final = 0x617431_3130  # "at110": any number nobody else takes in this database
MIGRATE_SECONDS: Final = 120.0  # for one statement: connect with this as the command timeout; an index on years of calls takes its time

LEFT_MS: Final = 1000  # after which the server sees that whoever migrates is gone


class MigrationError(Exception):
    """The database and the files do not belong together; a person has to look."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Read all files in order. Raises MigrationError when names or numbers are wrong."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"([0-9]{4})_[a-z0-9_]+\.sql", path.name, re.ASCII)
        if match is None:
            raise MigrationError(f"{path.name} is no name like 0001_accounts.sql")
        found.append(Migration(int(match[1]), path.stem, path.read_text("utf-8")))
    if [one.number for one in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"the numbers in {folder} are not 1, 2, 3 …: {[one.number for one in found]}")
    return tuple(found)


async def migrate(connection: Connection, folder: Path = FOLDER) -> list[int]:
    """Apply what is missing. Several exchanges may do so at once: they take turns.

    Raises MigrationError, asyncpg.PostgresError (the failing file is rolled back whole), OSError.
    """
    known = await asyncio.to_thread(migrations, folder)
    # A server sees only when a statement is over that whoever asked was killed: until then the next one would wait for the lock, and what
    # was done would be rolled back all the same. PostgreSQL before 14, and on systems that can't tell, does not know the setting.
    with contextlib.suppress(asyncpg.PostgresError):
        await connection.execute(f"SET client_connection_check_interval = {LEFT_MS}")
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        rows = await connection.fetch("SELECT number, name, checksum FROM schema_migrations ORDER BY number")
        applied = {row["number"]: row for row in rows}
        for number, row in applied.items():
            if number > len(known):
                raise MigrationError(f"the database is newer than this program: it has {row['name']}")
            if row["checksum"] != known[number - 1].checksum:
                raise MigrationError(f"{known[number - 1].name}.sql was changed after it had been applied")
        fresh = [one for one in known if one.number not in applied]
        for one in fresh:
            async with connection.transaction():
                await connection.execute(one.sql)
                await connection.execute(
                    "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                    one.number,
                    one.name,
                    one.checksum,
                )
        return [one.number for one in fresh]
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)
