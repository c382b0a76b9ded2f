"""The WebSocket handshake and hostile clients, on loopback, with the HTTP server in this process (bars S12)."""

import asyncio
import resource
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Self

import aiohttp
import pytest
import uvloop
from aiohttp import web

from pbx.api.app import Listener, listen
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.tasks import Tasks
from pbx.transport import Endpoint
from pbx.transport.websocket import SipSocket
from tests.kit.sip import request
from tests.live.kit.flowphone import frame

pytestmark = pytest.mark.beside

OPTIONS = request("OPTIONS", transport="WS", flow=None).encode()
GOOD = {
    "Host": "pbx.example",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "sip",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Rig:
    """An endpoint that answers 200, behind an HTTP server."""

    def __init__(self) -> None:
        self.got: list[tuple[Request | Response, Flow]] = []
        self.gone: list[Flow] = []
        self.tasks = Tasks("test")
        self.endpoint = Endpoint(host="127.0.0.1", port=0, on_message=self.take, tasks=self.tasks)
        self.endpoint.on_gone = self.endpoint.on_failed = self.gone.append
        self.listener: Listener | None = None

    def take(self, message: Request | Response, flow: Flow, _data: bytes) -> None:
        self.got.append((message, flow))
        if isinstance(message, Request):
            self.endpoint.send(message.response(200, to_tag="t").encode(), flow)

    async def __aenter__(self) -> Self:
        application = web.Application()
        door = SipSocket(
            self.endpoint.links, self.endpoint.limits, ("https://Phone.example/", "http://10.0.0.1:8080")
        )
        application.router.add_get("/sip", door.handle)
        await self.endpoint.start()
        self.listener = await listen(application, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.listener is not None
        await self.endpoint.close()
        await self.listener.close()
        await self.tasks.close()

    @property
    def port(self) -> int:
        assert self.listener is not None
        return self.listener.port

    async def upgrade(self, **changes: str | None) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        headers = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
        writer.write(f"GET /sip HTTP/1.1\r\n{text}\r\n".encode())
        async with asyncio.timeout(5):
            return (await reader.readuntil(b"\r\n\r\n")).decode(), reader, writer


def run(scenario: Callable[[Rig], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with Rig() as rig, asyncio.timeout(60):
            await scenario(rig)

    uvloop.run(whole())


def status(head: str) -> int:
    return int(head.split()[1])


def test_the_handshake() -> None:
    async def scenario(rig: Rig) -> None:
        head, reader, writer = await rig.upgrade()
        assert status(head) == 101
        # RFC 6455 §1.3: the sample key and its answer
        assert "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head.lower().replace(
            "s3pplmbitxaq9kygzzhzrbk+xoo=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        )
        assert "sec-websocket-protocol: sip\r\n" in head.lower()
        assert "extensions" not in head.lower()
        writer.write(frame(1, OPTIONS))
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert b"SIP/2.0 200 OK" in answer
        assert rig.got[0][1].transport == "ws"
        writer.close()

    run(scenario)


def test_what_follows_the_upgrade_at_once_is_not_lost() -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        text = "".join(f"{name}: {value}\r\n" for name, value in GOOD.items())
        writer.write(f"GET /sip HTTP/1.1\r\n{text}\r\n".encode() + frame(1, OPTIONS))
        async with asyncio.timeout(5):
            await reader.readuntil(b"SIP/2.0 200 OK")
        writer.close()

    run(scenario)


ORIGINS: list[tuple[str | None, int]] = [
    (None, 101),
    ("https://phone.example", 101),
    ("HTTPS://PHONE.EXAMPLE", 101),
    ("http://10.0.0.1:8080", 101),
    ("http://pbx.example", 101),  # this very server
    ("https://pbx.example", 101),
    ("null", 403),
    ("", 403),
    ("https://evil.example", 403),
    ("https://phone.example.evil.example", 403),
    ("https://evil-phone.example", 403),
    ("https://phone.example:8443", 403),
    ("http://phone.example", 403),
    ("https://phone.example@evil.example", 403),
    ("https://evil.example/https://phone.example", 403),
    ("https://pbx.example.evil.example", 403),
    ("http://pbx.example:81", 403),
    ("file://", 403),
    ("ftp://pbx.example", 403),
    ("http://127.0.0.1", 403),
    ("http://localhost", 403),
    ("http://10.0.0.1", 403),
    ("http://[::1]", 403),
    ("chrome-extension://abc", 403),
    ("https://phone.example evil", 403),
    ("https://phone.example,https://evil.example", 403),
    ("*", 403),
    ("https://*", 403),
    ("//phone.example", 403),
    ("phone.example", 403),
]


@pytest.mark.parametrize(("origin", "expected"), ORIGINS)
def test_who_may_open_it(origin: str | None, expected: int) -> None:
    async def scenario(rig: Rig) -> None:
        head, _, writer = await rig.upgrade(Origin=origin)
        assert status(head) == expected
        writer.close()

    run(scenario)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Sec_WebSocket_Protocol": None}, 400),
        ({"Sec_WebSocket_Protocol": "chat"}, 400),
        ({"Sec_WebSocket_Protocol": "sipx, xsip"}, 400),
        ({"Sec_WebSocket_Protocol": "chat, SIP"}, 101),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Sec_WebSocket_Key": None}, 426),
        ({"Sec_WebSocket_Key": "short"}, 426),
        ({"Upgrade": None}, 426),
        ({"Sec_WebSocket_Extensions": "permessage-deflate"}, 101),
    ],
)
def test_what_is_an_upgrade(changes: dict[str, Any], expected: int) -> None:
    async def scenario(rig: Rig) -> None:
        head, _, writer = await rig.upgrade(**changes)
        assert status(head) == expected
        writer.close()

    run(scenario)


def close_code(data: bytes) -> int:
    assert data[0] == 0x88, data[:20]
    return int.from_bytes(data[2:4])


HOSTILE = {
    "unmasked": (frame(1, OPTIONS, masked=False), 1002),
    "16 MiB": (bytes([0x82, 0xFF]) + (16 * 1024 * 1024).to_bytes(8) + bytes(4), 1009),
    "deflate": (bytes([0xC1, 0x80 | 5]) + secrets.token_bytes(9), 1002),
    "no text": (frame(1, b"\xff\xfe"), 1007),
    "crumbs": (frame(2, b"x", final=False) + frame(0, b"x", final=False) * 300, 1009),
    "fragments": (frame(2, bytes(100_000), final=False) + frame(0, bytes(100_000)), 1009),
    "long ping": (frame(9, bytes(126)), 1002),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_clients_are_closed(attack: str) -> None:
    async def scenario(rig: Rig) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        data, code = HOSTILE[attack]
        _, reader, writer = await rig.upgrade()
        writer.write(data)
        async with asyncio.timeout(5):
            assert close_code(await reader.read()) == code
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown <= 1024, f"it cost {grown} KiB"
        writer.close()

    run(scenario)


def test_a_flood_of_pings_is_cut_off() -> None:
    async def scenario(rig: Rig) -> None:
        _, reader, writer = await rig.upgrade()
        writer.write(frame(9, b"") * 1000)
        async with asyncio.timeout(5):
            with pytest.raises((ConnectionResetError, AssertionError)):
                assert await reader.read() == b"never ends"
        writer.close()

    run(scenario)


def test_aiohttps_client_is_understood() -> None:
    """A client that others wrote: text, binary, fragments, pings, close."""

    async def scenario(rig: Rig) -> None:
        url = f"http://127.0.0.1:{rig.port}/sip"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=("sip",)) as socket:
            assert socket.protocol == "sip"
            await socket.send_str(OPTIONS.decode())
            assert (await socket.receive_str()).startswith("SIP/2.0 200 OK")
            await socket.send_bytes(OPTIONS.replace(b"z9hG4bKone", b"z9hG4bKtwo"))
            assert (await socket.receive_bytes()).startswith(b"SIP/2.0 200 OK")
            await socket.ping(b"alive")
            await socket.send_str("\r\n\r\n")
            assert await socket.receive_str() == "\r\n"
            await socket.close()
            assert socket.close_code == 1000
        async with asyncio.timeout(5):
            while rig.endpoint.connections:
                await asyncio.sleep(0.01)
        assert [flow.transport for flow in rig.gone] == ["ws"]

    run(scenario)


def test_who_goes_without_a_word_is_noticed() -> None:
    async def scenario(rig: Rig) -> None:
        _, _, writer = await rig.upgrade()
        writer.write(frame(1, OPTIONS))
        async with asyncio.timeout(5):
            while not rig.got:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while not rig.gone:
                await asyncio.sleep(0.01)
        assert rig.gone == [rig.got[0][1]]

    run(scenario)
