"""The endpoint on virtual transports: what it parses, stamps, answers, admits and reports."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.tasks import Tasks
from pbx.transport import Endpoint, StreamLimits
from pbx.transport.stream import Connection
from pbx.transport.udp import Datagrams
from tests.kit.sip import request
from tests.kit.transports import DatagramTransport, StreamTransport

PHONE = ("192.0.2.9", 5062)
UDP = Flow("udp", ("192.0.2.1", 5060), PHONE)
OPTIONS = request("OPTIONS", flow=None).encode()
BROKEN = OPTIONS.replace(b"CSeq: 1", b"CSeq: x")
LIMITS = StreamLimits(max_unproven_per_host=2, max_unproven=3, max_connections=6, max_unsent=1000)


class Rig:
    """An endpoint whose sockets are ours."""

    def __init__(self) -> None:
        self.got: list[tuple[Request | Response, Flow, bytes]] = []
        self.failed: list[Flow] = []
        self.reported: list[dict[str, Any]] = []
        self.raising: Exception | None = None
        self.tasks = Tasks("test")
        self.endpoint = Endpoint(
            host="192.0.2.1",
            port=5060,
            on_message=self.take,
            tasks=self.tasks,
            limits=LIMITS,
            on_failed=self.failed.append,
        )
        self.udp = DatagramTransport(self.endpoint._udp)
        self.endpoint._udp.connection_made(self.udp)
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.reported.append(context))

    def take(self, message: Request | Response, flow: Flow, data: bytes) -> None:
        if self.raising is not None:
            raise self.raising
        self.got.append((message, flow, data))

    def accept(self, port: int, host: str = "192.0.2.9") -> tuple[Connection, StreamTransport]:
        """A TCP connection comes in."""
        connection, transport = self.endpoint.links.incoming(), StreamTransport((host, port))
        connection.connection_made(transport)
        return connection, transport

    def datagram(self, data: bytes) -> None:
        self.endpoint._udp.datagram_received(data, PHONE)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.tasks.close()


async def soon() -> None:
    """Let what was called soon happen."""
    for _ in range(5):
        await asyncio.sleep(0)


# --- UDP ------------------------------------------------------------------------------------------------------------


async def test_a_datagram_becomes_a_stamped_message(rig: Rig) -> None:
    rig.datagram(OPTIONS)
    ((message, flow, data),) = rig.got
    assert (flow, data) == (UDP, OPTIONS)
    assert (message.via.received, message.via.rport) == ("192.0.2.9", 5062)
    assert rig.endpoint.counts.received == 1


async def test_a_lying_received_is_overwritten(rig: Rig) -> None:
    rig.datagram(request("OPTIONS", branch="z9hG4bKx;received=10.0.0.1", rport=False, flow=None).encode())
    rig.datagram(
        request("OPTIONS", branch="z9hG4bKx;received=10.0.0.1;rport=99", rport=False, flow=None).encode()
    )
    assert [m.via.received for m, _, _ in rig.got] == ["192.0.2.9"] * 2
    assert [m.via.rport for m, _, _ in rig.got] == [None, 5062]


async def test_a_via_that_tells_the_truth_stays_as_it_is(rig: Rig) -> None:
    rig.datagram(request("OPTIONS", rport=False, flow=None).encode())
    assert rig.got[0][0].headers.get("Via") == "SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKone"


async def test_only_the_topmost_via_is_stamped(rig: Rig) -> None:
    rig.datagram(
        OPTIONS.replace(
            b"Max-Forwards", b"Via: SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKlower\r\nMax-Forwards"
        )
    )
    assert [via.received for via in rig.got[0][0].vias] == ["192.0.2.9", None]


async def test_responses_are_not_stamped(rig: Rig) -> None:
    data = request("OPTIONS", flow=None).response(200, to_tag="t").encode()
    rig.datagram(data)
    assert rig.got[0][0].encode() == data


async def test_a_malformed_datagram_is_answered_without_state(rig: Rig) -> None:
    rig.datagram(BROKEN)
    ((data, target),) = rig.udp.sent
    answer = parse(data.replace(b"CSeq: x", b"CSeq: 1"))
    assert isinstance(answer, Response)
    assert (answer.status, target, answer.via.received, answer.via.rport) == (400, PHONE, "192.0.2.9", 5062)
    assert (rig.got, rig.endpoint.counts.malformed) == ([], 1)


async def test_a_malformed_datagram_without_rport_is_answered_at_its_stated_port(rig: Rig) -> None:
    rig.datagram(
        request("OPTIONS", sent_by="192.0.2.9:5099", rport=False, flow=None)
        .encode()
        .replace(b": 1 ", b": x ")
    )
    assert rig.udp.sent[0][1] == ("192.0.2.9", 5099)


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01", b"hello", b"SIP/2.0 200 OK\r\n\r\n", BROKEN.replace(b"OPTIONS", b"ACK")]
)
async def test_what_deserves_no_answer(rig: Rig, data: bytes) -> None:
    rig.datagram(data)
    assert rig.udp.sent == []
    assert rig.endpoint.counts.malformed == 1


async def test_a_bug_in_handling_is_reported_and_nothing_else_happens(rig: Rig) -> None:
    rig.raising = RuntimeError("bug")
    rig.datagram(OPTIONS)
    connection, transport = rig.accept(40000)
    connection.data_received(OPTIONS)
    rig.raising = None
    connection.data_received(OPTIONS)
    assert [type(context["exception"]) for context in rig.reported] == [RuntimeError] * 2
    assert rig.endpoint.counts.faults == 2
    assert transport.closed is None
    assert len(rig.got) == 1


async def test_a_datagram_that_cannot_leave_is_reported_later(rig: Rig) -> None:
    rig.udp.refusal = OSError(101, "Network is unreachable")
    rig.endpoint.send(OPTIONS, UDP)
    assert rig.failed == []
    await soon()
    assert rig.failed == [UDP]
    assert rig.endpoint.counts.unsendable == 1


# --- TCP ------------------------------------------------------------------------------------------------------------


async def test_messages_of_a_connection_come_with_its_flow(rig: Rig) -> None:
    connection, transport = rig.accept(40000)
    connection.data_received(OPTIONS)
    ((message, flow, data),) = rig.got
    assert flow == Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 40000), connection.number)
    assert data == OPTIONS
    assert message.via.rport == 40000
    rig.endpoint.send(b"by id", flow)
    rig.endpoint.send(b"by address", Flow("tcp", flow.local, flow.remote))
    assert transport.written == [b"by id", b"by address"]


async def test_a_framing_error_is_answered_then_closed(rig: Rig) -> None:
    connection, transport = rig.accept(40000)
    connection.data_received(OPTIONS.replace(b"Content-Length: 0\r\n", b""))
    (answer,) = transport.written
    assert answer.startswith(b"SIP/2.0 400")
    assert b"rport=40000" in answer
    assert transport.closed == "closed"


async def test_a_connection_that_is_gone_fails_its_flow(rig: Rig) -> None:
    connection, transport = rig.accept(40000)
    flow = connection.flow
    connection.connection_lost(None)
    assert rig.endpoint.connections == 0
    rig.endpoint.send(b"x", flow)
    await soon()
    assert rig.failed == [flow]
    assert transport.written == []


async def test_a_connection_that_breaks_is_reported_at_once(rig: Rig) -> None:
    connection, _ = rig.accept(40000)
    connection.connection_lost(ConnectionResetError())
    await soon()
    assert rig.failed == [connection.flow]


async def test_a_peer_that_reads_nothing_fails_its_flow(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, transport = rig.accept(40000)
    transport.unread = LIMITS.max_unsent + 1
    rig.endpoint.send(b"x", connection.flow)
    await soon()
    assert rig.failed == [connection.flow]
    assert transport.closed == "aborted"
    # The same on a connection of ours that is full at once.
    dialling = Dialling(rig, monkeypatch, unread=LIMITS.max_unsent + 1)
    dialling.go.set()
    flow = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.10", 5060))
    rig.endpoint.send(b"x", flow)
    await soon()
    assert [it.remote for it in rig.failed[1:]] == [flow.remote]


async def test_without_a_listener_failures_are_counted_only(rig: Rig) -> None:
    rig.endpoint.on_failed = None
    rig.endpoint.send(b"x", Flow("tls", ("192.0.2.1", 5061), PHONE))
    await soon()
    assert (rig.failed, rig.endpoint.counts.unsendable) == ([], 1)


async def test_an_unknown_transport_fails(rig: Rig) -> None:
    flow = Flow("tls", ("192.0.2.1", 5061), PHONE)
    rig.endpoint.send(b"x", flow)
    await soon()
    assert rig.failed == [flow]


class Dialling:
    """Stands for the loop's create_connection."""

    def __init__(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, error: OSError | None = None, *, unread: int = 0
    ) -> None:
        self.unread = unread
        self.calls: list[tuple[str, int, object]] = []
        self.transport: StreamTransport | None = None
        self.go = asyncio.Event()
        self.error = error
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", self.create)

    async def create(self, factory: Any, host: str, port: int, *, local_addr: object) -> None:
        self.calls.append((host, port, local_addr))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.transport = StreamTransport((host, port), ("192.0.2.1", 50000))
        self.transport.unread = self.unread
        factory().connection_made(self.transport)


