"""What dispatchers see and do: calls, queue, desks."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Literal

import msgspec
import structlog
from aiohttp import web

from pbx.api.answers import ApiError, json_answer, read_body
from pbx.api.auth import USER
from pbx.api.exchange import HAND_VERBS, Exchange

__all__ = ["CALL", "DESK", "Commands"]

CALL = "{call:[0-9a-z-]{8,64}}"
DESK = "{desk:[A-Za-z0-9_.+-]{1,64}}"


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: str | None = None
    """Who sits there; None: the desk's own account."""


class Pause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """Why the dispatcher is away; kept through restarts."""


class Silent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of the two. Off needs `request`, then `confirm` within ten seconds."""

    on: Literal[True] | None = None
    off: Literal["request", "confirm"] | None = None


class Hand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom an act is about. Which of these are wanted, the act says."""

    target: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """User, number or `queue`; a desk for `take`, `listen`, `whisper`, `barge`."""
    role: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z_-]{0,31}\Z")] = "helper"
    """What somebody added is there as: `interpreter`, `fire`, `ambulance`, `traffic` …"""
    call: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-z-]{8,64}\Z")] | None = None
    """The earlier call an outgoing call follows."""


class Commands:
    """The handlers over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._log = structlog.get_logger()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        plain_acts: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "sign-out": self._exchange.sign_out,
            "resume": self._exchange.resume,
            "end-call": self._exchange.end_call,
        }
        return [
            web.get("/api/calls", self.calls),
            web.get(f"/api/calls/{CALL}", self.call),
            web.post(f"/api/calls/{CALL}/silent", self.silent),
            web.get("/api/queue", self.queue),
            web.get("/api/desks", self.desks),
            web.post(f"/api/desks/{DESK}/sign-in", self.sign_in),
            web.post(f"/api/desks/{DESK}/pause", self.pause),
            *(
                web.post(f"/api/desks/{DESK}/{name}", self._act(name, act))
                for name, act in plain_acts.items()
            ),
            *(web.post(f"/api/desks/{DESK}/{verb}", self._hand(verb)) for verb in HAND_VERBS),
        ]

    async def calls(self, _request: web.Request) -> web.Response:
        """`GET /api/calls`."""
        return json_answer({"calls": self._exchange.calls()})

    async def call(self, request: web.Request) -> web.Response:
        """`GET /api/calls/{call}`: a live call."""
        wanted = request.match_info["call"]
        for view in self._exchange.calls():
            if view.get("call") == wanted:
                return json_answer(view)
        raise ApiError(404, "unknown_call", "没有这个呼叫", "There is no such call")

    async def queue(self, _request: web.Request) -> web.Response:
        """`GET /api/queue`."""
        return json_answer({"queue": self._exchange.queue()})

    async def desks(self, _request: web.Request) -> web.Response:
        """`GET /api/desks`."""
        return json_answer({"desks": self._exchange.desks()})

    async def sign_in(self, request: web.Request) -> web.Response:
        """`POST /api/desks/{desk}/sign-in`, body optional."""
        desk = request.match_info["desk"]
        wanted = await read_body(request, SignIn) if request.body_exists else SignIn()
        if request[USER] == desk and wanted.user not in {None, desk}:
            # Whose queues and skills count is nobody's own choice: a supervisor seats somebody else.
            raise ApiError(403, "not_your_role", "不能以他人身份签入", "Nobody signs in as somebody else")
        await self._exchange.sign_in(desk, wanted.user or desk)
        return self._done(request, "sign-in", desk=desk)

    async def pause(self, request: web.Request) -> web.Response:
        """`POST /api/desks/{desk}/pause`, body optional."""
        desk = request.match_info["desk"]
        wanted = await read_body(request, Pause) if request.can_read_body else Pause()
        await self._exchange.pause(desk, wanted.reason)
        return self._done(request, "pause", desk=desk)

    async def silent(self, request: web.Request) -> web.Response:
        """`POST /api/calls/{call}/silent`."""
        call = request.match_info["call"]
        wanted = await read_body(request, Silent)
        match wanted.on, wanted.off:
            case True, None:
                await self._exchange.silent_on(call)
                return self._done(request, "silent-on", call=call)
            case None, "request":
                expires = await self._exchange.silent_off_request(call)
                self._done(request, "silent-off-request", call=call)
                return json_answer({"ok": True, "expires": expires})
            case None, "confirm":
                await self._exchange.silent_off_confirm(call)
                return self._done(request, "silent-off-confirm", call=call)
        raise ApiError(400, "bad_body", "只能给出 on 或 off 之一", 'Give exactly one of "on" and "off"')

    def _act(
        self, name: str, act: Callable[[str], Awaitable[None]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            desk = request.match_info["desk"]
            await act(desk)
            return self._done(request, name, desk=desk)

        return handle

    def _hand(self, verb: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            desk = request.match_info["desk"]
            wanted = await read_body(request, Hand) if request.body_exists else Hand()
            await self._exchange.hand(desk, verb, wanted.target, wanted.role, wanted.call)
            return self._done(request, verb, desk=desk, target=wanted.target)

        return handle

    def _done(self, request: web.Request, act: str, **what: str) -> web.Response:
        self._log.info("api_act", act=act, by=request[USER], address=request.remote, **what)
        return json_answer({"ok": True})
