"""What people say of callers: `POST /api/calls/{call}/mark`, `GET /api/marks`, `POST /api/marks/{mark}/withdraw` and
`POST /api/identities/{user}/needs`.

A mark is advice to the next dispatcher and never refuses anybody. Only a person who logged in by name acts here.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import msgspec
import structlog
from aiohttp import web

from pbx.api.answers import json_answer, read_body
from pbx.api.auth import USER
from pbx.api.commands import CALL
from pbx.api.exchange import View
from pbx.api.identities import USER_PATH, person

__all__ = ["CallerRoutes", "CallerTable"]

MARK_PATH = "{mark:[0-9]{1,18}}"


class MarkBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mark: Literal["hoax", "nuisance"]
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class NeedsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    language: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}\Z")] | None = None
    needs: tuple[Literal["deaf", "speech"], ...] = ()


class CallerTable(Protocol):
    """What the API asks of the callers' book. Commands raise `ExchangeError`."""

    async def mark(self, call: str, mark: str, note: str, by: str) -> int: ...
    async def withdraw_mark(self, mark: int, by: str) -> None: ...
    async def marks(self) -> Sequence[View]: ...
    async def set_needs(self, user: str, language: str | None, needs: tuple[str, ...]) -> None: ...


class CallerRoutes:
    """The handlers."""

    def __init__(self, table: CallerTable) -> None:
        self._table = table
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        return [
            web.post(f"/api/calls/{CALL}/mark", self.mark),
            web.get("/api/marks", self.marks),
            web.post(f"/api/marks/{MARK_PATH}/withdraw", self.withdraw),
            web.post(f"/api/identities/{USER_PATH}/needs", self.needs),
        ]

    async def mark(self, request: web.Request) -> web.Response:
        """`POST /api/calls/{call}/mark`: of a call, live or over."""
        by, call = person(request), request.match_info["call"]
        said = await read_body(request, MarkBody)
        number = await self._table.mark(call, said.mark, said.note, by)
        return self._done(request, "mark", call=call, mark=said.mark, number=number)

    async def marks(self, _request: web.Request) -> web.Response:
        """`GET /api/marks`: the newest first."""
        return json_answer({"marks": await self._table.marks()})

    async def withdraw(self, request: web.Request) -> web.Response:
        """`POST /api/marks/{mark}/withdraw`."""
        by, number = person(request), int(request.match_info["mark"])
        await self._table.withdraw_mark(number, by)
        return self._done(request, "mark-withdraw", number=number)

    async def needs(self, request: web.Request) -> web.Response:
        """`POST /api/identities/{user}/needs`."""
        person(request)
        said = await read_body(request, NeedsBody)
        user = request.match_info["user"]
        await self._table.set_needs(user, said.language, tuple(dict.fromkeys(said.needs)))
        return self._done(request, "needs", user=user)

    def _done(self, request: web.Request, act: str, **what: str | int) -> web.Response:
        self._log.info("api_act", act=act, by=request[USER], address=request.remote, **what)
        return json_answer({"ok": True, **({"mark": what["number"]} if "number" in what else {})})
