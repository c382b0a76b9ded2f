"""Spare processes: each has loaded its libraries and waits, so that callers wait for nothing but the start itself.

    supervisor ── spare(role) ─▶ libraries loaded, reads its standard input ── one byte ─▶ is the process of that role
                                                                           └─ end of file ─▶ ends

in → out: a role and its environment → a process that waits; `go` → a process that works, at once.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["GO", "NAME", "Spare", "command", "sleeps", "spared"]

GO: Final = b"!"
"""What a spare reads when its time has come."""

NAME: Final = "at110 spare"
"""What the kernel calls it while it waits; before, it loads, and afterwards it has the name of its role."""


def spared(role: str) -> bool:
    """Tell whether a role is worth a spare's memory: those whom callers wait for."""
    return role == "signalling" or role.partition("-")[0] == "media"


def sleeps(pid: int) -> bool:
    """Tell whether a process still waits as a spare does."""
    try:
        return Path(f"/proc/{pid}/comm").read_text() == f"{NAME}\n"
    except OSError:
        return False


def command(role: str, *, spare: bool) -> list[str]:
    """Return the command line of a process; what must not be read by everybody is told in its environment."""
    return [sys.executable, "-m", "server", "spare" if spare else "process", role]


class Spare:
    """One process that waits for the death of another."""

    def __init__(self, role: str, environment: Mapping[str, str], inherited: Sequence[int]) -> None:
        """Start it. `inherited`: the file descriptors it keeps. Raises OSError."""
        self._popen = subprocess.Popen(  # noqa: S603 - our own program
            command(role, spare=True),
            env=environment,
            pass_fds=inherited,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._popen.pid

    def ended(self) -> int | None:
        """Return its exit status if it is no more; whoever waits for nothing may be ended by anybody."""
        return self._popen.poll()

    def go(self) -> subprocess.Popen[bytes] | None:
        """Have it do its work, and return it; None when it is no more."""
        pipe = self._popen.stdin
        assert pipe is not None, "it was started with one"
        try:
            os.write(pipe.fileno(), GO)
        except BrokenPipeError:
            self._popen.wait()
            return None
        finally:
            pipe.close()
        return self._popen

    def end(self) -> None:
        """End it and wait for that: it holds nothing."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        self._popen.kill()
        self._popen.wait()
