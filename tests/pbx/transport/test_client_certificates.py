"""Certificates that trunks may show us, and those they may not (bars S11): two filters that are handed each other's bytes.

Whose handshake ends in an alert is refused; whose certificate is taken has the names it proves, and a trunk is found by those
alone.
"""

import datetime as dt
import ipaddress
import itertools
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from pbx.sip.flow import Flow
from pbx.transport.certificates import Certificates, self_made
from pbx.transport.tls import TlsError, TlsFilter
from pbx.trunks.trust import Trust
from tests.kit.trunks import trunk
from tests.pbx.transport.test_tls import shake

pytestmark = pytest.mark.may_block("files of certificates are read at the start, outside of any call")

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
SBC = "sbc.carrier.example"
DNS, URI = x509.DNSName, x509.UniformResourceIdentifier
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(slots=True)
class Issuer:
    """Who signs: its name, key, certificate."""

    name: str
    key: Key = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as a case wants it."""

    names: Sequence[x509.GeneralName] = (DNS(SBC),)
    since: dt.timedelta = -DAY
    until: dt.timedelta = DAY
    usage: Sequence[ObjectIdentifier] | None = (CLIENT,)
    common_name: str = "some box"
    key: Callable[[], Key] = lambda: ec.generate_private_key(ec.SECP256R1())
    issuer: str = "carriers"
    """`carriers`, whom we trust; `middle`, whom they trust; `plain`, which is no authority; `stranger`; `namesake`; `itself`."""
    chain: Sequence[str] = ()
    """What is sent along."""
    critical: bool = False
    """It has a critical extension nobody knows."""


class Bench:
    """All who sign, and an exchange that trusts `carriers`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count()
        self.issuers = {
            "carriers": Issuer("carriers"),
            "stranger": Issuer("stranger"),
            "namesake": Issuer("carriers"),
            "middle": Issuer("middle"),
            "plain": Issuer("plain"),
        }
        for name in ("carriers", "stranger", "namesake"):
            issuer = self.issuers[name]
            issuer.certificate = self.sign(issuer, issuer.name, issuer.key, authority=True)
        root = self.issuers["carriers"]
        for name in ("middle", "plain"):
            issuer = self.issuers[name]
            issuer.certificate = self.sign(root, issuer.name, issuer.key, authority=name == "middle")
        trusted = folder / "carriers.pem"
        assert root.certificate is not None
        trusted.write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
        certificate, key = self_made(folder / "tls", ["pbx.example"], NOW)
        self.ours = Certificates(certificate, key, clients=trusted)

    def sign(
        self, issuer: Issuer, name: str, key: Key, shown: Shown | None = None, *, authority: bool = False
    ) -> x509.Certificate:
        shown = shown or Shown(names=(), usage=None)
        made = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.name)]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=NOW + shown.since,
            not_valid_after=NOW + shown.until,
        ).add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if shown.names:
            made = made.add_extension(x509.SubjectAlternativeName(shown.names), critical=False)
        if shown.usage is not None:
            made = made.add_extension(x509.ExtendedKeyUsage(shown.usage), critical=False)
        if shown.critical:
            unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
            made = made.add_extension(unknown, critical=True)
        return made.sign(issuer.key, hashes.SHA256())

    def client(self, shown: Shown | None, version: ssl.TLSVersion) -> TlsFilter:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        if shown is not None:
            # Level 0: this client would show anything; who refuses it is the other side.
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.load_cert_chain(self.write(shown))
        return TlsFilter(context, server_side=False)

    def write(self, shown: Shown) -> Path:
        key = shown.key()
        issuer = Issuer(shown.common_name, key) if shown.issuer == "itself" else self.issuers[shown.issuer]
        chain = [self.sign(issuer, shown.common_name, key, shown)]
        chain += [found for name in shown.chain if (found := self.issuers[name].certificate) is not None]
        file = self.folder / f"{next(self.numbers)}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
        )
        return file


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("certificates"))


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])

