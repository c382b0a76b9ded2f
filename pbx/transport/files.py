"""How many files this process may open, and how many of them connections may take.

in → out: the process's limit (RLIMIT_NOFILE) → the highest descriptor a connection that comes in may have.

The kernel gives each new file the lowest number that is free (open(2)), so a connection's number says how many files are open. What
is kept is for calls (an event log each), the database, the media process, and connections of our own: whoever opens connections and
says one message on each must not take them.
"""

import asyncio
import resource
import sys
from typing import Final

__all__ = ["highest_of_connections", "number_of", "raise_limit"]

KEPT_SHARE: Final = 0.25
"""Of all files no phone's connection takes; where systemd's usual hard limit stands that is more than any site has calls."""
KEPT_LEAST: Final = 128
"""A process that takes no calls has some 35 open."""
WEB_KEPT: Final = 0.5
"""Of what is kept neither do connections to the web server take: phones that come in masses leave dispatchers the other half."""


def raise_limit() -> int:
    """Let this process open as many files as it ever may, and return how many: the usual soft limit of 1,024 is for programs that use
    select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def highest_of_connections(files: int, *, web: bool = False) -> int:
    """Return the highest descriptor a connection of a phone, or one to the `web` server, may have where a process may open `files`."""
    kept = max(KEPT_LEAST, int(files * KEPT_SHARE))
    return max(0, files - int(kept * (WEB_KEPT if web else 1)) - 1)


def number_of(transport: asyncio.BaseTransport) -> int:
    """Return the descriptor of a connection, −1 where there is none."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())
