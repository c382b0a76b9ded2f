"""Who may what: `GET /api/roles`, `POST` and `DELETE /api/roles/{user}/{role}`, `GET /api/roles/changes`.

Every change is kept by the database, whoever makes it; what is refused is logged.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog
from aiohttp import web

from pbx.api.answers import json_answer
from pbx.api.auth import USER
from pbx.api.exchange import View

__all__ = ["RoleRoutes", "RoleTable"]

USER_PATH = "{user:[^/]{1,64}}"
ROLE_PATH = "{role:supervisor|auditor|admin}"


class RoleTable(Protocol):
    """What the API asks of the roles. Commands raise `ExchangeError`."""

    def roles(self) -> Sequence[View]: ...
    async def role_changes(self) -> Sequence[View]: ...
    async def grant(self, user: str, role: str, by: str) -> None: ...
    async def revoke(self, user: str, role: str, by: str) -> None: ...


class RoleRoutes:
    """The handlers."""

    def __init__(self, table: RoleTable) -> None:
        self._table = table
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        path = f"/api/roles/{USER_PATH}/{ROLE_PATH}"
        return [
            web.get("/api/roles", self.all),
            web.get("/api/roles/changes", self.changes),
            web.post(path, self.grant),
            web.delete(path, self.revoke),
        ]

    async def all(self, _request: web.Request) -> web.Response:
        """`GET /api/roles`: everybody who has one."""
        return json_answer({"roles": self._table.roles()})

    async def changes(self, _request: web.Request) -> web.Response:
        """`GET /api/roles/changes`: the newest first."""
        return json_answer({"changes": await self._table.role_changes()})

    async def grant(self, request: web.Request) -> web.Response:
        """`POST /api/roles/{user}/{role}`."""
        user, role = request.match_info["user"], request.match_info["role"]
        await self._table.grant(user, role, request[USER])
        return self._done(request, "role-grant", user, role)

    async def revoke(self, request: web.Request) -> web.Response:
        """`DELETE /api/roles/{user}/{role}`."""
        user, role = request.match_info["user"], request.match_info["role"]
        await self._table.revoke(user, role, request[USER])
        return self._done(request, "role-revoke", user, role)

    def _done(self, request: web.Request, act: str, user: str, role: str) -> web.Response:
        self._log.info("api_act", act=act, by=request[USER], address=request.remote, user=user, role=role)
        return json_answer({"ok": True})
