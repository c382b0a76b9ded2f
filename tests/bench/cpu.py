"""What a process has used so far: processor time and memory, read from the kernel (Linux)."""

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PROCESSOR: Final = re.compile(r"cpu\d+")
"""A line of /proc/stat that is about one of them; `cpu` alone is about all."""


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process, those that ended too, in ns resolution. Raises OSError when it is gone."""
    # clock_getcpuclockid(3): the clock of a process is its inverted pid, shifted over three bits that name the kind (2: scheduler).
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> int:
    """Resident bytes. Raises OSError."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def stolen_seconds() -> float:
    """Seconds the host has taken from each processor since this machine started, their mean; 0.0 where the kernel does not tell."""
    return stolen_ticks("\n".join(_lines("/proc/stat"))) / os.sysconf("SC_CLK_TCK")


def stolen_ticks(stat: str) -> float:
    """Read from the text of /proc/stat how many ticks the host took from each processor that is online, their mean.

    proc_stat(5), the eighth number of a line: "Stolen time, which is the time spent in other operating systems when running in
    a virtualized environment". Kernels before 2.6.11 have fewer numbers; nothing was taken then as far as anybody knows.
    """
    rows = [words for line in stat.splitlines() if (words := line.split()) and _PROCESSOR.fullmatch(words[0])]
    return sum(int(words[8]) for words in rows if len(words) > 8) / max(1, len(rows))


def children(pid: int) -> list[int]:
    """The processes a process has started and that still run."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(text) for text in (task / "children").read_text().split()]
    return found


def wait_childless(pid: int, seconds: float) -> None:
    """Wait until a process has no children (the media process encodes its prompts in one), at most `seconds`."""
    end = time.monotonic() + seconds
    while children(pid) and time.monotonic() < end:
        time.sleep(0.1)


def keep_apart(measured: Iterable[int], load: int) -> None:
    """Give what is measured one processor and its load another, if there are two."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) > 1:
        os.sched_setaffinity(load, {processors[-1]})
        for pid in measured:
            os.sched_setaffinity(pid, {processors[0]})


def command(pid: int) -> list[str]:
    """How a process was started; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def roles(supervisor: int) -> dict[str, int]:
    """The processes of a running exchange: role → pid."""
    found = {}
    for pid in children(supervisor):
        words = command(pid)
        if "process" in words[:-1]:
            found[words[words.index("process") + 1]] = pid
        elif "spare" in words[:-1] and _lines(f"/proc/{pid}/comm")[:1] == [f"at110 {words[-1]}"[:15]]:
            found[words[-1]] = pid  # it has taken the place of one that ended
    return found


def machine() -> str:
    """The class of this machine in a line: cores, processor, load, filesystem is told where it is used."""
    cores = len(os.sched_getaffinity(0))
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        os.uname().machine,
    )
    load = os.getloadavg()[0]
    return f"{cores} cores, {model}, Linux {os.uname().release.partition('-')[0]}, load {load:.1f} before the run"


def filesystem(path: Path) -> str:
    """Kind of the filesystem a path lies on, such as `ext4` or `tmpfs`."""
    best, kind = "", "unknown"
    for line in _lines("/proc/self/mounts"):
        _, point, this, *_ = line.split()
        inside = path.is_relative_to(point)
        if inside and len(point) >= len(best):
            best, kind = point, this
    return kind


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").split("\n")[:-1]
    except OSError:
        return []
