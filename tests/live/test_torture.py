"""The torture messages of RFC 4475 and RFC 5118 against the running exchange: UDP, TCP, TLS, WS and WSS, IPv4 and IPv6
(bars B1, B2).

A black box: each message is sent as it is, the answer is judged by `tests/data/manifest.json`, and the exchange still answers
OPTIONS. The messages carry no `rport`, so by UDP answers come to port 5060 or to the port their Via names: we listen at
127.0.0.2:5060 and [::1]:5060.
"""

import asyncio
import itertools
import json
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import running
from tests.live.kit.exchange import Exchange
from tests.live.kit.flowphone import FlowPhone, frame, trusting
from tests.live.kit.ports import free_port
from tests.pbx.sip.test_parser_limits import LIMITS

pytestmark = pytest.mark.beside

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

MAX_UDP = 65_507
UPGRADE = (
    b"GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)
DOORS = ("tcp", "tcp6", "tls", "tls6", "ws", "ws6", "wss", "wss6")


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"tls": free_port(), "wss": free_port()}


@pytest.fixture(scope="module")
def exchange(ports: dict[str, int]) -> Iterator[Exchange]:
    """One that listens for IPv4 and IPv6 at once."""
    with running(Exchange(settings=SETTINGS.format(**ports), host="::"), sealed=None) as made:
        yield made


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


@pytest.fixture(scope="module")
def ears() -> Iterator[dict[str, socket.socket]]:
    with ExitStack() as opened:
        made = {}
        for door, source in SOURCES.items():
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            made[door] = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            try:
                made[door].bind((source, 5060))
            except OSError as error:
                pytest.skip(f"[{source}]:5060 is not free, and answers come there: {error}")
        yield made


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
def test_by_datagram(name: str, doors: dict[str, tuple[str, int]], ears: dict[str, socket.socket]) -> None:
    verdict = one_message(name)
    silent = verdict["verdict"] == "DROP"
    for door, ear in ears.items():
        drain(ear)
        ear.sendto((DATA / CASES[name]["file"]).read_bytes(), doors[door])
        if silent:
            assert hear(ear, SILENCE) == [], door
        elif verdict["verdict"] != "REJECT_OR_DROP":
            found = final(hear(ear, PATIENCE))
            assert found, f"no answer by {door}; {verdict}"
            assert found[-1] in allowed(verdict), door
            assert found[-1] not in {500, 503}, "an internal error is no answer to bad input"
        alive(ear, doors[door], name)


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
    got, closed = b"", False
    seconds = {"DROP": SILENCE, "REJECT_OR_DROP": SILENCE, "WAIT_THEN_CLOSE": 40.0}.get(verdict, PATIENCE)
    reader, writer = await opened(door, address)
    try:
        if door.startswith("ws"):
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


@pytest.mark.parametrize("name", CASES)
def test_by_connection(name: str, outcomes: dict[tuple[str, str], Outcome]) -> None:
    for door in DOORS:
        verdict = verdict_of(door, name)
        got, closed = outcomes[door, name]
        found = final([got])
        match verdict["verdict"]:
            case "DROP":
                assert found == [], door
            case "WAIT_THEN_CLOSE":
                assert closed or found, f"{door}: an unfinished message is not waited for without end"
            case "REJECT_OR_CLOSE":
                assert closed or (found and found[-1] in allowed(verdict)), door
            case "REJECT_OR_DROP":
                assert not found or found[-1] in allowed(verdict), door
            case _:
                assert found, f"no answer by {door}; {verdict}"
                assert found[0] in allowed(verdict), door
        assert not {500, 503} & set(found), "an internal error is no answer to bad input"


# --- limits and framing (bars B7, B11) --------------------------------------------------------------------------------


