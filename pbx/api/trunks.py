"""Trunks: what they are now, out of service and back, a call to try one.

trunk view: `trunk` (name), `state` ("up" | "partly" | "down" | "unregistered" | "out_of_service"), `in_service` (bool),
  `registered` (bool | None: does not register), `registration` ("off" | "trying" | "registered" | "waiting" | None),
  `refused` (status of the last refusal | None), `peers` (`peer`, `up`, `priority`, `weight`, `held_back` 0…1), `calls` (now),
  `capacity` (int | None), `incoming`, `outgoing`, `failed`, `failovers` (since the start), `queue`
"""

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
import structlog
from aiohttp import web

from pbx.api.answers import json_answer, read_body
from pbx.api.auth import USER
from pbx.api.exchange import View

__all__ = ["TRUNK", "Handlers", "Trunks"]

TRUNK = "{trunk:[a-z0-9_.-]{1,32}}"


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: Annotated[str, msgspec.Meta(pattern=r"\A\+?[0-9*#]{1,20}\Z")]


class Trunks(Protocol):
    """What the API asks of the trunks. Commands raise `ExchangeError`."""

    def trunks(self) -> Sequence[View]: ...
    async def out_of_service(self, trunk: str) -> None: ...
    async def in_service(self, trunk: str) -> None: ...
    async def try_out(self, trunk: str, number: str) -> str: ...


class Handlers:
    """The handlers over all trunks."""

    def __init__(self, trunks: Trunks) -> None:
        self._trunks = trunks
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [
            web.get("/api/trunks", self.all),
            web.post(f"/api/trunks/{TRUNK}/out-of-service", self.out_of_service),
            web.post(f"/api/trunks/{TRUNK}/in-service", self.in_service),
            web.post(f"/api/trunks/{TRUNK}/try", self.try_out),
        ]

    async def all(self, _request: web.Request) -> web.Response:
        """`GET /api/trunks`."""
        return json_answer({"trunks": self._trunks.trunks()})

    async def out_of_service(self, request: web.Request) -> web.Response:
        """`POST /api/trunks/{trunk}/out-of-service`."""
        await self._trunks.out_of_service(request.match_info["trunk"])
        return self._done(request, "out-of-service")

    async def in_service(self, request: web.Request) -> web.Response:
        """`POST /api/trunks/{trunk}/in-service`."""
        await self._trunks.in_service(request.match_info["trunk"])
        return self._done(request, "in-service")

    async def try_out(self, request: web.Request) -> web.Response:
        """`POST /api/trunks/{trunk}/try`, with `number`."""
        wanted = await read_body(request, Trial)
        leg = await self._trunks.try_out(request.match_info["trunk"], wanted.number)
        self._done(request, "try")
        return json_answer({"ok": True, "leg": leg})

    def _done(self, request: web.Request, act: str) -> web.Response:
        trunk = request.match_info["trunk"]
        self._log.info("api_act", act=f"trunk-{act}", by=request[USER], address=request.remote, trunk=trunk)
        return json_answer({"ok": True})
