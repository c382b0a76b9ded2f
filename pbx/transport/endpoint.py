"""The listening places of signalling, all transports: the rim between sockets and the pure machines.

in → out: bytes from anywhere → `on_message(message, flow, bytes)`; `send(bytes, flow)` → the socket, or `on_failed(flow)`.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol

from pbx.guard.guard import Refusal
from pbx.sip.flow import Flow, answer_flow, stamp
from pbx.sip.message import Request, Response
from pbx.sip.parser import ParseError, parse
from pbx.tasks import Tasks
from pbx.transport.address import Address, listening
from pbx.transport.certificates import Certificates
from pbx.transport.connections import Connections
from pbx.transport.link import Item, Link, StreamLimits
from pbx.transport.udp import Datagrams

OnMessage = Callable[[Request | Response, Flow, bytes], None]

BACKLOG: Final = 1024
"""Connections the kernel may hold until we accept them: a second of the redial after a power cut (bars L3)."""

SWEEP_SECONDS: Final = 1.0
"""How often limits of time are looked at; the shortest is 5 s."""

SAME_PORT_TRIES: Final = 16
"""Attempts to find one free port for both transports when the system may choose."""

_DEFAULT_LIMITS: Final = StreamLimits()


class Gate(Protocol):
    """Who decides what is heard at all; `pbx.guard.Guard` is one. Times are `time.monotonic`."""

    def judge(self, data: bytes, flow: Flow, now: float) -> Refusal | None:
        """Judge one message by its first bytes; empty `data`: a stream brought what is no SIP."""

    def report(self, request: Request, now: float) -> None:
        """Write into an admitted request what its sender is to be told of our load."""


@dataclass(frozen=True, slots=True)
class Listening:
    """One more address to listen on."""

    transport: str
    """`udp`, `tcp` or `tls`."""
    host: str
    """IP literal without brackets."""
    port: int
    """0: the system chooses."""


@dataclass(slots=True)
class Counts:
    """What happened since the start, for `/metrics`."""

    received: int = 0
    """Well-formed messages."""
    malformed: int = 0
    sent: int = 0
    unsendable: int = 0
    """Messages that could not be handed to the network."""
    refused: int = 0
    """Connections closed at once because a limit was reached."""
    overdue: int = 0
    """Connections closed because a limit of time had passed."""
    faults: int = 0
    """Messages whose handling raised an exception: our bugs."""
    guarded: int = 0
    """Messages the gate did not let in."""


class Endpoint:
    """UDP sockets, listeners, and all connections, incoming and outgoing."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        on_message: OnMessage,
        tasks: Tasks,
        limits: StreamLimits = _DEFAULT_LIMITS,
        on_failed: Callable[[Flow], None] | None = None,
        gate: Gate | None = None,
        more: Sequence[Listening] = (),
        certificates: Certificates | None = None,
    ) -> None:
        """`host` is an IP literal, IPv4 or IPv6 without brackets, where UDP and TCP listen; `port` 0 lets the system
        choose. `more` are further addresses; one of TLS, and connections of ours by TLS, need `certificates`.

        `on_message` is called in the loop, one message at a time, in the order of arrival per flow; it gets the bytes
        as received (UDP, WebSocket) or as they would be written (TCP, TLS). `on_failed` is called from the loop, never
        from within `send`; it may be set later. `gate` None: everything is heard.
        """
        self.host = host
        self.port = port
        self.on_failed = on_failed
        self.on_gone: Callable[[Flow], None] | None = None
        """Hears of connections that ended in order: nothing was lost, but nobody is there any more."""
        self.counts = Counts()
        self._gate = gate
        self.listening: tuple[Listening, ...] = tuple(more)
        """The further addresses; with their real ports once started."""
        self.limits = limits
        self._on_message = on_message
        self._tasks = tasks
        self._certificates = certificates
        self._udp = Datagrams(self._datagram, lambda: (self.host, self.port))
        self._sockets: list[tuple[Address, Datagrams]] = []
        """Further UDP sockets."""
        self._listeners: list[asyncio.Server] = []
        self._running: set[asyncio.Task[None]] = set()
        self.links = Connections(self, limits, certificates)

    @property
    def backlog(self) -> float:
        """Share 0…1 of the fullest UDP receive buffer that is full."""
        return max(self._udp.backlog, *(more.backlog for _, more in self._sockets), 0.0)

    @property
    def connections(self) -> int:
        """How many connections stand."""
        return len(self.links)

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind and listen. Raises OSError with the address in its text."""
        datagrams, stream = self._bind()
        self.port = int(datagrams.getsockname()[1])
        opened = []
        try:
            for place in self.listening:
                kind = socket.SOCK_DGRAM if place.transport == "udp" else socket.SOCK_STREAM
                opened.append((place, listening(kind, place.host, place.port, place.transport)))
        except OSError:
            for bound in (datagrams, stream, *(bound for _, bound in opened)):
                bound.close()
            raise
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self._udp, sock=datagrams)
        await self._listen(stream, secure=False)
        real = []
        for place, bound in opened:
            address = (place.host, int(bound.getsockname()[1]))
            real.append(Listening(place.transport, *address))
            if place.transport == "udp":
                await self._also(address, bound)
            else:
                await self._listen(bound, secure=place.transport == "tls")
        self.listening = tuple(real)
        self.run(self._sweep(), name="sweep")

    async def _also(self, address: Address, bound: socket.socket) -> None:
        datagrams = Datagrams(self._datagram, lambda: address)
        self._sockets.append((address, datagrams))
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: datagrams, sock=bound)

    async def _listen(self, bound: socket.socket, *, secure: bool) -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: self.links.incoming(secure=secure), sock=bound, backlog=BACKLOG
        )
        self._listeners.append(server)

    def run(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run a task that ends with the endpoint (`connections.House`)."""
        task = self._tasks.spawn(coroutine, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        for attempt in range(SAME_PORT_TRIES):
            stream = listening(socket.SOCK_STREAM, self.host, self.port)
            try:
                return listening(socket.SOCK_DGRAM, self.host, stream.getsockname()[1]), stream
            except OSError:
                stream.close()
                if self.port or attempt == SAME_PORT_TRIES - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Stop listening, let peers read what was written, close everything."""
        self.links.closing = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        for listener in self._listeners:
            listener.close()
        await self.links.close()
        for datagrams in (self._udp, *(more for _, more in self._sockets)):
            datagrams.close()
        await asyncio.sleep(0)  # the loop calls connection_lost before we say that all is closed
        self.links.turns.finish()

    # --- out --------------------------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message. Returns at once; `on_failed(flow)` hears later if it could not be sent.

        A flow with an `id` uses that connection and no other; with id 0 any connection to the peer, or a new one.
        """
        self.counts.sent += 1
        if flow.transport == "udp":
            sent = self._socket(flow).send(data, flow.remote)
        else:
            sent = self.links.send(data, flow)
        if not sent:
            self.unsendable(flow)

    def _socket(self, flow: Flow) -> Datagrams:
        return next((more for address, more in self._sockets if address == flow.local), self._udp)

    def expect(self, transport: str, remote: Address, name: str) -> None:
        """Remember under which name `remote` is called: over TLS it must prove to be that."""
        self.links.expect(transport, remote, name)

    def names(self, flow: Flow) -> frozenset[str]:
        """Return what the peer's certificate is for (`Connections.names`)."""
        return self.links.names(flow)

    def unsendable(self, flow: Flow) -> None:
        """Tell of what could not be sent (`connections.House`)."""
        self.counts.unsendable += 1
        if self.on_failed is not None:
            self.links.turns.later(partial(self.on_failed, flow))

    def gone(self, flow: Flow) -> None:
        """Tell of a connection that ended in order (`connections.House`)."""
        if self.on_gone is not None:
            self.links.turns.later(partial(self.on_gone, flow))

    def refused(self) -> None:
        """Count a connection that was sent away (`connections.House`)."""
        self.counts.refused += 1

    # --- in ---------------------------------------------------------------------------------------------------------

    def _datagram(self, data: bytes, flow: Flow) -> None:
        if self._gate is not None and (refusal := self._gate.judge(data, flow, monotonic())) is not None:
            self.counts.guarded += 1
            if refusal.answer is not None:
                self.send(refusal.answer, refusal.flow or flow)
            return
        self.admit(data, flow)

    def admit(self, data: bytes, flow: Flow) -> None:
        """Take a message whole that the gate let in, at once or after it had it wait."""
        try:
            message = parse(data)
        except ParseError as error:
            self.counts.malformed += 1
            answer = error.answer(*flow.remote)
            if answer is not None:
                self.send(answer, answer_flow(error.via, flow))
            return
        self._deliver(message, flow, data)

    def _deliver(self, message: Request | Response, flow: Flow, data: bytes) -> None:
        self.counts.received += 1
        if isinstance(message, Request):
            stamp(message, flow.remote)
            if self._gate is not None:
                self._gate.report(message, monotonic())
        try:
            self._on_message(message, flow, data)
        except Exception as error:  # noqa: BLE001 - our bug in one message must not end the connection of others
            self.counts.faults += 1
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"handling {message!r} from {flow.remote} failed", "exception": error}
            )

    def deliver(self, link: Link, item: Item) -> None:
        """Take what a connection framed (`connections.House`)."""
        data = b"" if isinstance(item, ParseError) else item.encode()
        if self._gate is not None:
            refusal = self._gate.judge(data, link.flow, monotonic())
            if refusal is not None:
                self.counts.guarded += 1
                if refusal.kept:
                    return
                # On a stream silence would be waited for in vain; who floods one loses it.
                if refusal.answer is None or not link.send(refusal.answer):
                    link.abort()
                return
        if not isinstance(item, ParseError):
            self._deliver(item, link.flow, data)
            return
        self.counts.malformed += 1
        answer = item.answer(*link.flow.remote)
        if answer is not None:
            self.counts.sent += 1
            link.send(answer)

    async def _sweep(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep(clock())

    async def sweep(self, now: float) -> None:
        """Close the connections whose limits of time have passed; `now` is the loop's time."""
        self.counts.overdue += await self.links.sweep(now)
