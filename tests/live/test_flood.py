"""Floods, guesses and enumeration against the running exchange, at CI size (bars L7, L8, S4, S5).

Attackers send from 127.0.0.66 and beyond: 127.0.0.1 is trusted as a proxy of this machine. The honest caller and its desk are
real phones or the oracle; nothing of what is tested is imported.
"""

import random
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

import pytest

from tests.live.conftest import Measure, NewOracle, NewPhone
from tests.live.kit import wire
from tests.live.kit.exchange import Exchange

ATTACKER = "127.0.0.66"
RATE = 3000
"""Datagrams a second wanted; the machine may give less."""
SECONDS = 4.0
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
    """Sends from one or many loopback addresses as fast as told, in a thread; counts what comes back."""

    def __init__(self, exchange: Exchange, sources: list[str], methods: tuple[str, ...]) -> None:
        self.sent = self.sent_bytes = self.came = self.came_bytes = 0
        self._exchange, self._methods = exchange, methods
        self._sockets = []
        for source in sources:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((source, 0))
            sock.setblocking(False)
            self._sockets.append(sock)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._hear()
        for sock in self._sockets:
            sock.close()

    def _run(self) -> None:
        dice = random.Random(110)
        began = time.monotonic()
        while not self._stop.is_set() and time.monotonic() - began < 30:
            while self.sent < RATE * (time.monotonic() - began):
                sock = dice.choice(self._sockets)
                host, port = sock.getsockname()
                data = datagram(dice.choice(self._methods), host, port, self.sent)
                try:
                    sock.sendto(data, self._exchange.sip)
                except BlockingIOError:
                    break
                self.sent += 1
                self.sent_bytes += len(data)
            self._hear()
            time.sleep(0.002)

    def _hear(self) -> None:
        for sock in self._sockets:
            try:
                while True:
                    data = sock.recv(65535)
                    self.came += 1
                    self.came_bytes += len(data)
            except OSError:
                continue


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


def during(flood: Flood, exchange: Exchange, honest: Callable[[], None]) -> None:
    end = time.monotonic() + SECONDS
    with flood:
        exchange.until(lambda: flood.sent > 500, "the flood does not begin")
        honest()
        while time.monotonic() < end:
            time.sleep(0.05)


@pytest.mark.limit(180)
def test_one_host_floods_and_a_caller_is_put_through(
    exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle, measure: Measure
) -> None:
    """L7: from one address and one port; a live call goes on, a new one is answered, the flood is dropped unanswered."""
    desk = desk_phone(0, tone=1000).account.user
    exchange.sign_in(desk)
    before = refused(exchange, "flow")
    flood = Flood(exchange, [ATTACKER], ("OPTIONS", "REGISTER", "INVITE"))
    took: list[float] = []

    def honest() -> None:
        for mark in (1, 2, 3):
            caller = oracle(mark)
            took.append(caller.call(timeout=8.0))
            exchange.call_of(caller.user, state="active")
            assert caller.bye().status == 200

    during(flood, exchange, honest)
    measure("answered under a flood in", 1000 * max(took), "ms")
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


@pytest.mark.limit(180)
def test_many_addresses_flood_and_every_emergency_call_is_heard(
    exchange: Exchange, oracle: NewOracle, measure: Measure
) -> None:
    """L8: 200 addresses, seven methods. No amplifier, and the honest INVITE has its answer in 8 s, by retransmission at worst."""
    sources = [f"127.0.{1 + n // 100}.{1 + n % 100}" for n in range(200)]
    flood = Flood(exchange, sources, METHODS)
    took: list[float] = []

    def honest() -> None:
        for mark in (11, 12, 13, 14):
            caller = oracle(mark)
            took.append(caller.call(timeout=8.0))
            assert caller.bye().status == 200

    during(flood, exchange, honest)
    measure("answered under a forged flood in", 1000 * max(took), "ms")
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
