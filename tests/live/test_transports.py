"""Phones over TLS, WebSocket and secure WebSocket, and connections that break (RFC 7118, RFC 5626)."""

import asyncio
import json
import os
import secrets
import signal
import socket
import ssl
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.kit.size import times
from tests.live.conftest import Measure, NewPhone, running
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.flowphone import VIA, FlowPhone, frame, trusting
from tests.live.kit.media import Media
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
[[sip.listen]]
host = "::1"
port = {six}
advertised = "::1"
[[sip.listen]]
host = "::1"
port = {six_tls}
transports = ["tls"]
"""


@pytest.fixture(scope="module")
def doors() -> dict[str, int]:
    """The ports of all transports."""
    return {"tls": free_port(), "https": free_port(), "six": free_port(), "six_tls": free_port()}


@pytest.fixture(scope="module")
def exchange(doors: dict[str, int]) -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS.format(**doors)), sealed=None) as made:
        doors |= {"tcp": made.sip[1], "ws": int(made.http.rpartition(":")[2]), "wss": doors["https"]}
        yield made


@pytest.fixture
def tls_phone(
    exchange: Exchange, doors: dict[str, int], media: Media, tmp_path: Any, _nothing_left: None
) -> Iterator[NewPhone]:
    made: list[Baresip] = []

    def new(user: str, **how: Any) -> Baresip:
        account = Account(user, transport="tls", **how)
        address = ("127.0.0.1", doors["tls"])
        made.append(Baresip(account, exchange=address, folder=tmp_path / f"{len(made)}-{user}", media=media))
        return made[-1]

    yield new
    for one in made:
        one.close()


def run(scenario: Coroutine[Any, Any, None], seconds: float = 60) -> None:
    async def whole() -> None:
        async with asyncio.timeout(seconds):
            await scenario

    asyncio.run(whole())


def signalling_of(exchange: Exchange) -> int:
    """The process id of the signalling process."""
    started = [line for line in exchange.log.splitlines() if '"event":"process_started"' in line]
    return next(int(json.loads(line)["pid"]) for line in started if '"role":"signalling"' in line)


def resident(pid: int) -> float:
    """KiB of memory a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def test_baresip_calls_over_tls(exchange: Exchange, tls_phone: NewPhone, doors: dict[str, int]) -> None:
    person = exchange.dispatchers[0]
    desk = tls_phone(person.user, password=person.password, tone=1000, auto_answer=True)
    desk.wait_registered()
    exchange.sign_in(person.user)
    caller = tls_phone("tina", tone=440)
    caller.dial(f"sip:110@127.0.0.1:{doors['tls']};transport=tls")
    call = exchange.call_of("tina", state="active")
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
    caller.hang_up()
    exchange.wait_gone(call["call"])
    exchange.wait_desk(person.user, "free")


