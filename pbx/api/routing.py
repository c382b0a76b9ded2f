"""Who got which call and why, how well callers were served, and a supervisor's hand on the queue.

`GET /api/queues`, `GET /api/calls/{call}/why`, `POST /api/calls/{call}/priority`, `GET` and `POST /api/queue/hold`,
`GET /api/statistics?since=…&until=…&period=hour|day|month`, `GET /api/callbacks`, `POST /api/callbacks/{call}/done`.
"""

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Annotated, Final, Literal, Protocol, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import structlog
from aiohttp import web

from pbx.api.answers import ApiError, json_answer, read_body
from pbx.api.auth import USER
from pbx.api.commands import CALL
from pbx.api.exchange import View

__all__ = ["Routes", "Routing"]

Period = Literal["hour", "day", "month"]
PERIODS: Final = ("hour", "day", "month")
MAX_DAYS: Final = 400
"""Days one question may cover: a year and a month, read from disk line by line."""


class Routing(Protocol):
    """What the exchange does for these; commands raise `ExchangeError`."""

    def queues(self) -> Sequence[View]: ...
    async def why(self, call: str) -> Sequence[View]: ...
    async def statistics(self, since: float, until: float, period: Period, zone: tzinfo) -> View: ...
    async def prioritise(self, call: str, name: str, by: str) -> None: ...
    async def hold_back(self, prefix: str, by: str, *, on: bool) -> None: ...
    def held_back(self) -> Sequence[str]: ...
    def callbacks(self) -> Sequence[View]: ...
    async def callback_done(self, call: str) -> None: ...


class PriorityBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Literal["danger", "authority", "raised", "normal", "held"] = msgspec.field(name="class")


class HoldBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prefix: Annotated[str, msgspec.Meta(min_length=3, max_length=64)]
    """Of an identity or a number; three characters at least, so that a slip does not hold everybody."""
    on: bool = True


class Routes:
    """The handlers."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [
            web.get("/api/queues", self.queues),
            web.get(f"/api/calls/{CALL}/why", self.why),
            web.post(f"/api/calls/{CALL}/priority", self.priority),
            web.get("/api/queue/hold", self.held),
            web.post("/api/queue/hold", self.hold),
            web.get("/api/statistics", self.statistics),
            web.get("/api/callbacks", self.callbacks),
            web.post(f"/api/callbacks/{CALL}/done", self.callback_done),
        ]

    async def queues(self, _request: web.Request) -> web.Response:
        """`GET /api/queues`."""
        return json_answer({"queues": self._routing.queues()})

    async def why(self, request: web.Request) -> web.Response:
        """`GET /api/calls/{call}/why`: live or ended."""
        return json_answer({"why": await self._routing.why(request.match_info["call"])})

    async def priority(self, request: web.Request) -> web.Response:
        """`POST /api/calls/{call}/priority`."""
        wanted = await read_body(request, PriorityBody)
        await self._routing.prioritise(request.match_info["call"], wanted.name, str(request[USER]))
        return self._done(request, "priority", name=wanted.name, call=request.match_info["call"])

    async def held(self, _request: web.Request) -> web.Response:
        """`GET /api/queue/hold`."""
        return json_answer({"held": self._routing.held_back()})

    async def hold(self, request: web.Request) -> web.Response:
        """`POST /api/queue/hold`."""
        wanted = await read_body(request, HoldBody)
        await self._routing.hold_back(wanted.prefix, str(request[USER]), on=wanted.on)
        return self._done(request, "hold-back", prefix=wanted.prefix, on=str(wanted.on))

    async def statistics(self, request: web.Request) -> web.Response:
        """`GET /api/statistics`: seconds since 1970, a period and a time zone."""
        since, until = (_moment(request, name) for name in ("since", "until"))
        if not 0 <= until - since <= MAX_DAYS * 86_400:
            raise _bad("until")
        period = request.query.get("period", "hour")
        if period not in PERIODS:
            raise _bad("period")
        try:
            # A zone is read from a file when it is first asked for.
            named = request.query.get("zone")
            zone: tzinfo = UTC if named is None else await asyncio.to_thread(ZoneInfo, named)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise _bad("zone") from None
        return json_answer(await self._routing.statistics(since, until, cast("Period", period), zone))

    async def callbacks(self, _request: web.Request) -> web.Response:
        """`GET /api/callbacks`: callers who gave up."""
        return json_answer({"callbacks": self._routing.callbacks()})

    async def callback_done(self, request: web.Request) -> web.Response:
        """`POST /api/callbacks/{call}/done`."""
        await self._routing.callback_done(request.match_info["call"])
        return self._done(request, "callback-done", call=request.match_info["call"])

    def _done(self, request: web.Request, act: str, **what: str) -> web.Response:
        self._log.info("api_act", act=act, by=request[USER], address=request.remote, **what)
        return json_answer({"ok": True})


def _moment(request: web.Request, name: str) -> float:
    try:
        found = float(request.query[name])
    except (KeyError, ValueError):
        raise _bad(name) from None
    if not math.isfinite(found) or not 0 <= found < 1e11:
        raise _bad(name)
    return found


def _bad(name: str) -> ApiError:
    return ApiError(400, "bad_query", f"参数 {name} 无效", f"The parameter {name} is not valid")
