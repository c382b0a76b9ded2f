"""Identities as the API changes them: document numbers become digests here, and what can't be done is told in both languages.

in → out: `pbx.storage.proofs`, the key of the digests → `pbx.api.identities.IdentityTable`.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final, Protocol

import asyncpg
import structlog

from pbx.api.exchange import ExchangeError, View
from pbx.identity_documents import DocumentKey
from pbx.identity_proof import Act, Asked, Check, Confirm, Effect, Facts, ProofError, Withdraw
from pbx.storage.database import Database, DatabaseAwayError

__all__ = ["IdentityService"]

REASONS: Final = {
    "unknown_account": (404, "没有这个账号", "There is no such account"),
    "bad_facts": (
        400,
        "姓名、电话或证件号码格式有误",
        "The name, phone or document number can't be one",
    ),
    "own_account": (403, "不得核实本人账号", "Nobody verifies the own account"),
    "unchanged": (409, "与已核实的信息相同", "That is what is verified already"),
    "change_open": (
        409,
        "已有变更待确认，请先确认或撤回",
        "A change is open; confirm or withdraw it first",
    ),
    "no_change": (
        404,
        "没有这项待确认的变更（可能已过期或撤回）",
        "There is no such change; it may have expired",
    ),
    "same_person": (403, "须由另一人确认", "A second person has to confirm it"),
    "database_away": (503, "数据库暂不可用", "The database is away; try again"),
}


class Store(Protocol):
    """The identities as `pbx.storage.proofs.Proofs` keeps them."""

    async def act(self, database: Database, user: str, act: Act) -> list[Effect]: ...
    async def all(self, database: Database) -> list[dict[str, Any]]: ...
    async def changes(self, database: Database) -> list[dict[str, Any]]: ...


class Followers(Protocol):
    """Who is to read the accounts again when an identity changed."""

    async def refresh(self, database: Database) -> None: ...


class IdentityService:
    """See the module."""

    def __init__(self, proofs: Store, accounts: Followers, database: Database, key: DocumentKey) -> None:
        self._proofs, self._accounts, self._database, self._key = proofs, accounts, database, key
        self._log = structlog.get_logger()

    async def identities(self) -> Sequence[View]:
        """Give who is verified, has a change open or is blocked."""
        try:
            return await self._proofs.all(self._database)
        except ProofError as error:
            raise _told(error) from error

    async def identity_changes(self) -> Sequence[View]:
        """Give what was done, the newest first."""
        try:
            return await self._proofs.changes(self._database)
        except ProofError as error:
            raise _told(error) from error

    async def check(
        self, user: str, *, name: str, phone: str, kind: str, number: str, how: str, by: str
    ) -> View:
        """Verify an account, or ask for a change of one that is. Gives `state`, and of a change `change` and `until`."""
        document = self._key.digest(kind, number)
        if document is None:
            raise _told(ProofError("bad_facts"))
        effects = await self._act(
            user, Check(Facts(name, phone, document, kind, how), by, secrets.token_hex(8))
        )
        for effect in effects:
            if isinstance(effect, Asked):
                return {"state": "waits", "change": effect.change.id, "until": effect.change.until}
        return {"state": "verified"}

    async def confirm(self, user: str, change: str, by: str) -> View:
        """Let a change take effect."""
        await self._act(user, Confirm(change, by))
        return {"state": "verified"}

    async def withdraw(self, user: str, change: str, by: str) -> View:
        """End a change; what was verified stands."""
        await self._act(user, Withdraw(change, by))
        return {"state": "withdrawn"}

    async def _act(self, user: str, act: Act) -> list[Effect]:
        try:
            effects = await self._proofs.act(self._database, user, act)
        except ProofError as error:
            raise _told(error) from error
        try:
            await self._accounts.refresh(self._database)
        except (DatabaseAwayError, OSError, asyncpg.PostgresError) as error:
            # It is written; the next reading of the accounts shows it.
            self._log.warning("identity_shown_later", why=f"{type(error).__name__}: {error}")
        return effects


def _told(error: ProofError) -> ExchangeError:
    status, zh, en = REASONS[error.code]
    return ExchangeError(status, error.code, zh, en)
