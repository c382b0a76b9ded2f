"""A small supervisor of the embedded PostgreSQL's programs.

in → out: `Embedded(state)`; `start()` makes the cluster once, starts `postgres` as a child and returns when it takes
connections; `poll()` says whether it lives; `stop()` ends it. Plain blocking code: the supervisor process calls it, no
event loop does. Connecting goes over a Unix socket with peer authentication; there is no TCP.

Not done: major-version upgrades (the wheel is pinned to 18), replication, backups.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pbx.storage.place import (
    DATABASE,
    OWNER,
    PORT,
    ROLE,
    EmbeddedError,
    Place,
    as_user,
    find_place,
    make_place,
)
from pbx.storage.postmaster import Postmaster, attached, clear_foreign_pid_file, read_postmaster

__all__ = ["Embedded", "EmbeddedError"]

INIT_SECONDS: Final = 60.0  # initdb syncs some 1,000 files; a slow disk needs its time
START_SECONDS: Final = 60.0  # crash recovery replays at most max_wal_size
STOP_SECONDS: Final = 20.0  # a fast stop writes one checkpoint
ORPHAN_SECONDS: Final = (
    10.0  # backends notice their postmaster's death within a second or end their query first
)
POLL_SECONDS: Final = 0.02
MAX_LOG: Final = 16 * 1024 * 1024

INIT_OPTIONS: Final = (
    f"--username={OWNER}",
    "--auth=peer",
    "--data-checksums",
    "--encoding=UTF8",
    "--locale=C",
    "--no-instructions",
)
SERVER_OPTIONS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "max_connections": "30",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm is 64 MB in containers
    "log_min_messages": "warning",
    "log_error_verbosity": "terse",  # a detail would quote the row, and a row holds what callers said
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "timezone": "UTC",
    "lc_messages": "C",
}
"""Given on the command line at every start, so an edited postgresql.conf can't open TCP by accident."""

Tell = Callable[[str, dict[str, object]], None]


