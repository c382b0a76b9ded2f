"""The supervisor: starts the processes, watches them, starts them again. It holds nothing worth keeping.

in → out: settings and the database's address → running processes, until SIGINT or SIGTERM.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import structlog

from pbx import pulse
from pbx.backoff import FIRST_PAUSE, STEADY_SECONDS, Backoff
from pbx.live import key as live_key
from pbx.spares import Spare, command, sleeps, spared
from pbx.watchdog import Watchdog, patience, seen

CANT_START: Final = 78
"""Exit status of a process that can't start (EX_CONFIG): a port is taken. Before the exchange was ready once, it is the end
of all; later it is a fault like any other, for what holds the port may go away.
"""
LOOK_SECONDS: Final = 0.05
REPLACED_SECONDS: Final = 0.25
"""After a process took the place of another the next spare is begun: by then calls have their sound again. To load its
libraries takes a second of a processor, and until it has, whoever is killed next is missed for so long.
"""
SPARE_SECONDS: Final = 60.0
"""Between two starts of spares of a role: one that ends unasked, or can't be started, is not tried all the time."""
STOP_SECONDS: Final = 10.0
"""How long a process may take to end in order before it is killed."""

WAKE_SECONDS: Final = 5.0
"""From calling a spare to looking whether it works; it does in some milliseconds."""

log = structlog.get_logger("supervisor")


class Database(Protocol):
    """What keeps PostgreSQL running, if that is ours to do."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


def media_role(number: int) -> str:
    """What a media process is called: `media`, and `media-1` … beside it."""
    return f"media-{number}" if number else "media"


@dataclass(slots=True)
class Child:
    """One process that is kept running."""

    role: str
    place: int
    """Its place among the pulses."""
    watchdog: Watchdog
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it is told beside our own environment; never on its command line, which everybody may read."""
    popen: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)
    again_at: float = 0.0
    replaces: bool = False
    """It took the place of one that ended."""
    spare: Spare | None = None
    spare_at: float = 0.0
    """When the next spare may be started."""
    hung: bool = False
    """It was killed for that."""
    called: bool = False
    """It was a spare and has not been seen to work."""


