"""What the kernel dropped of a leg's packets before anybody read them, because the socket's buffer was full.

They came faster than they are read (a flood), or nobody read for a while (a process that was stopped). Either way they are in no
capture, so evidence says how many there were (bars E1, L9). In: the socket. Out: a count, looked at when reports are made.
"""

import socket
import struct
from typing import Any, Final

SO_MEMINFO: Final = 55
"""Of Linux (socket(7)), which the socket module has no name for: nine 32-bit counters of a socket, the last of them datagrams dropped
(SK_MEMINFO_DROPS)."""
_MEMINFO: Final = struct.Struct("9I")


def dropped(sock: socket.socket) -> int:
    """Datagrams the kernel has dropped at a socket since it was made, modulo 2^32. Raises OSError."""
    memory = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
    count: int = _MEMINFO.unpack(memory)[-1]
    return count


class Overrun:
    """Of one socket that is fresh, or goes on in another process."""

    __slots__ = ("_counted", "_socket", "count", "stated")

    def __init__(self, sock: socket.socket) -> None:
        """The socket has dropped nothing yet."""
        self._socket = sock
        self._counted = 0
        self.count = 0
        """All of them; as of the last `look`."""
        self.stated = 0
        """How many of these evidence states."""

    def look(self) -> int:
        """Count anew, and give how many there are that evidence does not state yet."""
        now = dropped(self._socket)
        self.count += (now - self._counted) & 0xFFFF_FFFF  # the kernel's counter wraps
        self._counted = now
        return self.count - self.stated

    def snapshot(self) -> dict[str, Any]:
        """Give the counts as plain data; the kernel's own goes along with the socket."""
        return {"counted": self._counted, "count": self.count, "stated": self.stated}

    def resume(self, data: dict[str, Any]) -> None:
        """Go on where `snapshot` was taken, with the same socket."""
        self._counted, self.count, self.stated = data["counted"], data["count"], data["stated"]