@pytest.mark.parametrize(
    ("transport", "binary"),
    [("tcp", False), ("tls", False), ("ws", False), ("ws", True), ("wss", False), ("wss", True)],
)
def test_what_we_say_of_ourselves_fits_the_transport(
    exchange: Exchange, doors: dict[str, int], transport: str, binary: bool
) -> None:
    async def scenario() -> None:
        person = exchange.callers[0]
        async with FlowPhone(person.user, transport, ("127.0.0.1", doors[transport])) as phone:
            phone.binary = binary
            registered = await phone.register(person.password)
            assert registered.get("require") == "outbound"
            assert f"sip:{person.user}@{phone.host}" in registered.get("contact")
            await phone.raw(b"\r\n\r\n")
            await phone.until(lambda: phone.pongs == 1, "pong")
            answer = await phone.call()
            token = {"wss": "ws"}.get(transport, transport)
            port = doors[transport]
            assert answer.contact == f"sip:110@127.0.0.1:{port};transport={token}"
            call = await asyncio.to_thread(exchange.call_of, person.user)
            await phone.in_dialog("BYE", answer)
            assert (await phone.answer_to("BYE", phone.sequence)).status == 200
            await asyncio.to_thread(exchange.wait_gone, call["call"])
            if transport in ("ws", "wss"):
                assert phone.kinds == ({"binary"} if binary else {"text"})

    run(scenario())


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_ipv6_phones_are_told_the_ipv6_address(
    exchange: Exchange, doors: dict[str, int], transport: str
) -> None:
    async def scenario() -> None:
        port = doors["six_tls" if transport == "tls" else "six"]
        async with FlowPhone("six", transport, ("::1", port)) as phone:
            answer = await phone.call()
            assert answer.contact == f"sip:110@[::1]:{port};transport={transport}"
            assert "c=IN IP6 ::1" in answer.body
            await phone.in_dialog("BYE", answer)
            assert (await phone.answer_to("BYE", phone.sequence)).status == 200

    run(scenario())


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss"])
def test_a_phone_that_returns_keeps_its_call(
    exchange: Exchange, doors: dict[str, int], transport: str
) -> None:
    """The connection of a desk breaks in the middle of its shift; the desk comes back and everything goes on."""

    async def scenario() -> None:
        person = exchange.dispatchers[1]
        desk = FlowPhone(person.user, transport, ("127.0.0.1", doors[transport]))
        await desk.connect()
        await desk.register(person.password)
        await asyncio.to_thread(exchange.desk, person.user, "sign-in")
        invite = await desk.asked("INVITE")
        assert f"SIP/2.0/{transport.upper()} 127.0.0.1:{doors[transport]};" in invite.get("via")
        await desk.accept(invite)
        await desk.asked("ACK")
        await asyncio.to_thread(exchange.wait_desk, person.user, "free")

        await desk.drop()

        def is_gone() -> bool:
            return not exchange.desks()[person.user]["registered"]

        await asyncio.to_thread(exchange.until, is_gone, "still registered")
        assert exchange.desks()[person.user]["state"] == "free"
        await desk.connect()
        await desk.register(person.password)
        desk.got.clear()

        caller = FlowPhone("anna", "tcp", ("127.0.0.1", doors["tcp"]))
        await caller.connect()
        answer = await caller.call()
        await desk.asked("MESSAGE")  # who calls, told in the dialog, over the new connection
        await asyncio.to_thread(exchange.wait_desk, person.user, "busy")
        await caller.in_dialog("BYE", answer)
        await asyncio.to_thread(exchange.wait_desk, person.user, "free")
        await asyncio.to_thread(exchange.desk, person.user, "sign-out")
        await desk.asked("BYE")
        await asyncio.to_thread(exchange.wait_desk, person.user, "signed_out")
        await caller.drop()
        await desk.drop()

    run(scenario())


def test_the_certificate_is_read_again_without_a_restart(exchange: Exchange, doors: dict[str, int]) -> None:
    def shown() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", doors["tls"]), 5) as raw,
            trusting().wrap_socket(raw) as tls,
        ):
            found = tls.getpeercert(binary_form=True)
            assert found is not None
            return found

    first = shown()
    folder = exchange.state / "tls"
    pem = (folder / "certificate.pem").read_text()
    assert ssl.PEM_cert_to_DER_cert(pem) == first
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
    trusted = ssl.create_default_context(cadata=pem)
    with (
        socket.create_connection(("127.0.0.1", doors["tls"]), 5) as raw,
        trusted.wrap_socket(raw, server_hostname="127.0.0.1") as tls,
    ):
        assert tls.version() == "TLSv1.3"

    from datetime import UTC, datetime

    from pbx.transport.certificates import self_made

    new, key = self_made(exchange.state / "other", ["127.0.0.1"], datetime.now(UTC))
    (folder / "key.pem").write_bytes(key.read_bytes())
    (folder / "certificate.pem").write_bytes(new.read_bytes())
    os.kill(exchange.pid, signal.SIGHUP)
    expected = ssl.PEM_cert_to_DER_cert(new.read_text())
    exchange.until(lambda: shown() == expected, "the old certificate is still shown", timeout=10)
    (folder / "certificate.pem").write_text("rubbish")
    os.kill(exchange.pid, signal.SIGHUP)
    exchange.until(lambda: "certificate_unusable" in exchange.log, "nothing is said of it")
    assert shown() == expected
    (folder / "certificate.pem").write_bytes(new.read_bytes())


def test_old_tls_is_refused(exchange: Exchange, doors: dict[str, int]) -> None:
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", doors["tls"]), 5) as raw:
        context.wrap_socket(raw)


# --- crowds, at small size (bars F19, F20, L10) -----------------------------------------------------------------------


