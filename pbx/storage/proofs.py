"""Verified identities in PostgreSQL: what stands, which changes wait for a second person, and everything that was ever done.

in → out: an act of a person → `pbx.identity_proof` decides it within one transaction, on the locked account, by the database's clock;
its effects are written, and triggers add them to `identity_changes`. A task ends changes nobody confirmed in time.

What was marked verified in `accounts` before, or by hand, counts as a proof by the account's `origin`: it too changes by two persons.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
import structlog

from pbx.identity_proof import (
    Act,
    Asked,
    Change,
    Checked,
    Confirmed,
    Effect,
    Expired,
    Facts,
    Identity,
    Proof,
    ProofError,
    Withdrawn,
)
from pbx.storage.blocks import COLUMNS, blocked
from pbx.storage.connection import Connection
from pbx.storage.database import Database, DatabaseAwayError
from pbx.tasks import Tasks

__all__ = ["Proofs"]

T = TypeVar("T")

LOOK_SECONDS: Final = 30.0
"""Between two looks for changes whose time has passed; an act on one of them looks for itself."""
SHOWN: Final = 1000
"""Acts that are shown, the newest first."""

_ONE: Final = f"""
SELECT extract(epoch FROM clock_timestamp()) AS now, a.username, a.name AS account_name, a.verified, a.origin, a.role,
    extract(epoch FROM a.created_at) AS created, p.name, p.phone, p.document, p.kind, p.how, p.verified_by, p.asked_by,
    extract(epoch FROM p.verified_at) AS verified_at, c.change, c.name AS c_name, c.phone AS c_phone, c.document AS c_document,
    c.kind AS c_kind, c.how AS c_how, c.asked_by AS c_by, extract(epoch FROM c.asked_at) AS c_at, extract(epoch FROM c.until) AS c_until,
    {COLUMNS}
FROM accounts a LEFT JOIN identity_proofs p USING (realm, username) LEFT JOIN identity_pending c USING (realm, username)
WHERE a.realm = $1"""  # noqa: S608 - a constant of ours
_LOCK: Final = "SELECT 1 FROM accounts WHERE realm = $1 AND username = $2 FOR UPDATE"
_BY: Final = "SELECT set_config('at110.by', $1, true), set_config('at110.act', $2, true)"
_PUT: Final = """
INSERT INTO identity_proofs (realm, username, name, phone, document, kind, how, verified_by, verified_at, asked_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, to_timestamp($9), $10)
ON CONFLICT (realm, username) DO UPDATE SET name = EXCLUDED.name, phone = EXCLUDED.phone, document = EXCLUDED.document,
    kind = EXCLUDED.kind, how = EXCLUDED.how, verified_by = EXCLUDED.verified_by, verified_at = EXCLUDED.verified_at,
    asked_by = EXCLUDED.asked_by
