"""The torture messages of RFC 4475 and RFC 5118 against the running exchange: UDP, TCP, TLS, WS and WSS, IPv4 and IPv6
(bars B1, B2).

A black box: each message is sent as it is, the answer is judged by `tests/data/manifest.json`, and the exchange still answers
OPTIONS. The messages carry no `rport`, so by UDP answers come to port 5060 or to the port their Via names: we listen at
127.0.0.2:5060 and [::1]:5060.
"""

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import _exchanges
from tests.live.kit.exchange import Exchange
from tests.live.kit.flowphone import FlowPhone, frame, trusting
from tests.live.test_transports import free_port

DATA = Path(__file__).parents[1] / "data"
MANIFEST = json.loads((DATA / "manifest.json").read_text())
CASES = {entry["name"]: entry for corpus in ("rfc4475", "rfc5118") for entry in MANIFEST[corpus]}
SOURCES = {"udp": "127.0.0.2", "udp6": "::1"}
PATIENCE = 8.0
"""Seconds an answer may take on a busy machine; what is answered at all is answered at once."""
SILENCE = 0.5
"""Seconds to listen for an answer that must not come."""
AT_ONCE = 20
"""Connections at the same time; the exchange takes 50 of one address that have said nothing it understands."""
STATUS = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2}) ")

SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = 'en'
[tls]
port = {tls}
[http]
tls_port = {wss}
"""

DOORS = ("tcp", "tcp6", "tls", "tls6", "ws", "ws6", "wss", "wss6")


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"tls": free_port(), "wss": free_port()}


@pytest.fixture(scope="module")
def exchange(ports: dict[str, int]) -> Iterator[Exchange]:
    """One that listens for IPv4 and IPv6 at once."""
    running = Exchange(settings=SETTINGS.format(**ports), host="::")
    _exchanges.append(running)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def doors(exchange: Exchange, ports: dict[str, int]) -> dict[str, tuple[str, int]]:
    """Where each transport is listened for; `…6` is IPv6."""
    sip, web = exchange.sip[1], int(exchange.http.rpartition(":")[2])
    found = {"udp": sip, "tcp": sip, "tls": ports["tls"], "ws": web, "wss": ports["wss"]}
    return {
        name + six: (host, port)
        for name, port in found.items()
        for six, host in (("", "127.0.0.1"), ("6", "::1"))
    }


@pytest.fixture(scope="module", params=SOURCES)
def ear(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if request.param == "udp6" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((SOURCES[request.param], 5060))
        except OSError as error:
            pytest.skip(f"[{SOURCES[request.param]}]:5060 is not free, and answers come there: {error}")
        yield sock


def drain(ear: socket.socket) -> None:
    ear.settimeout(0.0)
    try:
        while ear.recv(65535):
            pass
    except OSError:
        return


def hear(ear: socket.socket, seconds: float) -> list[bytes]:
    """What comes until a final response, or until the time is over."""
    heard: list[bytes] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        ear.settimeout(left)
        try:
            heard.append(ear.recv(65535))
        except OSError:
            break
        if final([heard[-1]]):
            break
    return heard


def final(heard: list[bytes]) -> list[int]:
    """The final statuses among what was heard."""
    found = [int(code) for data in heard for code in STATUS.findall(data)]
    return [code for code in found if code >= 200]


def alive(ear: socket.socket, door: tuple[str, int], name: str) -> None:
    """The exchange answers OPTIONS. Raises AssertionError."""
    host, port = door
    ping = (
        f"OPTIONS sip:ping@at110 SIP/2.0\r\nVia: SIP/2.0/UDP x.invalid;rport;branch=z9hG4bKping{name}\r\n"
        f"From: <sip:p@at110>;tag=a\r\nTo: <sip:ping@at110>\r\nCall-ID: ping-{name}\r\nCSeq: 1 OPTIONS\r\n"
        f"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    for _ in range(3):
        ear.sendto(ping, (host, port))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ear.settimeout(max(0.01, end - time.monotonic()))
            try:
                if f"ping-{name}".encode() in ear.recv(65535):
                    return
            except OSError:
                break
    raise AssertionError(f"no answer to OPTIONS after {name}")


def allowed(verdict: dict[str, Any]) -> set[int]:
    return set(verdict.get("status") or verdict.get("first") or ())


@pytest.mark.parametrize("name", CASES)
def test_by_datagram(name: str, doors: dict[str, tuple[str, int]], ear: socket.socket) -> None:
    door = doors["udp6" if ear.family == socket.AF_INET6 else "udp"]
    verdict = one_message(name)
    drain(ear)
    ear.sendto((DATA / CASES[name]["file"]).read_bytes(), door)
    silent = verdict["verdict"] == "DROP"
    if silent:
        assert hear(ear, SILENCE) == []
    elif verdict["verdict"] != "REJECT_OR_DROP":
        found = final(hear(ear, PATIENCE))
        assert found, f"no answer; {verdict}"
        assert found[-1] in allowed(verdict)
        assert found[-1] not in {500, 503}, "an internal error is no answer to bad input"
    alive(ear, door, name)


def one_message(name: str) -> dict[str, Any]:
    """The verdict where the message is known to be whole: in a datagram, in a WebSocket message (RFC 7118 §4.2)."""
    if name == "test":
        # "ours: 400 or drop": its head has no end, so there is nothing to answer to but rubbish.
        return {"verdict": "REJECT_OR_DROP", "status": [400, 505]}
    return dict(CASES[name]["udp"])


def verdict_of(door: str, name: str) -> dict[str, Any]:
    return one_message(name) if door.startswith("ws") else dict(CASES[name]["tcp"])


Outcome = tuple[bytes, bool]
"""What came, and whether the exchange closed the connection."""


async def said_to(door: str, address: tuple[str, int], name: str) -> Outcome:
    """Send one message on a connection of its own and listen as long as its verdict says."""
    verdict = verdict_of(door, name)["verdict"]
    data = (DATA / CASES[name]["file"]).read_bytes()
    secure = door.startswith(("tls", "wss"))
    reader, writer = await asyncio.open_connection(*address, ssl=trusting() if secure else None)
    got, closed = b"", False
    seconds = {"DROP": SILENCE, "REJECT_OR_DROP": SILENCE, "WAIT_THEN_CLOSE": 40.0}.get(verdict, PATIENCE)
    try:
        if door.startswith("ws"):
            writer.write(
                b"GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                b"Sec-WebSocket-Protocol: sip\r\n\r\n"
            )
            async with asyncio.timeout(PATIENCE):
                assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            data = frame(2, data)
        writer.write(data)
        async with asyncio.timeout(seconds):
            while not closed and (verdict == "WAIT_THEN_CLOSE" or not final([got])):
                piece = await reader.read(65536)
                got, closed = got + piece, not piece
    except TimeoutError:
        pass
    except OSError:
        closed = True
    finally:
        writer.transport.abort()
    return got, closed


async def collect(doors: dict[str, tuple[str, int]]) -> dict[tuple[str, str], Outcome]:
    """All messages through all doors. Those that wait for time to pass wait together; of the others no two doors are used
    at once, because the same transaction on two connections is a question of its own.
    """
    places = asyncio.Semaphore(AT_ONCE)
    found: dict[tuple[str, str], Outcome] = {}

    async def one(door: str, name: str) -> None:
        async with places:
            found[door, name] = await said_to(door, doors[door], name)

    async def waiting(door: str, name: str) -> None:
        found[door, name] = await said_to(door, doors[door], name)

    cases = [(door, name) for door in DOORS for name in CASES]
    slow = [case for case in cases if verdict_of(*case)["verdict"] == "WAIT_THEN_CLOSE"]
    late = asyncio.gather(*(waiting(*case) for case in slow))
    for door in DOORS:
        await asyncio.gather(*(one(door, name) for name in CASES if (door, name) not in slow))
        async with FlowPhone("torture", door.removesuffix("6"), doors[door]) as phone:
            await phone.ask("OPTIONS", "sip:110@at110", call_id=door, to="<sip:110@at110>")
            assert (await phone.answer_to("OPTIONS", phone.sequence)).status == 200
    await late
    return found


@pytest.fixture(scope="module")
def outcomes(doors: dict[str, tuple[str, int]]) -> dict[tuple[str, str], Outcome]:
    return asyncio.run(collect(doors))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", CASES)
def test_by_connection(name: str, door: str, outcomes: dict[tuple[str, str], Outcome]) -> None:
    verdict = verdict_of(door, name)
    got, closed = outcomes[door, name]
    found = final([got])
    match verdict["verdict"]:
        case "DROP":
            assert found == []
        case "WAIT_THEN_CLOSE":
            assert closed or found, "an unfinished message is not waited for without end"
        case "REJECT_OR_CLOSE":
            assert closed or (found and found[-1] in allowed(verdict))
        case "REJECT_OR_DROP":
            assert not found or found[-1] in allowed(verdict)
        case _:
            assert found, f"no answer; {verdict}"
            assert found[0] in allowed(verdict)
    assert not {500, 503} & set(found), "an internal error is no answer to bad input"
