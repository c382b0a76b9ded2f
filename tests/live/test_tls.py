"""What a stranger's scanner says of our TLS, which certificates of clients are taken, and a flood of handshakes (bars S11)."""

import contextlib
import datetime as dt
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.kit.size import times
from tests.live.conftest import Measure, NewOracle, running
from tests.live.kit.exchange import Exchange
from tests.live.kit.flowphone import trusting
from tests.live.kit.ports import free_port

pytestmark = pytest.mark.beside

SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = 'en'
[tls]
port = {sip}
clients = "{clients}"
[http]
tls_port = {web}
"""

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
FLOOD_SECONDS = times(4, 60)
FLOODED = 500
"""Hellos a second wanted (bars S11); a busy machine gives fewer."""
OPTIONS = (
    b"OPTIONS sip:110@at110 SIP/2.0\r\nVia: SIP/2.0/TLS trunk.example;branch=z9hG4bKs11;rport\r\nMax-Forwards: 70\r\n"
    b"From: <sip:t@at110>;tag=t\r\nTo: <sip:110@at110>\r\nCall-ID: s11\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str) -> "Authority":
        made = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return cls(made, ec.generate_private_key(ec.SECP256R1()))

    def sign(
        self,
        folder: Path,
        name: str,
        *,
        since: dt.datetime = NOW - DAY,
        until: dt.datetime = NOW + DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        authority: bool = False,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Path:
        """Write a PEM file with a certificate for `name` and its key."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        made = x509.CertificateBuilder(
            issuer_name=self.name,
            subject_name=self.name
            if authority
            else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=own.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=since,
            not_valid_after=until,
        ).add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if not authority:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        file = folder / f"{len(list(folder.iterdir()))}-{name}.pem"
        file.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return file


@pytest.fixture(scope="module")
def trunks() -> Authority:
    return Authority.make("trunks")


@pytest.fixture(scope="module")
def doors() -> dict[str, int]:
    return {"sip": free_port(), "web": free_port()}


@pytest.fixture(scope="module")
def exchange(
    trunks: Authority, doors: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchange]:
    clients = trunks.sign(tmp_path_factory.mktemp("authority"), "trunks", authority=True, key=trunks.key)
    with running(Exchange(settings=SETTINGS.format(clients=clients, **doors)), sealed=None) as made:
        yield made


