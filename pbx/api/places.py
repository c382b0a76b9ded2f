"""Where callers are and which districts there are.

`GET /api/calls/{call}/trail`, `GET /api/districts`, `PUT /api/districts` (a GeoJSON FeatureCollection, RFC 7946).
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

import structlog
from aiohttp import web

from pbx.api.answers import ApiError, json_answer
from pbx.api.auth import USER
from pbx.api.commands import CALL

MAX_DISTRICTS_BYTES: Final = 64 * 1024 * 1024
"""Of a districts file: a province's townships in full detail are some 20 MB."""

BODY_SECONDS: Final = 120.0
"""For 64 MiB at 5 Mbit/s."""


class Places(Protocol):
    """What the exchange does for these; commands raise `ExchangeError`."""

    def trail(self, call: str) -> Sequence[dict[str, Any]]: ...
    def districts(self) -> Sequence[dict[str, Any]]: ...
    async def set_districts(self, text: str) -> int: ...


class PlaceRoutes:
    """The handlers."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [
            web.get(f"/api/calls/{CALL}/trail", self.trail),
            web.get("/api/districts", self.districts),
            web.put("/api/districts", self.set_districts),
        ]

    async def trail(self, request: web.Request) -> web.Response:
        """`GET /api/calls/{call}/trail`: every place of a live call, in the order they came."""
        return json_answer({"trail": self._places.trail(request.match_info["call"])})

    async def districts(self, _request: web.Request) -> web.Response:
        """`GET /api/districts`: without their borders."""
        return json_answer({"districts": self._places.districts()})

    async def set_districts(self, request: web.Request) -> web.Response:
        """`PUT /api/districts`: new calls are put into these from now on; the old file stays when the new one is wrong."""
        count = await self._places.set_districts(await _text(request))
        self._log.info(
            "api_act", act="set-districts", by=request[USER], address=request.remote, districts=count
        )
        return json_answer({"ok": True, "districts": count})


async def _text(request: web.Request) -> str:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > MAX_DISTRICTS_BYTES:
                    raise ApiError(413)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return bytes(body).decode("utf-8", "replace")
