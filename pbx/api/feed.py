"""The live feed: one publisher, many readers, none of whom can slow another or us.

in → out: `Feed.publish(event)` → every `Reader`; a reader that falls `MAX_BEHIND` events behind is dropped, and its
browser comes back for a fresh snapshot. `GET /api/events` speaks server-sent events (HTML, section 9.2): `snapshot`
first, then `event` for each change; both carry one JSON object in `data`. In silence `alive` comes, with nothing in it: a page can't
see otherwise that its road has died, for it sends nothing itself.
"""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

import msgspec
import structlog
from aiohttp import hdrs, web

from pbx.api.answers import ApiError, secure
from pbx.api.auth import END, STANDS, USER
from pbx.api.exchange import Exchange, View
from pbx.metrics import Metrics
from pbx.storage.plain import plain

__all__ = ["Events", "Feed", "Reader", "ReaderDroppedError"]

MAX_BEHIND: Final = 256
"""Events a reader may be behind: some seconds of the busiest centre, 100 KB of memory."""
KEEPALIVE: Final = 15.0  # seconds; proxies close what is silent for longer, the console asks anew after 40
WRITE_SECONDS: Final = 10.0  # bars F20: a reader that takes nothing for so long is gone
VANISHED_MS: Final = 40_000
"""A reader whose machine takes nothing the network brings for so long is gone (TCP_USER_TIMEOUT, RFC 793 §3.8): two of what keeps it
alive were lost with all their repetitions. The kernel's own patience is a quarter of an hour, and a place in the feed is held as long.
"""
RESUBSCRIBE: Final = 1.0


class ReaderDroppedError(Exception):
    """The reader was too slow, or the feed has ended."""


class Reader:
    """One reader's place in the feed."""

    def __init__(self, feed: "Feed", user: str = "", cookie: str = "") -> None:
        self._feed = feed
        self.user, self.cookie = user, cookie
        self._waiting: deque[View] = deque()
        self._something = asyncio.Event()
        self.dropped = False

    def put(self, event: View) -> None:
        """Take an event, or drop the reader."""
        if len(self._waiting) >= MAX_BEHIND:
            self.drop()
            return
        self._waiting.append(event)
        self._something.set()

    def drop(self) -> None:
        """End this reader: what it has not read is forgotten."""
        self.dropped = True
        self._waiting.clear()
        self._something.set()
        self._feed.forget(self)

    async def next(self) -> View:
        """Give the next event. Raises ReaderDroppedError."""
        while not self._waiting:
            if self.dropped:
                raise ReaderDroppedError
            self._something.clear()
            await self._something.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Leave."""
        self._feed.forget(self)


class Feed:
    """Hands every event to all readers. `publish` never waits."""

    def __init__(self) -> None:
        self._readers: dict[Reader, None] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def publish(self, event: View) -> None:
        """Hand out one event; it must not be changed afterwards."""
        for reader in tuple(self._readers):
            reader.put(event)

    def reader(self, user: str = "", cookie: str = "") -> Reader:
        """Give a new reader, which gets every event from now on; `user`: who reads, `cookie`: what lets it."""
        reader = Reader(self, user, cookie)
        self._readers[reader] = None
        return reader

    def make_room(self, user: str, cookie: str) -> bool:
        """Drop the oldest reader of whoever has most, and tell whether one was: not where the newcomer would then have more than
        whoever it is taken from. One browser or script that never leaves its feeds shuts nobody else out.
        """
        held = Counter(_holder(reader.user, reader.cookie) for reader in self._readers)
        most, count = max(held.items(), key=lambda item: item[1], default=("", 0))
        if held[_holder(user, cookie)] + 1 >= count:
            return False
        next(one for one in self._readers if _holder(one.user, one.cookie) == most).drop()
        return True

    def forget(self, reader: Reader) -> None:
        """Take a reader out; harmless when it has left."""
        self._readers.pop(reader, None)

    def end(self, users: Collection[str]) -> None:
        """Drop these people's readers: what they may is to be asked anew."""
        for reader in tuple(self._readers):
            if reader.user in users:
                reader.drop()

    def revoke(self, cookie: str) -> None:
        """Drop the readers whom this cookie let in."""
        for reader in tuple(self._readers):
            if reader.cookie == cookie:
                reader.drop()

    def close(self) -> None:
        """Drop everybody."""
        for reader in tuple(self._readers):
            reader.drop()

    def subscribe(self) -> AsyncIterator[View]:
        """Give the events from this very moment on; ends when the reader was too slow."""
        reader = self.reader()

        async def events() -> AsyncIterator[View]:
            try:
                while True:
                    yield await reader.next()
            except ReaderDroppedError:
                return
            finally:
                reader.close()

        return events()


