"""Who may do more than the own work: PostgreSQL is the truth, a private file beside it is what a start without it reads.

in → out: `of(user)` answers at once, from memory; `grant`, `revoke` change the database and then memory; `start()` looks every
half second what stands there, so that a change by whomever takes effect within a second. The settings' supervisors always are
some: without them nobody could begin.

Every change is kept in `role_changes` by the database itself. An account that is disabled has no role.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

import asyncpg
import msgspec
import structlog

from pbx.credentials import write_private
from pbx.storage.connection import Connection
from pbx.storage.database import Database, DatabaseAwayError
from pbx.tasks import Tasks

__all__ = ["ROLES", "Role", "RoleError", "Roles"]

Role = Literal["supervisor", "auditor", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
LOOK_SECONDS: Final = 0.5
"""Between two looks: a role that was taken away is gone within a second. One row for each grant is read."""
SHOWN: Final = 1000
"""Changes that are shown, the newest first."""

_ALL: Final = """
SELECT username, roles.role AS role FROM roles JOIN accounts USING (realm, username) WHERE enabled AND realm = $1 ORDER BY 1, 2
"""
_BY: Final = "SELECT set_config('at110.by', $1, true)"
_GRANT: Final = """
INSERT INTO roles (realm, username, role)
SELECT realm, username, $3 FROM accounts WHERE realm = $1 AND username = $2 AND accounts.role = 'dispatcher'
ON CONFLICT DO NOTHING
"""
_KNOWN: Final = "SELECT 1 FROM accounts WHERE realm = $1 AND username = $2 AND role = 'dispatcher'"
_REVOKE: Final = "DELETE FROM roles WHERE realm = $1 AND username = $2 AND role = $3"
_CHANGES: Final = """
SELECT extract(epoch FROM at) AS at, username, role, act, changed_by FROM role_changes WHERE realm = $1
ORDER BY id DESC LIMIT $2
"""

Held = dict[str, frozenset[str]]
Changed = Callable[[frozenset[str]], None]


class RoleError(Exception):
    """A role can't be changed. `code`: `unknown_account`, `in_settings` or `database_away`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Roles:
    """All roles of one realm, in memory."""

    def __init__(self, cache: Path, realm: str, first: Mapping[str, Iterable[str]]) -> None:
        """`first`: user → roles by the settings, which nobody takes away but who changes the settings.

        A damaged cache is passed over: nobody has a role by it.
        """
        self._cache, self._realm = cache, realm
        self._first = {user: frozenset(roles) for user, roles in first.items()}
        self._held: Held = _read(cache, realm)
        self._hear: list[Changed] = []
        self._log = structlog.get_logger()

    def of(self, user: str) -> frozenset[str]:
        """Give the roles of a user; nobody known has none."""
        return self._held.get(user, frozenset()) | self._first.get(user, frozenset())

    def holders(self, role: str) -> frozenset[str]:
        """Give everybody who has a role."""
        return frozenset(user for user in {*self._held, *self._first} if role in self.of(user))

    def all(self) -> list[dict[str, Any]]:
        """Give everybody with a role, by name; `settings`: what of it stands in the settings."""
        users = sorted({*self._held, *self._first})
        return [
            {"user": user, "roles": sorted(self.of(user)), "settings": sorted(self._first.get(user, ()))}
            for user in users
        ]

    def on_change(self, hear: Changed) -> None:
        """Tell `hear` whose roles changed, from the loop, each time."""
        self._hear.append(hear)

    def start(self, database: Database, tasks: Tasks) -> None:
        """Begin to follow the database."""
        tasks.spawn(self._follow(database), name="roles")

    async def grant(self, database: Database, user: str, role: Role, by: str) -> None:
        """Give a dispatcher a role; it is there when this returns. Raises RoleError."""

        async def work(connection: Connection) -> Held | None:
            async with connection.transaction():
                await connection.fetchval(_BY, by)
                if await connection.fetchval(_KNOWN, self._realm, user) is None:
                    return None
                await connection.execute(_GRANT, self._realm, user, role)
                return await self._rows(connection)

        await self._change(database, work)

    async def revoke(self, database: Database, user: str, role: Role, by: str) -> None:
        """Take a role away; it is gone when this returns. Raises RoleError."""
        if role in self._first.get(user, ()):
            raise RoleError("in_settings")

        async def work(connection: Connection) -> Held | None:
            async with connection.transaction():
                await connection.fetchval(_BY, by)
                await connection.execute(_REVOKE, self._realm, user, role)
                return await self._rows(connection)

        await self._change(database, work)

    async def changes(self, database: Database) -> list[dict[str, Any]]:
        """Give who was given or refused what, when and by whom, the newest first. Raises RoleError."""
        try:
            rows = await database.use(lambda connection: connection.fetch(_CHANGES, self._realm, SHOWN))
        except DatabaseAwayError as error:
            raise RoleError("database_away") from error
        words = {"username": "user", "act": "act", "role": "role", "changed_by": "by"}
        return [{"at": float(row["at"]), **{new: row[old] for old, new in words.items()}} for row in rows]

    async def look(self, database: Database) -> None:
        """Read what stands in the database. Raises DatabaseAwayError, asyncpg.PostgresError."""
        await self._take(await database.use(self._rows))

    # --- pieces ---

    async def _change(self, database: Database, work: Callable[[Connection], Any]) -> None:
        try:
            found = await database.use(work)
        except DatabaseAwayError as error:
            raise RoleError("database_away") from error
        if found is None:
            raise RoleError("unknown_account")
        await self._take(found)

    async def _rows(self, connection: Connection) -> Held:
        found: dict[str, set[str]] = {}
        for row in await connection.fetch(_ALL, self._realm):
            found.setdefault(row["username"], set()).add(row["role"])
        return {user: frozenset(roles) for user, roles in found.items()}

    async def _take(self, found: Held) -> None:
        before, self._held = self._held, found
        changed = frozenset(user for user in {*before, *found} if before.get(user) != found.get(user))
        if not changed:
            return
        for hear in self._hear:
            hear(changed)
        content = msgspec.json.encode(
            {"realm": self._realm, "roles": {u: sorted(r) for u, r in found.items()}}
        )
        try:
            await asyncio.to_thread(write_private, self._cache, content)
        except OSError as error:
            self._log.error("roles_not_kept", why=str(error))

    async def _follow(self, database: Database) -> None:
        while True:
            await database.wait_up()
            try:
                await self.look(database)
            except DatabaseAwayError:
                self._log.debug("roles_wait_for_the_database")
            except asyncpg.PostgresError as error:
                self._log.error("roles_not_read", why=f"{type(error).__name__}: {error}")
            await asyncio.sleep(LOOK_SECONDS)


class _Kept(msgspec.Struct):
    realm: str
    roles: dict[str, list[str]]


def _read(cache: Path, realm: str) -> Held:
    try:
        kept = msgspec.json.decode(cache.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return {}
    if kept.realm != realm:
        return {}
    return {user: frozenset(role for role in roles if role in ROLES) for user, roles in kept.roles.items()}
