"""Blocking a caller's account, and ending that, in PostgreSQL.

in → out: who, why, by whom → the account's row. Triggers state who did it and when, and keep both acts in `identity_changes`.

Accounts of dispatchers are not blocked here: one click would take somebody's desk away, perhaps the last supervisor's.
"""

from typing import Any, Final

from pbx.blocked import Blocked
from pbx.storage.connection import Connection
from pbx.storage.database import Database
from pbx.storage.plain import text

__all__ = ["COLUMNS", "BlockError", "Blocks", "blocked"]

COLUMNS: Final = (
    "a.enabled, a.blocked_by, extract(epoch FROM a.blocked_at)::float8 AS blocked_at, a.blocked_why"
)
"""What `blocked` reads of an account `a`."""

_LOCK: Final = "SELECT role, enabled FROM accounts WHERE realm = $1 AND username = $2 FOR UPDATE"
_BY: Final = "SELECT set_config('at110.by', $1, true)"
_SET: Final = """
UPDATE accounts SET enabled = $3, blocked_why = $4, changed_at = now() WHERE realm = $1 AND username = $2
"""


class BlockError(Exception):
    """It can't be done. `code`: `unknown_account`, `not_a_caller`, `blocked_already` or `not_blocked`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Blocks:
    """The callers of one realm. Every method raises BlockError, DatabaseAwayError, asyncpg.PostgresError."""

    def __init__(self, realm: str) -> None:
        self._realm = realm

    async def block(self, database: Database, user: str, why: str, by: str) -> None:
        """Block an account; it is written when this returns. `why` becomes one line."""
        await self._set(database, user, by, why=" ".join(text(why).split()))

    async def unblock(self, database: Database, user: str, by: str) -> None:
        """End a block; it is written when this returns."""
        await self._set(database, user, by, why=None)

    async def _set(self, database: Database, user: str, by: str, *, why: str | None) -> None:
        wanted = why is None

        async def work(connection: Connection) -> str | None:
            async with connection.transaction():
                row = await connection.fetchrow(_LOCK, self._realm, user)
                if row is None:
                    return "unknown_account"
                if row["role"] != "caller":
                    return "not_a_caller"
                if row["enabled"] == wanted:
                    return "not_blocked" if wanted else "blocked_already"
                await connection.fetchval(_BY, by)
                await connection.execute(_SET, self._realm, user, wanted, why)
                return None

        wrong = await database.use(work)
        if wrong is not None:
            raise BlockError(wrong)


def blocked(row: Any) -> Blocked | None:
    """Return the block that a row with `COLUMNS` tells of."""
    if row["enabled"]:
        return None
    return Blocked(row["blocked_by"], row["blocked_at"], row["blocked_why"] or "")
