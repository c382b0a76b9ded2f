"""at110: the composition root, the supervisor, and the command line.

    at110 serve            start the whole exchange: supervisor → signalling, media, recorder, embedded PostgreSQL
    at110 call | desk      scripted phones, see `pbx.phone`
    at110 verify FOLDER    check evidence, see `recordings.verify`

The supervisor starts, watches and restarts; it holds nothing worth keeping.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

import structlog
import uvloop

from pbx import credentials, listening, logs
from pbx.settings import Settings, SettingsError, load, prepare
from pbx.signalling import Signalling
from pbx.storage.embedded import Embedded
from pbx.storage.keeper import Keeper
from pbx.storage.place import EmbeddedError
from recordings import recorder, verify
from recordings.capture import Captures
from rtp import worker
from rtp.prompts import placeholder_prompts
from rtp.settings import MediaSettings

CANT_START: Final = 78
"""Exit status of a process that will not start however often it is tried (EX_CONFIG): a port is taken."""
LOOK_SECONDS: Final = 0.05
FIRST_PAUSE: Final = 0.1
LAST_PAUSE: Final = 5.0
STEADY_SECONDS: Final = 10.0
"""A process that ran this long is restarted at once again, without a growing pause."""
STOP_SECONDS: Final = 10.0
"""How long a process may take to end in order before it is killed."""
PR_SET_PDEATHSIG: Final = 1
"""Of prctl(2); the number is part of Linux's ABI."""
ROLES: Final = ("media", "signalling", "recorder")

USAGE: Final = """usage: at110 COMMAND …

  serve            start the exchange                     启动交换机
  call [options]   place a scripted video call to 110     拨打一次脚本化视频报警
  desk [options]   a scripted dispatcher                  脚本化接警坐席
  verify FOLDER    check a call's evidence                校验一次呼叫的证据

at110 call --help, at110 desk --help, at110 verify --help"""

log = structlog.get_logger("supervisor")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    match arguments:
        case ["serve"]:
            return serve()
        case ["process", role] if role in ROLES:
            return process(role)
        case ["verify", *rest]:
            return verify.main(rest)
        case ["call", *rest]:
            from pbx.phone import caller

            return caller.main(rest)
        case ["desk", *rest]:
            from pbx.phone import desk

            return desk.main(rest)
        case ["help" | "--help" | "-h"]:
            print(USAGE)
            return 0
    print(USAGE, file=sys.stderr)
    return 2


# --- the processes ------------------------------------------------------------------------------------------------


def process(role: str) -> int:
    """Be one of the processes; called by the supervisor only."""
    _end_with_supervisor()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until somebody knows what to do with it
    settings = load(os.environ)
    # On a terminal the supervisor speaks to a person; the lines are in the log files then.
    stream = None if sys.stderr.isatty() else sys.stderr
    logs.configure(role, file=settings.logs / f"{role}.log", stream=stream)
    match role:
        case "media":
            worker.run(_media_settings(settings), Captures())
        case "recorder":
            evidence = str(settings.evidence_folder)
            recorder.run(recorder.RecorderSettings(evidence, str(settings.spool)))
        case _:
            return _signalling(settings)
    return 0


def _end_with_supervisor() -> None:
    """Have the kernel send SIGTERM when the supervisor dies: a process nobody watches would hold ports for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(os.environ.get("AT110_SUPERVISOR", os.getppid())):
        os.kill(os.getpid(), signal.SIGTERM)  # it died before the kernel was told


def _media_settings(settings: Settings) -> MediaSettings:
    return MediaSettings(
        socket_path=str(settings.media_socket()),
        host=settings.sip.host,
        port_min=settings.media.port_min,
        port_max=settings.media.port_max,
        drain_seconds=settings.media.drain_seconds,
        prompts=settings.media.prompts,
        loss_seconds=settings.media.loss_seconds,
        end_with_parent=True,
    )


def _signalling(settings: Settings) -> int:
    assert settings.storage.database_url is not None, "the supervisor names the database"
    database_url = settings.storage.database_url

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        signalling = Signalling(settings, database_url)
        loop.add_signal_handler(signal.SIGHUP, signalling.reload)
        await signalling.run(stop, _tell_ready)

    try:
        uvloop.run(run())
    except OSError as error:
        print(f"at110: {error}", file=sys.stderr, flush=True)
        return CANT_START
    return 0


def _tell_ready() -> None:
    """Tell the supervisor, which waits at the other end of a pipe."""
    number = os.environ.get("AT110_READY_FD")
    if number is not None:
        with contextlib.suppress(OSError):
            os.write(int(number), b"1")


# --- the supervisor -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Child:
    """One process that is kept running."""

    role: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it is told beside our own environment; never on its command line, which everybody may read."""
    popen: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE
    again_at: float = 0.0


