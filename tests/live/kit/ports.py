"""Free ports of 127.0.0.1 for phones.

The exchange hands over open sockets; real phones want numbers. A block is tried by binding every port of it (UDP and
TCP) and given out once. Blocks start at a place that depends on the process id, so that two test runs on one machine
rarely look at the same ports, and stay below the kernel's ephemeral range (32768 and up).
"""

import os
import socket
from contextlib import ExitStack

ADDRESS = "127.0.0.1"

FIRST, LAST = 10_000, 19_900
"""Below the exchange's media ports (20000-29999)."""
_LANES = 4

_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if _worker:  # those of one run start together and would meet: each has a range of its own
    _lane = (LAST - FIRST) // _LANES
    FIRST += int(_worker.removeprefix("gw")) % _LANES * _lane
    LAST = FIRST + _lane

_next = FIRST + (os.getpid() * 97) % (LAST - FIRST)


def _is_free(first: int, count: int) -> bool:
    with ExitStack() as sockets:
        for port in range(first, first + count):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                probe = sockets.enter_context(socket.socket(socket.AF_INET, kind))
                try:
                    probe.bind((ADDRESS, port))
                except OSError:
                    return False
    return True


def free_port() -> int:
    """Give a free port. Raises RuntimeError when there is none."""
    return block(1)


def block(count: int) -> int:
    """Give the first of `count` free neighbouring ports, an even number. Raises RuntimeError when there are none."""
    global _next  # noqa: PLW0603 - one counter per process is the point: no port is given out twice
    for _ in range((LAST - FIRST) // 2):
        first = _next + _next % 2
        if first + count > LAST:
            _next = FIRST
            continue
        if _is_free(first, count):
            _next = first + count
            return first
        _next = first + 2
    raise RuntimeError(f"no {count} free ports between {FIRST} and {LAST}")