async def opened(door: str, address: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, by WebSocket as far as the first frame."""
    secure = door.startswith(("tls", "wss"))
    reader, writer = await asyncio.open_connection(*address, ssl=trusting() if secure else None)
    if door.startswith("ws"):
        writer.write(UPGRADE)
        async with asyncio.timeout(PATIENCE):
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def by_datagram(door: tuple[str, int], data: bytes) -> list[int]:
    with socket.socket(socket.AF_INET6 if ":" in door[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(data, door)
        return final(hear(sock, PATIENCE))


async def by_connection(door: str, address: tuple[str, int], data: bytes) -> list[int]:
    reader, writer = await opened(door, address)
    got = b""
    try:
        writer.write(frame(2, data) if door.startswith("ws") else data)
        async with asyncio.timeout(PATIENCE):
            while not final([got]) and (piece := await reader.read(65536)):
                got += piece
    except (TimeoutError, OSError):
        pass
    finally:
        writer.transport.abort()
    return final([got])


_call_ids = itertools.product(b"abcdefghijklmnopqrstuvwxyz", repeat=2)


def asked_anew(data: bytes) -> bytes:
    """The same message, not a byte longer, as one that was never asked; answered to where we listen (RFC 3581)."""
    one, other = next(_call_ids)
    data = data.replace(b"Call-ID: x@y", b"Call-ID: %c@%c" % (one, other), 1)
    return data.replace(b"Via: SIP/2.0/UDP h,", b"Via: SIP/2.0/UDP h;rport,", 1)


@pytest.mark.parametrize("door", ["udp", "udp6", "tcp", "tls", "ws", "wss"])
def test_a_limit_is_kept_and_told_of(doors: dict[str, tuple[str, int]], door: str) -> None:
    """B7: the largest is served, one more is refused with the status that says why; never silence, never 500."""
    for name, (make, limit, refusal) in LIMITS.items():
        for count, expected in ((limit, 200), (limit + 1, refusal)):
            data = asked_anew(make(count))
            if not door.startswith("udp"):
                found = asyncio.run(by_connection(door, doors[door], data))
            elif len(data) <= MAX_UDP:
                found = by_datagram(doors[door], data)
            else:
                continue  # no datagram can be so long
            assert found, f"{name}: nothing was said to {count}"
            assert found[0] == expected, f"{name}: {count}"


def numbered(number: int) -> bytes:
    return (
        f"OPTIONS sip:110@at110 SIP/2.0\r\nVia: SIP/2.0/TCP f.invalid;branch=z9hG4bK{secrets.token_hex(6)};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:f@at110>;tag=f\r\nTo: <sip:110@at110>\r\nCall-ID: framing\r\n"
        f"CSeq: {number} OPTIONS\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n\r\n\r\n"
    ).encode()


def cut(door: str) -> Iterator[tuple[int, list[bytes]]]:
    """Give (messages, pieces to write one after the other): cut at every byte, many at once, keep-alives in between."""
    number, size = 0, len(numbered(1000))
    ping = b"\r\n\r\n"
    for at in range(1, size):
        number += 1
        data = numbered(number)
        if door == "ws":
            kind = 1 + at % 2
            between = frame(9, b"between") if at % 100 == 0 else b""  # more of them in a second are a flood
            yield 1, [frame(kind, data[:at], final=False) + between, frame(0, data[at:])]
        else:
            yield 1, [data[:at], data[at:] + (ping if at % 7 == 0 else b"")]
    for count in range(2, 51):
        many = [numbered(number + index + 1) for index in range(count)]
        number += count
        yield count, [b"".join(frame(1, one) for one in many) if door == "ws" else ping.join(many)]


@pytest.mark.parametrize("door", ["tcp", "ws"])
def test_where_a_message_is_cut_does_not_matter(doors: dict[str, tuple[str, int]], door: str) -> None:
    """B11: the very same answers, each once and in order, however the bytes come."""

    async def scenario() -> None:
        reader, writer = await opened(door, doors[door])
        got: list[int] = []
        held = b""
        sent = 0
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(60):
            for count, pieces in cut(door):
                sent += count
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                while len(got) < sent:
                    piece = await reader.read(65536)
                    assert piece, f"closed after {len(got)} of {sent} answers"
                    held += piece
                    whole, end, held = held.rpartition(b"Content-Length: 0\r\n\r\n")
                    found = re.findall(rb"SIP/2\.0 200 OK.*?\r\nCSeq: ([0-9]+) ", whole + end, re.DOTALL)
                    got += [int(number) for number in found]
        assert got == list(range(1, sent + 1))
        writer.transport.abort()

    asyncio.run(scenario())
