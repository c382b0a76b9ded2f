"""All connections of an endpoint, whatever they carry: found by number, by peer, or opened.

in → out: links that come and go, bytes for a flow → the link that takes them; what arrives goes on to the endpoint.
"""

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.transport.address import Address, canonical, for_socket
from pbx.transport.certificates import Certificates
from pbx.transport.crowd import Crowd
from pbx.transport.handshakes import HandshakeQueue
from pbx.transport.link import Item, Link, StreamLimits
from pbx.transport.stream import Connection
from pbx.transport.tls import TlsFilter
from pbx.transport.turns import Turns, each

DRAIN_SECONDS: Final = 1.0
"""How long `close` waits for peers to read what they were sent last."""

WILDCARDS: Final = ("", "0.0.0.0", "::")
"""Local hosts that are no address to send from."""

MAX_NAMES: Final = 1024
"""Servers we call under a name at the same time; beyond, the oldest is called by its address."""

Key = tuple[str, Address]
"""(transport, peer)"""


class House(Protocol):
    """What happens around the connections; `Endpoint` is one."""

    def deliver(self, link: Link, item: Item) -> None:
        """Take a message or parse error."""

    def refused(self) -> None:
        """A connection was sent away because of a limit."""

    def unsendable(self, flow: Flow) -> None:
        """Something could not be sent on `flow`."""

    def gone(self, flow: Flow) -> None:
        """A connection ended in order."""

    def run(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run a task that ends with the endpoint."""


class Connections:
    """See the module."""

    def __init__(self, house: House, limits: StreamLimits, certificates: Certificates | None) -> None:
        self._house = house
        self._limits = limits
        self._certificates = certificates
        self._links: dict[int, Link] = {}
        self._by_remote: dict[Key, Link] = {}
        """The newest connection to each peer, for flows that don't say which."""
        self._aliases: dict[int, set[Key]] = {}
        """Under which other peers a connection is found (RFC 5923)."""
        self._crowd = Crowd(per_host=limits.max_unproven_per_host, in_all=limits.max_unproven)
        self.handshakes = HandshakeQueue()
        self.turns = Turns()
        self._waiting: dict[Key, list[bytes]] = {}
        """What is to be written once a connection of ours stands."""
        self._names: dict[Key, str] = {}
        """Who a server we call has to prove to be."""
        self._last_number = 0
        self._drained = asyncio.Event()
        self.closing = False

    def __len__(self) -> int:
        return len(self._links)

    # --- making ---------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """Return the number of a new connection."""
        self._last_number += 1
        return self._last_number

    def incoming(self, *, secure: bool = False) -> Connection:
        """Make the protocol of a connection that comes in."""
        tls = None
        if secure:
            assert self._certificates is not None, "who listens for TLS has a certificate"
            tls = TlsFilter(self._certificates.sip, server_side=True)
        return self._make(ours=False, tls=tls)

    def _make(self, *, ours: bool, tls: TlsFilter | None) -> Connection:
        clock = asyncio.get_running_loop().time
        queue = None if ours or tls is None else self.handshakes
        return Connection(
            self.number(), self, self._limits, clock, ours=ours, tls=tls, queue=queue, turns=self.turns
        )

    def expect(self, transport: str, remote: Address, name: str) -> None:
        """Remember under which name `remote` is called: its certificate must be for that (RFC 5922 §7.3)."""
        self._names[transport, canonical(remote)] = name
        while len(self._names) > MAX_NAMES:
            del self._names[next(iter(self._names))]

    def names(self, flow: Flow) -> frozenset[str]:
        """Return the hosts a checked certificate proved the peer of a connection to be; empty without one."""
        link = self._links.get(flow.id)
        return frozenset() if link is None else link.names

    # --- out ------------------------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> bool:
        """Write one message on the connection `flow` names, or, if it names none, on any to its peer, or a new one,
        which leaves from the flow's local address. False: it can't be sent.
        """
        key = (flow.transport, canonical(flow.remote))
        link = self._links.get(flow.id) if flow.id else self._by_remote.get(key)
        # One that is just closing takes nothing more; another may (a proxy that is being restarted).
        if link is not None and link.send(data):
            return True
        if flow.id or flow.web or self.closing or (flow.transport == "tls" and self._certificates is None):
            return False
        queue = self._waiting.get(key)
        if queue is None:
            self._waiting[key] = [data]
            self._house.run(self._connect(flow), name=f"connect.{key[1][0]}:{key[1][1]}")
        elif sum(map(len, queue)) + len(data) > self._limits.max_unsent:
            return False
        else:
            queue.append(data)
        return True

    async def _connect(self, flow: Flow) -> None:
        key = (flow.transport, canonical(flow.remote))
        host, port = key[1]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Say who we are: peers compare the source with our Via and with what their firewall knows.
        source = flow.local[0]
        local = None if source in WILDCARDS else (source, 0)
        if for_socket(family, key[1]) is not None:
            with contextlib.suppress(OSError):  # TimeoutError is one
                async with asyncio.timeout(self._limits.connect):
                    await asyncio.get_running_loop().create_connection(
                        lambda: self._make(ours=True, tls=self._client(key)), host, port, local_addr=local
                    )
        if self._waiting.pop(key, None) is not None:  # `connected` would have taken it
            self._house.unsendable(flow)

    def _client(self, key: Key) -> TlsFilter | None:
        if key[0] != "tls":
            return None
        assert self._certificates is not None, "`send` has looked"
        name = self._names.get(key, key[1][0])
        return TlsFilter(self._certificates.client, server_side=False, server_hostname=name)

    # --- what links tell ------------------------------------------------------------------------------------------

    def connected(self, link: Link) -> None:
        """Take a new connection in, or refuse it (`link.Owner`)."""
        self._links[link.number] = link
        if self.closing:
            link.abort()
            return
        if not link.ours and not self._admit(link):
            self._house.refused()
            link.abort()
            return
        key = (link.flow.transport, link.flow.remote)
        self._by_remote[key] = link
        for data in self._waiting.pop(key, ()):
            if not link.send(data):
                self._house.unsendable(link.flow)

    def _admit(self, link: Link) -> bool:
        if len(self._links) > self._limits.max_connections or link.file > self._limits.highest_file:
            return False
        welcome, oldest = self._crowd.admit(link.number, link.flow.remote[0])
        if oldest is not None:
            self._house.refused()
            self._links[oldest].abort()
        return welcome

    def arrived(self, link: Link, item: Item) -> None:
        """Take what a connection framed (`link.Owner`)."""
        if link.proven:
            self._crowd.leave(link.number)
        if isinstance(item, Request) and link.flow.transport == "tls" and not link.ours:
            self._alias(link, item)
        self._house.deliver(link, item)

    def _alias(self, link: Link, request: Request) -> None:
        """Let a peer that asks for it be called over the connection it opened (RFC 5923 §8.2).

        Only a peer whose certificate was checked may: anybody else could draw calls to itself by naming another's port
        (§9). What it says must be what its certificate says, and it is found under its real address only.
        """
        via = request.via
        if not via.has_param("alias") or via.host.lower() not in link.names:
            return
        key = ("tls", (link.flow.remote[0], via.port or 5061))
        self._by_remote[key] = link
        self._aliases.setdefault(link.number, set()).add(key)

    def lost(self, link: Link, *, failed: bool) -> None:
        """Forget a connection (`link.Owner`)."""
        if self._links.pop(link.number, None) is None:
            return
        self._crowd.leave(link.number)
        for key in {(link.flow.transport, link.flow.remote), *self._aliases.pop(link.number, ())}:
            if self._by_remote.get(key) is link:
                del self._by_remote[key]
        if failed:
            self._house.unsendable(link.flow)
        else:
            self._house.gone(link.flow)
        if not self._links:
            self._drained.set()

    # --- the end --------------------------------------------------------------------------------------------------

    async def sweep(self, now: float) -> int:
        """Close the connections whose limits of time have passed; returns how many. `now` is the loop's time."""
        overdue: list[Link] = []

        def look(link: Link) -> None:
            if link.number in self._links and link.overdue(now):
                overdue.append(link)
                link.abort()

        await each(self._links.values(), look)
        return len(overdue)

    async def close(self) -> None:
        """Let peers read what was written, close everything."""
        self.closing = True
        self._waiting.clear()
        for link in list(self._links.values()):
            link.close()
        if not self._links:
            return
        self._drained.clear()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._drained.wait()
        except TimeoutError:
            for link in list(self._links.values()):
                link.abort()
