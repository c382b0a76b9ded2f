"""Where we listen and what peers are told of it: for each flow, the host and port of our Via and Contact.

in → out: a flow → the `Place` it ends at here. Pure values; `pbx.signalling` makes them of the settings.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pbx.sip.flow import Flow
from pbx.sip.uri import NameAddr, Uri

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Place:
    """One listening address of one transport, for peers of one address family."""

    transport: str
    """`udp`, `tcp`, `tls`, `ws` or `wss`."""
    host: str
    """IP address the socket is bound to."""
    port: int
    public_host: str
    """What stands in Via and Contact: behind a NAT the address outside."""
    public_port: int
    media_address: str
    """What stands in SDP for peers that come this way."""
    media_bind: str
    """IP address the media process binds to for them."""

    def uri(self, user: str | None, *, secure: bool = False) -> Uri:
        """Return our URI here; `secure`: as sips.

        RFC 3261 §8.1.1.8: "If the Request-URI or top Route header field value contains a SIPS URI, the Contact header
        field MUST contain a SIPS URI as well." There TLS goes without saying, and `transport=tls` is deprecated.
        """
        params: tuple[tuple[str, str | None], ...] = ()
        if self.transport in ("ws", "wss"):
            params = (("transport", "ws"),)  # RFC 7118 §5.2.3 knows no other token for either
        elif self.transport != "udp" and not secure:
            params = (("transport", self.transport),)
        return Uri("sips" if secure else "sip", user, None, self.public_host, self.public_port, params)

    def contact(self, user: str | None, *, secure: bool = False) -> NameAddr:
        """Return our Contact for peers that come this way."""
        return NameAddr(None, self.uri(user, secure=secure))


class Places:
    """All places, the main one first."""

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self._places = tuple(places)
        self._known: dict[tuple[str, tuple[str, int], bool], Place | None] = {}

    def of(self, flow: Flow) -> Place | None:
        """Return where `flow` ends on our side; None when nobody listens for its transport.

        The socket's own address decides, then the port (a connection we opened has one of its own), then whether the
        peer speaks IPv4 or IPv6.
        """
        six = ":" in flow.remote[0]
        key = (flow.transport, flow.local, six)
        if key not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[key] = self._find(flow.transport, flow.local, six=six)
        return self._known[key]

    def _find(self, transport: str, local: tuple[str, int], *, six: bool) -> Place | None:
        host, port = local

        def fitness(place: Place) -> tuple[bool, bool, bool, bool]:
            return (
                _six(place.media_bind) == six,
                place.host == host,
                place.port == port,
                place.host in WILDCARDS,
            )

        return max((p for p in self._places if p.transport == transport), key=fitness, default=None)

    def source(self, transport: str, remote: str) -> tuple[str, int] | None:
        """Return the local address a request to the IP address `remote` leaves from; None when there is none for it."""
        six = ":" in remote
        fitting = (p for p in self._places if p.transport == transport and _six(p.media_bind) == six)
        return next(((place.host, place.port) for place in fitting), None)


MAX_KNOWN: Final = 1024
"""Outgoing connections bring a new local port each, so what was found is kept for as many only."""


def _six(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
