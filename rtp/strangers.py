"""What strangers send to a port whose socket is connected to its peer: counted by the kernel, read by nobody.

A connected socket takes its peer's datagrams only. A second socket on the same port, never connected, has a filter that lets
nothing in: every other datagram ends there, costs this process nothing, and stands in that socket's counter of drops. Without
it the kernel would answer each with an ICMP error, and tell whoever tries that the port is alive.
"""

import ctypes
import socket
import struct
from typing import Final

import structlog

from rtp.overrun import dropped

SO_ATTACH_FILTER: Final = 26
"""Of Linux (socket(7)); the socket module has no name for it."""
_NOTHING: Final = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0), 8)
"""One instruction of the classic packet filter: BPF_RET | BPF_K with 0, "take 0 bytes"."""
_FILTER: Final = struct.pack("HL", 1, ctypes.addressof(_NOTHING))

log = structlog.get_logger("media")


class Strangers:
    """What came to one port from others than its peer: counted here while its socket is open, by the kernel while connected."""

    __slots__ = ("_beside", "_counted", "kernel", "refused", "stated")

    def __init__(self) -> None:
        self.refused = 0
        """Read and refused, because the socket was open to all."""
        self.kernel = 0
        """Refused by the kernel; as of the last `look`."""
        self.stated = 0
        """How many of all evidence states."""
        self._beside: socket.socket | None = None
        self._counted = 0

    @property
    def count(self) -> int:
        """All of them so far."""
        return self.refused + self.kernel

    def shut_out(self, connected: socket.socket) -> None:
        """Begin to count beside a socket that is connected now. Where no descriptor is left the kernel refuses uncounted."""
        if self._beside is not None:
            return
        try:
            self._beside, self._counted = _beside(connected), 0
        except OSError as error:
            log.warning("strangers_not_counted", error=str(error))

    def look(self) -> int:
        """Count anew, and give how many have come that evidence does not state yet."""
        if self._beside is not None:
            now = dropped(self._beside)
            self.kernel += (now - self._counted) & 0xFFFF_FFFF  # the kernel's counter has 32 bits and wraps
            self._counted = now
        return self.count - self.stated

    def let_in(self) -> None:
        """Stop: to be called before the socket is opened to all, or another leg's."""
        self.look()
        if self._beside is not None:
            self._beside.close()
            self._beside = None


def _beside(connected: socket.socket) -> socket.socket:
    address = connected.getsockname()
    beside = socket.socket(connected.family, socket.SOCK_DGRAM)
    try:
        beside.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _FILTER)
        # Both must allow it at the moment of bind, and neither afterwards: the port is nobody else's.
        _share(connected, beside, allowed=1)
        try:
            beside.bind(address)
        finally:
            _share(connected, beside, allowed=0)
    except OSError:
        beside.close()
        raise
    return beside


def _share(*sockets: socket.socket, allowed: int) -> None:
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, allowed)
