"""The resolver against DNS servers on loopback: honest, slow, silent, lying, and long-winded (bars F26)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import uvloop

from pbx.sip.locate import Naptr, Question, Records, Srv
from pbx.tasks import Tasks
from pbx.transport.resolver import MAX_AT_ONCE, Patience, Resolver, system_servers

pytestmark = pytest.mark.beside

Answer = Callable[[dns.message.Message], dns.message.Message | bytes | None]

ZONE = {
    ("carrier.example", "NAPTR"): ['10 20 "s" "SIP+D2U" "" _sip._udp.carrier.example.'],
    ("_sip._udp.carrier.example", "SRV"): ["1 2 5060 a.carrier.example."],
    ("a.carrier.example", "A"): ["192.0.2.1", "192.0.2.2"],
    ("a.carrier.example", "AAAA"): ["2001:db8::1"],
}
PATIENT = Patience(attempt=0.3, tries=2, whole=2.0)


def honest(query: dns.message.Message) -> dns.message.Message:
    answer = dns.message.make_response(query)
    asked = query.question[0]
    name, kind = asked.name.to_text(omit_final_dot=True), asked.rdtype.name
    if name == "alias.example":
        answer.answer.append(dns.rrset.from_text(asked.name, 30, "IN", "CNAME", "a.carrier.example."))
        name = "a.carrier.example"
    records = ZONE.get((name, kind))
    if records:
        answer.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", kind, *records))
    else:
        answer.set_rcode(dns.rcode.NXDOMAIN)
        answer.authority.append(
            dns.rrset.from_text("example.", 60, "IN", "SOA", "ns. hostmaster. 1 1 1 1 20")
        )
    return answer


class Server(asyncio.DatagramProtocol):
    """A DNS server on one port of loopback, UDP and TCP."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked, self.by_tcp = answer, 0, 0

    async def start(self) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        self.listener = await asyncio.start_server(self._stream, "127.0.0.1", 0)
        address = self.listener.sockets[0].getsockname()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=address)
        return str(address[0]), int(address[1])

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked += 1
        answer = self.answer(dns.message.from_wire(data))
        if answer is not None:
            self.transport.sendto(answer if isinstance(answer, bytes) else answer.to_wire(), addr)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.by_tcp += 1
        query = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
        wire = honest(query).to_wire()
        writer.write(len(wire).to_bytes(2) + wire)
        await writer.drain()
        writer.close()

    def close(self) -> None:
        self.transport.close()
        self.listener.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(scenario())  # type: ignore[arg-type]


async def ask(resolver: Resolver, question: Question) -> tuple[Records | None, float]:
    told: asyncio.Future[tuple[Records | None, float]] = asyncio.get_running_loop().create_future()
    resolver.ask(question, lambda records, ttl: told.set_result((records, ttl)))
    async with asyncio.timeout(5):
        return await told


async def asked(answer: Answer, question: Question) -> tuple[Records | None, float, Server]:
    tasks, server = Tasks("test"), Server(answer)
    found = await ask(Resolver([await server.start()], tasks, PATIENT), question)
    server.close()
    await tasks.close()
    return *found, server


@pytest.mark.parametrize(
    ("question", "records", "ttl"),
    [
        (("carrier.example", "NAPTR"), (Naptr(10, 20, "s", "SIP+D2U", "_sip._udp.carrier.example"),), 300),
        (("_sip._udp.carrier.example", "SRV"), (Srv(1, 2, 5060, "a.carrier.example"),), 300),
        (("a.carrier.example", "A"), ("192.0.2.1", "192.0.2.2"), 300),
        (("a.carrier.example", "AAAA"), ("2001:db8::1",), 300),
        (("alias.example", "A"), ("192.0.2.1", "192.0.2.2"), 30),
        (("nothing.example", "A"), (), 20),
    ],
)
def test_what_an_honest_server_says(question: Question, records: Records, ttl: float) -> None:
    async def scenario() -> None:
        found, kept, _ = await asked(honest, question)
        assert found is not None
        assert (sorted(found, key=str), kept) == (list(records), ttl)  # of one set no order is promised

    run(scenario)


