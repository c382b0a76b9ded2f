"""Who may: the API token as `Authorization: Bearer`, or a cookie got for it or for a dispatcher's password. Nobody else, for
anything; and a person only what `rights` gives the roles that person has at this very moment.

The cookie never holds the token: `<end>.<random>[.<user>].<HMAC>`, keyed by the token, so it survives our restart and dies with
the token. RFC 6750 §2.1; cookies by RFC 6265bis (HttpOnly, SameSite=Strict).
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Container
from operator import sub
from typing import Annotated, Final, Protocol
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import hdrs, web

from pbx.api.answers import ApiError, Handler, json_answer, read_body
from pbx.api.rights import EVERYTHING, may
from pbx.metrics import Metrics

__all__ = ["COOKIE", "SHIFT_SECONDS", "STANDS", "USER", "Auth", "Failures", "People"]

COOKIE: Final = "at110"
SHIFT_SECONDS: Final = 12 * 3600  # a cookie lasts one shift
FAILURES: Final = 5
"""Wrong tokens one address may send at once …"""
FORGIVEN_EACH: Final = 12.0
"""… and seconds until one of them is forgotten: five a minute."""
MAX_ADDRESSES: Final = 10_000  # the longest silent is forgotten first
OPEN_PATHS: Final = frozenset({"/", "/console.js", "/style.css", "/favicon.svg", "/healthz", "/api/login"})
_COOKIE: Final = re.compile(
    r"(([0-9]{1,12})\.[A-Za-z0-9_-]{22}(?:\.([A-Za-z0-9_-]{1,344}))?)\.([0-9a-f]{64})", re.ASCII
)
USER: Final = web.RequestKey("user", str)
"""Who asks: a dispatcher by name, or `token`, `cookie` for who holds the token."""
END: Final = web.RequestKey("end", float)
"""Wall seconds at which its right ends."""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token, or who it is."""

    token: str | None = None
    user: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    password: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class People(Protocol):
    """Who may log in beside who holds the token."""

    def proves(self, user: str, password: str) -> bool:
        """Whether this is the password of a dispatcher; takes as long for whom nobody knows."""

    def roles(self, user: str) -> frozenset[str]:
        """What somebody is now; empty: nobody, or no longer."""


class Nobody:
    """The people of an application that was given none."""

    def proves(self, user: str, password: str) -> bool:  # noqa: ARG002 - the protocol's shape
        """Nobody has a password."""
        return False

    def roles(self, user: str) -> frozenset[str]:  # noqa: ARG002 - the protocol's shape
        """Nobody has a role."""
        return frozenset()


NOBODY: Final[People] = Nobody()


class Standing:
    """Says whether whoever asks still has any right; an open stream asks now and then."""

    def __init__(
        self, people: People, user: str | None, cookie: str = "", revoked: Container[str] = frozenset()
    ) -> None:
        """`user` None: who holds the token. `cookie`: what came with the request states, if one did; `revoked`: those that count no more."""
        self._people, self._user = people, user
        self.cookie, self._revoked = cookie, revoked

    def __call__(self) -> bool:
        if self.cookie in self._revoked:
            return False
        return self._user is None or bool(self._people.roles(self._user))


