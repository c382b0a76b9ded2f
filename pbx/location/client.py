"""Fetches locations that are given by reference (RFC 6753), from the servers the settings name and from no other.

in → out: a URI → the locations it leads to, or why not. One task per question, bounded in time and number; a call is never
kept waiting for it.

A caller writes the URI: to follow it anywhere would let anybody have us call on our own network (bars S9).
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog

from pbx.location import held
from pbx.location.pidf import MAX_BYTES, Located, LocationError
from pbx.tasks import Tasks

TIMEOUT: Final = 5.0
"""Seconds for all of it: by then the dispatcher has asked where the caller is."""
MAX_AT_ONCE: Final = 50
SCHEMES: Final = frozenset({"http", "https"})
_PORTS: Final = {"http": 80, "https": 443}

Done = Callable[[tuple[Located, ...], str | None], None]
"""Takes what was found and what was wrong; one of both is empty."""

log = structlog.get_logger("location")


def origin(uri: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URI (RFC 6454), None when it has none we could ask."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in SCHEMES or not parts.hostname or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


class LocationClient:
    """Asks location servers."""

    def __init__(self, servers: Iterable[str], tasks: Tasks, *, timeout: float = TIMEOUT) -> None:
        """`servers`: origins such as `https://lis.example` (checked by the settings)."""
        self._servers = frozenset(found for server in servers if (found := origin(server)))
        self._tasks = tasks
        self._timeout = timeout
        self._running = 0

    def may_ask(self, uri: str) -> bool:
        """Whether the settings name the server of this URI."""
        return origin(uri) in self._servers

    def fetch(self, uri: str, done: Done) -> None:
        """Ask; returns at once. `done` is called from the loop, exactly once unless everything ends before."""
        if not self.may_ask(uri):
            self._tasks.spawn(_say(done, "not a location server of this site"), name="location")
        elif self._running >= MAX_AT_ONCE:
            self._tasks.spawn(_say(done, "too many questions under way"), name="location")
        else:
            self._running += 1
            self._tasks.spawn(self._fetch(uri, done), name="location")

    async def _fetch(self, uri: str, done: Done) -> None:
        found: tuple[Located, ...] = ()
        fault: str | None = None
        try:
            async with asyncio.timeout(self._timeout):
                found = await _ask(uri)
        except TimeoutError:
            fault = f"no answer within {self._timeout:g} s"
        except (aiohttp.ClientError, OSError, LocationError) as error:
            fault = str(error)[:200] or type(error).__name__
        finally:
            self._running -= 1
        if fault is not None:
            log.warning("location_not_fetched", host=urlsplit(uri).hostname, why=fault)
        done(found, fault)


async def _say(done: Done, fault: str) -> None:
    done((), fault)


async def _ask(uri: str) -> tuple[Located, ...]:
    """POST a HELD request; a server that only gives documents (RFC 6753 §3.1) is asked by GET."""
    accept = {"Accept": f"{held.CONTENT_TYPE}, application/pidf+xml"}
    async with aiohttp.ClientSession(headers=accept, auto_decompress=False) as session:
        headers = {"Content-Type": f"{held.CONTENT_TYPE};charset=utf-8"}
        async with session.post(uri, data=held.REQUEST, headers=headers, allow_redirects=False) as answer:
            if answer.status == 200:
                return held.answer(await _body(answer))
            if answer.status not in {405, 415, 501}:
                raise LocationError(f"the location server answers {answer.status}")
        async with session.get(uri, allow_redirects=False) as answer:
            if answer.status != 200:
                raise LocationError(f"the location server answers {answer.status}")
            return held.answer(await _body(answer))


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Read no more than a document may be long."""
    body = await answer.content.read(MAX_BYTES + 1)
    while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES + 1 - len(body))):
        body += more
    if len(body) > MAX_BYTES:
        raise LocationError("document too long")
    return body
