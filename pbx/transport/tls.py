"""TLS between a socket and a connection, without either (RFC 3261 §26.3.1, bars S11).

in → out: bytes of the socket → bytes of the peer and bytes for the socket. A filter of our own instead of the loop's, so
that a connection is counted from its first packet, not from the end of its handshake, and its buffers are ours to bound.
"""

import ssl
from typing import Any, Final

from pbx.sip.flow import same_host

READ_BYTES: Final = 64 * 1024
"""Plaintext taken at once; four TLS records."""


class TlsError(Exception):
    """The peer does not speak TLS, or shows no certificate we take; `alert` holds what is to be told to it."""

    def __init__(self, reason: str, alert: bytes) -> None:
        super().__init__(reason)
        self.alert = alert


class TlsFilter:
    """One end of one TLS connection."""

    __slots__ = ("_called", "_in", "_out", "closed", "established", "object")

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        """`server_hostname`: whom we call; its certificate has to name just that."""
        self._called = None if server_side else server_hostname
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=server_hostname
        )
        self.established = False
        """The handshake is done."""
        self.closed = False
        """The peer said that nothing more comes."""

    def start(self) -> bytes:
        """Begin the handshake; returns what is to be sent (a client's hello, a server's nothing)."""
        self._shake()
        return self._out.read()

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes of the socket. Returns (bytes of the peer, bytes for the socket). Raises TlsError."""
        self._in.write(data)
        if not self.established:
            self._shake()
        pieces = []
        try:
            while self.established and not self.closed:
                piece = self.object.read(READ_BYTES)
                if not piece:
                    self.closed = True
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLError as error:
            raise TlsError(_reason(error), self._out.read()) from error
        return b"".join(pieces), self._out.read()

    def send(self, data: bytes) -> bytes:
        """Encrypt; returns bytes for the socket. The handshake must be done."""
        assert self.established, "nothing is sent before the handshake is done"
        self.object.write(data)
        return self._out.read()

    def close(self) -> bytes:
        """Say that nothing more comes; returns bytes for the socket."""
        return self._goodbye() if self.established else self._out.read()

    def _goodbye(self) -> bytes:
        try:
            self.object.unwrap()
        except (ssl.SSLError, OSError, ValueError):
            pass  # its answer is not waited for
        return self._out.read()

    @property
    def names(self) -> frozenset[str]:
        """The host names and IP addresses the peer's certificate is for; empty without one that was checked."""
        return self._stated() if self.established else frozenset()

    def _stated(self) -> frozenset[str]:
        certificate: dict[str, Any] = self.object.getpeercert() or {}
        named = certificate.get("subjectAltName", ())
        # RFC 5922 §7.1: a sip URI without user part, or a dNSName, names a SIP domain.
        return frozenset(
            value.lower().removeprefix("sip:")
            for kind, value in named
            if kind in ("DNS", "IP Address") or (kind == "URI" and value.lower().startswith("sip:"))
        )

    @property
    def version(self) -> str | None:
        """`TLSv1.2` or `TLSv1.3`, once established."""
        return self.object.version()

    def _shake(self) -> None:
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise TlsError(_reason(error), self._out.read()) from error
        # RFC 5922 §7.2: "Implementations MUST NOT match any form of wildcard", which the library would, while it knows no names
        # written as sip URIs (§7.1). A common name counts for nothing.
        called = self._called
        if called is not None and not any(
            same_host(called, name.removesuffix(".")) for name in self._stated()
        ):
            raise TlsError(f"the certificate is not for {called}", self._goodbye())
        self.established = True


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)