class Embedded:
    """The cluster of one state folder: at most one server, ours."""

    def __init__(self, state: Path, tell: Tell) -> None:
        """`state`: the absolute state folder. `tell(event, fields)` hears what happens, for the log.

        Raises EmbeddedError, OSError. Nothing runs yet; `dsn` is already right.
        """
        self._tell = tell
        self.place: Place = find_place(state)
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted: Postmaster | None = None
        self._cancelled = threading.Event()
        if self.place.marker is not None or self.place.copied:
            what = "the state folder" if self.place.marker is not None else "the installed programs"
            why = f"user {self.place.user.name} can't reach {what}"
            tell("database_elsewhere", {"folder": str(self.place.home), "why": why})

    @property
    def dsn(self) -> str:
        """For asyncpg."""
        return self.place.dsn

    @property
    def pid(self) -> int | None:
        """The running postmaster."""
        if self._child is not None:
            return self._child.pid
        return self._adopted.pid if self._adopted else None

    def start(self) -> None:
        """Make, adopt or start the server and wait until it takes connections; no more than a few seconds.

        Raises EmbeddedError (with the last lines of its log), OSError. Calling it on a running server does nothing.
        """
        if self.poll():
            return
        place = self.place
        make_place(place)
        data = place.data
        if not (data / "PG_VERSION").exists():
            self._initialize()
        running = read_postmaster(data)
        if running is not None and running.pid in attached(data, place.user):
            self._adopted = running
            self._tell("database_adopted", {"pid": running.pid})
            self._wait_ready(running.pid)
            return
        self._wait_orphans()
        clear_foreign_pid_file(data, place.user)
        self._spawn()

    def cancel(self) -> None:
        """Make a `start` that waits in another thread give up; no later one succeeds."""
        self._cancelled.set()

    def poll(self) -> bool:
        """Whether the server process lives. Never blocks."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return True
            self._tell("database_ended", {"code": code})
            self._child = None
        if self._adopted is not None:
            if self._adopted.pid in attached(self.place.data, self.place.user, only=self._adopted.pid):
                return True
            self._tell("database_ended", {"code": None})
            self._adopted = None
        return False

    def stop(self) -> None:
        """End it in order: SIGINT (fast: sessions are cut, a checkpoint is written), then SIGQUIT. Raises nothing.

        SIGKILL is never sent: PostgreSQL would leave its shared memory behind.
        """
        for number in (signal.SIGINT, signal.SIGQUIT):
            pid = self.pid
            if pid is None or not self.poll():
                break
            with contextlib.suppress(
                ProcessLookupError
            ):  # one that we took over and did not start may be gone already
                os.kill(pid, number)
            if self._wait_gone():
                break
        self._child = self._adopted = None

    def _spawn(self) -> None:
        place = self.place
        options = {**SERVER_OPTIONS, "unix_socket_directories": str(place.sockets), "port": str(PORT)}
        command = [str(place.binaries / "bin" / "postgres"), "-D", str(place.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        if place.log.exists() and place.log.stat().st_size > MAX_LOG:
            place.log.replace(place.log.with_name(place.log.name + ".1"))
        with place.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own program with our own options
                command,
                cwd=place.home,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C on the terminal reaches us, and we end it in order
                **as_user(place.user),
            )
        self._wait_ready(self._child.pid)
        self._tell("database_started", {"pid": self._child.pid})

    def _wait_ready(self, pid: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = read_postmaster(self.place.data)
            if found is not None and found.pid == pid and found.ready:
                return
            if not self.poll():
                raise EmbeddedError(f"PostgreSQL did not start: {self._last_words()}")
            self._pause()
        raise EmbeddedError(f"PostgreSQL is not ready after {START_SECONDS:.0f} s: {self._last_words()}")

    def _wait_gone(self) -> bool:
        deadline = time.monotonic() + STOP_SECONDS
        while self.poll():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _wait_orphans(self) -> None:
        """Wait for backends that outlived a killed postmaster: starting beside them would corrupt the cluster."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while left := attached(self.place.data, self.place.user):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"processes {left} still use {self.place.data}")
            self._pause()

    def _pause(self) -> None:
        if self._cancelled.wait(POLL_SECONDS):
            raise EmbeddedError("the start was cancelled")

    def _initialize(self) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        place = self.place
        if place.data.exists() and any(place.data.iterdir()):
            raise EmbeddedError(f"{place.data} is no PostgreSQL cluster; move it away")
        began = time.monotonic()
        fresh = place.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._run(
            "initdb",
            [f"--pgdata={fresh}", *INIT_OPTIONS],
            b"",
        )
        self._write(
            fresh / "pg_hba.conf",
            "# who         database  user  method\nlocal         all       all   peer map=at110\n",
        )
        quoted = '"' + place.connecting.replace('"', '""') + '"'
        roles = "".join(f"at110  {quoted}  {role}\n" for role in (ROLE, OWNER))
        self._write(fresh / "pg_ident.conf", f"# map  operating-system user  role\n{roles}")
        sql = f"CREATE ROLE {ROLE} LOGIN;\nCREATE DATABASE {DATABASE} OWNER {ROLE};\n"
        self._run(
            "postgres",
            ["--single", "-D", str(fresh), "-c", "log_min_messages=error", "postgres"],
            sql.encode(),
        )
        if place.data.exists():
            place.data.rmdir()
        fresh.rename(place.data)
        self._tell(
            "database_made", {"folder": str(place.data), "seconds": round(time.monotonic() - began, 2)}
        )

    def _write(self, path: Path, content: str) -> None:
        path.write_text(content, "utf-8")  # the file is initdb's, its owner and mode stay

    def _run(self, program: str, arguments: Sequence[str], stdin: bytes) -> None:
        try:
            done = subprocess.run(  # noqa: S603 - our own program with our own options
                [str(self.place.binaries / "bin" / program), *arguments],
                cwd=self.place.home,
                env=_environment(),
                input=stdin,
                capture_output=True,
                timeout=INIT_SECONDS,
                check=False,
                **as_user(self.place.user),
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"{program} took more than {INIT_SECONDS:.0f} s") from error
        if done.returncode != 0 or b"ERROR:" in done.stderr:
            words = done.stderr.decode("utf-8", "replace").strip() or f"code {done.returncode}"
            raise EmbeddedError(f"{program} failed: {words[-500:]}")

    def _last_words(self) -> str:
        try:
            with self.place.log.open("rb") as log:
                log.seek(max(0, self.place.log.stat().st_size - 600))
                return log.read().decode("utf-8", "replace").strip()
        except OSError as error:
            return str(error)


def _environment() -> dict[str, str]:
    """Nothing of ours leaks in: PGDATA, PGHOST and the like would change what the programs do."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
