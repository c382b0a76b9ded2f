"""The media process's end of the control socket: one signalling process at a time.

A new connection takes the place of the old one, so a restarted signalling need not wait for the old one's socket to
die. When nobody is connected events are left out: `Holdings`, sent to whoever connects, tells where things stand.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from rtp.control import Command, Event, Refused
from rtp.frames import FrameError, Frames, decode_command, encode
from rtp.loop import Loop

MAX_UNSENT: Final = 8 << 20
"""Bytes a signalling process that reads nothing may leave with us; then it is cut off and may connect again."""
READ_SIZE: Final = 1 << 16

log = structlog.get_logger("media")


class ControlServer:
    """Serves commands from and events to signalling."""

    def __init__(
        self, path: str, loop: Loop, on_command: Callable[[Command], None], greeting: Callable[[], Event]
    ) -> None:
        """Listen on a Unix socket at `path` (mode 600; a stale one is replaced). Raises OSError naming the path."""
        self._path = path
        self._loop = loop
        self._on_command = on_command
        self._greeting = greeting
        self._connection: socket.socket | None = None
        self._frames = Frames()
        self._unsent = bytearray()
        self._writing = False
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108  # a socket's path, handed to bind as it is
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._listener.bind(path)
        except OSError as error:
            self._listener.close()
            raise OSError(error.errno, f"control socket {path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        self._listener.listen(4)
        self._listener.setblocking(False)
        loop.add(self._listener.fileno(), self._accept, "control.listener")

    @property
    def connected(self) -> bool:
        """Whether signalling is there."""
        return self._connection is not None

    def send(self, event: Event) -> None:
        """Send an event; without a connection it is left out."""
        if self._connection is None:
            return
        self._unsent += encode(event)
        if len(self._unsent) > MAX_UNSENT:
            self._drop("reads nothing")
        elif not self._writing:
            self._write()

    def close(self) -> None:
        """Send what can be sent at once, then part and remove the socket."""
        self._drop("closing")
        self._loop.remove(self._listener.fileno())
        self._listener.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108  # see above

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if self._connection is not None:
            self._drop("replaced")
        connection.setblocking(False)
        self._connection = connection
        self._frames = Frames()
        self._loop.add(connection.fileno(), self._ready, "control.connection")
        log.info("signalling_connected")
        self.send(self._greeting())

    def _ready(self) -> None:
        if self._unsent:
            self._write()
        connection = self._connection
        if connection is None:
            return
        try:
            data = connection.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(str(error))
            return
        if not data:
            self._drop("closed")
            return
        try:
            for frame in self._frames.feed(data):
                self._carry_out(decode_command(frame))
        except FrameError as error:
            self._drop(str(error))

    def _carry_out(self, command: Command) -> None:
        """Carry one out; one that fails keeps nobody else's from it, and whoever gave it hears so."""
        try:
            self._on_command(command)
        except Exception as error:  # noqa: BLE001  # logged and counted: it is a bug of ours, and of one leg or call
            name = type(command).__name__
            self._loop.failed(name, error)
            self.send(Refused(name, getattr(command, "leg", getattr(command, "call", "")), "failed"))

    def _write(self) -> None:
        connection = self._connection
        assert connection is not None, "nothing is unsent without a connection"
        try:
            sent = connection.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._drop(str(error))
            return
        del self._unsent[:sent]
        writing = bool(self._unsent)
        if writing != self._writing:
            self._writing = writing
            self._loop.want_write(connection.fileno(), wanted=writing)

    def _drop(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        self._unsent.clear()
        self._writing = False
        if connection is not None:
            self._loop.remove(connection.fileno())
            connection.close()
            log.warning("signalling_disconnected", reason=reason)
