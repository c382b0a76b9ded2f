"""Where RTP may be sent to, judged from what a stranger wrote into a description."""

import ipaddress
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rtp.control import Address

UNSPECIFIED: Final = frozenset({"0.0.0.0", "::"})
MIN_PORT: Final = 1024  # a peer that names port 22, 25 or 53 wants us to knock there, not to be heard

_CLOUD_METADATA: Final = ipaddress.IPv6Address("fd00:ec2::254")  # its IPv4 twin is link-local


def literal(host: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an IP address as SDP writes it; None for a host name, a multicast `address/ttl` or rubbish."""
    if host is None or len(host) > 45 or "%" in host:
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=1024)
def unicast(host: str | None, *, loopback_ok: bool = True) -> str | None:
    """Return the canonical text of an address that one machine may have and RTP may go to, else None.

    Unspecified, multicast, broadcast, reserved and link-local addresses (cloud metadata services live there) never
    are such; loopback is with `loopback_ok`.
    """
    address = literal(host)
    if address is None or address == _CLOUD_METADATA:
        return None
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return None
    if address.is_loopback:
        return str(address) if loopback_ok else None
    if address.is_reserved or (address.version == 4 and str(address).startswith("0.")):
        return None
    return str(address)


@dataclass(frozen=True, slots=True)
class Own:
    """What is this exchange's own: RTP sent there would feed its ports to each other, or disturb its servers."""

    hosts: frozenset[str] = frozenset()
    """Our addresses, as `unicast` spells them. A phone may run on the same machine, so they are no phone's only with: """
    media: range = range(0)
    """the ports RTP is received at,"""
    ports: frozenset[int] = frozenset()
    """and those other services of ours listen on."""

    def __contains__(self, address: object) -> bool:
        """Tell whether a (host, port) is ours."""
        match address:
            case (str(host), int(port)):
                return host in self.hosts and (port in self.media or port in self.ports)
        return False


NOTHING: Final = Own()


def destination(
    host: str | None, port: int, *, local: str, loopback_ok: bool = True, own: Container[Address] = NOTHING
) -> Address | None:
    """Return where to send to, or None when the peer named nothing that a socket bound to `local` may send to.

    `own` holds the addresses of this exchange where no phone can be, see `Own`.
    """
    text = unicast(host, loopback_ok=loopback_ok)
    if text is None or (text, port) in own or not MIN_PORT <= port <= 65535:
        return None
    if (":" in text) != (":" in local):
        return None
    return text, port
