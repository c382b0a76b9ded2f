"""Floods, guesses and enumeration against the running exchange, at CI size (bars L7, L8, S4, S5).

Attackers send from 127.0.0.66 and beyond: 127.0.0.1 is trusted as a proxy of this machine. The honest caller and its desk are
real phones or the oracle; nothing of what is tested is imported.
"""

import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self

import pytest

from tests.kit.size import times
from tests.live.conftest import Measure, NewOracle, NewPhone
from tests.live.kit import wire
from tests.live.kit.exchange import Exchange
from tests.live.test_transports import resident, signalling_of

ATTACKER = "127.0.0.66"
RATE = 3000
"""Datagrams a second wanted; the machine may give less."""
SECONDS = 4.0
"""For which one host floods."""
FORGED_SECONDS = times(4, 300)
"""For which many addresses do."""
PAUSE = times(0, 5)
"""Seconds between two honest calls under a forged flood."""
IP_PKTINFO = 8
"""Of linux/in.h; Python has no name for it."""
GROWN_MIB = 64.0
"""Memory a forged flood may cost (bars L8)."""
METHODS = ("INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "BYE", "ACK")


def datagram(
    method: str, source: str, port: int, number: int, *, user: str = "100", token: str = ""
) -> bytes:
    line = f"Authorization: {token}\r\n" if token else ""
    return (
        f"{method} sip:{user}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {source}:{port};branch=z9hG4bK{number};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:{user}@127.0.0.1>;tag={number}\r\nTo: <sip:{user}@127.0.0.1>\r\n"
        f"Call-ID: flood-{source}-{number}\r\nCSeq: 1 {method}\r\nContact: <sip:{user}@{source}:{port}>\r\n{line}"
        f"Content-Length: 0\r\n\r\n"
    ).encode()


class Flood:
    """Sends in a thread as fast as told, from one address and port, or from all addresses of a /16; counts what comes back."""

    def __init__(self, exchange: Exchange, source: str, methods: tuple[str, ...]) -> None:
        """`source`: an address, or the first two numbers of a network (`127.66`) whose addresses take turns at random."""
        self.sent = self.sent_bytes = self.came = self.came_bytes = 0
        self._exchange, self._source, self._methods = exchange, source, methods
        self._forges = source.count(".") == 1
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # All of 127/8 is this machine: bound to every address, it hears the answers to all it claims to be.
        self._socket.bind(("0.0.0.0" if self._forges else source, 0))
        self._socket.setblocking(False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._hear()
        self._socket.close()

    def _run(self) -> None:
        dice = random.Random(110)
        port = self._socket.getsockname()[1]
        began = time.monotonic()
        while not self._stop.is_set() and time.monotonic() - began < FORGED_SECONDS + 30:
            while self.sent < RATE * (time.monotonic() - began):
                host = (
                    f"{self._source}.{dice.randrange(256)}.{dice.randrange(1, 255)}"
                    if self._forges
                    else self._source
                )
                data = datagram(dice.choice(self._methods), host, port, self.sent)
                try:
                    self._socket.sendmsg([data], self._from(host), 0, self._exchange.sip)
                except BlockingIOError:
                    break
                self.sent += 1
                self.sent_bytes += len(data)
            self._hear()
            time.sleep(0.002)

    def _from(self, host: str) -> list[tuple[int, int, bytes]]:
        """The control message that makes `host` the source of one datagram (ip(7): struct in_pktinfo)."""
        if not self._forges:
            return []
        return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4x", 0, socket.inet_aton(host)))]

    def _hear(self) -> None:
        try:
            while True:
                data = self._socket.recv(65535)
                self.came += 1
                self.came_bytes += len(data)
        except OSError:
            return


@pytest.fixture(autouse=True)
def calm(exchange: Exchange) -> None:
    """The last test's flood is over: nothing is shed any more."""

    def is_calm() -> bool:
        found = re.search(r"^at110_shed_pressure ([0-9.e-]+)", exchange.api("GET", "/metrics"), re.MULTILINE)
        assert found, "the guard tells of its load"
        return float(found[1]) == 0.0

    exchange.until(is_calm, "still overloaded", timeout=15)


def refused(exchange: Exchange, reason: str) -> float:
    text = exchange.api("GET", "/metrics")
    found = re.search(rf'^at110_guard_refused_total{{reason="{reason}"}} ([0-9.e+]+)', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def ask(source: str, data: bytes, exchange: Exchange, *, patience: float = 1.0) -> bytes | None:
    """Send one datagram from a fresh port of `source`; the first answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.settimeout(patience)
        sock.sendto(data.replace(b":0;branch", b":%d;branch" % sock.getsockname()[1]), exchange.sip)
        try:
            return sock.recv(65535)
        except TimeoutError:
            return None


class Neighbour:
    """A phone of UDP at an address of its own, with one call for help; called with a method and its CSeq, gives the status."""

    def __init__(self, exchange: Exchange, host: str) -> None:
        self._exchange, self._host, self._tag = exchange, host, ""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.settimeout(0.5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def __call__(self, method: str, cseq: int) -> int:
        data = self._message(method, cseq)
        for _ in range(20):  # as its timers would send it again
            self._socket.sendto(data, self._exchange.sip)
            answer = self._final(f"{cseq} {method}")
            if answer is None:
                continue
            if method == "INVITE":
                tag = re.search(rb"(?im)^To:.*;tag=([^;\r]+)", answer)
                assert tag, answer
                self._tag = tag[1].decode()
                self._socket.sendto(self._message("ACK", cseq), self._exchange.sip)
            return status(answer)
        raise AssertionError(f"no answer to {method}")

    def _final(self, cseq: str) -> bytes | None:
        """The final answer to a request; requests of the exchange are left unanswered, which it has patience with."""
        try:
            while True:
                data = self._socket.recv(65535)
                if (
                    data.startswith(b"SIP/2.0 ")
                    and status(data) >= 200
                    and f"CSeq: {cseq}\r".encode() in data
                ):
                    return data
        except TimeoutError:
            return None

    def _message(self, method: str, cseq: int) -> bytes:
        port = self._socket.getsockname()[1]
        tag = f";tag={self._tag}" if self._tag else ""
        return (
            f"{method} sip:110@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {self._host}:{port};branch=z9hG4bKn{cseq}{method};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:neighbour@127.0.0.1>;tag=n\r\nTo: <sip:110@127.0.0.1>{tag}\r\n"
            f"Call-ID: neighbour-{port}\r\nCSeq: {cseq} {method}\r\nContact: <sip:neighbour@{self._host}:{port}>\r\n"
            f"Content-Length: 0\r\n\r\n"
        ).encode()


def processor_time(pid: int) -> float:
    """Seconds of processor time a process has had, all its threads, to the ns: clock_getcpuclockid(3) says what its clock is."""
    return time.clock_gettime((~pid << 3) | 2)


def during(flood: Flood, exchange: Exchange, honest: Callable[[], None], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    with flood:
        exchange.until(lambda: flood.sent > 500, "the flood does not begin")
        honest()
        while time.monotonic() < end:
            time.sleep(0.05)


@pytest.mark.limit(180)
def test_one_host_floods_and_a_caller_is_put_through(
    exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle, measure: Measure
) -> None:
    """L7: from one address and one port; a live call behind that address goes on, a new one is answered, the flood is dropped
    unanswered.
    """
    desk = desk_phone(0, tone=1000).account.user
    exchange.sign_in(desk)
    before = refused(exchange, "flow")
    flood = Flood(exchange, ATTACKER, ("OPTIONS", "REGISTER", "INVITE"))
    took: list[float] = []
    pid = signalling_of(exchange)
    cost = 0.0

    def second() -> tuple[float, float]:
        """What is dropped in one second or so, and the processor time it takes; both of a second's length."""
        dropped, spent, at = refused(exchange, "flow"), processor_time(pid), time.monotonic()
        time.sleep(1.0)
        dropped, spent = refused(exchange, "flow") - dropped, processor_time(pid) - spent
        passed = time.monotonic() - at
        return dropped / passed, spent / passed

    _, without = second()

    def honest() -> None:
        nonlocal cost
        dropped, spent = second()
        cost = 1e6 * (spent - without) / max(1.0, dropped)
        for mark in (1, 2, 3):
            caller = oracle(mark)
            took.append(caller.call(timeout=8.0))
            exchange.call_of(caller.user, state="active")
            assert caller.bye().status == 200
        # A phone behind the attacker's address is answered too, and heard in its call.
        with Neighbour(exchange, ATTACKER) as neighbour:
            assert [neighbour("INVITE", 1), neighbour("INFO", 2), neighbour("BYE", 3)] == [200] * 3

    during(flood, exchange, honest)
    measure("answered under a flood in", 1000 * max(took), "ms")
    measure("processor time of signalling for a datagram it dropped", cost, "µs")
    measure("flood", flood.sent / SECONDS, "datagrams/s")
    assert flood.sent >= 1000 * SECONDS, "this machine can't flood"
    assert flood.came <= 60 + 20 * SECONDS * 2, "it is blocked at once"
    exchange.until(
        lambda: refused(exchange, "flow") - before > flood.sent / 2, "the guard counts what it drops"
    )
    assert max(took) <= 4.0
    # Unblocked ten seconds after it stopped.
    exchange.until(
        lambda: ask(ATTACKER, datagram("OPTIONS", ATTACKER, 0, 1), exchange) is not None,
        "still blocked",
        timeout=10,
    )


@pytest.mark.limit(times(180, 600))
def test_many_addresses_flood_and_every_emergency_call_is_heard(
    exchange: Exchange, oracle: NewOracle, measure: Measure
) -> None:
    """L8: 65,000 addresses, seven methods. No amplifier, little memory, and the honest INVITE has its answer in 8 s, by
    retransmission at worst.
    """
    flood = Flood(exchange, "127.66", METHODS)
    took: list[float] = []
    pid = signalling_of(exchange)
    before = resident(pid)

    def honest() -> None:
        began = time.monotonic()
        while len(took) < 4 or time.monotonic() - began < FORGED_SECONDS - 10:
            caller = oracle(11 + len(took))
            took.append(caller.call(timeout=8.0))
            assert caller.bye().status == 200
            time.sleep(PAUSE)

    during(flood, exchange, honest, FORGED_SECONDS)
    measure(f"packets out for {flood.sent} in", 100 * flood.came / flood.sent, "%")
    measure("bytes out for those in", 100 * flood.came_bytes / flood.sent_bytes, "%")
    measure(f"the slowest of {len(took)} honest calls", 1000 * max(took), "ms")
    grown = (resident(pid) - before) / 1024
    measure("memory a forged flood takes", grown, "MiB")
    assert grown <= GROWN_MIB
    assert flood.sent >= 1000 * FORGED_SECONDS, "this machine can't flood"
    assert flood.came <= flood.sent, "no more packets out than in"
    assert flood.came_bytes <= 1.5 * flood.sent_bytes, "no amplifier"
    exchange.until(lambda: not exchange.calls(), "calls of the flood", timeout=10)


def guess(exchange: Exchange, source: str, user: str, password: str, number: int) -> tuple[bytes, float]:
    """REGISTER as `user`: challenged, then answered; the final answer and the seconds it took."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.settimeout(2.0)
        port = sock.getsockname()[1]
        sock.sendto(datagram("REGISTER", source, port, number, user=user), exchange.sip)
        challenge = sock.recv(65535).decode()
        values = re.findall(r"(?im)^WWW-Authenticate: *(.*?)\r?$", challenge)
        token = wire.digest(
            values,
            user=user,
            password=password,
            method="REGISTER",
            uri=f"sip:{user}@127.0.0.1",
            algorithm="SHA-256",
        )
        at = time.perf_counter()
        sock.sendto(datagram("REGISTER", source, port, number + 1, user=user, token=token), exchange.sip)
        return sock.recv(65535), time.perf_counter() - at


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_guessing_is_stopped_and_the_owner_is_not(exchange: Exchange) -> None:
    """S4: ten wrong passwords a minute from one address, then not even the right one is looked at there."""
    person = exchange.callers[0]
    said = [status(guess(exchange, "127.0.0.70", person.user, f"guess{n}", 2 * n)[0]) for n in range(14)]
    assert said == [401] * 10 + [503] * 4
    assert status(guess(exchange, "127.0.0.70", person.user, person.password, 900)[0]) == 503
    assert status(guess(exchange, "127.0.0.71", person.user, person.password, 902)[0]) == 200


def shape(answer: bytes, user: str) -> bytes:
    """An answer without what differs in any two: names, nonces, tags, ports."""
    text = answer.replace(user.encode(), b"USER")
    text = re.sub(rb"flood-127.0.0.72-[78]", b"CALL", text)
    text = re.sub(rb'nonce="[^"]*"', b"NONCE", text)
    return re.sub(rb"(tag=|branch=|rport=|received=|Call-ID: |:)[A-Za-z0-9.:@-]+", rb"\1", text)


def test_who_exists_cannot_be_told(exchange: Exchange) -> None:
    """S5: accounts that exist and that don't answer alike, in every header, whatever is guessed."""
    known, unknown = exchange.callers[1].user, str(int(exchange.callers[1].user) + 5_000_000)
    for method in ("REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE"):
        answers = [
            ask("127.0.0.72", datagram(method, "127.0.0.72", 0, number, user=user), exchange)
            for number, user in ((7, known), (8, unknown))
        ]
        assert None not in answers
        shapes = [shape(answer or b"", user) for answer, user in zip(answers, (known, unknown), strict=True)]
        assert shapes[0] == shapes[1]
    for n in range(20):
        for user in (known, unknown) if n % 2 else (unknown, known):
            answer, _ = guess(exchange, f"127.0.9.{1 + n}", user, "wrong", 4 * n)
            assert status(answer) == 401
