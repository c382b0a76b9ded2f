"""The calls there were before, and what dispatchers marked, in PostgreSQL.

in → out: a proven account, or a number a trunk vouches for → how often it called, when last, how many of these calls were marked as
what; a mark, or that one is withdrawn → its row. Nothing here is waited for by a call.
"""

from typing import Any, Final

from pbx.storage.connection import Connection
from pbx.storage.database import Database
from pbx.storage.plain import text

__all__ = ["MARKS", "Histories", "UnknownMarkError"]

MARKS: Final = ("hoax", "nuisance")
SHOWN: Final = 500
"""Marks that are shown, the newest first."""

_WHO: Final = "(account = $1 OR ($1::text IS NULL AND trunk IS NOT NULL AND caller = $2))"
_CALLS: Final = f"""
SELECT count(*) AS calls, extract(epoch FROM max(started_at))::float8 AS last,
    count(*) FILTER (WHERE started_at > clock_timestamp() - interval '1 hour') AS recent
FROM calls WHERE {_WHO} AND call <> $3
"""  # noqa: S608 - constants of this file
_MARKED: Final = """
SELECT mark, count(*) AS count, (array_agg(marked_by ORDER BY id DESC))[1] AS by,
    (array_agg(extract(epoch FROM at)::float8 ORDER BY id DESC))[1] AS at, (array_agg(note ORDER BY id DESC))[1] AS note
FROM caller_marks
WHERE realm = $1 AND withdrawn_at IS NULL AND (account = $2 OR ($2::text IS NULL AND number = $3)) GROUP BY mark
"""
_WHOSE: Final = "SELECT account, caller, trunk FROM calls WHERE call = $1"
_MARK: Final = """
INSERT INTO caller_marks (realm, call, account, number, mark, note, marked_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (realm, call, mark) WHERE withdrawn_at IS NULL DO UPDATE SET mark = EXCLUDED.mark RETURNING id
"""
"""One statement, which changes nothing of a mark that stands: between two, somebody could withdraw that."""
_WITHDRAW: Final = """
UPDATE caller_marks SET withdrawn_at = clock_timestamp(), withdrawn_by = $3
WHERE realm = $1 AND id = $2 AND withdrawn_at IS NULL RETURNING id
"""
_ALL: Final = """
SELECT id, extract(epoch FROM at)::float8 AS at, call, account, number, mark, note, marked_by,
    extract(epoch FROM withdrawn_at)::float8 AS withdrawn_at, withdrawn_by
FROM caller_marks WHERE realm = $1 ORDER BY id DESC LIMIT $2
"""
_NEEDS: Final = """
UPDATE accounts SET language = $3, needs = $4, changed_at = now() WHERE realm = $1 AND username = $2 RETURNING username
"""


class UnknownMarkError(Exception):
    """There is no such call, mark or account, or nobody vouched for who called."""


class Histories:
    """The callers of one realm. Every method raises DatabaseAwayError, asyncpg.PostgresError."""

    def __init__(self, realm: str) -> None:
        self._realm = realm

    async def of(
        self, database: Database, call: str, account: str | None, number: str | None
    ) -> dict[str, Any]:
        """Give `calls`, `recent` (of the last hour), `last` (seconds since 1970), `marks` (mark → calls) and `marked` (mark → `by`,
        `at` and `note` of the last one); `call` is left out.
        """

        async def work(connection: Connection) -> dict[str, Any]:
            row = await connection.fetchrow(_CALLS, account, number, call)
            marks = await connection.fetch(_MARKED, self._realm, account, number)
            return {
                **dict(row),
                "marks": {one["mark"]: one["count"] for one in marks},
                "marked": {one["mark"]: {name: one[name] for name in ("by", "at", "note")} for one in marks},
            }

        return await database.use(work)

    async def mark(self, database: Database, call: str, mark: str, note: str, by: str) -> int:
        """Mark a call and with it whoever called; gives the number of the mark, also of one that stands. Raises UnknownMarkError."""

        async def work(connection: Connection) -> int | None:
            async with connection.transaction():
                who = await connection.fetchrow(_WHOSE, call)
                if who is None or (who["account"] is None and who["trunk"] is None):
                    return None
                account = who["account"]
                number = who["caller"] if account is None else None
                return int(
                    await connection.fetchval(_MARK, self._realm, call, account, number, mark, text(note), by)
                )

        found = await database.use(work)
        if found is None:
            raise UnknownMarkError(call)
        return found

    async def withdraw(self, database: Database, number: int, by: str) -> None:
        """Take a mark back. Raises UnknownMarkError."""
        done = await database.use(lambda c: c.fetchval(_WITHDRAW, self._realm, number, by))
        if done is None:
            raise UnknownMarkError(str(number))

    async def marks(self, database: Database) -> list[dict[str, Any]]:
        """Give the marks, the newest first."""
        rows = await database.use(lambda c: c.fetch(_ALL, self._realm, SHOWN))
        return [dict(row) for row in rows]

    async def set_needs(
        self, database: Database, user: str, language: str | None, needs: tuple[str, ...]
    ) -> None:
        """Say what an account's person needs to be understood. Raises UnknownMarkError when there is no such account."""
        done = await database.use(lambda c: c.fetchval(_NEEDS, self._realm, user, language, list(needs)))
        if done is None:
            raise UnknownMarkError(user)
