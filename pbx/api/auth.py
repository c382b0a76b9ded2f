"""Who may: the API token as `Authorization: Bearer`, or a cookie got for it. Nobody else, for anything.

The cookie never holds the token: `<end>.<random>.<HMAC>`, keyed by the token, so it survives our restart and dies with
the token. RFC 6750 §2.1; cookies by RFC 6265bis (HttpOnly, SameSite=Strict).
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import hdrs, web

from pbx.api.answers import ApiError, Handler, json_answer, read_body
from pbx.metrics import Metrics

__all__ = ["COOKIE", "SHIFT_SECONDS", "USER", "Auth", "Failures"]

COOKIE: Final = "at110"
SHIFT_SECONDS: Final = 12 * 3600  # a cookie lasts one shift
FAILURES: Final = 5
"""Wrong tokens one address may send at once …"""
FORGIVEN_EACH: Final = 12.0
"""… and seconds until one of them is forgotten: five a minute."""
MAX_ADDRESSES: Final = 10_000  # the longest silent is forgotten first
OPEN_PATHS: Final = frozenset({"/", "/console.js", "/style.css", "/favicon.svg", "/healthz", "/api/login"})
USER: Final = web.RequestKey("user", str)
"""How the request proved itself: `token` or `cookie`."""
END: Final = web.RequestKey("end", float)
"""Wall seconds at which its right ends."""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str


class Failures:
    """Counts wrong tokens by address; a leaky bucket each."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def retry_after(self, address: str, now: float) -> float:
        """Give the seconds this address has to wait, 0 when it may try."""
        level = self._level(address, now)
        return 0.0 if level <= FAILURES - 1 else (level - FAILURES + 1) * FORGIVEN_EACH

    def note(self, address: str, now: float) -> None:
        """Count one failure."""
        key = _network(address)
        self._buckets[key] = (self._level(address, now) + 1, now)
        self._buckets.move_to_end(key)
        while len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)

    def _level(self, address: str, now: float) -> float:
        level, at = self._buckets.get(_network(address), (0.0, now))
        return max(0.0, level - (now - at) / FORGIVEN_EACH)


class Auth:
    """The token and the cookies made from it."""

    def __init__(
        self,
        token: str,
        metrics: Metrics,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        open_paths: Collection[str] = (),
    ) -> None:
        """Clocks are arguments. `open_paths` are open to all, beside the console's own page.

        An empty token would let everybody in: ValueError.
        """
        if not token:
            raise ValueError("the API token is empty")
        self._token = token.encode()
        self._key = hmac.digest(self._token, b"at110 console cookie", hashlib.sha256)
        self._metrics = metrics
        self._open = OPEN_PATHS.union(open_paths)
        self._wall = wall
        self._monotonic = monotonic
        self._failures = Failures()
        self._revoked: OrderedDict[str, float] = OrderedDict()
        self._log = structlog.get_logger()

    def cookie(self) -> str:
        """Make a fresh cookie value."""
        stated = f"{int(self._wall()) + SHIFT_SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{stated}.{self._sign(stated)}"

    def cookie_end(self, value: str) -> float | None:
        """Give the end of a valid cookie in wall seconds, None for any other."""
        match = re.fullmatch(r"(([0-9]{1,12})\.[A-Za-z0-9_-]{22})\.([0-9a-f]{64})", value, re.ASCII)
        if match is None or not hmac.compare_digest(self._sign(match[1]).encode(), match[3].encode()):
            return None
        end = float(match[2])
        return end if end > self._wall() and match[1] not in self._revoked else None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let nobody through who hasn't proved himself."""
        if request.path in self._open:
            return await handler(request)
        if (given := request.headers.get(hdrs.AUTHORIZATION)) is not None:
            scheme, _, token = given.partition(" ")
            if scheme.lower() != "bearer" or not self._fits(token.strip(" ")):
                raise self._failed(request)
            request[USER], request[END] = "token", float("inf")
        else:
            end = self.cookie_end(request.cookies.get(COOKIE, ""))
            if end is None:
                raise ApiError(401)
            if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD} and not _same_origin(request):
                raise ApiError(
                    403, "foreign_origin", "请求来自其他网站", "The request comes from another site"
                )
            request[USER], request[END] = "cookie", end
        return await handler(request)

    async def login(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/login` {"token"} → cookie."""
        wait = self._failures.retry_after(request.remote or "", self._monotonic())
        if wait > 0:
            raise self._too_many(wait)
        login = await read_body(request, Login)
        if not self._fits(login.token):
            raise self._failed(request)
        response = json_answer({"ok": True})
        response.set_cookie(
            COOKIE,
            self.cookie(),
            max_age=SHIFT_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
            path="/",
        )
        self._log.info("api_login", address=request.remote)
        return response

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/logout`: the cookie is worthless from now on, here and wherever it was copied to."""
        value = request.cookies.get(COOKIE, "")
        end = self.cookie_end(value)
        if end is not None:
            self._revoked[value.rpartition(".")[0]] = end
            while self._revoked and next(iter(self._revoked.values())) < self._wall():
                self._revoked.popitem(last=False)
        response = json_answer({"ok": True})
        response.del_cookie(COOKIE, path="/")
        return response

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token)

    def _sign(self, stated: str) -> str:
        return hmac.digest(self._key, stated.encode(), hashlib.sha256).hex()

    def _failed(self, request: web.Request) -> Exception:
        now = self._monotonic()
        address = request.remote or ""
        wait = self._failures.retry_after(address, now)
        self._failures.note(address, now)
        self._metrics.logins_failed.inc()
        self._log.warning("api_login_failed", address=address)
        return (
            self._too_many(wait)
            if wait > 0
            else ApiError(401, "wrong_token", "口令不对", "The token is wrong")
        )

    def _too_many(self, wait: float) -> Exception:
        error = ApiError(429)
        error.retry_after = wait
        return error


def _same_origin(request: web.Request) -> bool:
    """Whether a browser says that our own page sent this; a program sends neither header."""
    origin = request.headers.get(hdrs.ORIGIN)
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return site in {"same-origin", "none"} and (origin is None or urlsplit(origin).netloc == request.host)


def _network(address: str) -> str:
    """One customer is one IPv4 address or one IPv6 /64."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address