class Events:
    """`GET /api/events`."""

    def __init__(
        self, exchange: Exchange, metrics: Metrics, max_readers: int, wall: Callable[[], float]
    ) -> None:
        self._exchange = exchange
        self._metrics = metrics
        self._max_readers = max_readers
        self._wall = wall
        self._feed = Feed()
        self._log = structlog.get_logger()

    def snapshot(self) -> dict[str, object]:
        """Give all there is to see at this moment."""
        exchange = self._exchange
        return {
            "type": "snapshot",
            "now": self._wall(),
            "calls": exchange.calls(),
            "queue": exchange.queue(),
            "desks": exchange.desks(),
            "health": exchange.health(),
        }

    async def pump(self) -> None:
        """Carry the exchange's events to all readers, for ever; spawned by the application."""
        while True:
            async for event in self._exchange.subscribe():
                self._feed.publish(event)
            # We were too slow, or the exchange was exchanged: everybody needs the whole picture again.
            self._log.warning("feed_resubscribed")
            await asyncio.sleep(RESUBSCRIBE)
            self._feed.publish(self.snapshot())

    def end(self, users: Collection[str]) -> None:
        """End the open feeds of these people, at once; a browser comes back and is judged anew."""
        self._feed.end(users)

    def revoke(self, cookie: str) -> None:
        """End the open feeds whom this cookie let in, at once: who logs out sees nothing more, nor does who copied the cookie."""
        self._feed.revoke(cookie)

    def close(self) -> None:
        """End all open feeds."""
        self._feed.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Stream to one reader until it leaves, is too slow, or its right ends."""
        user, cookie = request[USER], request[STANDS].cookie
        if len(self._feed) >= self._max_readers and not self._feed.make_room(user, cookie):
            raise ApiError(503, "too_many_readers", "实时连接过多", "Too many open feeds")
        response = web.StreamResponse(
            headers={hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        )
        secure(response)
        _notice_vanished(request.transport)
        # Reader first, snapshot second, nothing awaited between: no event can fall through.
        reader = self._feed.reader(user, cookie)
        self._metrics.feed_readers.set(len(self._feed))
        try:
            first = _frame(self.snapshot())
            await response.prepare(request)
            await self._send(response, b"retry: 1000\n\n" + first)
            await self._stream(request, response, reader)
        except (TimeoutError, ReaderDroppedError):
            self._metrics.feed_dropped.inc()
            if request.transport is not None:  # what the slow reader has not taken is not kept for it
                request.transport.abort()
        except ConnectionError:
            self._log.debug("feed_reader_left")
        finally:
            reader.close()
            self._metrics.feed_readers.set(len(self._feed))
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, reader: Reader) -> None:
        while request[END] > self._wall() and request[STANDS]():
            try:
                event = await asyncio.wait_for(reader.next(), KEEPALIVE)
            except TimeoutError:
                await self._send(response, b"event: alive\ndata: {}\n\n")
            else:
                await self._send(response, _frame(event))

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await response.write(data)


def _holder(user: str, cookie: str) -> str:
    """Name who holds a place: a browser by its cookie, for several people may share a token; a script by the token."""
    return cookie or user


def _notice_vanished(transport: asyncio.BaseTransport | None) -> None:
    """Have the kernel end a connection whose peer takes nothing any more."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_MS)


def _frame(event: View) -> bytes:
    name = b"snapshot" if event.get("type") == "snapshot" else b"event"
    return b"event: " + name + b"\ndata: " + msgspec.json.encode(plain(event)) + b"\n\n"
