"""Fetches locations that are given by reference (RFC 6753), from the servers the settings name and from no other.

in → out: a URI → the locations it leads to, or why not. One task per question, bounded in time and number; a call is never
kept waiting for it.

A caller writes the URI: to follow it anywhere would let anybody have us call on our own network (bars S9).
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import structlog

from pbx.location import held, lost
from pbx.location.origins import may_ask
from pbx.location.pidf import MAX_BYTES, Located, LocationError
from pbx.tasks import Tasks
from routing.shapes import Place

TIMEOUT: Final = 5.0
"""Seconds for all of it: by then the dispatcher has asked where the caller is."""
MAX_AT_ONCE: Final = 50

LOST_TIMEOUT: Final = 2.0
"""Seconds for a LoST server; our own districts have answered long before."""

Done = Callable[[tuple[Located, ...], str | None], None]
"""Takes what was found and what was wrong; one of both is empty."""
Mapped = Callable[[lost.Mapping | None, str | None], None]
"""Takes who serves a place, or what was wrong."""

T = TypeVar("T")

log = structlog.get_logger("location")


class LocationClient:
    """Asks location servers."""

    def __init__(
        self,
        servers: Iterable[str],
        tasks: Tasks,
        *,
        lost_server: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """`servers`: origins such as `https://lis.example`; `lost_server`: URL of a LoST server (both checked by the settings)."""
        self._may_ask = may_ask(servers)
        self._lost = lost_server
        self._tasks = tasks
        self._timeout = timeout
        self._running = 0

    def fetch(self, uri: str, done: Done) -> None:
        """Ask for a location; returns at once. `done` is called from the loop, exactly once unless everything ends before."""
        if not self._may_ask(uri):
            self._tasks.spawn(_say(lambda: done((), "not a location server of this site")), name="location")
            return
        self._start(_fetch(uri), self._timeout, lambda found, fault: done(found or (), fault), uri)

    def find_service(self, place: Place, done: Mapped) -> None:
        """Ask the LoST server who serves a place; returns at once, `done` as with `fetch`."""
        if self._lost is None:
            self._tasks.spawn(_say(lambda: done(None, "no LoST server is set")), name="location")
            return
        self._start(_find_service(self._lost, place), LOST_TIMEOUT, done, self._lost)

    def _start(
        self,
        work: Coroutine[Any, Any, T],
        patience: float,
        done: Callable[[T | None, str | None], None],
        uri: str,
    ) -> None:
        if self._running >= MAX_AT_ONCE:
            work.close()
            self._tasks.spawn(_say(lambda: done(None, "too many questions under way")), name="location")
            return
        self._running += 1
        self._tasks.spawn(self._run(work, patience, done, uri), name="location")

    async def _run(
        self,
        work: Coroutine[Any, Any, T],
        patience: float,
        done: Callable[[T | None, str | None], None],
        uri: str,
    ) -> None:
        found: T | None = None
        fault: str | None = None
        try:
            async with asyncio.timeout(patience):
                found = await work
        except TimeoutError:
            fault = f"no answer within {patience:g} s"
        except (aiohttp.ClientError, OSError, LocationError) as error:
            fault = str(error)[:200] or type(error).__name__
        finally:
            self._running -= 1
        if fault is not None:
            log.warning("location_not_fetched", host=urlsplit(uri).hostname, why=fault)
        done(found, fault)


async def _say(say: Callable[[], None]) -> None:
    say()


async def _find_service(server: str, place: Place) -> lost.Mapping:
    async with aiohttp.ClientSession(headers={"Accept": lost.CONTENT_TYPE}, auto_decompress=False) as session:
        headers = {"Content-Type": f"{lost.CONTENT_TYPE};charset=utf-8"}
        async with session.post(
            server, data=lost.question(place), headers=headers, allow_redirects=False
        ) as answer:
            if answer.status != 200:
                raise LocationError(f"the LoST server answers {answer.status}")
            return lost.answer(await _body(answer), time.time())


async def _fetch(uri: str) -> tuple[Located, ...]:
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