def flood(
    address: tuple[str, int], count: int, first: bytes = b"", source: str = "127.0.0.1"
) -> list[socket.socket]:
    """Open connections that say `first` and nothing more."""
    made = []
    for _ in range(count):
        one = socket.socket()
        one.bind((source, 0))
        one.settimeout(5)
        try:
            one.connect(address)
            if first:
                one.sendall(first)
        except OSError:
            one.close()
            continue
        made.append(one)
    return made


def is_closed(one: socket.socket) -> bool:
    one.settimeout(0)
    try:
        while one.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


HONEST_SECONDS = 6.0
"""An honest phone is served within: 2 s by the bars, and what a build server with other things to do adds."""

HELLO = bytes.fromhex("16030100f8010000f40303")  # how a TLS client begins


@pytest.mark.parametrize(
    ("door", "first"),
    [
        ("tcp", b""),
        ("tcp", b"I"),
        ("tls", b""),
        ("tls", HELLO),
        ("wss", b""),
        ("wss", HELLO),
        ("ws", b"GET /sip HTTP/1.1\r\n"),
    ],
)
def test_who_says_nothing_keeps_nobody_out(
    exchange: Exchange, doors: dict[str, int], door: str, first: bytes
) -> None:
    """F19: silent, half-open and half-said connections from one and from many addresses; that all of them are closed in time
    is shown with 3,000 (`test_crowds.py`).
    """
    address = ("127.0.0.1", doors[door])
    one_host = flood(address, 200, first)
    many_hosts = [it for n in range(20) for it in flood(address, 40, first, f"127.0.1.{n + 1}")]
    try:
        # 50 of one host may stay; the rest was sent away at once.
        exchange.until(
            lambda: sum(map(is_closed, one_host)) >= 150, "one host keeps more than 50 connections"
        )

        async def honest() -> None:
            person = exchange.callers[1]
            start = time.monotonic()
            # From an address of its own: on the hoarder's, its neighbours have taken the places of strangers.
            async with FlowPhone(person.user, door, address) as phone:
                await phone.register(person.password)
            assert time.monotonic() - start < HONEST_SECONDS

        for it in one_host:
            it.close()
        run(honest())
    finally:
        for it in (*one_host, *many_hosts):
            it.close()


