"""The limits of bars B7, at n and n + 1, over UDP, TCP, TLS and WebSocket: from the bytes a connection brings to the answer it
gets, through endpoint, transactions and exchange. No socket: what stands between them and the bytes is played.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pbx.sip.body import MAX_DEPTH, MAX_PARTS
from pbx.sip.flow import Flow
from pbx.sip.headers import MAX_HEADER_LINE, MAX_HEADERS
from pbx.sip.message import Request, Response
from pbx.sip.parser import (
    MAX_BODY,
    MAX_CONTACTS,
    MAX_HEAD,
    MAX_START_LINE,
    MAX_VIAS,
    parse,
)
from pbx.tasks import Tasks
from pbx.transport import Endpoint
from pbx.transport.certificates import Certificates, self_made
from pbx.transport.websocket import WebLink
from tests.kit.stand import Stand
from tests.kit.transports import DatagramTransport, StreamTransport
from tests.kit.world import sdp
from tests.live.kit.flowphone import frame
from tests.pbx.transport.test_connections import NOW, Peer, client

DATAGRAM = 65_507
"""Bytes the largest UDP datagram over IPv4 carries."""
MAX_SDP = 16 * 1024
MAX_MEDIA = 10
PHONE = ("192.0.2.9", 40_000)

pytestmark = pytest.mark.may_block("files of certificates are read at the start, outside of any call")


# --- messages ---------------------------------------------------------------------------------------------------------


def message(
    *lines: str,
    method: str = "OPTIONS",
    user: str = "110",
    body: bytes = b"",
    kind: str = "text/plain",
    via: str = "",
    contact: str = "Contact: <sip:a@192.0.2.9>\r\n",
) -> bytes:
    top = f"Via: SIP/2.0/TCP 192.0.2.9:40000;branch=z9hG4bKone;rport{via}\r\n"
    head = (
        f"{method} sip:{user}@192.0.2.1 SIP/2.0\r\n{top}Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:110@a>\r\n"
        f"Call-ID: c\r\nCSeq: 1 {method}\r\n{contact}"
    )
    typed = f"Content-Type: {kind}\r\n" if body else ""
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"{head}{typed}{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def filled(length: int, measure: Callable[[bytes], int], make: Callable[[str], bytes]) -> bytes:
    """The message `make` gives for a filling that brings what `measure` says of it to `length`."""
    data = make("x" * (length - measure(make(""))))
    assert measure(data) == length
    return data


def start_line(n: int) -> bytes:
    return filled(n, lambda data: data.index(b"\r\n"), lambda fill: message(user=f"110;x={fill}"))


def head(n: int) -> bytes:
    long = ["X-Fill: " + "x" * 12_000] * 5
    return filled(n, lambda data: data.index(b"\r\n\r\n"), lambda fill: message(*long, f"X-Last: {fill}"))


def headers(n: int) -> bytes:
    return message(*["X-Many: 1"] * (n - message().count(b"\r\n") + 2))


def nested(depth: int) -> bytes:
    kind, body = "application/sdp", sdp()
    for level in range(depth):
        body = (
            f"--b{level}\r\nContent-Type: {kind}\r\n\r\n".encode() + body + f"\r\n--b{level}--\r\n".encode()
        )
        kind = f"multipart/mixed;boundary=b{level}"
    return message(method="INVITE", body=body, kind=kind)


def parts(n: int) -> bytes:
    others = b"".join(b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" for _ in range(n - 1))
    body = b"--b\r\nContent-Type: application/sdp\r\n\r\n" + sdp() + b"\r\n" + others + b"--b--\r\n"
    return message(method="INVITE", body=body, kind="multipart/mixed;boundary=b")


def offer(*lines: str) -> bytes:
    return message(
        method="INVITE",
        body=sdp(video=None) + "".join(f"{line}\r\n" for line in lines).encode(),
        kind="application/sdp",
    )


def size_of_body(data: bytes) -> int:
    return len(data.partition(b"\r\n\r\n")[2])


LIMITS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "start line": (start_line, MAX_START_LINE),
    "header field": (lambda n: message("X-Long: " + "x" * (n - 8)), MAX_HEADER_LINE),
    "header fields": (headers, MAX_HEADERS),
    "start line and headers": (head, MAX_HEAD),
    "body": (lambda n: message(body=b"x" * n), MAX_BODY),
    "vias": (lambda n: message(*["Via: SIP/2.0/UDP h"] * (n - 1)), MAX_VIAS),
    "vias in one field": (lambda n: message(via=", SIP/2.0/UDP h" * (n - 1)), MAX_VIAS),
    "contacts": (lambda n: message(contact="Contact: <sip:a@192.0.2.9>\r\n" * n), MAX_CONTACTS),
    "contacts in one field": (
        lambda n: message(contact=f"Contact: {','.join(['<sip:a@192.0.2.9>'] * n)}\r\n"),
        MAX_CONTACTS,
    ),
    "depth of multiparts": (nested, MAX_DEPTH),
    "parts": (parts, MAX_PARTS),
    "media lines": (lambda n: offer(*["m=text 5000 RTP/AVP 98"] * (n - 1)), MAX_MEDIA),
    "description": (lambda n: filled(n, size_of_body, lambda fill: offer(f"a=x:{fill}")), MAX_SDP),
}


# --- doors ------------------------------------------------------------------------------------------------------------


class Machine(Stand):
    """The exchange behind an endpoint."""

    def __init__(self, certificates: Certificates, tasks: Tasks) -> None:
        super().__init__()
        self.endpoint = Endpoint(
            host="192.0.2.1", port=5060, on_message=self.take, tasks=tasks, certificates=certificates
        )
        self.faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.faults.append(context))

    def take(self, found: Request | Response, flow: Flow, _data: bytes) -> None:
        self.run(self.layer.receive(found, flow, self.now))

    def put(self, data: bytes, flow: Flow) -> None:  # type: ignore[override]  # sent at once
        self.endpoint.send(data, flow)


async def settled() -> None:
    """Let the connections go on with what they put off: they take turns."""
    for _ in range(100):
        await asyncio.sleep(0)


async def udp(machine: Machine, data: bytes) -> bytes:
    transport = DatagramTransport(machine.endpoint._udp)
    machine.endpoint._udp.connection_made(transport)
    machine.endpoint._udp.datagram_received(data, PHONE)
    return b"".join(sent for sent, _ in transport.sent)


async def tcp(machine: Machine, data: bytes) -> bytes:
    connection, transport = machine.endpoint.links.incoming(), StreamTransport(PHONE)
    connection.connection_made(transport)
    for at in range(0, len(data), 16_384):
        connection.data_received(data[at : at + 16_384])
    await settled()
    return b"".join(transport.written)


async def tls(machine: Machine, data: bytes) -> bytes:
    peer = Peer(machine.endpoint, client(), PHONE)
    peer.say(peer.tls.send(data))
    await settled()
    return peer.got + peer.hear()


async def ws(machine: Machine, data: bytes) -> bytes:
    links, transport = machine.endpoint.links, StreamTransport(PHONE)
    link = WebLink(links.number(), links, machine.endpoint.limits, asyncio.get_running_loop().time, transport)
    links.connected(link)
    link.feed_data(frame(1, data))
    await settled()
    return b"".join(map(unframed, transport.written))


def unframed(data: bytes) -> bytes:
    """Undo a WebSocket frame of ours; a control frame is nothing."""
    if data[0] & 0x0F not in {1, 2}:
        return b""
    return data[{126: 4, 127: 10}.get(data[1] & 0x7F, 2) :]


DOORS = {"udp": udp, "tcp": tcp, "tls": tls, "ws": ws}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(*self_made(tmp_path_factory.mktemp("tls"), ["192.0.2.1"], NOW))


@pytest.fixture
async def machine(certificates: Certificates) -> AsyncIterator[Machine]:
    tasks = Tasks("test")
    made = Machine(certificates, tasks)
    yield made
    assert made.faults == []
    await tasks.close()


def final(said: bytes) -> list[int]:
    """The statuses of the final answers. They are not parsed: a refusal echoes the Vias it refuses."""
    return [
        status
        for found in re.findall(rb"(?:^|\r\n\r\n|\r\n)SIP/2\.0 ([0-9]{3}) ", said)
        if (status := int(found)) >= 200
    ]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", LIMITS)
async def test_at_the_limit_it_passes(machine: Machine, name: str, door: str) -> None:
    make, limit = LIMITS[name]
    data = make(limit)
    if door == "udp" and len(data) > DATAGRAM:
        data = make(limit - (len(data) - DATAGRAM))  # the most a datagram can bring of it
        assert len(data) == DATAGRAM
    assert final(await DOORS[door](machine, data)) == [200]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", LIMITS)
async def test_beyond_the_limit_it_is_refused_and_never_in_silence(
    machine: Machine, name: str, door: str
) -> None:
    make, limit = LIMITS[name]
    (status,) = final(await DOORS[door](machine, make(limit + 1)))
    assert status in {400, 413, 513}
    assert not machine.exchange.calls


def test_the_messages_are_what_they_are_called() -> None:
    for make, limit in LIMITS.values():
        found = parse(make(limit))
        assert isinstance(found, Request)
    assert len(LIMITS) * 2 == 26
