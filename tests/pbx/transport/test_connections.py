"""All connections of an endpoint: TLS both ways, and who may be called over the connection it opened (RFC 5923)."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cryptography.x509 as x
import pytest

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.tasks import Tasks
from pbx.transport import Endpoint
from pbx.transport.certificates import Certificates, self_made
from pbx.transport.stream import Connection
from pbx.transport.tls import TlsError, TlsFilter
from tests.kit.sip import request
from tests.kit.transports import StreamTransport
from tests.pbx.transport.test_tls import Authority

NOW = dt.datetime.now(dt.UTC)
OPTIONS = request("OPTIONS", transport="TLS", flow=None).encode()
HERE = ("192.0.2.1", 5061)

pytestmark = pytest.mark.may_block("files of certificates are read at the start, outside of any call")


class Peer:
    """A TLS client on a virtual connection."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext, remote: tuple[str, int]) -> None:
        self.connection: Connection = endpoint.links.incoming(secure=True)
        self.transport = StreamTransport(remote, HERE)
        self.tls = TlsFilter(context, server_side=False)
        self.got = b""
        self.connection.connection_made(self.transport)
        self.say(self.tls.start())

    def say(self, data: bytes) -> None:
        while data:
            self.connection.data_received(data)
            answer, self.transport.written = b"".join(self.transport.written), []
            inside, data = self.tls.receive(answer) if answer else (b"", b"")
            self.got += inside

    def hear(self) -> bytes:
        answer, self.transport.written = b"".join(self.transport.written), []
        return self.tls.receive(answer)[0]


class Rig:
    def __init__(self, certificates: Certificates) -> None:
        self.got: list[tuple[Request | Response, Flow]] = []
        self.failed: list[Flow] = []
        self.gone: list[Flow] = []
        self.tasks = Tasks("test")
        self.endpoint = Endpoint(
            host="192.0.2.1",
            port=5060,
            on_message=lambda message, flow, _data: self.got.append((message, flow)),
            tasks=self.tasks,
            certificates=certificates,
        )
        self.endpoint.on_failed = self.failed.append
        self.endpoint.on_gone = self.gone.append


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[tuple[Rig, Authority, Path]]:
    authority = Authority(tmp_path, "good")
    certificate, key = self_made(tmp_path / "tls", ["pbx.example", "192.0.2.1"], NOW)
    made = Rig(Certificates(certificate, key, clients=authority.file, authorities=certificate))
    yield made, authority, certificate
    await made.tasks.close()