async def test_a_connection_of_ours_is_opened_once_and_kept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialling = Dialling(rig, monkeypatch)
    flow = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))
    rig.endpoint.send(b"one", flow)
    rig.endpoint.send(b"two", flow)
    await soon()
    assert dialling.calls == [("192.0.2.9", 5060, ("192.0.2.1", 0))]
    dialling.go.set()
    await soon()
    assert dialling.transport is not None
    rig.endpoint.send(b"three", flow)
    assert dialling.transport.written == [b"one", b"two", b"three"]
    assert len(dialling.calls) == 1
    assert (rig.failed, len(rig.tasks)) == ([], 0)


async def test_a_connection_that_cannot_be_opened(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    dialling = Dialling(rig, monkeypatch, ConnectionRefusedError())
    dialling.go.set()
    flow = Flow("tcp", ("192.0.2.1", 5060), ("2001:DB8::9", 5060))
    rig.endpoint.send(b"one", flow)
    await soon()
    assert rig.failed == [flow]
    rig.endpoint.send(b"again", flow)
    await soon()
    assert len(dialling.calls) == 2


async def test_names_are_not_looked_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    dialling = Dialling(rig, monkeypatch)
    flow = Flow("tcp", ("192.0.2.1", 5060), ("phone.example.net", 5060))
    rig.endpoint.send(b"x", flow)
    await soon()
    assert (rig.failed, dialling.calls) == ([flow], [])


async def test_what_waits_for_a_connection_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    Dialling(rig, monkeypatch)
    flow = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))
    rig.endpoint.send(b"x" * 600, flow)
    rig.endpoint.send(b"x" * 400, flow)
    await soon()
    assert rig.failed == []
    rig.endpoint.send(b"x", flow)
    await soon()
    assert rig.failed == [flow]