class Supervisor:
    """Starts the processes, starts them again when they end, and ends them in order."""

    def __init__(self, settings: Settings, database: Keeper | None, database_url: str) -> None:
        self._settings = settings
        self._database = database
        self._children = [
            Child("media"),
            Child("signalling", {"AT110_DATABASE_URL": database_url}),
            Child("recorder"),
        ]
        self._stopping = False
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
        told = False
        try:
            while not self._stopping:
                for child in self._children:
                    self._look_after(child)
                if not told and self._signalling_ready():
                    told = True
                    on_ready()
                if not told and self._cant_start():
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
            if status is None or status == CANT_START:
                return
            if now - child.started > STEADY_SECONDS:
                child.pause = FIRST_PAUSE
            child.again_at = now + child.pause
            child.pause = min(2 * child.pause, LAST_PAUSE)
            log.error("process_ended", role=child.role, status=status, again_in=child.again_at - now)
            child.popen = None
        if now >= child.again_at:
            self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        environment = {
            **os.environ,
            **child.environment,
            "AT110_STATE": str(self._settings.state),
            "AT110_READY_FD": str(self._ready_write),
            "AT110_SUPERVISOR": str(os.getpid()),
        }
        command = [sys.executable, "-m", "server", "process", child.role]
        # A session of its own: Ctrl-C reaches the supervisor alone, which ends the others in order.
        child.popen = subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, pass_fds=(self._ready_write,), start_new_session=True
        )
        child.started = now
        log.info("process_started", role=child.role, pid=child.popen.pid)

    def _signalling_ready(self) -> bool:
        try:
            return bool(os.read(self._ready_read, 16))
        except BlockingIOError:
            return False

    def _cant_start(self) -> bool:
        return any(c.popen is not None and c.popen.poll() == CANT_START for c in self._children)

    def _end_all(self) -> None:
        """Signalling first: it says goodbye to phones and closes evidence through the media process."""
        by_role = {child.role: child for child in self._children}
        for role in ("signalling", "media", "recorder"):
            running = by_role[role].popen
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


def serve() -> int:
    """Start the exchange and stay. Returns the exit status."""
    try:
        settings = load(os.environ)
        prepare(settings)
        people = credentials.load_or_create(settings.credentials)
    except SettingsError as error:
        for problem in error.problems:
            print(f"at110: {problem}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"at110: {error}", file=sys.stderr)
        return 1
    stream = None if sys.stderr.isatty() else sys.stderr
    logs.configure("supervisor", file=settings.logs / "supervisor.log", stream=stream)
    taken = _taken(settings)
    if taken is not None:
        print(f"at110: {taken}", file=sys.stderr)
        return 1
    keeper, url = None, settings.storage.database_url
    if url is None:
        try:
            keeper = Keeper(Embedded(settings.state, _tell), _tell)
        except (EmbeddedError, OSError) as error:
            print(f"at110: PostgreSQL: {error}", file=sys.stderr)
            return 1
        url = keeper.dsn
    return Supervisor(settings, keeper, url).run(lambda: _greet(settings, people))


def _tell(event: str, fields: dict[str, object]) -> None:
    log.info(event, **fields)


def _taken(settings: Settings) -> str | None:
    """Say in one line which port is taken, before anything is started. The real bind decides later all the same."""
    wanted = [
        (socket.SOCK_DGRAM, "SIP/UDP", settings.sip.host, settings.sip.port, "AT110_SIP_PORT"),
        (socket.SOCK_STREAM, "SIP/TCP", settings.sip.host, settings.sip.port, "AT110_SIP_PORT"),
        (socket.SOCK_STREAM, "HTTP", settings.http.host, settings.http.port, "AT110_HTTP_PORT"),
    ]
    for place in listening.further(settings):
        kind = socket.SOCK_DGRAM if place.transport == "udp" else socket.SOCK_STREAM
        setting = "tls.port" if place.transport == "tls" else "sip.listen"
        wanted.append((kind, f"SIP/{place.transport.upper()}", place.host, place.port, setting))
    if settings.http.tls_port is not None:
        wanted.append(
            (socket.SOCK_STREAM, "HTTPS", settings.http.host, settings.http.tls_port, "http.tls_port")
        )
    for kind, what, host, port, variable in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                return (
                    f"{what} can't listen on {host}:{port} ({error.strerror}); set {variable} to another port"
                )
    return None


def _greet(settings: Settings, people: credentials.Credentials) -> None:
    """Say where to call and log in, in Chinese and English, and end with `at110 ready`."""
    sip = f"{settings.sip.public_host}:{settings.sip.port}"
    tls = "" if settings.tls_port is None else f", TLS {settings.tls_port}"
    http = f"http://{settings.http.host}:{settings.http.port}/"
    lines = [
        "",
        f"  报警 call            sip:110@{sip}   (UDP, TCP{tls}; sip:110-silent@{sip} 静默 silent)",
        f"  控制台 console, API   {http}   令牌 token: {people.api_token}",
        f"  证据 evidence        {settings.evidence_folder}",
        f"  账号 accounts        {settings.credentials}",
        *(f"    接警员 dispatcher   {p.user}   密码 password {p.password}" for p in people.dispatchers),
        *(f"    报警人 caller       {p.user}   密码 password {p.password}" for p in people.callers),
        f"  日志 logs            {settings.logs}",
    ]
    if placeholder_prompts(settings.media.prompts):
        lines.append(
            "  提示音为合成语音，请替换  the spoken prompts are synthetic placeholders; replace them: media.prompts"
        )
    first, second = people.dispatchers[0], people.callers[0]
    server = "" if sip == "127.0.0.1:5060" else f" --server {sip}"
    lines += [
        "",
        "  试试 try, in two other terminals:",
        f"    .venv/bin/at110 desk --user {first.user} --password {first.password}{server}",
        f"    .venv/bin/at110 call --user {second.user} --password {second.password}{server}",
        "",
        "at110 ready",
    ]
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
