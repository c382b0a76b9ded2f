"""Transports without sockets, for the protocols of the rim."""

import asyncio
from typing import Any


class Socket:
    """What a transport shows of its socket."""

    def __init__(self, file: int) -> None:
        self._file = file

    def fileno(self) -> int:
        return self._file


class StreamTransport(asyncio.Transport):
    """A TCP connection that remembers what was written; `unread` bytes count as not read by the peer."""

    def __init__(
        self, remote: tuple[str, int], local: tuple[str, int] = ("192.0.2.1", 5060), file: int = -1
    ) -> None:
        """`file`: its descriptor; −1: it has none."""
        socket = None if file < 0 else Socket(file)
        super().__init__({"peername": remote, "sockname": local, "socket": socket})
        self.written: list[bytes] = []
        self.unread = 0
        self.reading = True
        self.closed: str | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.closed is None, "written after close"
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unread

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = high

    def is_closing(self) -> bool:
        return self.closed is not None

    def close(self) -> None:
        self.closed = self.closed or "closed"

    def abort(self) -> None:
        self.closed = "aborted"

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading


class DatagramTransport(asyncio.DatagramTransport):
    """A UDP socket that remembers what was sent; `refusal` is what the kernel says to the next one."""

    def __init__(self, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent: list[tuple[bytes, Any]] = []
        self.unsent = 0
        self.refusal: OSError | None = None
        self.closed = False

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        if self.refusal is not None:
            self.protocol.error_received(self.refusal)
            return
        self.sent.append((bytes(data), addr))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def close(self) -> None:
        self.closed = True
