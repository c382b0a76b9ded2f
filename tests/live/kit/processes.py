"""The processes of a running exchange: which there are, and killing one under whatever goes on."""

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.live.kit.exchange import Exchange


def kill(exchange: Exchange, role: str, *, timeout: float = 30.0) -> float:
    """Kill a process and wait until there is another in its place; gives the moment of the kill, monotonic seconds."""
    before, killed = children(exchange.pid)[role], time.monotonic()
    os.kill(before, signal.SIGKILL)
    exchange.until(
        lambda: children(exchange.pid).get(role, before) != before, f"no new {role} process", timeout=timeout
    )
    return killed


def children(parent: int) -> dict[str, int]:
    """Return role → pid of the supervisor's processes that work."""
    return {role: pid for role, pid, waits in _children(parent) if not waits}


def spares(parent: int) -> dict[str, int]:
    """Return role → pid of those that have loaded their libraries and wait for the death of another."""
    return {role: pid for role, pid, waits in _children(parent) if waits}


def ran(exchange: Exchange, role: str) -> float:
    """How long ago, in seconds, the process that works began to, by the supervisor's own word."""
    begun = [
        said["timestamp"]
        for line in exchange.log.splitlines()
        if '"process_started"' in line and (said := json.loads(line))["role"] == role
    ]
    return (datetime.now(UTC) - datetime.fromisoformat(begun[-1])).total_seconds()


def _children(parent: int) -> Iterator[tuple[str, int, bool]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            owner = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            name = (folder / "comm").read_text().rstrip("\n")
        except OSError:
            continue
        way = next((word for word in (b"process", b"spare") if word in words), None)
        if owner != parent or way is None:
            continue
        role = words[words.index(way) + 1].decode()
        # A spare whose time has come takes the name of its role.
        if way == b"process" or name in {"at110 spare", f"at110 {role}"[:15]}:
            yield role, int(folder.name), name == "at110 spare"
