"""The aiohttp application, put together; and the listening socket.

in → out: `build(exchange, …)` → application; `listen(application, host, port)` → `Listener`.
"""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from pbx.api import page
from pbx.api.answers import error_middleware, json_answer
from pbx.api.auth import Auth
from pbx.api.commands import Commands
from pbx.api.evidence import Check, Evidence, check
from pbx.api.exchange import Exchange
from pbx.api.feed import Events
from pbx.metrics import CONTENT_TYPE, Metrics
from pbx.tasks import Tasks

__all__ = ["Listener", "build", "listen"]

MAX_BODY: Final = 16 * 1024
"""Bytes of a request body; commands have some dozens."""
SHUTDOWN_SECONDS: Final = 2.0  # feeds are ended first, so only downloads are cut
BACKLOG: Final = 256
MAX_LINE: Final = 8190  # bytes of a request line or one header field, as aiohttp's own


def build(
    exchange: Exchange,
    *,
    token: str,
    evidence: Path,
    metrics: Metrics,
    max_readers: int = 200,
    checker: Check = check,
    wall: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> web.Application:
    """Put the application together. `evidence`: the folder of all calls' folders. Raises OSError, ValueError."""
    auth = Auth(token, metrics, wall=wall, monotonic=monotonic)
    events = Events(exchange, metrics, max_readers, wall)

    async def healthz(_request: web.Request) -> web.Response:
        health = exchange.health()
        return json_answer(health, 200 if health.get("ready") is True else 503)

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def running(_application: web.Application) -> AsyncIterator[None]:
        tasks = Tasks("api")
        tasks.spawn(events.pump(), name="feed")
        yield
        await tasks.close()

    async def end_feeds(_application: web.Application) -> None:
        events.close()

    application = web.Application(
        middlewares=[error_middleware(metrics), auth.middleware],
        client_max_size=MAX_BODY,
    )
    application.add_routes(
        [
            *page.routes(),
            web.get("/healthz", healthz),
            web.get("/metrics", scrape),
            web.post("/api/login", auth.login),
            web.post("/api/logout", auth.logout),
            web.get("/api/events", events.handle),
            *Commands(exchange).routes(),
            *Evidence(evidence, exchange, checker).routes(),
        ]
    )
    application.cleanup_ctx.append(running)
    application.on_shutdown.append(end_feeds)
    return application


class Listener:
    """A served application."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.port = port
        """The port really bound; interesting when 0 was asked for."""

    async def close(self) -> None:
        """End all feeds, give other requests two seconds, close."""
        await self._runner.cleanup()


async def listen(application: web.Application, host: str, port: int) -> Listener:
    """Serve. Raises OSError with the address in its text when the port is taken."""
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    except OSError as error:
        await runner.cleanup()
        raise OSError(
            error.errno, f"HTTP can't listen on {host}:{port}: {error.strerror or error}"
        ) from error
    return Listener(runner, int(runner.addresses[0][1]))
