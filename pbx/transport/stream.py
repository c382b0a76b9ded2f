"""TCP connections that carry SIP, bare or under TLS (RFC 3261 §18.3, RFC 5626 §3.5.1).

in → out: bytes → (`TlsFilter`) → `StreamFramer` → messages, parse errors and pings to the owner, in order; `send` writes
whole messages. A connection knows by itself when it deserves no more patience: `overdue(now)`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from pbx.sip.flow import Flow
from pbx.sip.parser import Ping, StreamFramer
from pbx.transport.address import plain
from pbx.transport.files import number_of
from pbx.transport.handshakes import HandshakeQueue
from pbx.transport.link import Item, Link, Owner, StreamLimits
from pbx.transport.tls import TlsError, TlsFilter
from pbx.transport.turns import Turns

__all__ = ["Connection", "Owner", "StreamLimits"]

SLICE: Final = 2048
"""Bytes parsed before others have their turn: four requests or so, a millisecond of the loop (bars L10)."""


class Connection(Link, asyncio.Protocol):
    """One TCP connection, theirs or ours."""

    def __init__(
        self,
        number: int,
        owner: Owner,
        limits: StreamLimits,
        clock: Callable[[], float],
        *,
        ours: bool,
        tls: TlsFilter | None = None,
        queue: HandshakeQueue | None = None,
        turns: Turns | None = None,
    ) -> None:
        """`number` becomes `Flow.id`; `ours`: we opened it, so the peer owes us nothing. `queue`: where their handshake waits;
        `turns`: where what they say waits.
        """
        kind = "tls" if tls else "tcp"
        super().__init__(number, owner, limits, clock, ours=ours, transport=kind, turns=turns)
        self.shaking = tls is not None
        self.trouble: str | None = None
        """Why TLS failed, if it did."""
        self._tls = tls
        self._queue = queue
        self._hello = b""
        """What waits for the handshake's turn."""
        self._early: list[bytes] = []
        """What is to be written once TLS stands."""
        self._framer = StreamFramer()
        self._raw: deque[bytes] = deque()
        """Read and not framed yet; of the first all before `_at` is."""
        self._at = 0
        self._transport: asyncio.Transport | None = None
        self._doomed = False

    @property
    def names(self) -> frozenset[str]:
        return self._tls.names if self._tls is not None else frozenset()

    # --- in -----------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not local or not remote:
            self._transport.abort()  # reset before we looked
            return
        self.flow = Flow(self.flow.transport, plain(local), plain(remote), self.number)
        self.file = number_of(transport)
        self._transport.set_write_buffer_limits(self._limits.high_water)
        self._owner.connected(self)
        if self._tls is not None and not self._transport.is_closing():
            self._secure(lambda tls: (b"", tls.start()))

    def data_received(self, data: bytes) -> None:
        if self.shaking and self._queue is not None:
            self._hello = data
            if not self._queue.begin(self.flow.remote[0], self._shake):
                self.read(on=False)
        else:
            self.feed(data)

    def _shake(self) -> None:
        """Take a piece of the handshake: its turn has come."""
        hello, self._hello = self._hello, b""
        self.read(on=True)
        self.fed(hello)

    def fed(self, data: bytes) -> None:
        now = self._heard = self._clock()
        if self._tls is not None:
            data = self._secure(lambda tls: tls.receive(data))
            if self._tls.closed:
                self.close()
        if data:
            self._raw.append(data)
            if len(self._raw) == 1:
                self.take(self._framed(now))

    def _framed(self, now: float) -> list[Item | Ping]:
        """Take a slice of what was read."""
        data = self._raw[0]
        items = self._framer.feed(data[self._at : self._at + SLICE])
        self._at += SLICE
        if self._at >= len(data):
            self._raw.popleft()
            self._at = 0
        if self._framer.awaiting == "nothing":
            self._began = None
        elif items or self._began is None:
            self._began = now  # a message sent in small pieces gets no new time with each of them
        return items

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def backlog(self) -> bool:
        return bool(self._raw) or super().backlog

    def forget(self) -> None:
        super().forget()
        self._raw.clear()

    def _secure(self, step: Callable[[TlsFilter], tuple[bytes, bytes]]) -> bytes:
        """Take a step of TLS; returns what the peer said inside."""
        tls, transport = self._tls, self._transport
        if tls is None or transport is None or transport.is_closing():
            return b""
        try:
            plain_text, out = step(tls)
        except TlsError as error:
            self.trouble = str(error)
            if error.alert:
                transport.write(error.alert)
            self._doomed = True
            transport.close()
            return b""
        if out:
            transport.write(out)
        if self.shaking and tls.established:
            self.shaking = False
            early, self._early = self._early, []
            for data in early:
                self.send(data)
        return plain_text

    def handled(self) -> None:
        if self._framer.fatal:
            self._raw.clear()
            self.close()  # once the answer is written
        elif self._raw:
            self._waiting.extend(self._framed(self._clock()))

    def eof_received(self) -> bool:
        """Hear that the peer is gone. True: the connection is closed when its turn comes, for thousands may go at once."""
        if self._turns is None or self._transport is None or self._turns.free():
            return False
        self._turns.later(self._transport.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.forget()
        self._transport = None
        self.gone(failed=exc is not None or self._doomed or bool(self._early))

    # --- out ----------------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self.stuck(yes=True)

    def resume_writing(self) -> None:
        self.stuck(yes=False)

    def read(self, *, on: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def pong(self) -> None:
        self.send(b"\r\n")

    def send(self, data: bytes) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if self.shaking:
            self._early.append(data)
            unsent = sum(map(len, self._early))
        else:
            transport.write(data if self._tls is None else self._tls.send(data))
            unsent = transport.get_write_buffer_size()
        if unsent > self._limits.max_unsent:
            self.abort()
            return False
        return True

    def close(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._tls is not None and (goodbye := self._tls.close()):
            self._transport.write(goodbye)
        self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._doomed = self._doomed or self._transport.get_write_buffer_size() > 0
            self._transport.abort()
