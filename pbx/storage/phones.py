"""Which phones are registered, kept in PostgreSQL over a restart of signalling.

in → out: what the registrar says changed → rows for the outbox; rows → the bindings that still hold, on this process's clock.

Only phones that registered over UDP come back: a connection does not outlive the process that held it, and a phone whose
connection broke registers again by itself.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from pbx.binding import Binding, pack, unpack
from pbx.registrar import BindingAdded, BindingRefreshed, Effect
from pbx.sip.errors import SipError
from pbx.storage.connection import Connection
from pbx.storage.database import Database, DatabaseAwayError

__all__ = ["bring_back", "record", "revive"]

MAX_PHONES: Final = 50_000
"""Rows read at a start; a site has 10,000 phones (bars Q7)."""
RETRY_SECONDS: Final = 2.0
_ROWS: Final = """
SELECT more->>'packed' AS packed, extract(epoch FROM expires_at)::float8 AS expires
FROM registrations WHERE expires_at > now() AND more ? 'packed' ORDER BY at LIMIT $1
"""

log = structlog.get_logger("signalling")


def record(change: Effect, wall: float) -> dict[str, Any]:
    """Return the row that states a binding, or that it is gone. `wall`: seconds since 1970."""
    binding = change.binding
    live = isinstance(change, BindingAdded | BindingRefreshed)
    return {
        "aor": binding.aor,
        "contact": str(binding.contact),
        "source": f"{binding.flow.remote[0]}:{binding.flow.remote[1]}",
        "user_agent": binding.user_agent,
        "at": binding.registered_at,
        "expires_at": binding.expires_wall if live else wall,
        "packed": msgspec.msgpack.encode(pack(binding)).hex(),
    }


def revive(rows: Iterable[Mapping[str, Any]], now: float, wall: float) -> list[Binding]:
    """Return the bindings of `rows` (`packed`, `expires`) that still hold, the oldest first.

    The monotonic clock of the row means nothing here, so its times are set anew from the wall clock. A row that can't be read
    is passed over: its phone registers again.
    """
    found = []
    for row in rows:
        try:
            binding = unpack(msgspec.msgpack.decode(bytes.fromhex(row["packed"])))
        except (ValueError, msgspec.MsgspecError, SipError):
            log.warning("registration_not_read")
            continue
        # A clock that was set back since (a machine that boots without one) lengthens nothing that was granted.
        left = min(float(row["expires"]) - wall, binding.expires_at - binding.refreshed_at)
        if left <= 0 or binding.flow.transport != "udp":
            continue
        since = max(0.0, wall - binding.registered_at)
        found.append(replace(binding, refreshed_at=now - since, expires_at=now + left))
    return found


async def bring_back(database: Database, adopt: Callable[[Sequence[Binding]], None]) -> None:
    """Hand the phones that were registered to `adopt`, once, as soon as PostgreSQL is there; spawn it through `Tasks`."""

    async def read(connection: Connection) -> list[Any]:
        return list(await connection.fetch(_ROWS, MAX_PHONES))

    while True:
        await database.wait_up()
        try:
            rows = await database.use(read)
        except DatabaseAwayError:
            await asyncio.sleep(RETRY_SECONDS)
            continue
        except asyncpg.PostgresError as error:
            log.error("registrations_not_read", why=f"{type(error).__name__}: {error}")
            return
        phones = revive(rows, time.monotonic(), time.time())
        adopt(phones)
        log.info("registrations_restored", count=len(phones))
        return