# --- crowds (bars F19) ----------------------------------------------------------------------------------------------


async def test_one_host_may_keep_few_silent_connections(rig: Rig) -> None:
    (first, _), (_, second), (_, third) = (rig.accept(port) for port in (1, 2, 3))
    assert (second.closed, third.closed) == (None, "aborted")
    first.data_received(OPTIONS)  # now it is no stranger
    assert rig.accept(4)[1].closed is None
    assert rig.accept(5)[1].closed == "aborted"
    assert rig.accept(6, "192.0.2.10")[1].closed is None
    assert rig.endpoint.counts.refused == 2


async def test_connections_leave_files_for_calls(rig: Rig) -> None:
    """Each says one message, so none is a stranger; the descriptor tells how many files are open."""
    rig.endpoint.links._limits = replace(LIMITS, highest_file=8)
    for file in range(6, 11):
        connection, transport = rig.endpoint.links.incoming(), StreamTransport(PHONE, file=file)
        connection.connection_made(transport)
        assert transport.closed == (None if file <= 8 else "aborted"), file
        if transport.closed is None:
            connection.data_received(OPTIONS)
        else:
            connection.connection_lost(None)
    assert rig.endpoint.counts.refused == 2
    ours, transport = rig.endpoint.links._make(ours=True, tls=None), StreamTransport(PHONE, file=9)
    ours.connection_made(transport)
    assert transport.closed is None, "who we call is none of them"


