"""Socket addresses: what the system says ↔ (IP address as text, port).

in → out: IPv4 peers of a dual-stack socket appear as IPv4 (`::ffff:192.0.2.1` → `192.0.2.1`), link-local peers keep
their zone (`fe80::1%2`).
"""

import ipaddress
import socket
from typing import Any, Final

from rtp.ports import cut_on_the_road

STREAM_BUFFER: Final = 32 * 1024
"""Bytes the kernel holds per connection and direction; it takes twice that. Left alone it takes megabytes, so that a peer who reads
nothing is noticed after thousands of answers to it, and thousands of peers cost gigabytes (bars L10). Enough for the largest
message at once, and for a thousand messages a second over 50 ms."""

_MAPPED: Final = "::ffff:"

Address = tuple[str, int]


def plain(address: tuple[Any, ...]) -> Address:
    """The (host, port) of what `recvfrom`, `getpeername` and `getsockname` give."""
    host, port = str(address[0]), int(address[1])
    if host.startswith(_MAPPED) and "." in host:
        return host[len(_MAPPED) :], port
    if len(address) == 4 and address[3] and "%" not in host:
        return f"{host}%{address[3]}", port
    return host, port


def canonical(address: Address) -> Address:
    """The same address spelled as the system would (`2001:DB8::0:1` → `2001:db8::1`); no literal stays as it is."""
    try:
        return str(ipaddress.ip_address(address[0])), address[1]
    except ValueError:
        return address


def for_socket(family: int, address: Address) -> tuple[Any, ...] | None:
    """What a socket of `family` takes as the destination `address`; None when it can't go there.

    A host that is no IP literal gives None: the system would look the name up and stop the loop meanwhile.
    """
    host, port = address
    try:
        target = ipaddress.ip_address(host)
    except ValueError:
        return None
    if not 0 < port < 65536:
        return None
    if target.version == 4:
        return (host, port) if family == socket.AF_INET else (_MAPPED + host, port, 0, 0)
    if family == socket.AF_INET:
        return None
    scope = target.scope_id
    return (host.partition("%")[0], port, 0, int(scope) if scope is not None and scope.isdecimal() else 0)


def listening(kind: socket.SocketKind, host: str, port: int, name: str | None = None) -> socket.socket:
    """A non-blocking socket bound to `host` (an IP literal) and `port`. Raises OSError that names both.

    `name`: of the transport, for that text.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # connections of the last run may linger
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # accepted sockets inherit both
                bound.setsockopt(socket.SOL_SOCKET, option, STREAM_BUFFER)
        else:
            cut_on_the_road(bound)
        bound.setblocking(False)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        name = name or ("udp" if kind == socket.SOCK_DGRAM else "tcp")
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        raise OSError(error.errno, f"cannot listen on {name} {shown}:{port}: {error.strerror}") from error
    return bound
