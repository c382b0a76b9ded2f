"""The gate of the HTTP server on virtual connections (bars F19, F20)."""

import asyncio
import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pbx.transport.certificates import Certificates, self_made
from pbx.transport.gate import Gate, GateLimits, Visitor
from pbx.transport.tls import TlsFilter
from pbx.transport.tls_transport import TlsTransport
from pbx.transport.turns import Turns
from tests.kit.clock import Clock
from tests.kit.transports import StreamTransport
from tests.pbx.transport.test_tls import own  # noqa: F401 - a fixture

LIMITS = GateLimits(max_unproven_per_host=2, max_unproven=3, max_connections=6)
HERE = ("192.0.2.1", 8110)


class App(asyncio.Protocol):
    """Stands for aiohttp's connection."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.heard.append(transport)

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append("lost")

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")


class Rig:
    def __init__(self, context: Any = None) -> None:
        self.apps: list[App] = []
        self.gate = Gate(self.app, LIMITS, context=context)

    def app(self) -> App:
        self.apps.append(App())
        return self.apps[-1]

    def come(
        self, port: int, host: str = "192.0.2.9", *, secure: bool = False
    ) -> tuple[Visitor, StreamTransport]:
        visitor = self.gate.secure() if secure else self.gate.plain()
        transport = StreamTransport((host, port), HERE)
        visitor.connection_made(transport)
        return visitor, transport


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_everything_is_handed_on() -> None:
    rig = Rig()
    visitor, transport = rig.come(1)
    visitor.data_received(b"GET")
    visitor.pause_writing()
    visitor.resume_writing()
    assert visitor.eof_received() is None
    visitor.connection_lost(None)
    assert rig.apps[0].heard == [transport, b"GET", "pause", "resume", "lost"]
    assert len(rig.gate) == 0


async def test_few_strangers_per_host_and_in_all() -> None:
    rig = Rig()
    (first, _), (_, second), (_, third) = (rig.come(port) for port in (1, 2, 3))
    assert (second.closed, third.closed) == (None, "aborted")
    first.serving(yes=True)
    first.serving(yes=False)
    assert rig.come(4)[1].closed is None
    assert rig.come(5, "192.0.2.10")[1].closed is None
    assert rig.come(6, "192.0.2.11")[1].closed is None
    assert second.closed == "aborted", "the oldest stranger makes room"
    assert rig.gate.refused == 2


async def test_all_together_are_bounded() -> None:
    rig = Rig()
    for port in range(6):
        visitor, _ = rig.come(port, f"192.0.2.{port}")
        visitor.serving(yes=True)
    assert rig.come(9)[1].closed == "aborted"


async def test_connections_leave_files_for_calls() -> None:
    rig = Rig()
    rig.gate.limits = replace(LIMITS, highest_file=8)
    for file, closed in ((8, None), (9, "aborted")):
        transport = StreamTransport(("192.0.2.9", file), HERE, file=file)
        rig.gate.plain().connection_made(transport)
        assert transport.closed == closed
    assert rig.gate.refused == 1


async def test_patience_with_the_head() -> None:
    rig = Rig()
    visitor, transport = rig.come(1)
    visitor.data_received(b"GET / HTTP/1.1\r\n")
    await rig.gate.sweep(now() + 9.9)
    assert transport.closed is None
    await rig.gate.sweep(now() + 10.1)
    assert rig.gate.overdue == 1
    assert str(transport.closed) == "aborted"


async def test_patience_begins_anew_with_each_request() -> None:
    rig = Rig()
    visitor, transport = rig.come(1)
    visitor.data_received(b"GET / HTTP/1.1\r\n\r\n")
    visitor.serving(yes=True)
    await rig.gate.sweep(now() + 1000)
    visitor.serving(yes=False)
    await rig.gate.sweep(now() + 1000)
    assert transport.closed is None, "an idle connection is aiohttp's to close"
    visitor.data_received(b"GET / HT")
    await rig.gate.sweep(now() + 10.1)
    assert transport.closed == "aborted"


async def test_patience_with_a_reader() -> None:
    rig = Rig()
    visitor, transport = rig.come(1)
    visitor.serving(yes=True)
    visitor.pause_writing()
    visitor.resume_writing()
    await rig.gate.sweep(now() + 1000)
    visitor.pause_writing()
    await rig.gate.sweep(now() + 9.9)
    assert transport.closed is None
    await rig.gate.sweep(now() + 10.1)
    assert transport.closed == "aborted"


async def test_gone_before_we_looked() -> None:
    rig = Rig()
    visitor, transport = rig.gate.plain(), StreamTransport(("x", 1), HERE)
    transport._extra = {}  # type: ignore[attr-defined]  # what getpeername gives then
    visitor.connection_made(transport)
    assert transport.closed == "aborted"
    visitor.connection_lost(None)
    visitor.data_received(b"x")
    visitor.abort()
    assert rig.apps[0].heard == []


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.may_block("files of certificates are read at the start, outside of any call")
async def test_https(own: Certificates) -> None:  # noqa: F811 - the fixture
    rig = Rig(lambda: own.web)
    visitor, transport = rig.come(1, secure=True)
    assert rig.apps[0].heard == []
    client = TlsFilter(own.client, server_side=False, server_hostname="pbx.example")
    data = client.start()
    while data:
        visitor.data_received(data)
        answer, transport.written = b"".join(transport.written), []
        data = client.receive(answer)[1] if answer else b""
    inner = rig.apps[0].heard[0]
    assert isinstance(inner, TlsTransport)
    assert inner.get_protocol() is visitor
    assert inner.get_extra_info("peername") == ("192.0.2.9", 1)
    assert inner.get_extra_info("sslcontext") is own.web
    assert inner.get_extra_info("ssl_object").version() == "TLSv1.3"
    visitor.data_received(client.send(b"GET"))
    assert rig.apps[0].heard[1] == b"GET"
    inner.write(b"")
    inner.write(b"HTTP/1.1 ")
    inner.writelines([b"200", bytearray(b" OK")])
    assert client.receive(b"".join(transport.written))[0] == b"HTTP/1.1 200 OK"
    assert not inner.can_write_eof()
    inner.pause_reading()
    assert not inner.is_reading()
    inner.resume_reading()
    assert inner.get_write_buffer_size() == 0
    inner.set_write_buffer_limits(7)
    inner.close()
    assert inner.is_closing()
    inner.close()
    inner.write(b"late")
    inner.abort()


@pytest.mark.may_block("files of certificates are read at the start, outside of any call")
async def test_half_a_handshake_ends_soon(tmp_path: Path) -> None:
    certificate, key = self_made(tmp_path / "tls", ["x"], dt.datetime.now(dt.UTC))
    certificates = Certificates(certificate, key)
    rig = Rig(lambda: certificates.web)
    _, silent = rig.come(1, secure=True)
    visitor, speaking = rig.come(2, secure=True)
    visitor.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert speaking.closed == "closed"
    assert rig.apps[1].heard == []
    await rig.gate.sweep(now() + 4.9)
    assert silent.closed is None
    await rig.gate.sweep(now() + 5.1)
    assert silent.closed == "aborted"


async def test_first_requests_of_a_crowd_take_turns() -> None:
    """L11: each makes its handler work, so few are read in one pass of the loop; who has asked before does not wait."""
    rig = Rig()
    clock = Clock()
    rig.gate.turns = Turns(clock=lambda: clock.now)
    known, _ = rig.come(1, "192.0.2.1")
    known.serving(yes=True)
    known.serving(yes=False)
    new, transport = rig.come(2, "192.0.2.2")
    gone, _ = rig.come(3, "192.0.2.3")
    assert rig.gate.turns.free()
    clock.advance(1.0)
    for visitor in (known, new, gone):
        visitor.data_received(b"GET")
    assert [b"GET" in app.heard for app in rig.apps] == [True, False, False]
    assert not transport.is_reading()
    gone.connection_lost(None)
    await asyncio.sleep(0)
    assert [b"GET" in app.heard for app in rig.apps] == [True, True, False]
    assert transport.is_reading()


async def test_a_fault_in_its_turn_ends_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    clock = Clock()
    rig.gate.turns = Turns(clock=lambda: clock.now)
    visitor, transport = rig.come(1)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def fail(_: bytes) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(rig.apps[0], "data_received", fail)
    assert rig.gate.turns.free()
    clock.advance(1.0)
    visitor.data_received(b"GET")
    await asyncio.sleep(0)
    assert transport.closed == "aborted"
    assert [type(fault) for fault in faults] == [ValueError]


async def test_a_crowd_that_goes_at_once_is_closed_in_turns() -> None:
    rig = Rig()
    clock = Clock()
    rig.gate.turns = Turns(clock=lambda: clock.now)
    came = [rig.come(n, f"192.0.2.{n}") for n in range(3)]
    assert rig.gate.turns.free()
    assert not came[0][0].eof_received(), "there is time: the loop closes it at once"
    clock.advance(1.0)
    assert came[1][0].eof_received()
    assert came[2][0].eof_received()
    assert [transport.closed for _, transport in came] == [None, None, None]
    await asyncio.sleep(0)
    assert [transport.closed for _, transport in came] == [None, "closed", "closed"]


async def test_a_crowd_that_is_lost_at_once_ends_in_turns() -> None:
    rig = Rig()
    clock = Clock()
    rig.gate.turns = Turns(clock=lambda: clock.now)
    visitors = [rig.come(n, f"192.0.2.{n}")[0] for n in range(3)]
    assert rig.gate.turns.free()
    visitors[0].connection_lost(None)
    clock.advance(1.0)
    visitors[1].connection_lost(None)
    visitors[2].connection_lost(ConnectionResetError())
    assert ["lost" in app.heard for app in rig.apps] == [True, False, False]
    assert len(rig.gate) == 0, "their places are free at once"
    await asyncio.sleep(0)
    assert ["lost" in app.heard for app in rig.apps] == [True, True, True]