STANDS: Final = web.RequestKey("stands", Standing)


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
        people: People = NOBODY,
    ) -> None:
        """Clocks are arguments. `open_paths` are open to all, beside the console's own page; `people`: who may log in by
        name.

        An empty token would let everybody in: ValueError.
        """
        if not token:
            raise ValueError("the API token is empty")
        self._people = people
        self._token = token.encode()
        self._key = hmac.digest(self._token, b"at110 console cookie", hashlib.sha256)
        self._metrics = metrics
        self._open = OPEN_PATHS.union(open_paths)
        self._wall = wall
        self._monotonic = monotonic
        self._failures = Failures()
        self._revoked: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.on_logout: Callable[[str], None] = lambda _cookie: None
        """Hears what a cookie states that counts no more."""
        self._log = structlog.get_logger()

    def cookie(self, user: str | None = None) -> str:
        """Make a fresh cookie value; `user`: whose, None: of who holds the token."""
        stated = f"{int(self._wall()) + SHIFT_SECONDS}.{secrets.token_urlsafe(16)}"
        if user is not None:
            stated += "." + base64.urlsafe_b64encode(user.encode()).decode().rstrip("=")
        return f"{stated}.{self._sign(stated)}"

    def cookie_end(self, value: str) -> float | None:
        """Give the end of a valid cookie in wall seconds, None for any other."""
        found = self._cookie(value)
        return None if found is None else found[0]

    def _cookie(self, value: str) -> tuple[float, str | None] | None:
        """Give the end of a valid cookie and whose it is, None for any other."""
        match = _COOKIE.fullmatch(value)
        if match is None or not hmac.compare_digest(self._sign(match[1]).encode(), match[4].encode()):
            return None
        end = float(match[2])
        if end <= self._wall() or match[1] in self._revoked:
            return None
        try:
            whose = None if match[3] is None else base64.urlsafe_b64decode(match[3] + "==").decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        return end, whose

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let nobody through who hasn't proved himself, and nobody to what is not his."""
        if request.path in self._open:
            return await handler(request)
        user: str | None = None
        cookie = ""
        if (given := request.headers.get(hdrs.AUTHORIZATION)) is not None:
            scheme, _, token = given.partition(" ")
            if scheme.lower() != "bearer" or not self._fits(token.strip(" ")):
                raise self._failed(request)
            request[USER], request[END] = "token", float("inf")
        else:
            found = self._cookie(request.cookies.get(COOKIE, ""))
            if found is None:
                raise ApiError(401)
            if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD} and not _same_origin(request):
                raise ApiError(
                    403, "foreign_origin", "请求来自其他网站", "The request comes from another site"
                )
            end, user = found
            request[USER], request[END] = user or "cookie", end
            cookie = _stated(request)
        self._permit(request, user, cookie)
        return await handler(request)

    def _permit(self, request: web.Request, user: str | None, cookie: str) -> None:
        """Raise ApiError unless this person may do this now: roles are looked up each time, so none is kept too long."""
        request[STANDS] = Standing(self._people, user, cookie, self._revoked)
        roles = frozenset({EVERYTHING}) if user is None else self._people.roles(user)
        if not roles:
            raise ApiError(401)
        resource = request.match_info.route.resource
        own = request.match_info.get("desk") == user
        if resource is not None and not may(request.method, resource.canonical, roles, own=own):
            self._log.warning(
                "api_refused", by=user, address=request.remote, method=request.method, path=request.path
            )
            raise ApiError(403, "not_your_role", "您的角色不允许此操作", "Your role does not allow that")

    async def login(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/login` {"token"}, or {"user", "password"} of a dispatcher → cookie."""
        wait = self._failures.retry_after(request.remote or "", self._monotonic())
        if wait > 0:
            raise self._too_many(wait)
        login = await read_body(request, Login)
        if login.user is not None and login.password is not None and login.token is None:
            # Hashing is some microseconds: no thread is needed, and the limit above is per address.
            known = self._people.proves(login.user, login.password)
        else:
            known = login.token is not None and login.user is None and self._fits(login.token)
        if not known:
            raise self._failed(request)
        response = json_answer({"ok": True})
        response.set_cookie(
            COOKIE,
            self.cookie(login.user),
            max_age=SHIFT_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
            path="/",
        )
        self._log.info("api_login", address=request.remote, by=login.user or "token")
        return response

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/logout`: the cookie is worthless from now on, here and wherever it was copied to, and feeds opened with it end."""
        end = self.cookie_end(request.cookies.get(COOKIE, ""))
        if end is not None:
            now = self._monotonic()
            self._revoked[_stated(request)] = end, now + SHIFT_SECONDS
            # By both clocks: a wall clock that was set forward for a while would have a cookie forgotten that counts again afterwards.
            while (
                self._revoked and max(map(sub, next(iter(self._revoked.values())), (self._wall(), now))) < 0
            ):
                self._revoked.popitem(last=False)
            self.on_logout(_stated(request))
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


def _stated(request: web.Request) -> str:
    """Give what the cookie of a request states, without its proof."""
    return request.cookies.get(COOKIE, "").rpartition(".")[0]


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
