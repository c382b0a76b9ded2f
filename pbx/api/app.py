"""The aiohttp application, put together; and the listening socket.

in → out: `build(exchange, …)` → application; `listen(application, host, port)` → `Listener`.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pbx.api import page
from pbx.api.answers import error_middleware, json_answer
from pbx.api.auth import NOBODY, Auth, People
from pbx.api.commands import Commands
from pbx.api.evidence import Check, Evidence, check
from pbx.api.exchange import Exchange
from pbx.api.feed import Events
from pbx.api.routing import Routes, Routing
from pbx.metrics import CONTENT_TYPE, Metrics
from pbx.tasks import Tasks
from pbx.transport import gate
from pbx.transport.address import listening
from pbx.transport.gate import Gate, GateLimits

__all__ = ["Listener", "build", "listen"]

MAX_BODY: Final = 16 * 1024
"""Bytes of a request body; commands have some dozens."""
SHUTDOWN_SECONDS: Final = 2.0  # feeds are ended first, so only downloads are cut
BACKLOG: Final = 256
LINGER_SECONDS: Final = (
    2.0  # what still comes of a refused request is read so long, so that its answer arrives
)
DEFAULT_LIMITS: Final = GateLimits()
MAX_LINE: Final = 8190  # bytes of a request line or one header field, as aiohttp's own


class PeersFaults(logging.Filter):
    """Keeps requests that nobody can read out of the log: they are answered 400, and whoever sends thousands of them must
    not fill our disk with tracebacks of the parser.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        fault = record.exc_info[1] if record.exc_info else None
        return not (isinstance(fault, HttpProcessingError) and fault.code < 500)


def build(
    exchange: Exchange,
    *,
    token: str,
    evidence: Path,
    metrics: Metrics,
    max_readers: int = 200,
    checker: Check = check,
    more: Sequence[web.RouteDef] = (),
    further: Sequence[web.RouteDef] = (),
    routing: Routing | None = None,
    people: People = NOBODY,
    changed: Callable[[Callable[[frozenset[str]], None]], None] | None = None,
    wall: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> web.Application:
    """Put the application together. `evidence`: the folder of all calls' folders; `more`: routes of others, such as SIP
    over WebSocket, which judge for themselves who may use them; `further`: routes for who is logged in. `people`: who may log
    in by name; `changed`: tells whose roles changed. Raises OSError, ValueError.
    """
    opened = [route.path for route in more]
    auth = Auth(token, metrics, wall=wall, monotonic=monotonic, open_paths=opened, people=people)
    events = Events(exchange, metrics, max_readers, wall)
    auth.on_logout = events.revoke
    if changed is not None:
        changed(events.end)

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
        middlewares=[error_middleware(metrics), gate.middleware, auth.middleware],
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
            *further,
            *(() if routing is None else Routes(routing).routes()),
            *more,
        ]
    )
    application.cleanup_ctx.append(running)
    application.on_shutdown.append(end_feeds)
    return application


class Listener:
    """A served application."""

    def __init__(
        self, runner: web.AppRunner, gate: Gate, servers: Sequence[asyncio.Server], tasks: Tasks
    ) -> None:
        self._runner = runner
        self._servers = servers
        self._tasks = tasks
        self.gate = gate
        ports = [int(server.sockets[0].getsockname()[1]) for server in servers]
        self.port = ports[0]
        """The port really bound; interesting when 0 was asked for."""
        self.tls_port = ports[1] if len(ports) > 1 else None

    async def close(self) -> None:
        """End all feeds, give other requests two seconds, close."""
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
        self.gate.turns.finish()  # whoever was still to hear that a connection is gone
        await self._tasks.close()


async def listen(
    application: web.Application,
    host: str,
    port: int,
    *,
    tls_port: int | None = None,
    context: Callable[[], ssl.SSLContext] | None = None,
    limits: GateLimits = DEFAULT_LIMITS,
) -> Listener:
    """Serve, with `tls_port` over TLS too (`context` gives the certificate for new connections).

    Raises OSError with the address in its text when a port is taken.
    """
    bound = [listening(socket.SOCK_STREAM, host.strip("[]"), port, "HTTP")]
    try:
        if tls_port is not None:
            bound.append(listening(socket.SOCK_STREAM, host.strip("[]"), tls_port, "HTTPS"))
    except OSError:
        bound[0].close()
        raise
    logger = logging.getLogger("aiohttp.server")
    if not any(isinstance(one, PeersFaults) for one in logger.filters):
        logger.addFilter(PeersFaults())
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
        lingering_time=LINGER_SECONDS,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
    )
    await runner.setup()
    assert runner.server is not None, "set up one line above"
    tasks = Tasks("http")
    visitors = Gate(runner.server, limits, context=context)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(protocol, sock=sock, backlog=BACKLOG)
        for protocol, sock in zip((visitors.plain, visitors.secure), bound, strict=False)
    ]
    tasks.spawn(visitors.watch(), name="gate")
    return Listener(runner, visitors, servers, tasks)
