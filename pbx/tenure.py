"""One exchange on one state folder: two would take each other's sockets, journals and database.

in → out: the state folder → a descriptor that holds it, which every process of the exchange inherits. So it is held until the last
of them has ended, also when the supervisor was killed: their successors don't begin beside processes that still close evidence.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Holder", "TakenError", "hold", "holders"]

LOOK_SECONDS: Final = 0.1
SURE_SECONDS: Final = 1.0
"""For how long a living supervisor must be seen until we give up: one that has just been killed is seen for a moment."""
PATIENCE_SECONDS: Final = 12.0
"""What processes without a supervisor may take to end in order, as under one (`pbx.supervisor.STOP_SECONDS`), and some more."""
KILL_SECONDS: Final = 5.0
"""From killing them until we give up: what the kernel holds, because a disk hangs, dies when that lets go of it."""

Tell = Callable[[str, dict[str, object]], None]


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has the state folder open."""

    pid: int
    orphan: bool
    """It is a supervisor's child, and that supervisor is gone."""


class TakenError(Exception):
    """Another exchange holds the folder; `pid`: its supervisor, or a process of it, as far as can be seen."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(
            f"held by process {pid}" if pid is not None else "held by a process that can't be seen"
        )
        self.pid = pid


def hold(
    state: Path,
    tell: Tell,
    *,
    look: Callable[[Path], Collection[Holder]] | None = None,
    kill: Callable[[int, int], None] = os.kill,
) -> int:
    """Hold a state folder, and return the descriptor that does; it is the folder itself, so that no disk can be too full for it.

    Waits until the processes of an exchange whose supervisor was killed have ended, and kills those that don't.
    `tell(event, fields)` hears of it. Where the file system knows no locks nothing is held, and that is told.

    Raises TakenError, OSError.
    """
    look = look or holders
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    begun, alive, killed, told = time.monotonic(), None, None, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
        except OSError as error:  # an emergency exchange starts without, rather than not at all
            tell("state_not_held", {"why": str(error)})
            return descriptor
        else:
            return descriptor
        found = look(state)
        living = sorted(one.pid for one in found if not one.orphan)
        left = sorted(one.pid for one in found if one.orphan)
        alive = None if not living else (now if alive is None else alive)
        if alive is not None and now - alive >= SURE_SECONDS:
            os.close(descriptor)
            raise TakenError(living[0])
        if left and not told:
            told = True
            tell("waiting_for_processes", {"pids": left})
        if killed is None and now - begun >= PATIENCE_SECONDS:
            killed = now
            for pid in left:
                tell("process_without_supervisor_killed", {"pid": pid})
                _kill(kill, pid)
        elif killed is not None and now - killed >= KILL_SECONDS:
            os.close(descriptor)
            raise TakenError(left[0] if left else None)
        time.sleep(LOOK_SECONDS)


def holders(state: Path) -> list[Holder]:
    """Find the processes of any exchange that have the folder open, as far as we may look (proc(5))."""
    wanted = state.stat()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            stated = _supervisor(folder)
            if stated is None and b"serve" not in (folder / "cmdline").read_bytes().split(b"\0"):
                continue  # whoever else looks at the folder holds nothing
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if any(_same(one, wanted) for one in (folder / "fd").iterdir()):
                found.append(Holder(int(folder.name), orphan=stated is not None and stated != parent))
        except OSError:
            continue  # it has ended, or is not ours to look at
    return found


def _supervisor(folder: Path) -> int | None:
    """Return the supervisor a process was told of, None when it was told of none."""
    for word in (folder / "environ").read_bytes().split(b"\0"):
        name, _, value = word.partition(b"=")
        if name == b"AT110_SUPERVISOR" and value.isdigit():
            return int(value)
    return None


def _same(link: Path, wanted: os.stat_result) -> bool:
    try:
        seen = link.stat()
    except OSError:
        return False
    return (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino)


def _kill(kill: Callable[[int, int], None], pid: int) -> None:
    try:
        kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended by itself
