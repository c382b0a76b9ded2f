"""Networks of a test's own: namespaces that are linked with the one this process is in, and sockets inside them.

For programs that run under `unshare --net`, where everything ends with them.
"""

import ctypes
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def ip(*arguments: str, within: "Namespace | None" = None) -> None:
    """Run `ip` here, or inside a namespace."""
    prefix = [] if within is None else within.prefix
    subprocess.run([*prefix, "ip", *arguments], check=True)


class Namespace:
    """A network of its own, linked with ours by a pair of interfaces. A context manager."""

    def __init__(self, name: str, *, near: str, far: tuple[str, ...], routes: tuple[str, ...] = ()) -> None:
        """`near`: our address on the link, `far`: its own, all with the length of the prefix; `routes`: what it reaches by us."""
        self._sleeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.path = Path(f"/proc/{self._sleeper.pid}/ns/net")
        while self.path.readlink() == Path("/proc/self/ns/net").readlink():
            assert self._sleeper.poll() is None, "no network namespace can be made here"
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(self._sleeper.pid))
        ip("addr", "add", near, "dev", name)
        ip("link", "set", name, "up")
        ip("link", "set", "lo", "up", within=self)
        for address in far:
            ip("addr", "add", address, "dev", "eth0", within=self)
        ip("link", "set", "eth0", "up", within=self)
        for route in routes:
            ip("route", "add", route, "via", near.partition("/")[0], within=self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sleeper.kill()
        self._sleeper.wait()

    @property
    def prefix(self) -> list[str]:
        """What a command is run with to be inside."""
        return ["nsenter", f"--net={self.path}"]

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread make sockets there; they stay there."""
        with Path("/proc/thread-self/ns/net").open("rb") as home, self.path.open("rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def udp(self, host: str, port: int = 0) -> socket.socket:
        """Make a UDP socket inside, bound and nonblocking."""
        with self.inside():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((host, port))
        made.setblocking(False)
        return made


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
