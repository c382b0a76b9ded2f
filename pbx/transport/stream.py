"""TCP connections that carry SIP (RFC 3261 §18.3, RFC 5626 §3.5.1).

in → out: bytes → `StreamFramer` → messages, parse errors and pings to the owner, in order; `send` writes whole
messages. A connection knows by itself when it deserves no more patience: `overdue(now)`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import ParseError, Ping, StreamFramer
from pbx.transport.address import plain


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How much a TCP peer may take of us. Seconds and bytes."""

    first_message: float = 10.0
    """A new connection has sent one whole well-formed message by then; honest phones send it at once (bars F19)."""
    message: float = 30.0
    """A message that has begun is whole by then; after 64*T1 = 32 s nobody waits for its answer (bars F20)."""
    idle: float = 7200.0
    """Silence of a connection that has shown itself: twice the longest registration we grant."""
    unread: float = 10.0
    """The peer reads something of what we wrote by then (bars L10)."""
    max_unsent: int = 1024 * 1024
    """Bytes a peer may leave unread."""
    connect: float = 10.0
    """Time to open a connection of ours; the INVITE's timer B runs for 32 s meanwhile."""
    max_unproven_per_host: int = 50
    """Connections of one address that have sent no message yet (bars F19)."""
    max_unproven: int = 2000
    """The same for all addresses; beyond, the oldest makes room: an honest phone speaks at once, a hoarder does not."""
    max_connections: int = 12_000
    """All together: 10,000 registered phones (bars L11) and their successors while old ones die."""


class Owner(Protocol):
    """What a connection tells; `Endpoint` is one."""

    def connected(self, connection: "Connection") -> None:
        """The connection stands; its `flow` is known."""

    def arrived(self, connection: "Connection", item: Request | Response | ParseError) -> None:
        """A message or parse error came; pings are answered already."""

    def lost(self, connection: "Connection", *, failed: bool) -> None:
        """The connection is gone; `failed`: something we wrote may not have arrived."""


class Connection(asyncio.Protocol):
    """One TCP connection, theirs or ours."""

    def __init__(
        self, number: int, owner: Owner, limits: StreamLimits, clock: Callable[[], float], *, ours: bool
    ) -> None:
        """`number` becomes `Flow.id`; `ours`: we opened it, so the peer owes us nothing."""
        self.number = number
        self.flow = Flow("tcp", ("", 0), ("", 0), number)
        self.ours = ours
        self.proven = ours
        """One well-formed message came, or we opened it."""
        self._owner = owner
        self._limits = limits
        self._clock = clock
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._opened = self._heard = clock()
        self._began: float | None = None
        """Since when an unfinished message is coming in."""
        self._stuck: float | None = None
        """Since when the peer has not read enough."""
        self._doomed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not local or not remote:
            self._transport.abort()  # reset before we looked
            return
        self.flow = Flow("tcp", plain(local), plain(remote), self.number)
        self._owner.connected(self)

    def data_received(self, data: bytes) -> None:
        now = self._heard = self._clock()
        items = self._framer.feed(data)
        for item in items:
            if isinstance(item, Ping):
                self.send(b"\r\n")
                continue
            self.proven |= not isinstance(item, ParseError)
            self._owner.arrived(self, item)
        if self._framer.fatal:
            self.close()  # once the answer is written
        if self._framer.awaiting == "nothing":
            self._began = None
        elif items or self._began is None:
            self._began = now  # a message sent in small pieces gets no new time with each of them

    def pause_writing(self) -> None:
        # Back pressure: who does not read our answers is not read either (bars L10).
        self._stuck = self._clock()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._stuck = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self, failed=exc is not None or self._doomed)
        self._transport = None

    def send(self, data: bytes) -> bool:
        """Write one message. False: the connection is closing, or is closed now because the peer does not read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        if transport.get_write_buffer_size() > self._limits.max_unsent:
            self.abort()
            return False
        return True

    def overdue(self, now: float) -> bool:
        """Whether a limit of time has passed."""
        limits = self._limits
        return (
            (not self.proven and now - self._opened >= limits.first_message)
            or (self._began is not None and now - self._began >= limits.message)
            or (self._stuck is not None and now - self._stuck >= limits.unread)
            or now - self._heard >= limits.idle
        )

    def close(self) -> None:
        """Write what is left, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now; what the peer has not read is lost."""
        if self._transport is not None:
            self._doomed = self._transport.get_write_buffer_size() > 0
            self._transport.abort()
