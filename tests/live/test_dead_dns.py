"""DNS that says nothing, or lies, while the exchange works (bars F26): registered parties wait for no name, and nothing is sent to
this machine because a name says so.
"""

import asyncio
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import dns.message
import dns.rrset
import pytest

from tests.live.conftest import Measure, on_build_server, running
from tests.live.kit import ports
from tests.live.kit.exchange import Exchange, View
from tests.live.kit.flowphone import FlowPhone

pytestmark = pytest.mark.beside

SERVER = "127.0.0.153"
TRAP = ports.block(2)
"""Where the lie leads: nobody may ever be heard there."""
SETTINGS = f"""
[queue]
wrap_up_seconds = 0.0
language = 'en'
[sip]
resolvers = ["{SERVER}"]
[[trunk]]
name = "silent"
peers = [{{ host = "silent.example" }}]
options_seconds = 0.0
[[trunk]]
name = "asked"
peers = [{{ host = "asked.example" }}]
options_seconds = 1.0
[[trunk]]
name = "liar"
peers = [{{ host = "liar.example", port = {TRAP} }}]
options_seconds = 0.0
"""
SERVED_SECONDS = 2.0
"""The median of what a registered party waits for; on an idle machine it is some milliseconds."""


class NameServer:
    """It answers for `liar.example`, wrongly, and nothing else."""

    def __init__(self, opened: ExitStack) -> None:
        self.asked: list[str] = []
        self._socket = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind((SERVER, 53))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(data)
            asked = query.question[0]
            self.asked.append(f"{asked.name.to_text(omit_final_dot=True)} {asked.rdtype.name}")
            if self.asked[-1].startswith("liar.example "):
                answer = dns.message.make_response(query)
                lies = {"A": ("127.0.0.1", "169.254.169.254"), "AAAA": ("::1",)}.get(asked.rdtype.name)
                if lies:
                    answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", asked.rdtype.name, *lies))
                self._socket.sendto(answer.to_wire(), source)


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with ExitStack() as opened:
        try:
            made = NameServer(opened)
        except OSError as error:
            if on_build_server():
                raise
            pytest.skip(f"{SERVER}:53 can't be listened at: {error}")
        yield made


@pytest.fixture(scope="module")
def exchange(names: NameServer) -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS), sealed=None) as made:
        yield made


def counts(exchange: Exchange, name: str) -> View:
    return next(one for one in exchange.api("GET", "/api/trunks")["trunks"] if one["trunk"] == name)


def try_out(exchange: Exchange, name: str) -> None:
    exchange.api("POST", f"/api/trunks/{name}/try", {"number": "13800138000"})


def test_a_dead_resolver_delays_no_registered_party(
    exchange: Exchange, names: NameServer, measure: Measure
) -> None:
    """Calls out hang in DNS; registrations, calls for help and desks go on at once."""
    person, citizen = exchange.dispatchers[0], exchange.callers[0]
    took: list[float] = []

    async def scenario() -> None:
        desk = FlowPhone(person.user, "tcp", exchange.sip)
        await desk.connect()
        await desk.register(person.password)
        await asyncio.to_thread(exchange.desk, person.user, "sign-in")
        await desk.accept(await desk.asked("INVITE"))
        await desk.asked("ACK")
        await asyncio.to_thread(exchange.wait_desk, person.user, "free")
        await asyncio.to_thread(try_out, exchange, "silent")
        await asyncio.to_thread(
            exchange.until, lambda: "silent.example" in str(names.asked), "DNS is not asked"
        )
        for _ in range(5):
            began = time.monotonic()
            async with FlowPhone(citizen.user, "tcp", exchange.sip) as phone:
                await phone.register(citizen.password)
                answer = await phone.call()
                await asyncio.to_thread(exchange.wait_desk, person.user, "busy")
                took.append(time.monotonic() - began)
                await phone.in_dialog("BYE", answer)
                assert (await phone.answer_to("BYE", phone.sequence)).status == 200
            await asyncio.to_thread(exchange.wait_desk, person.user, "free")
        await asyncio.to_thread(exchange.desk, person.user, "sign-out")
        await desk.asked("BYE")
        await desk.drop()

    async def whole() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(whole())
    measure("registered, answered and put through while DNS is dead in", 1000 * max(took), "ms")
    assert statistics.median(took) <= SERVED_SECONDS
    # The call out is given up when the patience with its peer, or with DNS, is over.
    exchange.until(
        lambda: counts(exchange, "silent")["failed"] == 1, "the call out is not given up", timeout=25
    )
    assert not [one for one in names.asked if "at110" in one or citizen.user in one], "a phone was looked up"


def test_a_lying_resolver_sends_us_nowhere(exchange: Exchange, names: NameServer) -> None:
    """A name that leads to this machine, or to its neighbours on the link, leads nowhere (S9)."""
    with ExitStack() as opened:
        udp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        tcp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        for trap in (udp, tcp):
            trap.bind(("127.0.0.1", TRAP))
            trap.setblocking(False)
        tcp.listen()
        try_out(exchange, "liar")
        exchange.until(lambda: counts(exchange, "liar")["failed"] == 1, "it is not given up", timeout=20)
        assert "liar.example A" in names.asked
        for heard in (lambda: udp.recv(65535), tcp.accept):
            with pytest.raises(BlockingIOError):
                heard()
