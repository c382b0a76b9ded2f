"""at110: the composition root, the supervisor, and the command line.

    at110 serve            start the whole exchange: supervisor → signalling, media, recorder, embedded PostgreSQL
    at110 call | desk      scripted phones, see `pbx.phone`
    at110 verify FOLDER    check evidence, see `recordings.verify`
    at110 why | statistics | simulate      what the queue did and would do, see `pbx.routing_command`
    at110 roles …          who may what, see `pbx.roles_command`
    at110 identities …     who is verified, see `pbx.identities_command`

Every command imports what it needs when it runs: whoever checks evidence waits for no SIP stack.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbx.credentials import Credentials
    from pbx.logs import Sink
    from pbx.settings import Settings
    from rtp.settings import MediaSettings

PR_SET_PDEATHSIG: Final = 1
"""Of prctl(2); the number is part of Linux's ABI."""
PR_SET_NAME: Final = 15
ROLES: Final = ("media", "signalling", "recorder")
LIBRARIES: Final = {
    "media": ("pbx.logs", "pbx.settings", "recordings.capture", "rtp.worker"),
    "signalling": ("pbx.logs", "pbx.scribe", "pbx.settings", "pbx.signalling", "uvloop"),
    "recorder": ("pbx.logs", "pbx.settings", "recordings.recorder"),
}
"""What the processes are made of."""

USAGE: Final = """usage: at110 COMMAND …

  serve            start the exchange                     启动交换机
  call [options]   place a scripted video call to 110     拨打一次脚本化视频报警
  desk [options]   a scripted dispatcher                  脚本化接警坐席
  verify FOLDER    check a call's evidence                校验一次呼叫的证据
  why CALL         who got a call, out of whom, and why   为什么由该坐席接警
  statistics       service level, waits, occupancy        接警统计
  simulate         a day of calls through the queue       模拟一天的呼入
  roles            who may what; grant, revoke            角色：授予、撤销
  identities       who is verified; check, confirm, block 身份：核实、确认变更、停用

at110 call --help, at110 desk --help, at110 verify --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    match arguments:
        case ["serve"]:
            return serve()
        case ["process" | "spare" as way, role] if role in ROLES or (
            role[:6] == "media-" and role[6:].isdecimal()
        ):
            return process(role, waits=way == "spare")
        case ["verify", *rest]:
            from recordings import verify

            return verify.main(rest)
        case ["call", *rest]:
            from pbx.phone import caller

            return caller.main(rest)
        case ["desk", *rest]:
            from pbx.phone import desk

            return desk.main(rest)
        case ["why" | "statistics" | "simulate" as name, *rest]:
            from pbx import routing_command

            commands = {
                "why": routing_command.why,
                "statistics": routing_command.statistics,
                "simulate": routing_command.simulate,
            }
            return commands[name](rest)
        case ["roles", *rest]:
            from pbx import roles_command

            return roles_command.main(rest)
        case ["identities", *rest]:
            from pbx import identities_command

            return identities_command.main(rest)
        case ["help" | "--help" | "-h"]:
            print(USAGE)
            return 0
    print(USAGE, file=sys.stderr)
    return 2


# --- the processes ------------------------------------------------------------------------------------------------


def process(role: str, *, waits: bool = False) -> int:
    """Be one of the processes; called by the supervisor only. `waits`: load what it needs, and begin when told to."""
    _end_with_supervisor()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until somebody knows what to do with it
    if waits and not _told_to_go(role):
        return 0
    _name(f"at110 {role}")
    from pbx import logs, pulse
    from pbx.settings import load

    settings = load(os.environ)
    # On a terminal the supervisor speaks to a person; the lines are in the log files then.
    stream = None if sys.stderr.isatty() else sys.stderr
    sink = logs.configure(role, file=settings.logs / f"{role}.log", stream=stream)
    kind, _, number = role.partition("-")
    match kind:
        case "media":
            from recordings.capture import Captures
            from recordings.store import remembered
            from rtp import worker

            captures = Captures(remembered(settings.evidence_folder, settings.state).check)
            worker.run(_media_settings(settings, int(number or 0)), captures, beat=pulse.own(os.environ))
        case "recorder":
            from recordings import recorder
            from recordings.store import remembered

            evidence, spool = str(settings.evidence_folder), str(settings.spool)
            store = remembered(settings.evidence_folder, settings.state)
            told = recorder.RecorderSettings(evidence, spool, store=store)
            recorder.run(told, beat=pulse.own(os.environ))
        case _:
            return _signalling(settings, sink)
    return 0


def _end_with_supervisor() -> None:
    """Have the kernel send SIGTERM when the supervisor dies: a process nobody watches would hold ports for ever."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(os.environ.get("AT110_SUPERVISOR", os.getppid())):
        os.kill(os.getpid(), signal.SIGTERM)  # it died before the kernel was told


def _told_to_go(role: str) -> bool:
    """Load the libraries of a role and wait at standard input (`pbx.spares`). False: nobody needs it any more."""
    import importlib

    from pbx.spares import NAME

    _name("at110 loading")
    kind = role.partition("-")[0]
    for module in LIBRARIES[kind]:
        importlib.import_module(module)
    if kind == "media":
        from rtp.native import choose

        choose("auto")
    _name(NAME)
    return bool(os.read(0, 1))


