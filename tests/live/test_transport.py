"""The endpoint on real loopback sockets, on asyncio's loop and on uvloop."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.tasks import Tasks
from pbx.transport import Endpoint, StreamLimits
from tests.kit.sip import request
from tests.live.kit.ports import ADDRESS, free_port

pytestmark = pytest.mark.beside

LOOPS: list[Any] = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop.new_event_loop, id="uvloop"),
]
HOSTS = ["127.0.0.1", "::1"]


class Place:
    """An endpoint that answers 200 and remembers."""

    def __init__(self, host: str, tasks: Tasks, limits: StreamLimits | None = None, port: int = 0) -> None:
        self.got: list[tuple[Request | Response, Flow, bytes]] = []
        self.failed: list[Flow] = []
        self.news = asyncio.Event()
        self.endpoint = Endpoint(
            host=host,
            port=port,
            on_message=self.take,
            tasks=tasks,
            limits=limits or StreamLimits(),
            on_failed=self.fail,
        )

    def take(self, message: Request | Response, flow: Flow, data: bytes) -> None:
        self.got.append((message, flow, data))
        self.news.set()
        if isinstance(message, Request):
            self.endpoint.send(message.response(200, to_tag="t").encode(), flow)

    def fail(self, flow: Flow) -> None:
        self.failed.append(flow)
        self.news.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not done():
                self.news.clear()
                await self.news.wait()


def on(
    loop: Callable[[], asyncio.AbstractEventLoop], scenario: Callable[[Tasks], Coroutine[Any, Any, None]]
) -> None:
    async def whole() -> None:
        tasks = Tasks("test")
        await scenario(tasks)
        await tasks.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole())


async def connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(host, port)


async def within(seconds: float, what: Awaitable[bytes]) -> bytes:
    async with asyncio.timeout(seconds):
        return await what


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_request_and_its_answer(loop: Any, host: str, transport: str) -> None:
    async def scenario(tasks: Tasks) -> None:
        here, there = Place(host, tasks), Place(host, tasks)
        await here.endpoint.start()
        await there.endpoint.start()
        data = request("OPTIONS", transport=transport.upper(), flow=None).encode()
        for _ in range(3):
            here.endpoint.send(data, Flow(transport, (host, here.endpoint.port), (host, there.endpoint.port)))
        await here.until(lambda: len(here.got) == 3)
        message, flow, raw = there.got[0]
        assert (flow.transport, flow.local) == (transport, (host, there.endpoint.port))
        assert (message.via.received, message.via.rport) == (host, flow.remote[1])
        assert raw == data
        answer = here.got[0][0]
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert here.endpoint.connections == there.endpoint.connections == (transport == "tcp")
        await here.endpoint.close()
        await there.endpoint.close()
        assert here.endpoint.connections == 0
        assert (here.failed, there.failed, len(tasks)) == ([], [], 0)

    on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_cannot_be_sent(loop: Any) -> None:
    async def scenario(tasks: Tasks) -> None:
        place = Place("127.0.0.1", tasks)
        await place.endpoint.start()
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        here = ("127.0.0.1", place.endpoint.port)
        flows = [
            Flow("tcp", here, ("127.0.0.1", port)),
            Flow("udp", here, ("phone.invalid", 5060)),
            Flow("tcp", here, ("phone.invalid", 5060)),
            Flow("tcp", here, ("127.0.0.1", port), 99),
            Flow("udp", here, ("::1", port)),
        ]
        for flow in flows:
            place.endpoint.send(b"x", flow)
        place.endpoint.send(b"x" * 65_508, Flow("udp", here, here))  # one more than a datagram takes
        await place.until(lambda: len(place.failed) == 6)
        assert set(place.failed) == {*flows, Flow("udp", here, here)}
        await place.endpoint.close()

    on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_taken_port_is_named(loop: Any, kind: socket.SocketKind) -> None:
    async def scenario(tasks: Tasks) -> None:
        with socket.socket(type=kind) as taken:
            port = (
                free_port()
            )  # for both transports: of one the kernel gives out, the other may be somebody's connection
            taken.bind((ADDRESS, port))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            name = "udp" if kind == socket.SOCK_DGRAM else "tcp"
            with pytest.raises(
                OSError, match=rf"cannot listen on {name} 127\.0\.0\.1:{port}: Address already in use"
            ):
                await Place("127.0.0.1", tasks, port=port).endpoint.start()

    on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_streams_are_framed_answered_and_closed(loop: Any) -> None:
    async def scenario(tasks: Tasks) -> None:
        place = Place("127.0.0.1", tasks)
        await place.endpoint.start()
        reader, writer = await connect("127.0.0.1", place.endpoint.port)
        data = request("OPTIONS", transport="TCP", flow=None).encode()
        for byte in data:
            writer.write(bytes([byte]))
        writer.write(b"\r\n\r\n" + data.replace(b"Content-Length: 0\r\n", b""))
        everything = await within(5, reader.read())  # until the server closes
        assert everything.startswith(b"SIP/2.0 200 ")
        assert b"\r\n\r\n\r\nSIP/2.0 400 " in everything
        writer.close()
        await place.endpoint.close()

    on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_reads_nothing_is_cut_off(loop: Any) -> None:
    async def scenario(tasks: Tasks) -> None:
        place = Place("127.0.0.1", tasks, StreamLimits(max_unsent=100_000, unread=1.0))
        await place.endpoint.start()
        client = socket.create_connection(("127.0.0.1", place.endpoint.port))
        client.sendall(request("OPTIONS", transport="TCP", flow=None).encode())
        await place.until(lambda: len(place.got) == 1)
        flow = place.got[0][1]
        for _ in range(10_000):
            place.endpoint.send(b"x" * 10_000, flow)
            await asyncio.sleep(0)
            if place.failed:
                break
        assert place.failed[0] == flow
        await asyncio.sleep(0)
        assert place.endpoint.connections == 0
        client.close()
        await place.endpoint.close()

    on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_silent_stranger_is_sent_away(loop: Any) -> None:
    async def scenario(tasks: Tasks) -> None:
        place = Place("127.0.0.1", tasks, StreamLimits(first_message=0.5))
        await place.endpoint.start()
        reader, writer = await connect("127.0.0.1", place.endpoint.port)
        try:
            assert await within(5, reader.read()) == b""
        except ConnectionResetError:
            pass
        assert place.endpoint.counts.overdue == 1
        writer.close()
        await place.endpoint.close()

    on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_ipv4_phone_on_a_dual_stack_socket_appears_as_ipv4(loop: Any) -> None:
    async def scenario(tasks: Tasks) -> None:
        place, phone = Place("::", tasks), Place("127.0.0.1", tasks)
        await place.endpoint.start()
        await phone.endpoint.start()
        here = ("127.0.0.1", phone.endpoint.port)
        phone.endpoint.send(
            request("OPTIONS", flow=None).encode(), Flow("udp", here, ("127.0.0.1", place.endpoint.port))
        )
        await phone.until(lambda: len(phone.got) == 1)
        assert place.got[0][1].remote == here
        assert place.got[0][0].via.received == "127.0.0.1"
        await place.endpoint.close()
        await phone.endpoint.close()

    on(loop, scenario)
