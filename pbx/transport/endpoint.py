"""One listening place, UDP and TCP on the same port: the rim between sockets and the pure machines.

in → out: bytes from anywhere → `on_message(message, flow, bytes)`; `send(bytes, flow)` → the socket, or `on_failed(flow)`.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol

from pbx.guard.guard import Refusal
from pbx.sip.flow import Flow, answer_flow, stamp
from pbx.sip.message import Request, Response
from pbx.sip.parser import ParseError, parse
from pbx.tasks import Tasks
from pbx.transport.address import Address, canonical, for_socket, listening
from pbx.transport.stream import Connection, StreamLimits
from pbx.transport.udp import Datagrams

OnMessage = Callable[[Request | Response, Flow, bytes], None]

BACKLOG: Final = 1024
"""Connections the kernel may hold until we accept them: a second of the redial after a power cut (bars L3)."""

SWEEP_SECONDS: Final = 1.0
"""How often limits of time are looked at; the shortest is 10 s."""

SAME_PORT_TRIES: Final = 16
"""Attempts to find one free port for both transports when the system may choose."""

DRAIN_SECONDS: Final = 1.0
"""How long `close` waits for peers to read what they were sent last."""

WILDCARDS: Final = ("0.0.0.0", "::")
"""Hosts to listen on that are no address to send from."""

_DEFAULT_LIMITS: Final = StreamLimits()


class Gate(Protocol):
    """Who decides what is heard at all; `pbx.guard.Guard` is one. Times are `time.monotonic`."""

    def judge(self, data: bytes, flow: Flow, now: float) -> Refusal | None:
        """Judge one message by its first bytes; empty `data`: a stream brought what is no SIP."""

    def report(self, request: Request, now: float) -> None:
        """Write into an admitted request what its sender is to be told of our load."""


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
    """UDP socket, TCP listener and all TCP connections, incoming and outgoing."""

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
    ) -> None:
        """`host` is an IP literal, IPv4 or IPv6 without brackets; `port` 0 lets the system choose.

        `on_message` is called in the loop, one message at a time, in the order of arrival per flow; it gets the bytes
        as received (UDP) or as they would be written (TCP). `on_failed` is called from the loop, never from within
        `send`; it may be set later. `gate` None: everything is heard.
        """
        self.host = host
        self.port = port
        self.on_failed = on_failed
        self.counts = Counts()
        self._gate = gate
        self._on_message = on_message
        self._tasks = tasks
        self._limits = limits
        self._udp = Datagrams(self._datagram)
        self._listener: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._connections: dict[int, Connection] = {}
        self._by_remote: dict[Address, Connection] = {}
        """The newest connection to each peer, for flows that don't say which."""
        self._unproven: dict[int, Connection] = {}
        """Incoming connections that have sent no message yet, oldest first."""
        self._crowd: Counter[str] = Counter()
        """How many of them each host has."""
        self._waiting: dict[Address, list[bytes]] = {}
        """What is to be written once a connection of ours stands."""
        self._last_number = 0
        self._drained = asyncio.Event()
        self._closing = False

    @property
    def backlog(self) -> float:
        """Share 0…1 of the UDP receive buffer that is full."""
        return self._udp.backlog

    @property
    def connections(self) -> int:
        """How many TCP connections stand."""
        return len(self._connections)

    async def start(self) -> None:
        """Bind and listen. Raises OSError with the address in its text."""
        datagrams, stream = self._bind()
        loop = asyncio.get_running_loop()
        self.port = int(datagrams.getsockname()[1])
        await loop.create_datagram_endpoint(lambda: self._udp, sock=datagrams)
        self._listener = await loop.create_server(
            lambda: self._connection(ours=False), sock=stream, backlog=BACKLOG
        )
        self._run(self._sweep(), name="sweep")

    def _run(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> None:
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
        self._closing = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        if self._listener is not None:
            self._listener.close()
        self._waiting.clear()
        for connection in list(self._connections.values()):
            connection.close()
        if self._connections:
            self._drained.clear()
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self._drained.wait()
            except TimeoutError:
                for connection in list(self._connections.values()):
                    connection.abort()
        self._udp.close()
        await asyncio.sleep(0)  # the loop calls connection_lost before we say that all is closed

    # --- out --------------------------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message. Returns at once; `on_failed(flow)` hears later if it could not be sent.

        A TCP flow with an `id` uses that connection and no other; with id 0 any connection to the peer, or a new one.
        """
        self.counts.sent += 1
        if flow.transport == "udp":
            if not self._udp.send(data, flow.remote):
                self._fail(flow)
            return
        if flow.id:
            connection = self._connections.get(flow.id)
        else:
            connection = self._by_remote.get(canonical(flow.remote))
        if connection is not None:
            if not connection.send(data):
                self._fail(flow)
        elif flow.id or flow.transport != "tcp" or self._closing:
            self._fail(flow)
        else:
            self._send_later(data, flow)

    def _send_later(self, data: bytes, flow: Flow) -> None:
        remote = canonical(flow.remote)
        queue = self._waiting.get(remote)
        if queue is None:
            self._waiting[remote] = [data]
            self._run(self._connect(flow), name=f"connect.{remote[0]}:{remote[1]}")
        elif sum(map(len, queue)) + len(data) > self._limits.max_unsent:
            self._fail(flow)
        else:
            queue.append(data)

    async def _connect(self, flow: Flow) -> None:
        remote = canonical(flow.remote)
        family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
        # Say who we are: peers compare the source with our Via and with what their firewall knows.
        source = None if self.host in WILDCARDS else (self.host, 0)
        if for_socket(family, remote) is not None:
            with contextlib.suppress(OSError):  # TimeoutError is one
                async with asyncio.timeout(self._limits.connect):
                    await asyncio.get_running_loop().create_connection(
                        lambda: self._connection(ours=True), remote[0], remote[1], local_addr=source
                    )
        if self._waiting.pop(remote, None) is not None:  # `connected` would have taken it
            self._fail(flow)

    def _fail(self, flow: Flow) -> None:
        self.counts.unsendable += 1
        if self.on_failed is not None:
            asyncio.get_running_loop().call_soon(self.on_failed, flow)

    # --- in ---------------------------------------------------------------------------------------------------------

    def _datagram(self, data: bytes, source: Address) -> None:
        flow = Flow("udp", (self.host, self.port), source)
        if self._gate is not None and (refusal := self._gate.judge(data, flow, monotonic())) is not None:
            self.counts.guarded += 1
            if refusal.answer is not None:
                self.send(refusal.answer, refusal.flow or flow)
            return
        try:
            message = parse(data)
        except ParseError as error:
            self.counts.malformed += 1
            answer = error.answer(*source)
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

    def arrived(self, connection: Connection, item: Request | Response | ParseError) -> None:
        """Take what a connection framed (`stream.Owner`)."""
        if connection.proven:
            self._prove(connection)
        data = b"" if isinstance(item, ParseError) else item.encode()
        if self._gate is not None:
            refusal = self._gate.judge(data, connection.flow, monotonic())
            if refusal is not None:
                self.counts.guarded += 1
                # On a stream silence would be waited for in vain; who floods one loses it.
                if refusal.answer is None or not connection.send(refusal.answer):
                    connection.abort()
                return
        if not isinstance(item, ParseError):
            self._deliver(item, connection.flow, data)
            return
        self.counts.malformed += 1
        answer = item.answer(*connection.flow.remote)
        if answer is not None:
            self.counts.sent += 1
            connection.send(answer)

    # --- connections ------------------------------------------------------------------------------------------------

    def _connection(self, *, ours: bool) -> Connection:
        self._last_number += 1
        clock = asyncio.get_running_loop().time
        return Connection(self._last_number, self, self._limits, clock, ours=ours)

    def connected(self, connection: Connection) -> None:
        """Take a new connection in, or refuse it (`stream.Owner`)."""
        self._connections[connection.number] = connection
        remote = connection.flow.remote
        if self._closing:
            connection.abort()
            return
        if not connection.ours and not self._admit(connection):
            self.counts.refused += 1
            connection.abort()
            return
        self._by_remote[remote] = connection
        for data in self._waiting.pop(remote, ()):
            if not connection.send(data):
                self._fail(connection.flow)

    def _admit(self, connection: Connection) -> bool:
        limits, host = self._limits, connection.flow.remote[0]
        if (
            self._crowd[host] >= limits.max_unproven_per_host
            or len(self._connections) > limits.max_connections
        ):
            return False
        if len(self._unproven) >= limits.max_unproven:
            self.counts.refused += 1
            oldest = next(iter(self._unproven.values()))
            self._prove(oldest)
            oldest.abort()
        self._unproven[connection.number] = connection
        self._crowd[host] += 1
        return True

    def _prove(self, connection: Connection) -> None:
        """Take a connection out of those that have sent no message yet."""
        if self._unproven.pop(connection.number, None) is None:
            return
        host = connection.flow.remote[0]
        self._crowd[host] -= 1
        if not self._crowd[host]:
            del self._crowd[host]

    def lost(self, connection: Connection, *, failed: bool) -> None:
        """Forget a connection (`stream.Owner`)."""
        if self._connections.pop(connection.number, None) is None:
            return
        self._prove(connection)
        remote = connection.flow.remote
        if self._by_remote.get(remote) is connection:
            del self._by_remote[remote]
        if failed:
            self._fail(connection.flow)
        if not self._connections:
            self._drained.set()

    async def _sweep(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(clock())

    def sweep(self, now: float) -> None:
        """Close the connections whose limits of time have passed; `now` is the loop's time."""
        for connection in list(self._connections.values()):
            if connection.overdue(now):
                self.counts.overdue += 1
                connection.abort()
