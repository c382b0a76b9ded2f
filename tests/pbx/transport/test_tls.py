"""TLS without sockets: two filters that are handed each other's bytes; and the certificates they show."""

import contextlib
import datetime as dt
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbx.transport.certificates import LIFETIME, RENEW, Certificates, self_made
from pbx.transport.tls import TlsError, TlsFilter

NOW = dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)
REAL = dt.datetime.now(dt.UTC)

pytestmark = pytest.mark.may_block("files of certificates are read at the start, outside of any call")


class Authority:
    """Signs certificates for tests."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(
            self._sign(self.name, self.key, [], REAL, ca=True).public_bytes(serialization.Encoding.PEM)
        )

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], end: dt.datetime, *, ca: bool
    ) -> x509.Certificate:  # fmt: skip
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(REAL - dt.timedelta(days=9))
            .not_valid_after(end + dt.timedelta(days=1)).add_extension(x509.BasicConstraints(ca, None), critical=True)
        )  # fmt: skip
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return made.sign(self.key, hashes.SHA256())

    def issue(self, name: str, *names: x509.GeneralName, end: dt.datetime = REAL) -> tuple[Path, Path]:
        """Give (certificate, key)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(
            self._sign(subject, key, list(names), end, ca=False).public_bytes(serialization.Encoding.PEM)
        )
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, file


def shake(one: TlsFilter, other: TlsFilter) -> None:
    """Carry bytes between the two until both have nothing to say. Raises TlsError."""
    to_other, to_one = one.start(), b""
    while to_other or to_one:
        if to_other:
            _, to_one = other.receive(to_other)
            to_other = b""
        if to_one:
            _, to_other = one.receive(to_one)
            to_one = b""


@pytest.fixture
def own(tmp_path: Path) -> Certificates:
    certificate, key = self_made(tmp_path / "tls", ["pbx.example", "192.0.2.1", "::1"], REAL)
    return Certificates(certificate, key, authorities=certificate)


def pair(own: Certificates, name: str = "pbx.example") -> tuple[TlsFilter, TlsFilter]:
    client = TlsFilter(own.client, server_side=False, server_hostname=name)
    return client, TlsFilter(own.sip, server_side=True)


@pytest.mark.parametrize("name", ["pbx.example", "192.0.2.1", "::1"])
def test_a_handshake_and_talk(own: Certificates, name: str) -> None:
    client, server = pair(own, name)
    assert server.start() == b""
    shake(client, server)
    assert (client.established, server.established, server.version) == (True, True, "TLSv1.3")
    long = b"x" * 300_000
    assert server.receive(client.send(b"INVITE"))[0] == b"INVITE"
    assert server.receive(client.send(long))[0] == long
    assert client.receive(server.send(b"200"))[0] == b"200"
    # RFC 5922: nobody without a certificate has a name
    assert server.names == frozenset()
    server.receive(client.close())
    assert server.closed


def test_byte_by_byte(own: Certificates) -> None:
    client, server = pair(own)
    to_server, got = client.start(), b""
    for _ in range(4):
        to_client = b""
        for byte in to_server:
            inside, out = server.receive(bytes([byte]))
            got += inside
            to_client += out
        to_server = client.receive(to_client)[1] if to_client else b""
    assert server.established
    for byte in client.send(b"hello"):
        got += server.receive(bytes([byte]))[0]
    assert got == b"hello"


def test_another_name_than_was_called_is_not_believed(own: Certificates) -> None:
    client, server = pair(own, "other.example")
    with pytest.raises(TlsError) as caught:
        shake(client, server)
    server.receive(caught.value.alert)
    assert server.closed, "the server is told that nothing comes"


URI = x509.UniformResourceIdentifier
SERVERS = {
    "its name": ("carrier.example", (x509.DNSName("Carrier.Example"),), True),
    "its address": ("2001:db8::9", (x509.IPAddress(ip_address("2001:db8::9")),), True),
    # RFC 5922 §7.1: a sip URI without user part names a domain, whatever stands beside it
    "a sip URI": (
        "carrier.example",
        (URI("sip:carrier.example"), x509.DNSName("edge7.carrier.example")),
        True,
    ),
    "a person": ("carrier.example", (URI("sip:bob@carrier.example"),), False),
    "a web site": ("carrier.example", (URI("https://carrier.example"),), False),
    # RFC 5922 §7.2: "Implementations MUST NOT match any form of wildcard"
    "a wildcard": ("sip.carrier.example", (x509.DNSName("*.carrier.example"),), False),
    "part of it": ("sip.carrier.example", (x509.DNSName("carrier.example"),), False),
    "its common name": ("carrier.example", (), False),
}


@pytest.mark.parametrize("what", SERVERS)
def test_whom_a_servers_certificate_is_for(own: Certificates, tmp_path: Path, what: str) -> None:
    called, names, believed = SERVERS[what]
    authority = Authority(tmp_path, "good")
    theirs = Certificates(*authority.issue(called, *names), clients=authority.file)
    ours = Certificates(*own._files[:2], authorities=authority.file)
    client = TlsFilter(ours.client, server_side=False, server_hostname=called)
    server = TlsFilter(theirs.sip, server_side=True)
    if believed:
        with contextlib.suppress(TlsError):
            shake(client, server)  # ours is of no authority they know, which they say when we are done
        assert client.established
        return
    with pytest.raises(TlsError, match="certificate is not for"):
        shake(client, server)
    assert not client.established


def test_a_servers_certificate_of_nobody_we_trust(own: Certificates, tmp_path: Path) -> None:
    theirs = Certificates(*Authority(tmp_path, "other").issue("x", x509.DNSName("pbx.example")))
    client = TlsFilter(own.client, server_side=False, server_hostname="pbx.example")
    with pytest.raises(TlsError, match="VERIFY_FAILED"):
        shake(client, TlsFilter(theirs.sip, server_side=True))


