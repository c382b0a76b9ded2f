"""People as the API sees them: who may log in by name, what they are now, and how that is changed.

in → out: accounts and roles → `pbx.api.auth.People`, `pbx.api.roles.RoleTable`.
"""

import hmac
from collections.abc import Sequence
from typing import Final, cast

from pbx.api.exchange import ExchangeError, View
from pbx.api.rights import DISPATCHER
from pbx.credentials import ha1
from pbx.storage.accounts import Accounts
from pbx.storage.database import Database
from pbx.storage.roles import Role, RoleError, Roles

REASONS: Final = {
    "unknown_account": (404, "没有这个接警员账号", "There is no such dispatcher's account"),
    "in_settings": (409, "该角色写在设置文件中", "That role stands in the settings file"),
    "database_away": (503, "数据库暂不可用", "The database is away; try again"),
}


class ApiPeople:
    """See the module."""

    def __init__(self, accounts: Accounts, roles: Roles, realm: str) -> None:
        self._accounts, self._roles, self._realm = accounts, roles, realm

    # --- People -----------------------------------------------------------------------------------------------------

    def proves(self, user: str, password: str) -> bool:
        """Whether this is the password of a dispatcher."""
        found = self._accounts.find(user)
        given = ha1(user, self._realm, password, "SHA-256")
        kept = "0" * len(given) if found is None else found.ha1_sha256
        right = hmac.compare_digest(given, kept)
        return right and found is not None and found.role == "dispatcher"

    def roles(self, user: str) -> frozenset[str]:
        """What somebody is now."""
        found = self._accounts.find(user)
        if found is None or found.role != "dispatcher":
            return frozenset()
        return self._roles.of(user) | {DISPATCHER}


class RoleService:
    """Roles as the API changes them; what can't be done is an `ExchangeError`."""

    def __init__(self, roles: Roles, database: Database) -> None:
        self._roles, self._database = roles, database

    def roles(self) -> Sequence[View]:
        """Give everybody who has a role."""
        return self._roles.all()

    async def role_changes(self) -> Sequence[View]:
        """Give the changes, the newest first."""
        try:
            return await self._roles.changes(self._database)
        except RoleError as error:
            raise _told(error) from error

    async def grant(self, user: str, role: str, by: str) -> None:
        """Give a role."""
        try:
            await self._roles.grant(self._database, user, cast("Role", role), by)
        except RoleError as error:
            raise _told(error) from error

    async def revoke(self, user: str, role: str, by: str) -> None:
        """Take a role away."""
        try:
            await self._roles.revoke(self._database, user, cast("Role", role), by)
        except RoleError as error:
            raise _told(error) from error


def _told(error: RoleError) -> ExchangeError:
    status, zh, en = REASONS[error.code]
    return ExchangeError(status, error.code, zh, en)
