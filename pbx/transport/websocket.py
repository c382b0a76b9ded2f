"""SIP over WebSocket (RFC 7118) on the HTTP server: the handshake, and the connection it becomes.

in → out: an upgrade request → 101, or a refusal that says why; then frames → messages for the endpoint, one SIP message
per WebSocket message, text or binary.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable, Collection
from typing import Any, Final, cast
from urllib.parse import urlsplit

from aiohttp import web

from pbx.sip.flow import Flow
from pbx.sip.parser import ParseError, Ping, parse
from pbx.transport.address import plain
from pbx.transport.connections import Connections
from pbx.transport.frames import Close, Closing, FrameReader, Message, Opcode, WebPing, frame
from pbx.transport.link import Item, Link, Owner, StreamLimits
from pbx.transport.turns import Turns

__all__ = ["SipSocket", "WebLink"]

SUBPROTOCOL: Final = "sip"
"""RFC 7118 §4.1."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

LINGER_SECONDS: Final = 1.0
"""What a client still sends is thrown away so long after we said why we close; closed at once, it would never read that."""

MAX_PINGS: Final = 32
"""WebSocket pings answered between two sweeps of a second; who sends more is closed (bars S12)."""


class WebLink(Link):
    """One WebSocket connection of a client. It is fed by aiohttp's connection, and writes to its transport."""

    def __init__(
        self,
        number: int,
        owner: Owner,
        limits: StreamLimits,
        clock: Callable[[], float],
        transport: asyncio.Transport,
        *,
        turns: Turns | None = None,
    ) -> None:
        kind = "ws" if transport.get_extra_info("ssl_object") is None else "wss"
        super().__init__(number, owner, limits, clock, ours=False, transport=kind, turns=turns)
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if local and remote:
            self.flow = Flow(self.flow.transport, plain(local), plain(remote), number)
        self.over = asyncio.Event()
        """Set when the connection is gone."""
        self._transport: asyncio.Transport | None = transport
        self._frames = FrameReader()
        self._text = True
        """The peer's last message was text, and so shall ours be."""
        self._pings = 0
        self._doomed = False
        self._leaving: float | None = None
        """Since when the peer knows that we leave."""

    # --- in -----------------------------------------------------------------------------------------------------------

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the socket. The name and the answer are aiohttp's: (end of stream, what is left)."""
        self.feed(data)
        return False, b""

    def fed(self, data: bytes) -> None:
        now = self._heard = self._clock()
        items: list[bytes] = []
        closing: Closing | None = None
        for event in self._frames.feed(data):
            match event:
                case Message(content, text):
                    self._text = text
                    items.append(content)
                case WebPing(content):
                    self._pings += 1
                    if self._pings > MAX_PINGS:
                        self.abort()
                        return
                    self._write(frame(Opcode.PONG, content))
                case Closing():
                    closing = event
        if not self._frames.unfinished:
            self._began = None
        elif items or self._began is None:
            self._began = now
        self.take(items)
        if closing is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.write(closing.reply)
            if closing.asked:
                self._transport.close()
            else:
                self._leaving = now

    def feed_eof(self) -> None:
        """Hear that the connection is gone (aiohttp's name)."""
        if self._transport is None:
            return
        self._transport = None
        self.forget()
        self._owner.lost(self, failed=self._doomed)
        self.over.set()

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def parsed(self, content: bytes) -> Item | Ping:
        return _read(content)

    def handled(self) -> None:
        """Nothing ends a WebSocket but its own close: messages need no framing."""

    def overdue(self, now: float) -> bool:
        self._pings = 0
        # aiohttp's connection hears of full buffers, not we: what the kernel has not taken is looked at instead.
        waiting = 0 if self._transport is None else self._transport.get_write_buffer_size()
        self.stuck(yes=waiting > self._limits.high_water)
        left = self._leaving is not None and now - self._leaving >= LINGER_SECONDS
        return left or super().overdue(now)

    # --- out ----------------------------------------------------------------------------------------------------------

    def read(self, *, on: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def pong(self) -> None:
        # RFC 7118 §6: CRLF keep-alives of RFC 5626 work here too, each in a message of its own.
        self.send(b"\r\n")

    def send(self, data: bytes) -> bool:
        text = self._text and _is_text(data)
        return self._write(frame(Opcode.TEXT if text else Opcode.BINARY, data))

    def _write(self, data: bytes) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing() or self._frames.closed:
            return False
        transport.write(data)
        waiting = transport.get_write_buffer_size()
        if waiting > self._limits.max_unsent:
            self.abort()
            return False
        if waiting > self._limits.high_water:
            self.stuck(yes=True)
        return True

    def close(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(Opcode.CLOSE, int(Close.GOING_AWAY).to_bytes(2)))
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._doomed = self._doomed or self._transport.get_write_buffer_size() > 0
            self._transport.abort()


def _read(content: bytes) -> Item | Ping:
    # RFC 7118 §4.2: a WebSocket message holds one SIP message, whole; its end is the end of the body.
    if content == b"\r\n\r\n":
        return Ping()
    try:
        return parse(content)
    except ParseError as error:
        return error


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class SipSocket:
    """The HTTP handler that turns an upgrade into a `WebLink`."""

    def __init__(self, connections: Connections, limits: StreamLimits, origins: Collection[str] = ()) -> None:
        """`origins`: pages (`https://phone.example`) whose scripts may open it, beside those of this very server;
        `*` lets all. A client that states no origin is no browser and nobody's puppet: it may.
        """
        self._connections = connections
        self._limits = limits
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        transport = request.transport
        if transport is None:
            return web.Response(status=400)
        key = request.headers["Sec-WebSocket-Key"]
        # RFC 6455 §4.2.2 says SHA-1, which proves nothing here but that the server read the key.
        accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
        response = web.StreamResponse(
            status=101,
            headers={
                "Upgrade": "websocket",
                "Connection": "upgrade",
                "Sec-WebSocket-Accept": accept.decode(),
                "Sec-WebSocket-Protocol": SUBPROTOCOL,
            },
        )
        await response.prepare(request)
        if request.protocol.transport is None:
            return response  # gone while the answer was written; nobody would tell us again
        clock = asyncio.get_running_loop().time
        connections = self._connections
        link = WebLink(
            connections.number(), connections, self._limits, clock, transport, turns=connections.turns
        )
        connections.connected(link)
        request.protocol.keep_alive(False)
        # It feeds whatever it is given the bytes behind the upgrade, as it does for its own WebSockets.
        request.protocol.set_parser(cast("Any", link))
        await link.over.wait()
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Judge an upgrade (RFC 6455 §4.2.1, RFC 7118 §4.1)."""
        headers = request.headers
        if headers.get("Upgrade", "").lower() != "websocket" or not _valid_key(
            headers.get("Sec-WebSocket-Key")
        ):
            return web.Response(status=426, headers={"Upgrade": "websocket"}, text="WebSocket only\n")
        if headers.get("Sec-WebSocket-Version") != "13":
            return web.Response(status=426, headers={"Sec-WebSocket-Version": "13"}, text="version 13 only\n")
        if not self._welcome(headers.get("Origin"), request.host):
            return web.Response(status=403, text="origin not allowed\n")
        offered = {
            name.strip(" \t")
            for value in headers.getall("Sec-WebSocket-Protocol", ())
            for name in value.lower().split(",")
        }
        if SUBPROTOCOL not in offered:
            return web.Response(status=400, text="subprotocol sip only\n")
        return None

    def _welcome(self, origin: str | None, host: str) -> bool:
        if origin is None:
            return True
        origin = origin.lower().rstrip("/")
        if "*" in self._origins or origin in self._origins:
            return True
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc == host.lower()


def _valid_key(key: str | None) -> bool:
    try:
        return key is not None and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
