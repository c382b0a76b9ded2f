"""One UDP socket (RFC 3261 §18.2.1).

in → out: datagrams go to `on_datagram(data, flow)`; `send` puts one out at once, or says that it can't.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol, cast

from pbx.sip.flow import Flow
from pbx.transport.address import Address, for_socket, plain

RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""Bytes asked of the kernel: 2,000 phones that register at once after a power cut (bars L3) send 2 MiB."""

MAX_UNSENT: Final = 1024 * 1024
"""Bytes the loop may hold when the kernel takes no more; beyond, datagrams are lost as on any full road."""


HEARD_LATELY: Final = 4096
"""Peers whose flow is remembered: made anew for each datagram of a flood it costs as much as dropping it (bars L7)."""

_SO_MEMINFO: Final = 55
"""Linux: what a socket's buffers hold; Python has no name for it."""


class _Sender(Protocol):
    # What both loops give; asyncio.DatagramTransport does not declare all of it.
    def sendto(self, data: bytes, addr: tuple[Any, ...]) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def close(self) -> None: ...


class Datagrams(asyncio.DatagramProtocol):
    """The socket's protocol: no queue of its own, no state but the transport."""

    def __init__(self, on_datagram: Callable[[bytes, Flow], None], here: Callable[[], Address]) -> None:
        """`here` tells where the socket is bound, once it is."""
        self._on_datagram = on_datagram
        self._flow = lru_cache(HEARD_LATELY)(lambda source: Flow("udp", here(), plain(source)))
        self._transport: _Sender | None = None
        self._asked: socket.socket | None = None
        """The socket again, for questions: the loop's own hides most of them."""
        self._family = int(socket.AF_INET)
        self._error: Exception | None = None
        self._target = lru_cache(maxsize=4096)(for_socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("_Sender", transport)
        sock = transport.get_extra_info("socket")
        if sock is None:
            return  # no system socket below
        self._family = int(sock.family)
        self._asked = socket.socket(fileno=os.dup(sock.fileno()))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._transport = None
        if self._asked is not None:
            self._asked.close()
            self._asked = None

    @property
    def backlog(self) -> float:
        """Share 0…1 of the receive buffer that is full; 0 where the system does not tell."""
        if self._asked is None:
            return 0.0
        with contextlib.suppress(OSError):
            held: int
            size: int
            held, size = struct.unpack_from("=II", self._asked.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))
            return min(1.0, held / max(1, size))
        return 0.0

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        # RFC 5626 §3.5.1 and habit: phones keep a NAT open with CRLF CRLF, "\0\0\0\0" or an empty datagram.
        if data.strip(b"\r\n\x00"):
            self._on_datagram(data, self._flow(addr))

    def error_received(self, exc: Exception) -> None:
        # Both loops call this from within `sendto` when the kernel refuses; an error of the past (ICMP) names no
        # peer, and timers notice it.
        self._error = exc

    def send(self, data: bytes, remote: Address) -> bool:
        """Send one datagram. False: it can't go there (no such road, too long, no IP literal, closed)."""
        transport = self._transport
        target = self._target(self._family, remote)
        if transport is None or target is None:
            return False
        if transport.get_write_buffer_size() > MAX_UNSENT:
            return True  # lost on the road: what needs to arrive is sent again
        self._error = None
        transport.sendto(data, target)
        return self._error is None

    def close(self) -> None:
        """Stop receiving; what the loop still holds is sent first."""
        if self._transport is not None:
            self._transport.close()