def test_long_answers_come_by_tcp() -> None:
    def short(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return answer

    async def scenario() -> None:
        records, _, server = await asked(short, ("a.carrier.example", "A"))
        assert records is not None
        assert set(records) == {"192.0.2.1", "192.0.2.2"}
        assert (server.asked, server.by_tcp) == (1, 1)

    run(scenario)


def silent(_query: dns.message.Message) -> None:
    return None


def broken(query: dns.message.Message) -> dns.message.Message:
    answer = dns.message.make_response(query)
    answer.set_rcode(dns.rcode.SERVFAIL)
    return answer


def rubbish(_query: dns.message.Message) -> bytes:
    return b"\x00rubbish"


def guessed(query: dns.message.Message) -> dns.message.Message:
    answer = honest(query)
    answer.id ^= 1
    return answer


def elsewhere(query: dns.message.Message) -> dns.message.Message:
    other = dns.message.make_query("b.carrier.example", "A", id=query.id)
    answer = dns.message.make_response(other)
    answer.answer.append(dns.rrset.from_text("b.carrier.example.", 300, "IN", "A", "192.0.2.66"))
    return answer


@pytest.mark.parametrize("answer", [silent, broken, rubbish, guessed, elsewhere])
def test_what_is_no_answer(answer: Answer) -> None:
    """Silence, failure, rubbish, a wrong id and another question: asked twice, then given up, in bounded time."""

    async def scenario() -> None:
        start = time.monotonic()
        records, _, server = await asked(answer, ("a.carrier.example", "A"))
        assert (records, server.asked) == (None, 2)
        assert time.monotonic() - start < 5

    run(scenario)


def test_the_second_server_is_asked_when_the_first_is_dead() -> None:
    async def scenario() -> None:
        tasks, dead, alive = Tasks("test"), Server(silent), Server(honest)
        resolver = Resolver([await dead.start(), await alive.start()], tasks, PATIENT)
        assert (await ask(resolver, ("a.carrier.example", "AAAA")))[0] == ("2001:db8::1",)
        dead.close()
        alive.close()
        await tasks.close()

    run(scenario)


def test_without_a_server_the_answer_is_no_at_once() -> None:
    async def scenario() -> None:
        assert await ask(Resolver([], Tasks("test")), ("a.carrier.example", "A")) == (None, 0.0)

    run(scenario)


def test_a_dead_server_costs_few_tasks() -> None:
    """Questions to a dead server are bounded in number, and the loop goes on meanwhile."""

    async def scenario() -> None:
        tasks, dead = Tasks("test"), Server(silent)
        resolver = Resolver([await dead.start()], tasks, PATIENT)
        told: list[Records | None] = []
        for number in range(500):
            resolver.ask((f"h{number}.example", "A"), lambda records, _ttl: told.append(records))
        worst, before = 0.0, time.monotonic()
        assert len(tasks) == MAX_AT_ONCE
        while len(told) < 500:
            await asyncio.sleep(0.01)
            worst, before = max(worst, time.monotonic() - before), time.monotonic()
        assert set(told) == {None}
        assert worst < 1.0
        dead.close()
        await tasks.close()

    run(scenario)


def test_the_systems_servers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# x\nsearch example\nnameserver 192.0.2.1\n nameserver\t2001:db8::1\nnameserver x\noptions a\n"
    )
    assert system_servers(file) == (("192.0.2.1", 53), ("2001:db8::1", 53))
    file.write_text("".join(f"nameserver 192.0.2.{n}\n" for n in range(1, 9)))
    assert len(system_servers(file)) == 3
    assert system_servers(tmp_path / "nothing") == ()
