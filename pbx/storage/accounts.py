"""Who may register: PostgreSQL is the truth, a private file beside it is what the exchange reads.

in → out: `find(user)` answers at once, from memory; `start()` keeps memory and file fresh while PostgreSQL is there.
Known users register with a dead database, also after a restart; blocked ones don't. Demo accounts follow `credentials.json`.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
import structlog
from msgspec import structs

from pbx.blocked import Blocked
from pbx.credentials import Account, write_private
from pbx.storage.blocks import COLUMNS, blocked
from pbx.storage.connection import Connection
from pbx.storage.database import Database, DatabaseAwayError
from pbx.tasks import Tasks

__all__ = ["Accounts"]

REFRESH_SECONDS: Final = 30.0  # an account that was blocked works at most this much longer
RETRY_SECONDS: Final = 2.0

_SEED: Final = """
INSERT INTO accounts (username, realm, role, name, verified, ha1_sha256, ha1_md5, origin)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'demo')
ON CONFLICT (realm, username) DO UPDATE
SET ha1_sha256 = EXCLUDED.ha1_sha256, ha1_md5 = EXCLUDED.ha1_md5, changed_at = now()
WHERE accounts.origin = 'demo'
  AND (accounts.ha1_sha256, accounts.ha1_md5) IS DISTINCT FROM (EXCLUDED.ha1_sha256, EXCLUDED.ha1_md5)
"""
_ALL: Final = f"""
SELECT a.username, a.realm, a.role, a.ha1_sha256, a.ha1_md5, coalesce(p.name, a.name) AS name, p.phone, a.language, a.needs,
    a.verified OR p.username IS NOT NULL AS verified,
    coalesce(p.verified_by, CASE WHEN a.verified THEN a.origin END) AS verified_by,
    extract(epoch FROM coalesce(p.verified_at, CASE WHEN a.verified THEN a.created_at END))::float8 AS verified_at,
    {COLUMNS}
FROM accounts a LEFT JOIN identity_proofs p USING (realm, username) WHERE a.realm = $1 ORDER BY 1
"""  # noqa: S608 - a constant of ours


class Accounts:
    """All accounts of one realm, in memory."""

    def __init__(self, cache: Path, realm: str, demo: Iterable[Account]) -> None:
        """Read the cache file if it is there. `demo` accounts are known at once and seed the database.

        A damaged cache is passed over: it is only a copy.
        """
        self._cache = cache
        self._realm = realm
        self._demo = tuple(demo)
        self._log = structlog.get_logger()
        cached = _read(cache, realm)
        self._accounts = {account.user: account for account in (cached or self._demo)}
        if (
            cached
        ):  # passwords may be newer than the copy; whether a person is blocked is not for the file to say
            for one in self._demo:
                if (known := self._accounts.get(one.user)) is not None:
                    self._accounts[one.user] = structs.replace(
                        known, ha1_sha256=one.ha1_sha256, ha1_md5=one.ha1_md5
                    )
        self._row = tuple(self._accounts.values())
        self.from_database = False
        """Whether the present accounts came from PostgreSQL since this start."""

    def find(self, user: str) -> Account | None:
        """Give the account of `user`, exactly as written; none when it is blocked."""
        found = self._accounts.get(user)
        return None if found is None or found.blocked is not None else found

    def blocked(self, user: str) -> Blocked | None:
        """Give who blocked the account of `user`, when and why; None: there is none, or it is not blocked."""
        found = self._accounts.get(user)
        return None if found is None else found.blocked

    def some(self, user: str) -> Account | None:
        """Give an account that has nothing to do with `user`, always the same one; None if there are none."""
        return self._row[hash(user) % len(self._row)] if self._row else None

    def all(self, role: str | None = None) -> list[Account]:
        """Give all accounts that are not blocked, or those of one role, by name."""
        found = (a for a in self._accounts.values() if a.blocked is None and role in {None, a.role})
        return sorted(found, key=lambda a: a.user)

    def start(self, database: Database, tasks: Tasks) -> None:
        """Begin to follow the database."""
        tasks.spawn(self._follow(database), name="accounts")

    async def refresh(self, database: Database) -> None:
        """Seed the demo accounts and read all. Raises DatabaseAwayError, OSError, asyncpg.PostgresError."""
        rows = await database.use(self._exchange)
        found = {account.user: account for account in rows}
        if found != self._accounts or not self.from_database:
            self._accounts = found
            self._row = tuple(found.values())
            self.from_database = True
            content = msgspec.json.encode(list(found.values()))
            await asyncio.to_thread(write_private, self._cache, content)

    async def _follow(self, database: Database) -> None:
        while True:
            await database.wait_up()
            try:
                await self.refresh(database)
                await asyncio.sleep(REFRESH_SECONDS)
            except DatabaseAwayError:
                await asyncio.sleep(RETRY_SECONDS)
            except (asyncpg.PostgresError, OSError) as error:
                self._log.error("accounts_not_refreshed", why=f"{type(error).__name__}: {error}")
                await asyncio.sleep(RETRY_SECONDS)

    async def _exchange(self, connection: Connection) -> list[Account]:
        async with connection.transaction():
            await connection.executemany(
                _SEED,
                [(a.user, a.realm, a.role, a.name, a.verified, a.ha1_sha256, a.ha1_md5) for a in self._demo],
            )
            rows = await connection.fetch(_ALL, self._realm)
        return [
            Account(
                user=row["username"],
                needs=tuple(row["needs"]),
                blocked=blocked(row),
                **{n: row[n] for n in _FIELDS},
            )
            for row in rows
        ]


_FIELDS: Final = (
    "role", "realm", "ha1_sha256", "ha1_md5", "name", "verified", "phone", "verified_by", "verified_at", "language",
)  # fmt: skip


def _read(cache: Path, realm: str) -> list[Account]:
    try:
        found = msgspec.json.decode(cache.read_bytes(), type=list[Account])
    except (OSError, msgspec.MsgspecError):
        return []
    return [account for account in found if account.realm == realm]
