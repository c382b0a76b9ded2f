"""Blocking a caller's account: `POST /api/identities/{user}/block` and `/unblock`.

Whose account is blocked registers no more; a call for help is answered as ever, and the dispatcher reads who blocked it, when and
why. Only a person who logged in by name acts here.
"""

from typing import Annotated, Protocol

import msgspec
import structlog
from aiohttp import web

from pbx.api.answers import json_answer, read_body
from pbx.api.auth import USER
from pbx.api.identities import USER_PATH, person

__all__ = ["BlockRoutes", "BlockTable"]


class BlockBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    why: Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"\S")]
    """Read by whoever takes this person's next call."""


class BlockTable(Protocol):
    """What the API asks of whoever blocks. Commands raise `ExchangeError`."""

    async def block(self, user: str, why: str, by: str) -> None: ...
    async def unblock(self, user: str, by: str) -> None: ...


class BlockRoutes:
    """The handlers."""

    def __init__(self, table: BlockTable) -> None:
        self._table = table
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        path = f"/api/identities/{USER_PATH}"
        return [web.post(f"{path}/block", self.block), web.post(f"{path}/unblock", self.unblock)]

    async def block(self, request: web.Request) -> web.Response:
        """`POST /api/identities/{user}/block`."""
        by, user = person(request), request.match_info["user"]
        said = await read_body(request, BlockBody)
        await self._table.block(user, said.why, by)
        return self._done(request, "account-block", user)

    async def unblock(self, request: web.Request) -> web.Response:
        """`POST /api/identities/{user}/unblock`."""
        by, user = person(request), request.match_info["user"]
        await self._table.unblock(user, by)
        return self._done(request, "account-unblock", user)

    def _done(self, request: web.Request, act: str, user: str) -> web.Response:
        self._log.info("api_act", act=act, by=request[USER], address=request.remote, user=user)
        return json_answer({"ok": True})
