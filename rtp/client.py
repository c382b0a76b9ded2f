"""Signalling's end of the control socket: commands out, events in (asyncio)."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import structlog

from rtp.control import Command, Event
from rtp.frames import FrameError, Frames, decode_event, encode
from rtp.freed import Freed

RETRY_SECONDS: Final = 0.1
"""Between two attempts to connect: a restarted media process is found at once, and waiting costs nothing."""
MAX_UNSENT: Final = 8 << 20
"""Bytes a media process that reads nothing may leave with us before the connection counts as dead."""
READ_SIZE: Final = 1 << 16

log = structlog.get_logger("media")


class Spawner(Protocol):
    """Whoever owns the tasks; `pbx.tasks.Tasks` is one (rtp knows nobody above it)."""

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]: ...


class MediaClient:
    """One media process, seen from signalling.

    Every event of the process goes to `on_event`; the first one after each (re)connect is `Holdings`, from which
    signalling sees what to repeat: commands are idempotent, and nothing is kept here while the socket is down.
    """

    def __init__(
        self,
        path: str,
        on_event: Callable[[Event], None],
        tasks: Spawner,
        *,
        on_lost: Callable[[], None] | None = None,
        freed: Freed | None = None,
    ) -> None:
        """`path`: the process's Unix socket; `on_lost` is called when a connection that stood is there no more.

        `freed`: what is remembered of ports for a process that forgets; None: whoever uses this does.
        """
        self._freed = freed
        self._path = path
        self._on_lost = on_lost
        self._on_event = on_event
        self._tasks = tasks
        self._writer: asyncio.StreamWriter | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self.unsent = 0
        """Commands that were given while no process was connected; `Holdings` tells what they missed."""

    @property
    def connected(self) -> bool:
        """Whether a command sent now reaches a process."""
        return self._writer is not None

    async def connect(self) -> None:
        """Return once connected; from then on a lost connection is retried until `close`."""
        if self._task is None:
            self._task = self._tasks.spawn(self._stay_connected(), name="media_client")
        await self._up.wait()

    def send(self, command: Command) -> None:
        """Send a command; while nobody is connected it is counted and left out."""
        if self._freed is not None:
            self._freed.sent(command, time.monotonic())
        writer = self._writer
        if writer is None:
            self.unsent += 1
            return
        writer.write(encode(command))
        if writer.transport.get_write_buffer_size() > MAX_UNSENT:
            log.error("media_process_reads_nothing", path=self._path)
            self._drop(writer)

    async def close(self) -> None:
        """Send what is still unsent, part from the process and stop trying; the process goes on."""
        writer, self._writer = self._writer, None
        self._up.clear()
        if writer is not None:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass  # it is gone, which is what was wanted
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _stay_connected(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except OSError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._writer = writer
            self._up.set()
            try:
                await self._read(reader)
            except (OSError, FrameError) as error:
                log.warning("media_connection_failed", path=self._path, error=str(error))
            finally:
                self._drop(writer)
            log.warning("media_connection_lost", path=self._path)
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frames = Frames()
        while data := await reader.read(READ_SIZE):
            for frame in frames.feed(data):
                event = decode_event(frame)
                if self._freed is not None:
                    for command in self._freed.said(event, time.monotonic()):
                        self.send(command)
                self._on_event(event)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        if self._writer is writer:
            self._writer = None
            self._up.clear()
            if self._on_lost is not None:
                self._on_lost()
        writer.transport.abort()
