"""DTLS-SRTP (RFC 5764): a handshake over datagrams gives the keys of one port, if the peer is who its SDP says.

datagram ─▶ Handshake.receive ─▶ datagrams to send back …… `keys` once both are done and the fingerprint fits, else `failure`

All cryptography is OpenSSL's, through memory: no socket here. OpenSSL reads the clock for its retransmission timer.
"""

import datetime as dt
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from rtp.control import Dtls
from rtp.suites import SUITES, Suite

MTU: Final = 1200
"""Bytes of a datagram of ours: what passes every tunnel."""
CERTIFICATE_DAYS: Final = 3650
"""Peers compare its hash and nothing else; it lives as long as this process."""
LABEL: Final = b"EXTRACTOR-dtls_srtp"  # RFC 5764 §4.2
DTLS_1_2: Final = 0xFEFD
RECORD_HEADER: Final = (
    13  # RFC 6347 §4.1: type, version, epoch, sequence number, and in the last two bytes the length
)

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha-1": hashes.SHA1(),  # noqa: S303  # phones of ten years ago; nobody can make a certificate to a given hash
    "sha-224": hashes.SHA224(),
    "sha-256": hashes.SHA256(),
    "sha-384": hashes.SHA384(),
    "sha-512": hashes.SHA512(),
}


class Certificate:
    """Our certificate: signed by itself, a key of this process's life, nothing in it that names anybody."""

    def __init__(self, carried: Sequence[bytes] | None = None) -> None:
        """`carried`: what `carry` gave in the process whose certificate it is; None: a new one."""
        if carried is None:
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = self._sign(key)
        else:
            certificate = x509.load_der_x509_certificate(carried[0])
            loaded = serialization.load_der_private_key(carried[1], None)
            assert isinstance(loaded, ec.EllipticCurvePrivateKey), "we make no others"
            key = loaded
        self.fingerprint: bytes = certificate.fingerprint(hashes.SHA256())
        """SHA-256, as a=fingerprint states it."""
        self.x509: Final = certificate
        self.key: Final = key
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(DTLS_1_2)
        # The peer must show a certificate; any is taken here, because its fingerprint decides.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_tlsext_use_srtp(
            b":".join(suite.openssl.encode() for suite in SUITES.values() if suite.openssl)
        )
        self.context: Final = context

    def carry(self) -> list[bytes]:
        """Give certificate and key, both DER, for nobody but the process that goes on with a leg."""
        encoding = serialization.Encoding.DER
        private = serialization.PrivateFormat.PKCS8
        key = self.key.private_bytes(encoding, private, serialization.NoEncryption())
        return [self.x509.public_bytes(encoding), key]

    @staticmethod
    def _sign(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "at110")])
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(secrets.randbits(64) + 1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=CERTIFICATE_DAYS))
            .sign(key, hashes.SHA256())
        )


@dataclass(frozen=True, slots=True)
class Keys:
    """What a handshake gave: a suite, and master key with salt of both directions."""

    suite: Suite
    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


class Handshake:
    """One DTLS association with one address."""

    def __init__(self, certificate: Certificate, dtls: Dtls) -> None:
        """`dtls`: who begins, and the fingerprints one of which the peer's certificate must have."""
        self._dtls = dtls
        self._connection = SSL.Connection(certificate.context, None)
        if dtls.active:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self._connection.set_ciphertext_mtu(MTU)
        self.keys: Keys | None = None
        self.failure: str | None = None
        """`fingerprint`: its certificate is another one than its SDP says; `handshake`: it came to nothing."""

    def start(self) -> list[bytes]:
        """Begin, if that is ours to do: datagrams to send."""
        return self._go_on() if self._dtls.active else []

    def receive(self, datagram: bytes) -> list[bytes]:
        """Take a datagram of the peer: datagrams to send back."""
        if self.failure is not None:
            return []
        self._connection.bio_write(datagram)
        if self.keys is None:
            return self._go_on()
        # Done already: the peer may have lost our last flight, which OpenSSL then repeats.
        try:
            self._connection.recv(MTU)
        except SSL.Error:
            pass  # nothing to read is what is to be expected: no data goes over this association
        return list(self._out())

    def expire(self) -> list[bytes]:
        """Repeat what got no answer, if it is time for that (RFC 6347 §4.2.4): datagrams to send."""
        if self.keys is not None or self.failure is not None:
            return []
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self.failure = "handshake"
            return []
        return list(self._out())

    def _go_on(self) -> list[bytes]:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return list(self._out())
        except SSL.Error:
            self.failure = "handshake"
            return list(self._out())  # the alert that says so
        if not self._known():
            self.failure = "fingerprint"
            return []
        suite = self._suite()
        if suite is None:
            self.failure = "handshake"
            return []
        self.keys = self._derive(suite)
        return list(self._out())

    def _known(self) -> bool:
        # RFC 5763 §5, RFC 8122 §5: the certificate must have one of the fingerprints that its SDP listed.
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return False
        made = {
            name: certificate.fingerprint(_HASHES[name])
            for name, _ in self._dtls.fingerprints
            if name in _HASHES
        }
        return any(made.get(name) == value for name, value in self._dtls.fingerprints)

    def _suite(self) -> Suite | None:
        chosen = self._connection.get_selected_srtp_profile().decode()
        return next((suite for suite in SUITES.values() if suite.openssl and suite.openssl == chosen), None)

    def _derive(self, suite: Suite) -> Keys:
        # RFC 5764 §4.2: client key, server key, client salt, server salt
        made = self._connection.export_keying_material(LABEL, 2 * suite.length)
        key, salt = suite.key, suite.salt
        client = made[:key] + made[2 * key : 2 * key + salt]
        server = made[key : 2 * key] + made[2 * key + salt :]
        return Keys(suite, client, server) if self._dtls.active else Keys(suite, server, client)

    def _out(self) -> Iterator[bytes]:
        """Give what OpenSSL wrote, whole records in each datagram (RFC 6347 §4.1.1)."""
        written = b""
        while True:
            try:
                written += self._connection.bio_read(1 << 16)
            except SSL.WantReadError:
                break
        while written:
            end = 0
            while end + RECORD_HEADER <= len(written):
                size = RECORD_HEADER + int.from_bytes(written[end + 11 : end + 13], "big")
                if end and end + size > MTU:
                    break
                end += size
            yield written[: end or len(written)]
            written = written[end or len(written) :]