async def test_the_oldest_silent_connection_makes_room(rig: Rig) -> None:
    transports = [rig.accept(port, f"192.0.2.{port}")[1] for port in range(10, 14)]
    assert [transport.closed for transport in transports] == ["aborted", None, None, None]


async def test_a_malformed_message_proves_nothing(rig: Rig) -> None:
    for port in (1, 2):
        rig.accept(port)[0].data_received(BROKEN)
    assert rig.accept(3)[1].closed == "aborted"


async def test_all_connections_together_are_bounded(rig: Rig) -> None:
    for port in range(1, 7):
        rig.accept(port)[0].data_received(OPTIONS)
    assert rig.endpoint.connections == 6
    assert rig.accept(7)[1].closed == "aborted"


async def test_lost_connections_leave_nothing(rig: Rig) -> None:
    for port in range(1, 10):
        connection, _ = rig.accept(port)
        connection.connection_lost(None)
    links = rig.endpoint.links
    assert (links._links, links._by_remote, len(links._crowd)) == ({}, {}, 0)


async def test_the_sweep_closes_what_is_overdue(rig: Rig) -> None:
    now = asyncio.get_running_loop().time()
    quiet, speaking = rig.accept(1), rig.accept(2)
    speaking[0].data_received(OPTIONS)
    await rig.endpoint.sweep(now + 9)
    assert quiet[1].closed is None
    await rig.endpoint.sweep(now + 11)
    assert [transport.closed for _, transport in (quiet, speaking)] == ["aborted", None]
    assert rig.endpoint.counts.overdue == 1


async def test_after_close_nobody_gets_in_or_out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    dialling = Dialling(rig, monkeypatch)
    connection, transport = rig.accept(1)
    rig.endpoint.send(b"x", Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 5060)))
    await soon()
    closing = asyncio.get_running_loop().create_task(rig.endpoint.close())
    await soon()
    assert transport.closed == "closed"
    connection.connection_lost(None)
    await closing
    dialling.go.set()
    await soon()
    assert (dialling.transport, len(rig.tasks)) == (None, 0)
    assert rig.accept(2)[1].closed == "aborted"
    flow = Flow("tcp", ("192.0.2.1", 5060), PHONE)
    rig.endpoint.send(b"x", flow)
    await soon()
    assert flow in rig.failed
    assert rig.udp.closed


async def test_the_fullest_of_its_sockets_says_how_much_is_unheard(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = {"one": 0.25, "two": 0.5}
    assert rig.endpoint.backlog == 0.0
    further = Datagrams(lambda _data, _flow: None, lambda: ("192.0.2.2", 5060))
    rig.endpoint._sockets.append((("192.0.2.2", 5060), further))
    monkeypatch.setattr(
        Datagrams, "backlog", property(lambda self: full["two" if self is further else "one"])
    )
    assert rig.endpoint.backlog == 0.5
    full["two"] = 0.0
    assert rig.endpoint.backlog == 0.25
