"""Asks DNS servers (RFC 1035), for `pbx.sip.locate`.

in → out: a question → its records and how long they hold, or that nobody answered. One task per question, bounded in
time and number; who waits for it is told by a call, and nothing else waits.
"""

import asyncio
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from pbx.sip.locate import NEGATIVE_TTL, Naptr, Question, Records, Srv
from pbx.tasks import Tasks
from pbx.transport.address import Address

SYSTEM_FILE: Final = Path("/etc/resolv.conf")
MAX_SERVERS: Final = 3
"""As the C library: more are never asked."""
DNS_PORT: Final = 53
MAX_AT_ONCE: Final = 64
"""Questions under way; more fail at once rather than wait in a queue that a dead server makes endless."""
UDP_BYTES: Final = 1232
"""Answers that fit everywhere unfragmented (DNS flag day 2020); longer ones come by TCP."""
MAX_ANSWER: Final = 65_535

Done = Callable[[Records | None, float], None]
"""Takes (records, seconds they hold); None: nobody answered."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long servers are waited for. Seconds."""

    attempt: float = 1.5
    tries: int = 2
    """Of each server."""
    whole: float = 5.0
    """All together; the transaction that waits has 32 s."""


_DEFAULT_PATIENCE: Final = Patience()


def system_servers(file: Path = SYSTEM_FILE) -> tuple[Address, ...]:
    """Return the servers that resolv.conf(5) names; none when it can't be read."""
    try:
        text = file.read_text("ascii", "replace")
    except OSError:
        return ()
    found = re.findall(r"(?m)^[ \t]*nameserver[ \t]+([0-9A-Fa-f:.]+(?:%[\w.-]+)?)", text)
    return tuple((host, DNS_PORT) for host in found[:MAX_SERVERS])


class Resolver:
    """Asks; `servers` are (IP address, port), the first is asked first."""

    def __init__(
        self, servers: Sequence[Address], tasks: Tasks, patience: Patience = _DEFAULT_PATIENCE
    ) -> None:
        self._servers = tuple(servers)
        self._tasks = tasks
        self._patience = patience
        self._running = 0

    def ask(self, question: Question, done: Done) -> None:
        """Ask; returns at once. `done` is called from the loop, exactly once unless everything ends before."""
        if self._running >= MAX_AT_ONCE or not self._servers:
            asyncio.get_running_loop().call_soon(done, None, 0.0)
            return
        self._running += 1
        self._tasks.spawn(self._ask(question, done), name=f"dns.{question[1]}.{question[0]}")

    async def _ask(self, question: Question, done: Done) -> None:
        records, ttl = None, 0.0
        try:
            async with asyncio.timeout(self._patience.whole):
                for server in self._servers * self._patience.tries:
                    found = await self._try(server, question)
                    if found is not None:
                        records, ttl = found
                        break
        except TimeoutError:
            pass
        finally:
            self._running -= 1
        done(records, ttl)

    async def _try(self, server: Address, question: Question) -> tuple[Records, float] | None:
        """Ask one server once. None: it gave no usable answer."""
        try:
            query = dns.message.make_query(
                question[0], question[1], id=secrets.randbits(16), use_edns=0, payload=UDP_BYTES
            )
            wire = query.to_wire()
            async with asyncio.timeout(self._patience.attempt):
                answer = await _by_udp(server, query, wire)
                if answer.flags & dns.flags.TC:
                    answer = await _by_tcp(server, query, wire)
            return _read(answer)
        except (OSError, dns.exception.DNSException, ValueError, EOFError):
            return None  # TimeoutError is an OSError


class _Answers(asyncio.DatagramProtocol):
    """The socket of one question. It is connected, so the kernel drops what comes from others."""

    def __init__(self, query: dns.message.Message) -> None:
        self._query = query
        self.answer: asyncio.Future[dns.message.Message] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio's name
        try:
            answer = dns.message.from_wire(data)
        except (dns.exception.DNSException, ValueError):
            return  # a forger does not end our wait
        if self._query.is_response(answer) and not self.answer.done():
            self.answer.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _by_udp(server: Address, query: dns.message.Message, wire: bytes) -> dns.message.Message:
    # A socket per question: its port is drawn by the kernel, which with the id makes a forged answer a matter of luck.
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Answers(query), remote_addr=server, family=_family(server)
    )
    try:
        transport.sendto(wire)
        return await protocol.answer
    finally:
        transport.close()
        protocol.answer.cancel()


async def _by_tcp(server: Address, query: dns.message.Message, wire: bytes) -> dns.message.Message:
    reader, writer = await asyncio.open_connection(*server, family=_family(server), limit=MAX_ANSWER)
    try:
        writer.write(len(wire).to_bytes(2) + wire)
        size = int.from_bytes(await reader.readexactly(2))
        answer = dns.message.from_wire(await reader.readexactly(size))
    finally:
        writer.transport.abort()
    if not query.is_response(answer):
        raise ValueError("the answer is to another question")
    return answer


def _family(server: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET


def _read(answer: dns.message.Message) -> tuple[Records, float] | None:
    """Read an answer, through its aliases. None: the server could not tell."""
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    chain = cast("dns.message.QueryMessage", answer).resolve_chaining()
    if chain.answer is None:
        return (), min(float(chain.minimum_ttl), NEGATIVE_TTL)
    records: list[Naptr | Srv | str] = []
    for item in chain.answer:
        match item:
            case A() | AAAA():
                records.append(item.address)
            case SRV():
                records.append(
                    Srv(item.priority, item.weight, item.port, item.target.to_text(omit_final_dot=True))
                )
            case NAPTR():
                flags, service = (text.decode("ascii", "replace") for text in (item.flags, item.service))
                name = item.replacement.to_text(omit_final_dot=True)
                records.append(Naptr(item.order, item.preference, flags, service, name))
    return tuple(records), float(chain.minimum_ttl)