def _name(name: str) -> None:
    """Tell `ps` and `top` what this process is; the kernel keeps 15 bytes."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())


def _media_settings(settings: Settings, number: int) -> MediaSettings:
    from rtp.settings import MediaSettings

    port_min, port_max = settings.media.ports_of(number)
    return MediaSettings(
        socket_path=str(settings.media_socket(number)),
        host=settings.sip.host,
        port_min=port_min,
        port_max=port_max,
        reserve=settings.media.reserve,
        drain_seconds=settings.media.drain_seconds,
        prompts=settings.media.prompts,
        still=str(settings.state / settings.media.still_image) if settings.media.still_image else "",
        loss_seconds=settings.media.loss_seconds,
        engine=settings.media.engine,
        handover=tuple(map(str, settings.handover_sockets())),
        number=number,
        end_with_parent=True,
    )


def _signalling(settings: Settings, sink: Sink) -> int:
    import asyncio

    import structlog
    import uvloop

    from pbx import pulse
    from pbx.memory import keep_together
    from pbx.scribe import Scribe
    from pbx.settings import SettingsError
    from pbx.signalling import Signalling
    from pbx.supervisor import CANT_START

    assert settings.storage.database_url is not None, "the supervisor names the database"
    keep_together()
    scribe = Scribe(lambda error: structlog.get_logger().error("not_written", why=repr(error)))
    sink.behind = scribe
    database_url = settings.storage.database_url

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        pulse.beats(loop, pulse.own(os.environ))
        signalling = Signalling(settings, database_url, scribe, pulse.take(os.environ))
        loop.add_signal_handler(signal.SIGHUP, signalling.reload)
        await signalling.run(stop, _ready_for_calls)

    try:
        uvloop.run(run())
    except (OSError, SettingsError) as error:
        print(f"at110: {error}", file=sys.stderr, flush=True)
        return CANT_START
    finally:
        scribe.close()
    return 0


def _ready_for_calls() -> None:
    """Keep pauses short from here on, and tell the supervisor."""
    from pbx.garbage import Keeper

    Keeper().start()
    # The thread that writes down what happens may keep the loop waiting for so long, not for 5 ms.
    sys.setswitchinterval(0.001)
    _tell_ready()


def _tell_ready() -> None:
    """Tell the supervisor, which waits at the other end of a pipe."""
    import contextlib

    number = os.environ.get("AT110_READY_FD")
    if number is not None:
        with contextlib.suppress(OSError):
            os.write(int(number), b"1")


# --- the exchange -----------------------------------------------------------------------------------------------


def serve() -> int:
    """Start the exchange and stay. Returns the exit status."""
    from pbx import credentials, logs
    from pbx.settings import SettingsError, keep, load, prepare
    from pbx.storage.embedded import Embedded
    from pbx.storage.keeper import Keeper
    from pbx.storage.place import EmbeddedError
    from pbx.supervisor import Supervisor
    from rtp.native import NoEngineError, choose

    try:
        settings, kept = load(os.environ), keep(os.environ)
        store = prepare(settings)
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
    held = _hold(settings)
    if held is None:
        return 1
    if not store.there:
        _tell_missing(settings)
    taken = _taken(settings)
    if taken is not None:
        print(f"at110: {taken}", file=sys.stderr)
        return 1
    try:
        engine = choose(settings.media.engine).name
    except NoEngineError as error:
        print(f"at110: media.engine: {error}", file=sys.stderr)
        return 1
    keeper, url = None, settings.storage.database_url
    if url is None:
        try:
            keeper = Keeper(Embedded(settings.state, _tell), _tell)
        except (EmbeddedError, OSError) as error:
            print(f"at110: PostgreSQL: {error}", file=sys.stderr)
            return 1
        url = keeper.dsn
    supervisor = Supervisor(
        settings.state, keeper, url, media_processes=settings.media.processes, settings=kept, held=held
    )
    return supervisor.run(lambda: _greet(settings, people, engine))


def _tell(event: str, fields: dict[str, object]) -> None:
    import structlog

    structlog.get_logger("supervisor").info(event, **fields)


def _tell_missing(settings: Settings) -> None:
    import structlog

    folder = settings.evidence_folder
    structlog.get_logger("supervisor").error("evidence_store_missing", folder=str(folder))
    print(
        f"at110: 证据目录不是原来的那个，磁盘挂载了吗？呼叫照接，不录制：{folder}\n"
        f"at110: the evidence folder is not the one that was set up; is its disk mounted? "
        f"Calls are taken and not recorded: {folder}",
        file=sys.stderr,
        flush=True,
    )


def _hold(settings: Settings) -> int | None:
    """Hold the state folder, and return the descriptor that does; None, and it is said, when another exchange holds it."""
    from pbx.tenure import TakenError, hold

    try:
        return hold(settings.state, _tell)
    except TakenError as error:
        why = f"{error}: {settings.state}"
        print(f"at110: 另一个交换机正在使用此状态目录\nat110: the state folder is {why}", file=sys.stderr)
    except OSError as error:
        print(f"at110: {error}", file=sys.stderr)
    return None


def _taken(settings: Settings) -> str | None:
    """Say in one line which port is taken, before anything is started. The real bind decides later all the same."""
    import socket

    from pbx import listening

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


def _greet(settings: Settings, people: Credentials, engine: str) -> None:
    """Say where to call and log in, in Chinese and English, and end with `at110 ready`."""
    from rtp.prompts import placeholder_prompts

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
        f"  媒体引擎 media engine {engine}",
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
