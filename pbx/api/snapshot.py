"""`GET /api/calls/{call}/snapshot`: what a caller shows at this moment, a JPEG; for who is logged in."""

from typing import Protocol

import structlog
from aiohttp import hdrs, web

from pbx.api.auth import USER
from pbx.api.commands import CALL


class Looking(Protocol):
    """What the exchange does for this; it raises `ExchangeError`."""

    async def look(self, call: str, by: str) -> tuple[bytes, float, bool]:
        """Give a picture (JPEG), when it came (wall clock, seconds), and whether this look is the first of a row."""


class SnapshotRoutes:
    """The handler."""

    def __init__(self, looking: Looking) -> None:
        self._looking = looking
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [web.get(f"/api/calls/{CALL}/snapshot", self.snapshot, allow_head=False)]

    async def snapshot(self, request: web.Request) -> web.Response:
        """Give the newest picture; `X-At110-Taken` says when it came, seconds since 1970."""
        call = request.match_info["call"]
        picture, taken, first = await self._looking.look(call, request[USER])
        if first:
            self._log.info("api_act", act="look", by=request[USER], address=request.remote, call=call)
        return web.Response(
            body=picture, headers={hdrs.CONTENT_TYPE: "image/jpeg", "X-At110-Taken": f"{taken:.3f}"}
        )
