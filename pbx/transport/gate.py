"""The gate in front of the HTTP server: who may stay, how long a request may take to arrive, and TLS (bars F19, F20).

in → out: accepted sockets → aiohttp's connections, under TLS or not; the slow, the silent and the many are closed.
aiohttp itself waits for the rest of a request for ever, and sees a TLS client only when its handshake is done.
"""

import asyncio
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from aiohttp import web

from pbx.transport.address import plain
from pbx.transport.crowd import Crowd
from pbx.transport.files import number_of
from pbx.transport.handshakes import HandshakeQueue
from pbx.transport.tls import TlsError, TlsFilter
from pbx.transport.tls_transport import TlsTransport
from pbx.transport.turns import Turns, each

SWEEP_SECONDS: Final = 1.0

PASS_SECONDS: Final = 0.001
"""Of one pass of the loop, for first requests and lost connections: each makes its handler work in the next, ten times as long and more."""


@dataclass(frozen=True, slots=True)
class GateLimits:
    """How much an HTTP client may take of us. Seconds and counts."""

    handshake: float = 5.0
    """TLS stands by then (bars F19)."""
    head: float = 10.0
    """A request's line and headers are whole by then, the first one since the connection stands (bars F20)."""
    body: float = 32.0
    """A request's body is whole by then (bars F20)."""
    unread: float = 10.0
    """The client reads something of what we wrote by then (bars F20)."""
    max_unproven_per_host: int = 50
    """Connections of one address that have sent no whole request yet (bars F19)."""
    max_unproven: int = 2000
    """The same for all addresses; beyond, the oldest makes room."""
    max_connections: int = 14_000
    """All together: the WebSockets of 12,000 phones, and readers of console and API."""
    highest_file: int = sys.maxsize
    """Descriptor above which a connection is refused (`files`): calls need what is left."""