"""
_ASK: Final = """
INSERT INTO identity_pending (realm, username, name, phone, document, kind, how, change, asked_by, asked_at, until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, to_timestamp($10), to_timestamp($11))
"""
_END: Final = "DELETE FROM identity_pending WHERE realm = $1 AND username = $2"
_LATE: Final = "SELECT username FROM identity_pending WHERE realm = $1 AND until <= clock_timestamp()"
_CHANGES: Final = """
SELECT extract(epoch FROM at) AS at, username, act, changed_by, facts::text AS facts FROM identity_changes WHERE realm = $1
ORDER BY id DESC LIMIT $2
"""


class Proofs:
    """The identities of one realm. Every method raises `ProofError`: also `unknown_account` and `database_away`."""

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._log = structlog.get_logger()

    def start(self, database: Database, tasks: Tasks) -> None:
        """Begin to end changes whose time has passed."""
        tasks.spawn(self._follow(database), name="identity_changes")

    async def act(self, database: Database, user: str, act: Act) -> list[Effect]:
        """Do what a person wants; it is written when this returns."""

        async def work(connection: Connection) -> tuple[list[Effect], str | None]:
            async with connection.transaction():
                identity, now = await self._locked(connection, user)
                await self._write(connection, user, identity.expire(now))
                try:
                    effects = identity.receive(act, now)
                except ProofError as error:  # a change that ended for its time stays ended
                    return [], error.code
                await self._write(connection, user, effects)
                return effects, None

        effects, wrong = await self._use(database, work)
        if wrong is not None:
            raise ProofError(wrong)
        return effects

    async def all(self, database: Database) -> list[dict[str, Any]]:
        """Give every account that is verified, has a change open or is blocked (`blocked`: `by`, `at`, `why`, or None), by name."""
        known = "a.verified OR p.username IS NOT NULL OR c.username IS NOT NULL OR NOT a.enabled"
        query = f"{_ONE} AND ({known}) ORDER BY 2"
        rows = await self._use(database, lambda connection: connection.fetch(query, self._realm))
        shown = []
        for row in rows:
            identity = _identity(row)
            identity.expire(float(row["now"]))
            shown.append({**identity.snapshot(), "blocked": msgspec.to_builtins(blocked(row))})
        return shown

    async def changes(self, database: Database) -> list[dict[str, Any]]:
        """Give who did what, when, the newest first."""
        rows = await self._use(database, lambda connection: connection.fetch(_CHANGES, self._realm, SHOWN))
        return [
            {"at": float(row["at"]), "user": row["username"], "act": row["act"], "by": row["changed_by"],
             "facts": msgspec.json.decode(row["facts"])}
            for row in rows
        ]  # fmt: skip

    async def look(self, database: Database) -> None:
        """End the changes whose time has passed."""

        async def work(connection: Connection) -> None:
            for row in await connection.fetch(_LATE, self._realm):
                async with connection.transaction():
                    identity, now = await self._locked(connection, row["username"])
                    await self._write(connection, row["username"], identity.expire(now))

        await self._use(database, work)

    # --- pieces ---

    async def _use(self, database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await database.use(work)
        except DatabaseAwayError as error:
            raise ProofError("database_away") from error

    async def _locked(self, connection: Connection, user: str) -> tuple[Identity, float]:
        if await connection.fetchval(_LOCK, self._realm, user) is None:
            raise ProofError("unknown_account")
        row = await connection.fetchrow(_ONE + " AND a.username = $2", self._realm, user)
        return _identity(row), float(row["now"])

    async def _write(self, connection: Connection, user: str, effects: list[Effect]) -> None:
        key = (self._realm, user)
        for effect in effects:
            match effect:
                case Checked(proof):
                    await connection.execute(_BY, proof.by, "verified")
                    await connection.execute(_PUT, *key, *_proof(proof))
                case Asked(change):
                    await connection.execute(_BY, change.by, "asked")
                    await connection.execute(
                        _ASK, *key, *_facts(change.facts), change.id, change.by, change.at, change.until
                    )
                case Confirmed(proof):
                    await connection.execute(_BY, proof.by, "confirmed")
                    await connection.execute(
                        _PUT, *key, *_proof(proof)
                    )  # first: the guard wants to see the change
                    await connection.execute(_END, *key)
                case Withdrawn(_, by):
                    await connection.execute(_BY, by, "withdrawn")
                    await connection.execute(_END, *key)
                case Expired():
                    await connection.execute(_BY, "time limit", "expired")
                    await connection.execute(_END, *key)

    async def _follow(self, database: Database) -> None:
        while True:
            await database.wait_up()
            try:
                await self.look(database)
            except ProofError:
                self._log.debug("identity_changes_wait_for_the_database")
            except asyncpg.PostgresError as error:
                self._log.error("identity_changes_not_looked_at", why=f"{type(error).__name__}: {error}")
            await asyncio.sleep(LOOK_SECONDS)


def _facts(facts: Facts) -> tuple[object, ...]:
    return facts.name, facts.phone, facts.document, facts.kind, facts.how


def _proof(proof: Proof) -> tuple[object, ...]:
    return *_facts(proof.facts), proof.by, proof.at, proof.asked_by


def _identity(row: Any) -> Identity:
    proof = change = None
    if row["verified_by"] is not None:
        facts = Facts(row["name"], row["phone"], row["document"], row["kind"], row["how"])
        proof = Proof(facts, row["verified_by"], float(row["verified_at"]), row["asked_by"])
    elif row["verified"]:
        phone = row["username"] if row["role"] == "caller" else ""
        facts = Facts(row["account_name"] or row["username"], phone, None, "", "")
        proof = Proof(facts, row["origin"], float(row["created"]))
    if row["change"] is not None:
        facts = Facts(row["c_name"], row["c_phone"], row["c_document"], row["c_kind"], row["c_how"])
        change = Change(row["change"], facts, row["c_by"], float(row["c_at"]), float(row["c_until"]))
    return Identity(row["username"], proof, change)
