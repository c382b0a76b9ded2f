"""How legs go from one media process to another: their state and their open sockets in one message of a Unix socket.

    Handover.legs ─▶ [memory file with the state, its sockets' descriptors] ─▶ on_legs(state, sockets) of the other process
    Handover.closed ─▶ "this capture is written and closed" ─▶ on_closed

The sockets themselves go, so that what waits in the kernel's buffers arrives too and the port never answers "nobody here".
The state holds SRTP keys: it lies in memory only, and the Unix socket is ours alone (mode 600).
"""

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog

from rtp.loop import Loop

MAX_DESCRIPTORS: Final = 253
"""Of one message (SCM_MAX_FD of Linux): 63 legs with sound and picture."""
MAX_STATE: Final = 64 << 20
"""Bytes of state: 63 legs, each with the largest group of pictures, are 11 MB."""
MAX_MESSAGE: Final = 4096
"""Bytes of the message itself."""
log = structlog.get_logger("media")


class Handover:
    """One process's end."""

    def __init__(
        self,
        paths: Sequence[str],
        number: int,
        loop: Loop,
        on_legs: Callable[[Any, list[int]], None],
        on_closed: Callable[[str, int, int], None],
    ) -> None:
        """Listen at `paths[number]`; the others' are beside it. Raises OSError.

        `on_legs(state, descriptors)` owns the descriptors; `on_closed(call, written, missing)`: packets of its capture.
        """
        self._paths = tuple(paths)
        self._path = paths[number]
        self._loop = loop
        self._on_legs = on_legs
        self._on_closed = on_closed
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108  # a socket's path, handed to bind as it is
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        before = os.umask(0o177)
        try:
            self._socket.bind(self._path)
        finally:
            os.umask(before)
        self._socket.setblocking(False)
        loop.add(self._socket.fileno(), self.read, "handover")

    def legs(self, process: int, state: Any, descriptors: Sequence[int]) -> None:
        """Hand over legs. Raises OSError when that process is not there or takes nothing now: then nothing has gone."""
        memory = os.memfd_create("legs", os.MFD_CLOEXEC)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(msgspec.msgpack.encode(state))
            self._send(process, ["legs"], [memory, *descriptors])
        finally:
            os.close(memory)

    def closed(self, process: int, call: str, written: int, missing: int) -> None:
        """Say that a capture that went along is closed here. Not heard, it is found out: the file's lock is free."""
        with suppress(OSError):
            self._send(process, ["closed", call, written, missing], ())

    def _send(self, process: int, message: list[Any], descriptors: Sequence[int]) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(self._paths[process])
            socket.send_fds(sock, [msgspec.msgpack.encode(message)], list(descriptors))

    def read(self) -> None:
        """Take everything that has arrived."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE, MAX_DESCRIPTORS)
            except OSError:
                return
            for descriptor in descriptors:
                os.set_inheritable(
                    descriptor, False
                )  # `recv_fds` leaves its flags, and so MSG_CMSG_CLOEXEC, out
            self._take(data, descriptors)

    def _take(self, data: bytes, descriptors: list[int]) -> None:
        match msgspec.msgpack.decode(data):
            case ["legs"]:
                memory, *sockets = descriptors
                with open(memory, "rb") as file:  # noqa: PTH123  # a descriptor has no path
                    file.seek(0)
                    state = msgspec.msgpack.decode(file.read(MAX_STATE))
                self._on_legs(state, sockets)
            case ["closed", str(call), int(written), int(missing)]:
                self._on_closed(call, written, missing)
            case other:
                log.error("handover_not_understood", kind=str(other)[:40])
                for descriptor in descriptors:
                    os.close(descriptor)

    def close(self) -> None:
        """Part and remove the socket."""
        self._loop.remove(self._socket.fileno())
        self._socket.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108  # see above
