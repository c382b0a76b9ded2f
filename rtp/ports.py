"""UDP ports: pairs of open sockets handed over, never numbers that were free a moment ago (style: "Bind, close, hope")."""

import contextlib
import ctypes
import errno
import os
import resource
import socket
from dataclasses import dataclass
from typing import Final

from rtp.reserve import Reserve

RECEIVE_BUFFER: Final = 512 * 1024
"""Bytes the kernel keeps for a socket while the loop is busy: a key frame of 300 packets, and 0.5 s of everything else."""
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_UNSPECIFIED: Final = bytes(28)
"""A socket address of family AF_UNSPEC (0), as long as the longest of IPv4 and IPv6."""
IP_MTU_DISCOVER: Final = 10
IP_PMTUDISC_DONT: Final = 0
"""Of Linux's ip(7); Python has no names for them."""
_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EACCES})
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class NoPorts(OSError):  # noqa: N818  # named as what is the case
    """Every pair of the range is in use, or no further file can be opened."""


def disconnect(sock: socket.socket) -> None:
    """Open a connected UDP socket to all sources again; its own port stays. Raises OSError.

    connect(2): "Connectionless sockets may dissolve the association by connecting to an address with the sa_family
    member of sockaddr set to AF_UNSPEC", which Python's `socket.connect` can't say.
    """
    if _LIBC.connect(sock.fileno(), _UNSPECIFIED, len(_UNSPECIFIED)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two bound, nonblocking sockets. RFC 3550 §11: RTP on an even port, RTCP on the next one."""

    rtp: socket.socket
    rtcp: socket.socket
    port: int
    """Of RTP."""

    def close(self) -> None:
        """Give both ports back to the system."""
        self.rtp.close()
        self.rtcp.close()


class Ports:
    """A range of ports, used round and round, so that a port just closed is the last to come back."""

    def __init__(self, minimum: int, maximum: int, reserve: float = 0.0) -> None:
        """Both inclusive; `reserve`: the part kept for who is urgent. ValueError for a range without one whole pair."""
        self._first = minimum + minimum % 2
        self._pairs = (maximum - self._first + 1) // 2
        if self._pairs < 1:
            raise ValueError(f"no port pair between {minimum} and {maximum}")
        self._next = 0
        self._reserve = Reserve(self._pairs, resource.getrlimit(resource.RLIMIT_NOFILE)[0], reserve)

    def admit(self, wanted: int, *, used: int, captures: int, urgent: bool) -> None:
        """Raise NoPorts when what is left is kept for others; see `Reserve.admits`."""
        if wanted and not self._reserve.admits(wanted, used=used, captures=captures, urgent=urgent):
            raise NoPorts(errno.EADDRINUSE, f"{used} port pairs are in use or draining")

    def again(self, host: str, port: int) -> Pair | None:
        """Bind this very pair; None when it is not of the range, or not free. Raises OSError for a wrong address, or NoPorts."""
        last = self._first + 2 * (self._pairs - 1)
        return _pair(host, port) if self._first <= port <= last and port % 2 == 0 else None

    def bind(self, host: str, wanted: int | None = None) -> Pair:
        """Bind the next pair that is free on a local IP address. Raises NoPorts, or OSError for a wrong address.

        `wanted`: an RTP port to try first, that of a leg whose media process was restarted.
        """
        if wanted is not None:
            pair = _pair(host, wanted)
            if pair is not None:
                return pair
        for _ in range(self._pairs):
            port = self._first + 2 * self._next
            self._next = (self._next + 1) % self._pairs
            pair = _pair(host, port)
            if pair is not None:
                return pair
        raise NoPorts(errno.EADDRINUSE, f"all {self._pairs} port pairs are in use")


def _pair(host: str, port: int) -> Pair | None:
    """Bind RTP and RTCP; None when one of the two is taken."""
    try:
        rtp = _bound(host, port)
    except OSError as error:
        if error.errno in _TAKEN:
            return None
        raise
    try:
        return Pair(rtp, _bound(host, port + 1), port)
    except OSError as error:
        rtp.close()
        if error.errno in _TAKEN:
            return None
        raise


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_FILES:
            raise NoPorts(error.errno, error.strerror) from error
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        cut_on_the_road(sock)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def cut_on_the_road(datagrams: socket.socket) -> None:
    """Let routers cut our IPv4 datagrams into fragments (RFC 791 §3.2): Linux forbids it them for whatever fits the first link.

    Where a tunnel on the way takes less (1,280 bytes in many), and its ICMP is filtered, an answer between the two sizes would never
    arrive, however often it is sent (RFC 2923 §2.1), and whoever is sent pictures as large as the sender's own road bears would hear
    and never see. IPv6 knows no such routers.
    """
    with contextlib.suppress(OSError):
        datagrams.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