class Gate:
    """All HTTP connections. `app` is what aiohttp makes one with."""

    def __init__(
        self,
        app: Callable[[], asyncio.Protocol],
        limits: GateLimits,
        *,
        context: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`context` gives the TLS context for new connections."""
        self._app = app
        self._context = context
        self._handshakes = HandshakeQueue()
        self.turns = Turns(PASS_SECONDS)
        """Where first requests and lost connections wait."""
        self._crowd = Crowd(per_host=limits.max_unproven_per_host, in_all=limits.max_unproven)
        self._visitors: dict[int, Visitor] = {}
        self._last = 0
        self.limits = limits
        self.refused = 0
        """Connections closed at once because a limit was reached."""
        self.overdue = 0
        """Connections closed because a limit of time had passed."""

    def __len__(self) -> int:
        return len(self._visitors)

    def plain(self) -> "Visitor":
        """Make the protocol of an HTTP connection."""
        return self._visitor(None)

    def secure(self) -> "Visitor":
        """Make the protocol of an HTTPS connection."""
        assert self._context is not None, "who listens for TLS has a certificate"
        return self._visitor(TlsFilter(self._context(), server_side=True), self._handshakes)

    def _visitor(self, tls: TlsFilter | None, queue: HandshakeQueue | None = None) -> "Visitor":
        self._last += 1
        return Visitor(self._last, self, self._app(), tls, queue)

    def arrived(self, visitor: "Visitor", host: str, file: int) -> bool:
        """Take a connection in; False: it is to be closed. `file`: its descriptor."""
        if len(self._visitors) >= self.limits.max_connections or file > self.limits.highest_file:
            self.refused += 1
            return False
        welcome, oldest = self._crowd.admit(visitor.number, host)
        if oldest is not None:
            self._visitors[oldest].abort()
        if not welcome or oldest is not None:
            self.refused += 1
        if welcome:
            self._visitors[visitor.number] = visitor
        return welcome

    def proved(self, visitor: "Visitor") -> None:
        """Hear that a connection sent a whole request."""
        self._crowd.leave(visitor.number)

    def left(self, visitor: "Visitor") -> None:
        """Hear that a connection is gone."""
        self._crowd.leave(visitor.number)
        self._visitors.pop(visitor.number, None)

    async def sweep(self, now: float) -> None:
        """Close the connections whose limits of time have passed; `now` is the loop's time."""

        def look(visitor: Visitor) -> None:
            if visitor.is_overdue(now):
                self.overdue += 1
                visitor.abort()

        await each(self._visitors.values(), look)

    async def watch(self) -> None:
        """Sweep, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep(clock())


LONG_BODIES: Final = frozenset({"/api/districts"})
"""Read by their handlers, after the sender has shown who it is, with limits of their own."""


@web.middleware
async def middleware(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Tell the gate that a request's head is whole, and wait for its body only so long."""
    visitor = _visitor_of(request)
    if visitor is None:
        return cast("web.StreamResponse", await handler(request))
    visitor.serving(yes=True)
    try:
        if request.can_read_body and request.path not in LONG_BODIES:
            try:
                async with asyncio.timeout(visitor.gate.limits.body):
                    await request.read()  # is kept; our bodies are small (`client_max_size`)
            except TimeoutError:
                visitor.gate.overdue += 1
                raise web.HTTPRequestTimeout from None
        return cast("web.StreamResponse", await handler(request))
    finally:
        visitor.serving(yes=False)


def _visitor_of(request: web.Request) -> "Visitor | None":
    transport = request.transport
    if transport is None:
        return None
    protocol = transport.get_protocol()
    return protocol if isinstance(protocol, Visitor) else None


class Visitor(asyncio.Protocol):
    """One connection of an HTTP client: hands everything on to aiohttp's, and watches the clock."""

    __slots__ = (
        "_app", "_asked", "_hello", "_host", "_opened", "_proven", "_queue", "_raw", "_serving", "_stands", "_stuck",
        "_tls", "gate", "number",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        gate: Gate,
        app: asyncio.Protocol,
        tls: TlsFilter | None,
        queue: HandshakeQueue | None = None,
    ) -> None:
        self.number = number
        self.gate = gate
        self._app = app
        self._tls = tls
        self._queue = queue
        self._hello = b""
        """What waits for the handshake's turn."""
        self._host = ""
        self._raw: asyncio.Transport | None = None
        self._stands = False
        """aiohttp knows of it."""
        self._opened = asyncio.get_running_loop().time()
        self._asked: float | None = self._opened
        """Since when a request is awaited that has begun, or has never come."""
        self._serving = 0
        self._stuck: float | None = None
        self._proven = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        remote = transport.get_extra_info("peername")
        self._host = plain(remote)[0] if remote else ""
        if not remote or not self.gate.arrived(self, self._host, number_of(transport)):
            self._raw.abort()
        elif self._tls is None:
            self._stand(self._raw)

    def _stand(self, transport: asyncio.Transport) -> None:
        self._stands = True
        self._app.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gate.left(self)
        self._raw = None
        # Each ends a handler, and what TLS keeps: thousands are lost at once when a network is.
        if self.gate.turns.free():
            self._lost(exc)
        else:
            self.gate.turns.later(partial(self._lost, exc))

    def _lost(self, exc: Exception | None) -> None:
        if self._stands:
            self._stands = False
            self._app.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._raw is not None and self._queue is not None and not self._stands:
            self._hello = data
            if not self._queue.begin(self._host, self._shake) and not self._raw.is_closing():
                self._raw.pause_reading()
        elif self._proven or self._raw is None or self.gate.turns.free():
            self._take_bytes(data)
        else:
            # Thousands of phones may come at once; nobody but us stops the reading of a connection that has asked nothing yet.
            self.gate.turns.later(partial(self._late, data))
            self._raw.pause_reading()

    def _late(self, data: bytes) -> None:
        if self._raw is None or self._raw.is_closing():
            return
        self._raw.resume_reading()
        try:
            self._take_bytes(data)
        except Exception:
            self.abort()  # as the loop does when what it calls itself fails
            raise

    def _shake(self) -> None:
        """Take a piece of the handshake: its turn has come."""
        if self._raw is None or self._raw.is_closing():
            return
        hello, self._hello = self._hello, b""
        self._raw.resume_reading()
        self._take_bytes(hello)

    def _take_bytes(self, data: bytes) -> None:
        if self._raw is None:
            return
        if self._tls is not None:
            data = self._decrypted(self._raw, self._tls, data)
        if not data or not self._stands:
            return
        if self._asked is None and not self._serving:
            self._asked = asyncio.get_running_loop().time()
        self._app.data_received(data)

    def _decrypted(self, raw: asyncio.Transport, tls: TlsFilter, data: bytes) -> bytes:
        try:
            inside, out = tls.receive(data)
        except TlsError as error:
            raw.write(error.alert)
            raw.close()
            return b""
        if out:
            raw.write(out)
        if tls.established and not self._stands:
            self._stand(TlsTransport(raw, tls, self))
        if tls.closed:
            raw.close()
        return inside

    def eof_received(self) -> bool | None:
        open_still = self._app.eof_received() if self._stands else None
        # To close a socket costs the kernel more than to hear that its peer is gone: the loop would close thousands in one pass.
        if open_still or self._raw is None or self.gate.turns.free():
            return open_still
        self.gate.turns.later(self._raw.close)
        return True

    def pause_writing(self) -> None:
        self._stuck = asyncio.get_running_loop().time()
        if self._stands:
            self._app.pause_writing()

    def resume_writing(self) -> None:
        self._stuck = None
        if self._stands:
            self._app.resume_writing()

    def serving(self, *, yes: bool) -> None:
        """Hear that a request's head was whole, or that its answer is done."""
        self._serving += 1 if yes else -1
        self._asked = None
        if not self._proven:
            self._proven = True
            self.gate.proved(self)

    def is_overdue(self, now: float) -> bool:
        """Whether a limit of time has passed."""
        limits = self.gate.limits
        return self._raw is not None and (
            (not self._stands and now - self._opened >= limits.handshake)
            or (self._asked is not None and now - self._asked >= limits.head)
            or (self._stuck is not None and now - self._stuck >= limits.unread)
        )

    def abort(self) -> None:
        """Close now."""
        if self._raw is not None:
            self._raw.abort()
