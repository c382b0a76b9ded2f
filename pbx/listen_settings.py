"""The tables of the settings file about where we listen."""

import socket
from typing import Annotated, Literal

import msgspec

from pbx.section import Section

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
AnyPort = Annotated[int, msgspec.Meta(ge=0, le=65535)]  # 0: the kernel picks one; tests use it
Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.:\[\]-]{1,255}\Z")]


class ListenSettings(Section, frozen=True, kw_only=True):
    """One more address: a `[[sip.listen]]` table."""

    host: Name
    """IP address."""
    port: AnyPort = 5060
    transports: tuple[Literal["udp", "tcp", "tls"], ...] = ("udp", "tcp")
    advertised: Name | None = None
    """As `sip.advertised`, for phones that come here: the address outside of the NAT in front of it."""
    advertised_port: Port | None = None
    """None: `port`."""


class TlsSettings(Section, frozen=True, kw_only=True):
    """SIP over TLS, and the certificate of everything that speaks TLS."""

    port: AnyPort | None = None
    """Where `sip.host` listens for SIP over TLS. None: 5061 if `sip.port` is 5060, else nowhere."""
    enabled: bool = True
    """False: no TLS at all."""
    certificate: str | None = None
    """PEM file: the certificate, then those that lead to its authority. None: `<state>/tls/certificate.pem`, made at
    the first start for the addresses of this exchange. Read again when it changes, and on SIGHUP."""
    key: str | None = None
    """PEM file: its key, without a passphrase."""
    names: tuple[Name, ...] = ()
    """Further names of this exchange that a certificate made here is for."""
    clients: str | None = None
    """PEM file: authorities whose certificates trunks may show; a wrong one ends the connection, none is fine."""
    authorities: str | None = None
    """PEM file: who signs the certificates of servers that are called. None: whom the system trusts."""


class WebSocketSettings(Section, frozen=True, kw_only=True):
    """SIP over WebSocket, on the HTTP server."""

    enabled: bool = True
    path: Annotated[str, msgspec.Meta(pattern=r"\A/[A-Za-z0-9_./-]{1,100}\Z")] = "/sip"
    origins: tuple[Annotated[str, msgspec.Meta(pattern=r"\A(\*|https?://[^/ ]{1,255})\Z")], ...] = ()
    """Web pages, such as `https://phone.example`, whose scripts may open it, beside those of this server; `*`: all."""


def own_address(host: str) -> str:
    """Give `host`, or for a wildcard the address the kernel would send from; connecting UDP sends nothing."""
    if host not in {"0.0.0.0", "::"}:
        return host
    family, far = (socket.AF_INET, "192.0.2.1") if host == "0.0.0.0" else (socket.AF_INET6, "2001:db8::1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1" if family == socket.AF_INET else "::1"