class Supervisor:
    """Starts the processes, starts them again when they end, and ends them in order."""

    def __init__(
        self,
        state: Path,
        database: Database | None,
        database_url: str,
        *,
        media_processes: int = 1,
        settings: int | None = None,
        held: int | None = None,
    ) -> None:
        """`state`: the folder that tells every process which exchange it is of; `settings`: the file of `pbx.settings.keep`;
        `held`: what holds that folder (`pbx.tenure`).
        """
        self._state = state
        self._settings = settings
        self._held = held
        self._database = database
        told = {"signalling": {"AT110_DATABASE_URL": database_url}}
        roles = [*map(media_role, range(media_processes)), "signalling", "recorder"]
        self._children = [
            Child(role, place, Watchdog(patience(role)), told.get(role, {}))
            for place, role in enumerate(roles)
        ]
        self._pulses = pulse.make(len(roles))
        self._stopping = False
        self._ready = False
        self._live_key = live_key.make()
        self._ready_read, self._ready_write = os.pipe()
        os.set_blocking(self._ready_read, False)

    def run(self, on_ready: Callable[[], None]) -> int:
        """Serve until SIGINT or SIGTERM; 1 when it could not be started."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        if self._database is not None:
            self._database.start()
        status = 0
        try:
            while not self._stopping:
                for child in self._children:
                    self._look_after(child)
                    self._keep_spare(child)
                if not self._ready and self._signalling_ready():
                    self._ready = True
                    on_ready()
                if self._cant_start():
                    status = 1
                    break
                time.sleep(LOOK_SECONDS)  # the whole work of this process is to look now and then
        finally:
            self._end_all()
        return status

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        for child in self._children:
            if child.role == "signalling" and child.popen is not None and child.popen.poll() is None:
                child.popen.send_signal(signal.SIGHUP)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.popen is not None:
            status = child.popen.poll()
            if status is None:
                self._see_it_wake(child, child.popen, now)
                self._see_it_beat(child, child.popen, now)
                return
            if self._final(status):
                return
            self._pulses.ended(child.place, hung=child.hung)
            pause = child.backoff.pause(now - child.started)
            child.again_at = now + pause
            log.error("process_ended", role=child.role, status=status, again_in=pause)
            child.popen, child.replaces = None, True
        if now >= child.again_at:
            child.watchdog.begin(now)
            child.hung = False
            self._start(child, now)

    def _see_it_beat(self, child: Child, popen: subprocess.Popen[bytes], now: float) -> None:
        """Kill a process that hangs; it is replaced as any that dies. One that the kernel holds dies when that lets go of it."""
        why = child.watchdog.look(self._pulses.last(child.place), now, lambda: seen(popen.pid))
        if why is not None:
            log.error("process_hangs", role=child.role, pid=popen.pid, seconds=why)
            child.hung = True
            popen.kill()

    @staticmethod
    def _see_it_wake(child: Child, popen: subprocess.Popen[bytes], now: float) -> None:
        """End a spare that was called and does not come: another process is started in its place, and is no spare."""
        if child.called and now - child.started > WAKE_SECONDS:
            child.called = False
            if sleeps(popen.pid):
                log.error("spare_stuck", role=child.role, pid=popen.pid)
                popen.kill()
                child.spare_at = now + SPARE_SECONDS

    def _keep_spare(self, child: Child) -> None:
        """See that a spare waits beside a process that runs steadily or took another's place.

        At a start the others need what it costs.
        """
        now = time.monotonic()
        if child.spare is not None:
            if (status := child.spare.ended()) is None:
                return
            log.warning("spare_ended", role=child.role, status=status)
            child.spare.end()  # its pipe is open still
            child.spare, child.spare_at = None, now + SPARE_SECONDS
        after = REPLACED_SECONDS if child.replaces else STEADY_SECONDS
        if child.popen is None or now - child.started <= after or now < child.spare_at:
            return
        if child.called and sleeps(child.popen.pid):
            return  # it has not come: another spare might not either
        if self._ready and spared(child.role):
            environment, inherited = self._told(child)
            try:
                child.spare = Spare(child.role, environment, inherited)
            except OSError as error:  # no memory, no process: what works goes on without
                child.spare_at = now + SPARE_SECONDS
                log.warning("spare_not_started", role=child.role, why=str(error))
                return
            log.info("spare_started", role=child.role, pid=child.spare.pid)

    def _start(self, child: Child, now: float) -> None:
        spare, child.spare = child.spare, None
        child.popen = None if spare is None else spare.go()
        loaded = child.called = child.popen is not None
        if child.popen is None:
            environment, inherited = self._told(child)
            try:
                # A session of its own: Ctrl-C reaches the supervisor alone, which ends the others in order.
                child.popen = subprocess.Popen(  # noqa: S603 - our own program
                    command(child.role, spare=False),
                    env=environment,
                    pass_fds=inherited,
                    start_new_session=True,
                )
            except OSError as error:
                if not self._ready:
                    raise  # it never was an exchange
                pause = max(
                    child.backoff.pause(0.0), FIRST_PAUSE
                )  # who has nothing to give has nothing at once
                child.again_at = now + pause
                log.error("process_not_started", role=child.role, why=str(error), again_in=pause)
                return
        child.started = now
        log.info("process_started", role=child.role, pid=child.popen.pid, spare=loaded)

    def _told(self, child: Child) -> tuple[dict[str, str], list[int]]:
        """Return what a process is told in its environment, and the file descriptors it keeps."""
        environment = {
            **os.environ,
            **child.environment,
            "AT110_STATE": str(self._state),
            "AT110_READY_FD": str(self._ready_write),
            "AT110_SUPERVISOR": str(os.getpid()),
            pulse.VARIABLE: str(self._pulses.descriptor),
            pulse.PLACE: str(child.place),
        }
        inherited = [self._ready_write, self._pulses.descriptor]
        if self._settings is not None:
            environment["AT110_SETTINGS"] = f"/proc/self/fd/{self._settings}"
            inherited.append(self._settings)
        if self._held is not None:
            inherited.append(self._held)
        if child.role == "signalling":
            environment[live_key.VARIABLE] = str(self._live_key)
            inherited.append(self._live_key)
        return environment, inherited

    def _signalling_ready(self) -> bool:
        try:
            return bool(os.read(self._ready_read, 16))
        except BlockingIOError:
            return False

    def _final(self, status: int | None) -> bool:
        """Whether to give up. An exchange that was ready once never does: its callers need it back."""
        return status == CANT_START and not self._ready

    def _cant_start(self) -> bool:
        return any(c.popen is not None and self._final(c.popen.poll()) for c in self._children)

    def _end_all(self) -> None:
        """Signalling first: it says goodbye to phones and closes evidence through the media process."""
        for child in self._children:
            if child.spare is not None:
                child.spare.end()
        for child in sorted(self._children, key=lambda child: child.role != "signalling"):
            role, running = child.role, child.popen
            if running is None or running.poll() is not None:
                continue
            running.terminate()
            try:
                running.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                log.error("process_killed", role=role)
                running.kill()
                running.wait()
            log.info("process_stopped", role=role, status=running.returncode)
        if self._database is not None:
            self._database.stop()
        log.info("supervisor_stopped")
