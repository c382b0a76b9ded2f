"""A phone in a browser: Debian's Chromium with JsSIP over WebSocket and secure WebSocket (RFC 7118)."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import on_build_server, running
from tests.live.kit import browser
from tests.live.kit.browser import Browser
from tests.live.kit.exchange import Exchange
from tests.live.kit.ports import free_port

pytestmark = pytest.mark.beside

SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = 'en'
[tls]
port = {tls}
[http]
tls_port = {https}
[websocket]
origins = ["http://127.0.0.1:{page}"]
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return browser.bundle(tmp_path_factory.mktemp("browser"))
    except subprocess.SubprocessError as error:
        if on_build_server():
            raise
        pytest.skip(f"JsSIP can't be had: {error}")


@pytest.fixture(scope="module")
def doors(script: Path) -> dict[str, int]:
    return {"tls": free_port(), "https": free_port(), "page": free_port(), "stranger": free_port()}


@pytest.fixture(scope="module")
def exchange(doors: dict[str, int]) -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS.format(**doors)), sealed=None) as made:
        yield made


def url(exchange: Exchange, doors: dict[str, int], scheme: str) -> str:
    return (
        f"wss://127.0.0.1:{doors['https']}/sip"
        if scheme == "wss"
        else exchange.http.replace("http", "ws") + "/sip"
    )


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_jssip_registers_writes_and_calls(
    exchange: Exchange, doors: dict[str, int], script: Path, tmp_path: Path, scheme: str
) -> None:
    person = exchange.dispatchers[0]

    async def scenario() -> None:
        async with Browser(script, doors["page"], tmp_path) as phone:
            arguments = [url(exchange, doors, scheme), person.user, person.password, "at110"]
            await phone.run(f"begin(...{json.dumps(arguments)})")
            assert await phone.told("registered")
            assert (await asyncio.to_thread(exchange.desks))[person.user]["registered"]
            # Nobody reads what is written without a call, and the writer is told so.
            await phone.run("write('sip:110@at110', '着火了 fire')")
            assert await phone.told("undelivered") == "undelivered 480"
            # A browser wants ICE with its DTLS-SRTP, which the media process does not speak yet. The call stands all the same,
            # with each medium refused in its place: 110 is never refused.
            await phone.run("call('sip:110@at110')")
            assert await phone.told("confirmed")
            answered = await phone.told("sdp remote")
            assert "m=audio 0 UDP/TLS/RTP/SAVPF" in answered
            call = await asyncio.to_thread(exchange.call_of, person.user)
            await phone.run("ua.terminateSessions()")
            assert await phone.told("ended")
            await asyncio.to_thread(exchange.wait_gone, call["call"])
            await phone.run("ua.stop()")
            assert await phone.told("unregistered")
            await asyncio.to_thread(
                exchange.until, lambda: not exchange.desks()[person.user]["registered"], "still registered"
            )

    asyncio.run(scenario())


def test_a_page_of_a_stranger_gets_no_connection(
    exchange: Exchange, doors: dict[str, int], script: Path, tmp_path: Path
) -> None:
    """S12: another origin; Chromium itself says which page asks."""

    async def scenario() -> None:
        async with Browser(script, doors["stranger"], tmp_path) as phone:
            arguments = [url(exchange, doors, "ws"), "8001", "x", "at110"]
            await phone.run(f"begin(...{json.dumps(arguments)})")
            assert await phone.told("disconnected")
            assert "connected" not in [line.split()[0] for line in await phone.run("window.told")]

    asyncio.run(scenario())
