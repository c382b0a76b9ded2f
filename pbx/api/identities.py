"""Verified identities: `GET /api/identities`, `GET /api/identities/changes`, `POST /api/identities/{user}` and, for a change that waits,
`POST /api/identities/{user}/confirm` and `/withdraw`.

Only a person who logged in by name acts here: a token is nobody, and can't be the second one either. The number of a document goes no
further than the digest made of it, and into no log.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import msgspec
import structlog
from aiohttp import web

from pbx.api.answers import ApiError, json_answer, read_body
from pbx.api.auth import USER
from pbx.api.exchange import View

__all__ = ["IdentityRoutes", "IdentityTable", "person"]

USER_PATH = r"{user:[^/\x00-\x1f\x7f]{1,64}}"
"""PostgreSQL keeps no NUL, and no account has a control character."""
NOBODY = frozenset({"token", "cookie"})
"""How the API calls who holds the token."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Checked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person saw."""

    name: Text
    phone: Text
    kind: Literal["resident-id", "passport", "other"]
    number: Text
    """Of the document."""
    how: Literal["in-person", "records", "remote"]

    def __repr__(self) -> str:
        return "Checked()"


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The change that is meant, as it was shown."""

    change: Text


class IdentityTable(Protocol):
    """What the API asks of the identities. Commands raise `ExchangeError`."""

    async def identities(self) -> Sequence[View]: ...
    async def identity_changes(self) -> Sequence[View]: ...
    async def check(
        self, user: str, *, name: str, phone: str, kind: str, number: str, how: str, by: str
    ) -> View: ...
    async def confirm(self, user: str, change: str, by: str) -> View: ...
    async def withdraw(self, user: str, change: str, by: str) -> View: ...


class IdentityRoutes:
    """The handlers."""

    def __init__(self, table: IdentityTable) -> None:
        self._table = table
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        path = f"/api/identities/{USER_PATH}"
        return [
            web.get("/api/identities", self.all),
            web.get("/api/identities/changes", self.changes),
            web.post(path, self.check),
            web.post(f"{path}/confirm", self.confirm),
            web.post(f"{path}/withdraw", self.withdraw),
        ]

    async def all(self, _request: web.Request) -> web.Response:
        """`GET /api/identities`: who is verified, has a change open or is blocked."""
        return json_answer({"identities": await self._table.identities()})

    async def changes(self, _request: web.Request) -> web.Response:
        """`GET /api/identities/changes`: the newest first."""
        return json_answer({"changes": await self._table.identity_changes()})

    async def check(self, request: web.Request) -> web.Response:
        """`POST /api/identities/{user}`: verified at once, or a change that waits for a second person."""
        by = person(request)
        said = await read_body(request, Checked)
        user = request.match_info["user"]
        done = await self._table.check(
            user, name=said.name, phone=said.phone, kind=said.kind, number=said.number, how=said.how, by=by
        )
        return self._done(request, "identity-check", user, done)

    async def confirm(self, request: web.Request) -> web.Response:
        """`POST /api/identities/{user}/confirm`."""
        by = person(request)
        said = await read_body(request, Named)
        user = request.match_info["user"]
        return self._done(request, "identity-confirm", user, await self._table.confirm(user, said.change, by))

    async def withdraw(self, request: web.Request) -> web.Response:
        """`POST /api/identities/{user}/withdraw`."""
        by = person(request)
        said = await read_body(request, Named)
        user = request.match_info["user"]
        return self._done(
            request, "identity-withdraw", user, await self._table.withdraw(user, said.change, by)
        )

    def _done(self, request: web.Request, act: str, user: str, done: View) -> web.Response:
        self._log.info("api_act", act=act, by=request[USER], address=request.remote, user=user)
        return json_answer({"ok": True, **done})


def person(request: web.Request) -> str:
    """Give who asks by name; ApiError for who only holds the token."""
    by = request[USER]
    if by in NOBODY:
        raise ApiError(
            403, "person_needed", "须以本人账号登录后办理", "Log in by name: a token is nobody in particular"
        )
    return by