@pytest.mark.parametrize(
    "data", [b"INVITE sip:110@x SIP/2.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"]
)
def test_who_does_not_speak_tls(own: Certificates, data: bytes) -> None:
    with pytest.raises(TlsError):
        TlsFilter(own.sip, server_side=True).receive(data)


def old(context: ssl.SSLContext) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def without_secrecy(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-GCM-SHA384:AES128-SHA:ECDHE-ECDSA-AES128-SHA")


@pytest.mark.parametrize("weakness", [old, without_secrecy])
def test_weak_clients_are_refused(own: Certificates, weakness: Callable[[ssl.SSLContext], None]) -> None:
    """S11: TLS 1.2 and 1.3 with forward secrecy, nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    weakness(context)
    client = TlsFilter(context, server_side=False, server_hostname="x")
    with pytest.raises(TlsError):
        shake(client, TlsFilter(own.sip, server_side=True))


def test_tls_1_2_is_served(own: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = TlsFilter(own.sip, server_side=True)
    shake(TlsFilter(context, server_side=False), server)
    assert server.version == "TLSv1.2"


# --- certificates of trunks -------------------------------------------------------------------------------------------


def trunk(
    own: Certificates, tmp_path: Path, shown: tuple[Path, Path] | None, authority: Authority
) -> TlsFilter:
    """A trunk connects; gives our end. Raises TlsError."""
    ours = Certificates(*own._files[:2], clients=authority.file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shown is not None:
        context.load_cert_chain(*shown)
    client, server = TlsFilter(context, server_side=False), TlsFilter(ours.sip, server_side=True)
    shake(client, server)
    if server.established:
        server.receive(client.send(b"x"))
    assert ours.web.verify_mode == ssl.CERT_NONE, "browsers are not asked"
    return server


NAMES = (x509.DNSName("Trunk.Example"), x509.IPAddress(ip_address("192.0.2.9")), x509.UniformResourceIdentifier("sip:carrier.example"))  # fmt: skip


def test_a_trunk_is_known_by_its_certificate(own: Certificates, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "good")
    server = trunk(own, tmp_path, authority.issue("trunk", *NAMES), authority)
    assert server.names == {"trunk.example", "192.0.2.9", "carrier.example"}


def test_no_certificate_is_fine_and_proves_nothing(own: Certificates, tmp_path: Path) -> None:
    assert trunk(own, tmp_path, None, Authority(tmp_path, "good")).names == frozenset()


def test_a_wrong_certificate_ends_it(own: Certificates, tmp_path: Path) -> None:
    good, other = Authority(tmp_path, "good"), Authority(tmp_path, "other")
    with pytest.raises(TlsError):
        trunk(own, tmp_path, other.issue("trunk", *NAMES), good)
    with pytest.raises(TlsError):
        trunk(own, tmp_path, good.issue("late", *NAMES, end=REAL - dt.timedelta(days=3)), good)
    with pytest.raises(TlsError):
        trunk(own, tmp_path, self_made(tmp_path / "alone", ["trunk.example"], REAL), good)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_certificate_is_made_once(tmp_path: Path) -> None:
    names = ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"]
    certificate, key = self_made(tmp_path / "tls", names, NOW)
    assert (certificate.stat().st_mode & 0o777, key.stat().st_mode & 0o777) == (0o644, 0o600)
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    first = certificate.read_bytes()
    assert self_made(tmp_path / "tls", names[:2], NOW + LIFETIME - RENEW - dt.timedelta(days=1)) == (
        certificate,
        key,
    )
    assert certificate.read_bytes() == first
    assert {file.name for file in (tmp_path / "tls").iterdir()} == {"certificate.pem", "key.pem"}


@pytest.mark.parametrize("why", ["ends soon", "another name", "no key", "another key", "rubbish"])
def test_when_it_is_made_again(tmp_path: Path, why: str) -> None:
    certificate, key = self_made(tmp_path / "tls", ["127.0.0.1"], NOW)
    first, names, now = certificate.read_bytes(), ["127.0.0.1"], NOW
    match why:
        case "ends soon":
            now = NOW + LIFETIME - RENEW + dt.timedelta(days=1)
        case "another name":
            names = ["192.0.2.1"]
        case "no key":
            key.unlink()
        case "another key":
            key.write_bytes(self_made(tmp_path / "else", names, NOW)[1].read_bytes())
        case "rubbish":
            certificate.write_text("rubbish")
    self_made(tmp_path / "tls", names, now)
    assert certificate.read_bytes() != first
    Certificates(certificate, key)


def test_files_are_read_again_when_they_change(own: Certificates, tmp_path: Path) -> None:
    before = own.sip
    assert not own.refresh()
    assert own.sip is before
    assert own.refresh(forced=True)
    new, key = self_made(tmp_path / "new", ["pbx.example"], REAL)
    own._certificate.write_bytes(new.read_bytes())
    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        own.refresh()
    kept = own.sip
    assert not own.refresh(), "a broken file is told of once"
    own._key.write_bytes(key.read_bytes())
    assert own.refresh()
    assert own.sip is not kept


def test_bad_files_are_named(tmp_path: Path) -> None:
    certificate, key = self_made(tmp_path / "tls", ["127.0.0.1"], NOW)
    with pytest.raises(OSError, match=r"nowhere\.pem"):
        Certificates(tmp_path / "nowhere.pem", key)
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    with pytest.raises(OSError, match=r"rubbish\.pem"):
        Certificates(certificate, key, clients=rubbish)
