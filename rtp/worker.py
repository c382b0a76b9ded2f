"""The media process: `run` blocks until SIGTERM (or SIGINT), then closes evidence and sockets in order."""

import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import structlog

from rtp.control import Event
from rtp.control_server import ControlServer
from rtp.engine import Engine
from rtp.evidence import EvidenceFactory, EvidenceKeeper
from rtp.loop import Loop
from rtp.native import choose
from rtp.prepare import Preparation, PreparedPrompts
from rtp.settings import MediaSettings
from rtp.shared_engine import SharedEngine

__all__ = ["MediaSettings", "run"]

BEAT_SECONDS: Final = 0.25
"""Between two beats, as whoever watches expects (`pbx.pulse`)."""
PARENT_SECONDS: Final = 1.0
"""Between two looks whether the parent still lives, when `end_with_parent` is set."""
SWITCH_SECONDS: Final = 0.00005
"""How long the evidence thread may keep the loop from the interpreter (Python's default is 5 ms). The loop lets go of it at
each packet's two system calls: with 1 ms it moved one packet a millisecond while a round of evidence was encoded."""
YOUNG_OBJECTS: Final = 20_000
"""Allocations between two runs of the garbage collector: a packet is no cycle, and the default (700) is 30 runs a second."""

log = structlog.get_logger("media")


def run(
    settings: MediaSettings, evidence: EvidenceFactory, *, beat: Callable[[], None] = lambda: None
) -> None:
    """Serve until told to end. To be called in the main thread of its own process; `beat` says that its loop goes round.

    Raises OSError when the control socket can't be made, ValueError for an impossible port range, NoEngineError when
    the native engine is demanded and was not built.
    """
    _raise_descriptor_limit()
    parts = choose(settings.engine)
    loop = parts.loop()
    sys.setswitchinterval(SWITCH_SECONDS)
    prompts = PreparedPrompts(settings.prompts)
    with _signals(loop), _waker(loop) as (wake, on_wake):
        keeper = EvidenceKeeper(evidence, wake, parts.tape)
        control: ControlServer | None = None

        def emit(event: Event) -> None:
            if control is not None:
                control.send(event)

        kind = SharedEngine if settings.handover else Engine
        engine = kind(settings, keeper, prompts, loop, emit, parts=parts)
        on_wake(engine.collect)
        control = ControlServer(settings.socket_path, loop, engine.receive, lambda: engine.holdings(""))
        preparation = Preparation(prompts, settings.prompts, loop, still=settings.still)
        if settings.end_with_parent:
            _watch_parent(loop)
        _beats(loop, beat)
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 20, 50)
        log.info(
            "media_ready",
            engine=parts.name,
            socket=settings.socket_path,
            ports=f"{settings.port_min}-{settings.port_max}",
        )
        try:
            loop.run()
        finally:
            preparation.close()
            engine.close()
            control.close()
    loop.close()
    log.info("media_ended", failures=loop.failures)


def _raise_descriptor_limit() -> None:
    """A call with picture takes four descriptors; the usual soft limit of 1,024 is 256 calls."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _signals(loop: Loop) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop the loop; a byte in a socket pair ends a wait that had begun."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)

    def stop(_number: int, _frame: FrameType | None) -> None:
        loop.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    descriptor = signal.set_wakeup_fd(writer.fileno())

    def read() -> None:
        reader.recv(4096)  # only to empty it; `stop` has run already

    loop.add(reader.fileno(), read, "signals")
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        loop.remove(reader.fileno())
        reader.close()
        writer.close()


@contextmanager
def _waker(loop: Loop) -> Iterator[tuple[Callable[[], None], Callable[[Callable[[], None]], None]]]:
    """Give (a function for another thread that wakes the loop, a function that says what is done then)."""
    descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    done: list[Callable[[], None]] = []

    def woken() -> None:
        os.eventfd_read(descriptor)
        for callback in done:
            callback()

    loop.add(descriptor, woken, "evidence")
    try:
        yield (lambda: os.eventfd_write(descriptor, 1)), done.append
    finally:
        loop.remove(descriptor)
        os.close(descriptor)


def _beats(loop: Loop, beat: Callable[[], None]) -> None:
    def again(now: float) -> None:
        beat()
        loop.at(now + BEAT_SECONDS, again, "beat")

    again(loop.now)


def _watch_parent(loop: Loop) -> None:
    parent = os.getppid()

    def look(now: float) -> None:
        if os.getppid() != parent:
            log.warning("parent_died")
            loop.stop()
        else:
            loop.at(now + PARENT_SECONDS, look, "parent")

    loop.at(loop.now + PARENT_SECONDS, look, "parent")