REFUSED = {
    "ended": Shown(since=-3 * DAY, until=-DAY),
    "ended a minute ago": Shown(until=dt.timedelta(minutes=-1)),
    "not yet valid": Shown(since=DAY, until=3 * DAY),
    "signed by somebody else": Shown(issuer="stranger"),
    "signed by somebody else, who is sent along": Shown(issuer="stranger", chain=("stranger",)),
    "signed by somebody of the same name": Shown(issuer="namesake"),
    "signed by itself": Shown(issuer="itself"),
    "for servers only": Shown(usage=(SERVER,)),
    "for code only": Shown(usage=(ExtendedKeyUsageOID.CODE_SIGNING,)),
    "the one in the middle is missing": Shown(issuer="middle"),
    "the one in the middle is no authority": Shown(issuer="plain", chain=("plain",)),
    "a short RSA key": Shown(key=lambda: rsa.generate_private_key(65537, 1024)),
    "an RSA key that is nearly long enough": Shown(key=lambda: rsa.generate_private_key(65537, 1536)),
    "a critical extension nobody knows": Shown(critical=True),
}

TAKEN: dict[str, tuple[Shown, set[str], bool]] = {
    # what, the names it proves, whether it is the trunk's
    "its host": (Shown(), {SBC}, True),
    "its host in capitals": (Shown(names=(DNS("SBC.Carrier.Example"),)), {SBC}, True),
    "one of several": (Shown(names=(DNS("other.example"), DNS(SBC))), {"other.example", SBC}, True),
    "its SIP domain": (Shown(names=(URI(f"sip:{SBC}"),)), {SBC}, True),
    "for clients and servers": (Shown(usage=(SERVER, CLIENT)), {SBC}, True),
    "for whatever": (Shown(usage=None), {SBC}, True),
    "one in the middle, sent along": (Shown(issuer="middle", chain=("middle",)), {SBC}, True),
    "an RSA key": (Shown(key=lambda: rsa.generate_private_key(65537, 2048)), {SBC}, True),
    "another host": (
        Shown(names=(DNS("sbc.carrier.example.evil.example"),)),
        {"sbc.carrier.example.evil.example"},
        False,
    ),
    # RFC 5922 §7.2: "Implementations MUST NOT match any form of wildcard"
    "a wildcard": (Shown(names=(DNS("*.carrier.example"),)), {"*.carrier.example"}, False),
    "an address": (Shown(names=(x509.IPAddress(ipaddress.ip_address("192.0.2.7")),)), {"192.0.2.7"}, False),
    # RFC 5922 §7.1: a SIP URI with a user part names a person, not a domain
    "a person there": (Shown(names=(URI(f"sip:alice@{SBC}"),)), {f"alice@{SBC}"}, False),
    "a web page there": (Shown(names=(URI(f"https://{SBC}/"),)), set(), False),
    "a mail address there": (Shown(names=(x509.RFC822Name(f"alice@{SBC}"),)), set(), False),
    # RFC 6125 §6.4.4 leaves the common name to those without other names; nobody needs it today
    "its common name only": (Shown(names=(), common_name=SBC), set(), False),
}


@VERSIONS
@pytest.mark.parametrize("what", REFUSED)
def test_refused(bench: Bench, what: str, version: ssl.TLSVersion) -> None:
    client, server = bench.client(REFUSED[what], version), TlsFilter(bench.ours.sip, server_side=True)
    with pytest.raises(TlsError) as refused:
        shake(client, server)
    assert not server.established
    assert server.names == frozenset()
    assert refused.value.alert, "the peer is told why"


@VERSIONS
@pytest.mark.parametrize("what", TAKEN)
def test_taken_for_what_it_proves(bench: Bench, what: str, version: ssl.TLSVersion) -> None:
    shown, names, is_trunk = TAKEN[what]
    client, server = bench.client(shown, version), TlsFilter(bench.ours.sip, server_side=True)
    shake(client, server)
    assert server.established
    assert server.names == names
    flow = Flow("tls", ("192.0.2.1", 5061), ("192.0.2.7", 40000), 1)
    trust = Trust([trunk(sources=[], certificates=[SBC])], lambda _: server.names)
    assert trust.of_flow(flow) == ("t1" if is_trunk else None)


@VERSIONS
def test_a_phone_shows_none(bench: Bench, version: ssl.TLSVersion) -> None:
    client, server = bench.client(None, version), TlsFilter(bench.ours.sip, server_side=True)
    shake(client, server)
    assert (server.established, server.names) == (True, frozenset())


@VERSIONS
def test_browsers_are_not_asked(bench: Bench, version: ssl.TLSVersion) -> None:
    client, server = bench.client(REFUSED["ended"], version), TlsFilter(bench.ours.web, server_side=True)
    shake(client, server)
    assert (server.established, server.names) == (True, frozenset())
