"""The endpoint's hook for the guard: who is refused is not parsed, not heard, and answered without state."""

from collections.abc import AsyncIterator

import pytest

from pbx.guard import Refusal
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.tasks import Tasks
from pbx.transport import Endpoint
from tests.kit.sip import request
from tests.kit.transports import DatagramTransport, StreamTransport

PHONE = ("192.0.2.9", 5062)
OPTIONS = request("OPTIONS", flow=None).encode()


class Gate:
    """Refuses as it is told, and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, Flow]] = []
        self.refusal: Refusal | None = None

    def judge(self, data: bytes, flow: Flow, now: float) -> Refusal | None:
        self.seen.append((data, flow))
        return self.refusal

    def report(self, request: Request, now: float) -> None:
        request.headers.add("X-Load", "none")


class Rig:
    def __init__(self) -> None:
        self.gate = Gate()
        self.got: list[Request | Response] = []
        self.tasks = Tasks("test")
        self.endpoint = Endpoint(
            host="192.0.2.1",
            port=5060,
            on_message=lambda message, _flow, _data: self.got.append(message),
            tasks=self.tasks,
            gate=self.gate,
        )
        self.udp = DatagramTransport(self.endpoint._udp)
        self.endpoint._udp.connection_made(self.udp)

    def datagram(self, data: bytes) -> None:
        self.endpoint._udp.datagram_received(data, PHONE)

    def stream(self, data: bytes) -> StreamTransport:
        connection, transport = self.endpoint._connection(ours=False), StreamTransport(PHONE)
        connection.connection_made(transport)
        connection.data_received(data)
        return transport


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.tasks.close()


async def test_what_is_let_in_carries_the_report(rig: Rig) -> None:
    rig.datagram(OPTIONS)
    rig.stream(OPTIONS)
    assert [message.headers.get("X-Load") for message in rig.got] == ["none", "none"]
    assert [(data, flow.transport, flow.remote) for data, flow in rig.gate.seen] == [
        (OPTIONS, "udp", PHONE),
        (OPTIONS, "tcp", PHONE),
    ]


async def test_responses_carry_none(rig: Rig) -> None:
    rig.datagram(request("OPTIONS", flow=None).response(200, to_tag="t").encode())
    assert "X-Load" not in rig.got[0].headers


async def test_a_refused_datagram_is_not_parsed(rig: Rig) -> None:
    rig.gate.refusal = Refusal()
    rig.datagram(b"not even SIP")
    rig.datagram(OPTIONS)
    assert (rig.got, rig.udp.sent) == ([], [])
    counts = rig.endpoint.counts
    assert (counts.guarded, counts.malformed, counts.received) == (2, 0, 0)


async def test_an_answer_goes_where_the_gate_says(rig: Rig) -> None:
    rig.gate.refusal = Refusal(b"no", Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5999)))
    rig.datagram(OPTIONS)
    assert rig.udp.sent == [(b"no", ("192.0.2.9", 5999))]


async def test_a_stream_that_is_refused_in_silence_is_lost(rig: Rig) -> None:
    rig.gate.refusal = Refusal()
    transport = rig.stream(OPTIONS)
    assert (rig.got, transport.written, transport.closed) == ([], [], "aborted")


async def test_a_stream_that_gets_an_answer_stays(rig: Rig) -> None:
    rig.gate.refusal = Refusal(b"no", Flow("tcp", ("192.0.2.1", 5060), PHONE, 1))
    transport = rig.stream(OPTIONS + OPTIONS)
    assert (rig.got, transport.written, transport.closed) == ([], [b"no", b"no"], None)


async def test_what_is_no_sip_on_a_stream_is_shown_too(rig: Rig) -> None:
    rig.gate.refusal = Refusal()
    transport = rig.stream(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert rig.gate.seen[0][0] == b""
    assert transport.closed == "aborted"
    assert rig.endpoint.counts.malformed == 0


async def test_without_a_socket_there_is_no_backlog(rig: Rig) -> None:
    assert rig.endpoint.backlog == 0.0