@pytest.mark.parametrize("door", ["sip", "web"])
@pytest.mark.usefixtures("exchange")
def test_a_scanner_finds_nothing_old(doors: dict[str, int], door: str) -> None:
    """TLS 1.2 and 1.3 alone, every suite with forward secrecy and authenticated encryption, no compression, no renegotiation."""
    scan = subprocess.run(
        ["sslscan", "--no-colour", "--show-ciphers", "--xml=-", f"127.0.0.1:{doors[door]}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = ET.fromstring(scan.stdout)
    on = {
        f"{one.get('type')} {one.get('version')}"
        for one in found.iter("protocol")
        if one.get("enabled") == "1"
    }
    assert on == {"tls 1.2", "tls 1.3"}
    suites = {str(one.get("cipher")) for one in found.iter("cipher")}
    assert suites
    for suite in suites:
        assert suite.startswith(("TLS_", "ECDHE-")), suite
        assert "GCM" in suite or "POLY1305" in suite, suite
    for what in ("compression", "renegotiation"):
        assert "1" not in {one.get("supported") for one in found.iter(what)}, what
    assert {one.get("vulnerable") for one in found.iter("heartbleed")} <= {"0"}


def is_served(port: int, certificate: Path | None, version: ssl.TLSVersion) -> bool:
    """Show a certificate and ask something; whether it was answered."""
    context = trusting()
    context.minimum_version = context.maximum_version = version
    if certificate is not None:
        context.load_cert_chain(certificate)
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as raw, context.wrap_socket(raw) as tls:
            tls.settimeout(10)
            tls.sendall(OPTIONS)
            return tls.recv(4096).startswith(b"SIP/2.0 ")
    except TimeoutError:
        raise
    except OSError:  # ssl.SSLError is one
        return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.usefixtures("exchange")
def test_only_good_certificates_of_clients_are_taken(
    trunks: Authority, doors: dict[str, int], tmp_path: Path, version: ssl.TLSVersion
) -> None:
    stranger = Authority.make("stranger")
    namesake = Authority.make("trunks")
    lone = ec.generate_private_key(ec.SECP256R1())
    alone = Authority(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trunk.example")]), lone)
    name = "trunk.example"
    assert is_served(doors["sip"], None, version), "a phone has none"
    assert is_served(doors["sip"], trunks.sign(tmp_path, name), version)
    refused = {
        "ended": trunks.sign(tmp_path, name, since=NOW - 3 * DAY, until=NOW - DAY),
        "not yet valid": trunks.sign(tmp_path, name, since=NOW + DAY, until=NOW + 3 * DAY),
        "of somebody else": stranger.sign(tmp_path, name),
        "of somebody of the same name": namesake.sign(tmp_path, name),
        "of nobody": alone.sign(tmp_path, name, key=lone),
        "for servers only": trunks.sign(tmp_path, name, usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "for code": trunks.sign(tmp_path, name, usage=ExtendedKeyUsageOID.CODE_SIGNING),
    }
    for what, certificate in refused.items():
        assert not is_served(doors["sip"], certificate, version), what
    assert is_served(doors["sip"], None, version)


class Hellos:
    """Begins handshakes as fast as told, from many addresses, and ends none; the dear part is the exchange's answer."""

    def __init__(self, port: int) -> None:
        self.answered = self.begun = 0
        self._port = port
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            trusting().wrap_bio(into, out).do_handshake()
        self._hello = out.read()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        began, open_ones = time.monotonic(), deque[socket.socket]()
        while not self._stop.is_set() and time.monotonic() - began < FLOOD_SECONDS + 60:
            while self.begun < FLOODED * (time.monotonic() - began) and not self._stop.is_set():
                one = socket.socket()
                one.settimeout(2.0)
                try:
                    one.bind((f"127.0.3.{1 + self.begun % 40}", 0))
                    one.connect(("127.0.0.1", self._port))
                    one.sendall(self._hello)
                    one.setblocking(False)
                except OSError:
                    one.close()
                else:
                    open_ones.append(one)
                self.begun += 1
                if len(open_ones) > 400:
                    self._end(open_ones.popleft())
            time.sleep(0.002)
        for one in open_ones:
            self._end(one)

    def _end(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.answered += len(one.recv(100)) > 0
        one.close()


@pytest.mark.limit(180)
def test_a_flood_of_handshakes_keeps_nobody_out(
    exchange: Exchange, doors: dict[str, int], oracle: NewOracle, measure: Measure
) -> None:
    """Calls by UDP are answered, and an honest phone's handshake is done, as if nothing were."""
    took: list[float] = []
    called: list[float] = []
    with Hellos(doors["sip"]) as flood:
        exchange.until(lambda: flood.begun > 100, "the flood does not begin")
        end = time.monotonic() + FLOOD_SECONDS
        mark = 60
        while time.monotonic() < end or not called:
            began = time.monotonic()
            assert is_served(doors["sip"], None, ssl.TLSVersion.TLSv1_3), (
                "within the patience with a handshake"
            )
            took.append(time.monotonic() - began)
            caller = oracle(mark)
            mark += 1
            called.append(caller.call(timeout=8.0))
            assert caller.bye().status == 200
            time.sleep(times(0, 1))  # a minute of calls would be hundreds
    measure("handshake under a flood of them in", 1000 * max(took), "ms")
    measure("call answered under it in", 1000 * max(called), "ms")
    measure("flood", flood.begun / FLOOD_SECONDS, "hellos/s")
    assert flood.answered > 0, "they were no handshakes"
    exchange.until(lambda: not exchange.calls(), "calls are left", timeout=20)
