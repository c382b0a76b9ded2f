"""What the files of a PostgreSQL cluster and /proc say about who runs on it.

`postmaster.pid` (PostgreSQL 18, miscadmin.h): line 1 pid, 2 data folder, 3 start, 4 port, 5 socket folder,
6 listen address, 7 shared memory key, 8 status (`ready   ` once it takes connections).
A pid alone proves nothing: after a reboot or a long time it is somebody else's. What proves it is that the process runs
a program called `postgres` in this very data folder (the server changes into it and stays there).
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pbx.storage.place import User, as_user

__all__ = ["Postmaster", "attached", "clear_foreign_pid_file", "read_postmaster"]

PID_FILE = "postmaster.pid"
LOOK_SECONDS = 10.0  # reading some links under load; it takes milliseconds


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What `postmaster.pid` says."""

    pid: int
    ready: bool


def read_postmaster(data: Path) -> Postmaster | None:
    """Read the pid file; None when there is none or it is torn."""
    try:
        lines = (data / PID_FILE).read_text("utf-8", "replace").split("\n")
    except OSError:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", lines[0], re.ASCII):
        return None
    return Postmaster(int(lines[0]), len(lines) > 7 and lines[7].strip() == "ready")


def attached(data: Path, user: User, *, only: int | None = None) -> list[int]:
    """Give the pids of the living PostgreSQL processes that work in `data`, postmaster included.

    `only`: look at this pid alone, which is cheap. Root without CAP_SYS_PTRACE (containers) may not look at another
    user's working folder; then `user` itself is asked to look.
    """
    names = [str(only)] if only is not None else [name.name for name in Path("/proc").glob("[0-9]*")]
    found: list[int] = []
    hidden: list[int] = []
    for pid in (int(name) for name in names if _is_living_postgres(name)):
        try:
            here = Path(f"/proc/{pid}/cwd").stat()
            there = data.stat()
        except PermissionError:
            hidden.append(pid)
        except OSError:
            continue
        else:
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                found.append(pid)
    return sorted(found + (_asked(data, user, hidden) if hidden else []))


def clear_foreign_pid_file(data: Path, user: User) -> None:
    """Remove a pid file that names a living process which is not this PostgreSQL: it would refuse to start.

    A file naming a dead process is left alone: PostgreSQL checks its shared memory key itself and then replaces it.
    Call it only when `attached` is empty.
    """
    named = read_postmaster(data)
    if named is None or not Path(f"/proc/{named.pid}").exists():
        return
    if not attached(data, user):
        (data / PID_FILE).unlink(missing_ok=True)


def _is_living_postgres(pid: str) -> bool:
    folder = Path("/proc") / pid
    try:
        # The state stands behind the last parenthesis of the name (proc_pid_stat(5)); Z: dead, not yet buried.
        state = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
        return (
            state not in {"Z", "X"} and (folder / "comm").read_text("utf-8", "replace").strip() == "postgres"
        )
    except (OSError, IndexError):
        return False


def _asked(data: Path, user: User, pids: list[int]) -> list[int]:
    """Let `user` read where its own processes work; a pid that is not its own can't be the cluster's."""
    script = 'for p; do [ "$(readlink "/proc/$p/cwd")" = "$FOLDER" ] && echo "$p"; done; true'
    done = subprocess.run(  # noqa: S603 - constant script, our own arguments
        ["/bin/sh", "-c", script, "sh", *map(str, pids)],
        cwd="/",
        env={"PATH": os.defpath, "FOLDER": str(data.resolve())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LOOK_SECONDS,
        check=False,
        **as_user(user),
    )
    return [int(word) for word in done.stdout.decode("ascii", "replace").split()]
