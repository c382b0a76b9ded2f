"""The certificate we show, who may show us one, and both anew without a restart (bars S11).

in → out: files → TLS contexts. Without files a certificate is made at the first start, for 110's own names and addresses;
phones that check certificates must then be given it.
"""

import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pbx.folders import make_private

LIFETIME: Final = dt.timedelta(days=1825)
"""Of a certificate made here: five years, longer than any phone at a desk stays without being looked at."""
RENEW: Final = dt.timedelta(days=30)
"""A certificate made here is made again so long before its end."""

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""TLS 1.2: only suites with forward secrecy and authenticated encryption; TLS 1.3 has no others. Level 2: no certificate signed
with SHA-1, no RSA key under 2,048 bits; Debian's OpenSSL says so by itself, others don't."""


class Certificates:
    """Contexts for both ends, read again when a file changes."""

    def __init__(
        self, certificate: Path, key: Path, *, clients: Path | None = None, authorities: Path | None = None
    ) -> None:
        """PEM files: ours with its chain, its key; `clients`: who signs the certificates that trunks may show us (None:
        nobody is asked for one); `authorities`: who signs those of servers we call (None: whom the system trusts).

        Raises OSError, ssl.SSLError with the file in the text.
        """
        self._files = [certificate, key, *(file for file in (clients, authorities) if file is not None)]
        self._certificate, self._key = certificate, key
        self._clients, self._authorities = clients, authorities
        self._seen = self._stamps()
        self.sip, self.web, self.client = self._load()

    def refresh(self, *, forced: bool = False) -> bool:
        """Read the files again if one changed, or if `forced`; True when new connections get the new ones.

        Raises OSError, ssl.SSLError; the old ones stay in use then.
        """
        stamps = self._stamps()
        if stamps == self._seen and not forced:
            return False
        self._seen = stamps  # a broken file is told of once, not every second
        self.sip, self.web, self.client = self._load()
        return True

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        found: list[tuple[int, int, int] | None] = []
        for file in self._files:
            try:
                state = file.stat()
            except OSError:
                found.append(None)
            else:
                found.append((state.st_mtime_ns, state.st_ino, state.st_size))
        return found

    def _load(self) -> tuple[ssl.SSLContext, ssl.SSLContext, ssl.SSLContext]:
        sip, web = self._server(), self._server()
        # Browsers would ask their user for a certificate, so only SIP over TLS asks.
        if self._clients is not None:
            _trust(sip, self._clients)
            # RFC 5246 §7.4.6: one who has no certificate sends none and goes on; a wrong one ends the handshake.
            sip.verify_mode = ssl.CERT_OPTIONAL
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False  # `TlsFilter` does, by SIP's rules
        _strict(client)
        if self._authorities is None:
            client.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _trust(client, self._authorities)
        self._show(client)
        return sip, web, client

    def _server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _strict(context)
        self._show(context)
        return context

    def _show(self, context: ssl.SSLContext) -> None:
        try:
            # A key with a passphrase would make OpenSSL ask for it on the terminal.
            context.load_cert_chain(self._certificate, self._key, password=lambda: b"")
        except (OSError, ssl.SSLError) as error:
            raise type(error)(
                getattr(error, "errno", None) or 0,
                f"certificate {self._certificate}, key {self._key}: "
                f"{getattr(error, 'reason', None) or getattr(error, 'strerror', None) or error}",
            ) from error


def _trust(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(file)
    except (OSError, ssl.SSLError) as error:
        raise type(error)(getattr(error, "errno", None) or 0, f"authorities {file}: {error}") from error


def _strict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE


def self_made(folder: Path, names: Iterable[str], now: dt.datetime) -> tuple[Path, Path]:
    """Return (certificate, key) in `folder`, made for `names` (hosts and IP addresses) unless they are there and good.

    A certificate that ends soon, or lacks one of the names, is made again. Raises OSError.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    wanted = list(dict.fromkeys(name.strip("[]").lower() for name in names))
    if not _good(certificate, key, wanted, now):
        make_private(folder)
        private = ec.generate_private_key(ec.SECP256R1())
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(key, text, 0o600)
        _write(certificate, _signed(private, wanted, now).public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


def _signed(private: ec.EllipticCurvePrivateKey, names: list[str], now: dt.datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "at110")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))  # phones' clocks
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .sign(private, hashes.SHA256())
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _good(certificate: Path, key: Path, names: list[str], now: dt.datetime) -> bool:
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        stated = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    if found.public_key() != private.public_key():
        return False  # the run that made them ended between the two files
    return found.not_valid_after_utc - now > RENEW and all(_general(name) in stated for name in names)


def _write(file: Path, content: bytes, mode: int) -> None:
    """Put a file in place whole, readable by nobody else before it has its mode."""
    new = file.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