def client(certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_messages_under_tls(rig: tuple[Rig, Authority, Path]) -> None:
    made, _, _ = rig
    peer = Peer(made.endpoint, client(), ("192.0.2.9", 40000))
    assert not peer.connection.shaking
    peer.say(peer.tls.send(OPTIONS + b"\r\n\r\n"))
    ((message, flow),) = made.got
    assert isinstance(message, Request)
    assert flow == Flow("tls", HERE, ("192.0.2.9", 40000), peer.connection.number)
    assert peer.got == b"\r\n"
    made.endpoint.send(b"answer", flow)
    assert peer.hear() == b"answer"
    peer.say(peer.tls.close())
    assert peer.transport.closed == "closed"
    peer.connection.connection_lost(None)
    await soon()
    assert (made.gone, made.failed) == ([flow], [])


async def test_who_speaks_no_tls(rig: tuple[Rig, Authority, Path]) -> None:
    made, _, _ = rig
    connection, transport = made.endpoint.links.incoming(secure=True), StreamTransport(("192.0.2.9", 1), HERE)
    connection.connection_made(transport)
    connection.data_received(OPTIONS)
    assert transport.closed == "closed"
    assert connection.trouble is not None
    assert made.got == []


async def test_half_a_handshake_ends_soon(rig: tuple[Rig, Authority, Path]) -> None:
    made, _, _ = rig
    connection, transport = made.endpoint.links.incoming(secure=True), StreamTransport(("192.0.2.9", 1), HERE)
    connection.connection_made(transport)
    connection.data_received(TlsFilter(client(), server_side=False).start()[:20])
    now = asyncio.get_running_loop().time()
    await made.endpoint.sweep(now + 4.5)
    assert transport.closed is None
    await made.endpoint.sweep(now + 5.5)
    assert transport.closed == "aborted"


async def test_the_half_open_are_counted_from_the_first_packet(rig: tuple[Rig, Authority, Path]) -> None:
    """F19: asyncio's own TLS would show them only when their handshake is done, which is never."""
    made, _, _ = rig
    transports = []
    for port in range(60):
        transports.append(StreamTransport(("192.0.2.9", port), HERE))
        made.endpoint.links.incoming(secure=True).connection_made(transports[-1])
    assert [transport.closed for transport in transports] == [None] * 50 + ["aborted"] * 10
    assert made.endpoint.counts.refused == 10


# --- RFC 5923 ---------------------------------------------------------------------------------------------------------

ALIAS = request(
    "OPTIONS", transport="TLS", sent_by="trunk.example:5071", branch="z9hG4bKa;alias", flow=None
).encode()
TRUNK = Flow("tls", HERE, ("192.0.2.9", 5071))


async def test_a_trunk_is_called_over_the_connection_it_opened(
    rig: tuple[Rig, Authority, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, authority, _ = rig
    shown = authority.issue(
        "trunk", x.DNSName("trunk.example"), x.IPAddress(ipaddress.ip_address("192.0.2.9"))
    )
    peer = Peer(made.endpoint, client(shown), ("192.0.2.9", 40000))
    peer.say(peer.tls.send(ALIAS))
    made.endpoint.send(b"INVITE", TRUNK)
    assert peer.hear() == b"INVITE"
    peer.connection.connection_lost(None)
    dialled = Dialling(monkeypatch)
    made.endpoint.send(b"INVITE", TRUNK)
    await soon()
    assert dialled.calls == [("192.0.2.9", 5071)]


@pytest.mark.parametrize("why", ["no certificate", "another name", "no alias", "tcp"])
async def test_who_may_not_be(
    rig: tuple[Rig, Authority, Path], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Anybody else could draw another's calls to itself by naming its port."""
    made, authority, _ = rig
    flow = TRUNK
    data = ALIAS.replace(b";alias", b"") if why == "no alias" else ALIAS
    name = "other.example" if why == "another name" else "trunk.example"
    shown = None if why == "no certificate" else authority.issue("trunk", x.DNSName(name))
    if why == "tcp":
        flow = Flow("tcp", HERE, ("192.0.2.9", 5071))
        connection = made.endpoint.links.incoming()
        transport = StreamTransport(("192.0.2.9", 40000), HERE)
        connection.connection_made(transport)
        connection.data_received(data)
    else:
        peer = Peer(made.endpoint, client(shown), ("192.0.2.9", 40000))
        peer.say(peer.tls.send(data))
        transport = peer.transport
    assert len(made.got) == 1
    transport.written.clear()
    dialled = Dialling(monkeypatch)
    made.endpoint.send(b"INVITE", flow)
    await soon()
    assert transport.written == []
    assert dialled.calls == [("192.0.2.9", 5071)]


# --- connections of ours ----------------------------------------------------------------------------------------------


class Dialling:
    """Stands for the loop's create_connection: a TLS server with `context` answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, context: ssl.SSLContext | None = None) -> None:
        self.calls: list[tuple[str, int]] = []
        self.context, self.got, self.refused, self.closed = context, b"", False, False
        self.connection: Any = None
        self.transport: StreamTransport | None = None
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", self.create)

    async def create(self, factory: Any, host: str, port: int, *, local_addr: object) -> None:
        self.calls.append((host, port))
        if self.context is None:
            raise ConnectionRefusedError
        self.connection, self.transport = factory(), StreamTransport((host, port), ("192.0.2.1", 50000))
        server = TlsFilter(self.context, server_side=True)
        self.connection.connection_made(self.transport)
        while self.transport.written:
            data, self.transport.written = b"".join(self.transport.written), []
            try:
                inside, out = server.receive(data)
            except TlsError:
                self.refused = True
                return
            self.got += inside
            self.closed |= server.closed
            if out:
                self.connection.data_received(out)


async def test_what_is_sent_early_waits_for_the_handshake(
    rig: tuple[Rig, Authority, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, _, _ = rig
    there = Certificates(*made.endpoint._certificates._files[:2])  # type: ignore[union-attr]
    dialling = Dialling(monkeypatch, there.sip)
    made.endpoint.expect("tls", ("192.0.2.20", 5061), "pbx.example")
    flow = Flow("tls", HERE, ("192.0.2.20", 5061))
    made.endpoint.send(b"one ", flow)
    made.endpoint.send(b"two", flow)
    await soon()
    assert dialling.got == b"one two"
    assert (made.failed, dialling.connection.proven) == ([], True)


async def test_a_connection_that_is_just_closing_is_not_waited_for(
    rig: tuple[Rig, Authority, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy is being restarted: its end is heard of, but the loop has not told of it yet."""
    made, _, _ = rig
    there = Certificates(*made.endpoint._certificates._files[:2])  # type: ignore[union-attr]
    dialling = Dialling(monkeypatch, there.sip)
    made.endpoint.expect("tls", ("192.0.2.20", 5061), "pbx.example")
    flow = Flow("tls", HERE, ("192.0.2.20", 5061))
    made.endpoint.send(b"one", flow)
    await soon()
    dialling.connection.close()
    again = Dialling(monkeypatch, there.sip)
    made.endpoint.send(b"two", flow)
    await soon()
    assert (again.calls, again.got) == ([flow.remote], b"two")
    dialling.connection.connection_lost(None)
    made.endpoint.send(b"three", flow)
    await soon()
    assert again.transport is not None
    assert (len(again.transport.written), again.calls, made.failed) == (1, [flow.remote], [])


async def test_a_server_that_is_another_is_not_called(
    rig: tuple[Rig, Authority, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5922: the name that was asked for must be in the certificate; without one, the address."""
    made, _, _ = rig
    there = Certificates(*made.endpoint._certificates._files[:2])  # type: ignore[union-attr]
    dialling = Dialling(monkeypatch, there.sip)
    flow = Flow("tls", HERE, ("192.0.2.20", 5061))
    made.endpoint.send(b"secret", flow)
    await soon()
    assert (dialling.got, dialling.closed) == (b"", True)
    assert dialling.connection.trouble == "the certificate is not for 192.0.2.20"
    dialling.connection.connection_lost(None)
    await soon()
    assert flow.remote in [it.remote for it in made.failed]


async def test_without_a_certificate_nobody_is_called_by_tls() -> None:
    tasks = Tasks("test")
    failed: list[Flow] = []
    endpoint = Endpoint(
        host="192.0.2.1", port=5060, on_message=lambda *_: None, tasks=tasks, on_failed=failed.append
    )
    for transport in ("tls", "ws", "wss"):
        endpoint.send(b"x", Flow(transport, HERE, ("192.0.2.20", 5061)))
    await soon()
    assert len(failed) == 3
    assert len(tasks) == 0


async def test_the_names_of_servers_are_bounded(
    rig: tuple[Rig, Authority, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbx.transport.connections.MAX_NAMES", 3)
    made, _, _ = rig
    for port in range(9):
        made.endpoint.expect("tls", ("192.0.2.20", port), "x")
    assert len(made.endpoint.links._names) == 3