INVITE = (
    "INVITE sip:100@at110 SIP/2.0\r\nVia: SIP/2.0/{} g.invalid;branch=z9hG4bK{};rport\r\nMax-Forwards: 70\r\n"
    'From: "'
    + "x"
    * 4000  # is echoed, so that few requests fill what may stay unread, and the machine has time for all of them
    + '" <sip:g@at110>;tag=g\r\nTo: <sip:100@at110>\r\nCall-ID: same\r\nCSeq: {} INVITE\r\n'
    "Contact: <sip:g@g.invalid>\r\nContent-Length: 0\r\n\r\n"
)
UPGRADE = (
    b"GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


GREEDY = 100
"""Connections of the advisory's program."""
GREEDY_SECONDS = times(0, 60)
"""For which they come again when they are closed, all together."""
SERVED_SECONDS = 20.0
"""Within which anybody else is answered meanwhile, on a busy machine; on an idle one it takes a tenth of a second."""
PATIENT = 60.0
"""Seconds until all are closed: ten after each has left enough unread, which a busy machine is slow to answer."""


class Greedy:
    """A connection that asks for ever and reads nothing: one Call-ID, rising CSeq (AST-2020-001)."""

    def __init__(self, door: str, address: tuple[str, int]) -> None:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(address)
        raw.settimeout(30)
        self._door, self._number, self._unsent = door, 0, b""
        self._one = trusting().wrap_socket(raw) if door == "tls" else raw
        if door == "ws":
            self._one.sendall(UPGRADE)
            assert self._one.recv(12) == b"HTTP/1.1 101"
        self._one.setblocking(False)
        self.began = time.monotonic()

    def is_heard(self) -> bool:
        """Ask more, as far as it is taken; False when the connection was closed."""
        try:
            for _ in range(8):
                self._unsent = self._unsent or self._requests()
                self._unsent = self._unsent[self._one.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return True
        except OSError:
            self._one.close()
            return False
        return True

    def _requests(self) -> bytes:
        requests = []
        for _ in range(4):
            self._number += 1
            text = INVITE.format(VIA[self._door], secrets.token_hex(8), self._number).encode()
            requests.append(frame(1, text) if self._door == "ws" else text)
        return b"".join(requests)


def greedy(door: str, address: tuple[str, int]) -> float:
    """Let a hundred of them ask until the exchange has had enough of all; gives the seconds the last one was heard."""
    # Connections that have sent no message yet are few for each address: these come one after the other.
    heard, last = [], 0.0
    for _ in range(GREEDY):
        heard.append(Greedy(door, address))
        assert heard[-1].is_heard()
    while heard and last < PATIENT:
        heard = [one for one in heard if one.is_heard()]
        last = max((time.monotonic() - one.began for one in heard), default=last)
        time.sleep(0.02)
    return last


@pytest.mark.limit(times(180, 400))
@pytest.mark.parametrize("door", ["tcp", "tls", "ws"])
def test_who_does_not_read_is_not_served(
    exchange: Exchange, doors: dict[str, int], door: str, measure: Measure
) -> None:
    """L10: a hundred connections that send INVITEs for ever and read nothing are closed; others are served meanwhile."""
    address, pid = ("127.0.0.1", doors[door]), signalling_of(exchange)
    before = resident(pid)

    async def honest(stop: list[bool]) -> float:
        worst = 0.0
        while not stop:
            start = time.monotonic()
            async with FlowPhone("honest", door, address) as phone:
                await phone.ask("OPTIONS", "sip:110@at110", call_id="h", to="<sip:110@at110>")
                await phone.answer_to("OPTIONS", phone.sequence, timeout=SERVED_SECONDS)
            worst = max(worst, time.monotonic() - start)
            await asyncio.sleep(0.2)
        return worst

    async def scenario() -> None:
        stop: list[bool] = []
        other = asyncio.get_running_loop().create_task(honest(stop))
        until, lasted = time.monotonic() + GREEDY_SECONDS, []
        while True:
            lasted.append(await asyncio.to_thread(greedy, door, address))
            assert lasted[-1] < PATIENT, f"who reads nothing was listened to for {lasted[-1]:.0f} s"
            if time.monotonic() >= until:
                break
        stop.append(True)
        worst = await other
        measure(f"of {GREEDY * len(lasted)} connections the last was listened to for", max(lasted), "s")
        measure("others were served meanwhile in", worst, "s")
        measure("memory of signalling has grown by", (resident(pid) - before) / 1024, "MiB")
        assert worst < SERVED_SECONDS

    run(scenario(), times(150, 380))


SLOW = {
    "tcp": b"OPTIONS sip:110@at110 SIP/2.0\r\n",
    "tls": b"OPTIONS sip:110@at110 SIP/2.0\r\n",
    "ws": b"GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "body": b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n",
}
"""How a slow writer begins at each door."""


@pytest.mark.limit(120)
def test_who_writes_slowly_is_not_waited_for(exchange: Exchange, doors: dict[str, int]) -> None:
    """F20: a byte now and then; 10 s for a first message or a request's head, 32 s for a message or body. At all doors at once, for
    it is a test that waits.
    """
    said: list[bytes] = []

    async def slow(door: str, source: str) -> float:
        address = ("127.0.0.1", doors[{"http": "ws", "body": "ws"}.get(door, door)])
        context = trusting() if door == "tls" else None
        reader, writer = await asyncio.open_connection(*address, ssl=context, local_addr=(source, 0))
        began = time.monotonic()
        writer.write(SLOW[door])
        try:
            while time.monotonic() - began < 45:
                writer.write(b"X")
                try:
                    async with asyncio.timeout(1):
                        answer = await reader.read(4096)
                except TimeoutError:
                    continue
                if not answer:
                    break
                if door == "body":
                    said.append(answer)
        except OSError:
            pass
        writer.transport.abort()
        return time.monotonic() - began

    async def at(door: str, source: str) -> None:
        lasted = await asyncio.gather(*(slow(door, source) for _ in range(20)))
        limit = 44 if door == "body" else 20  # the limits of time, and a busy machine's patience
        assert max(lasted) < limit, f"{door}: a slow writer was waited for {max(lasted):.0f} s"
        assert min(lasted) > (28 if door == "body" else 6), f"{door}: it was not the limit of time"

    async def scenario() -> None:
        await asyncio.gather(*(at(door, f"127.0.7.{1 + number}") for number, door in enumerate(SLOW)))

    run(scenario(), 100)
    assert any(b" 408 " in text for text in said)
