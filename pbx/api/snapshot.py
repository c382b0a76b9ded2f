"""What a caller shows and is shown; for who is logged in.

`GET /api/calls/{call}/snapshot`: its picture at this moment, a JPEG. `POST /api/calls/{call}/host-picture`: what stands in the
host's place.
"""

from typing import Literal, Protocol

import msgspec
import structlog
from aiohttp import hdrs, web

from pbx.api.answers import json_answer, read_body
from pbx.api.auth import USER
from pbx.api.commands import CALL


class Looking(Protocol):
    """What the exchange does for this; it raises `ExchangeError`."""

    async def look(self, call: str, by: str) -> tuple[bytes, float, bool]:
        """Give a picture (JPEG), when it came (wall clock, seconds), and whether this look is the first of a row."""

    async def show_host(self, call: str, mode: str, by: str) -> None:
        """Show the caller the host (`on`), nobody (`off`) or the site's still image (`still`)."""


class HostPicture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mode: Literal["on", "off", "still"]


class SnapshotRoutes:
    """The handler."""

    def __init__(self, looking: Looking) -> None:
        self._looking = looking
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [
            web.get(f"/api/calls/{CALL}/snapshot", self.snapshot, allow_head=False),
            web.post(f"/api/calls/{CALL}/host-picture", self.host_picture),
        ]

    async def host_picture(self, request: web.Request) -> web.Response:
        """Say what stands in the host's place of this one call."""
        call, wanted = request.match_info["call"], await read_body(request, HostPicture)
        await self._looking.show_host(call, wanted.mode, request[USER])
        self._log.info(
            "api_act",
            act="host-picture",
            by=request[USER],
            address=request.remote,
            call=call,
            mode=wanted.mode,
        )
        return json_answer({"ok": True})

    async def snapshot(self, request: web.Request) -> web.Response:
        """Give the newest picture; `X-At110-Taken` says when it came, seconds since 1970."""
        call = request.match_info["call"]
        picture, taken, first = await self._looking.look(call, request[USER])
        if first:
            self._log.info("api_act", act="look", by=request[USER], address=request.remote, call=call)
        return web.Response(
            body=picture, headers={hdrs.CONTENT_TYPE: "image/jpeg", "X-At110-Taken": f"{taken:.3f}"}
        )
