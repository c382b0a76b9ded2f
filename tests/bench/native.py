"""The two small C programs of the bench: compiled here, run here, spoken to by lines of text."""

import queue
import shutil
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).parent
START_SECONDS = 10.0


class NoCompilerError(Exception):
    """There is no C compiler, or it refuses: the text says which."""


def compile_program(name: str, folder: Path) -> Path:
    """Compile `<name>.c` of this folder into `folder` and give the program. Raises NoCompilerError."""
    compiler = next((path for one in ("gcc", "cc", "clang") if (path := shutil.which(one))), None)
    if compiler is None:
        raise NoCompilerError("no C compiler (gcc, cc or clang) on this machine")
    program = folder / name
    command = [compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoCompilerError(f"{compiler} can't compile {name}.c: {done.stderr[:300]}")
    return program


class Program:
    """A running program with lines in and lines out; a context manager that ends it by closing its stdin."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def say(self, line: str) -> None:
        """Send one line. Raises OSError when the program is gone."""
        assert self._process.stdin is not None, "opened as a pipe"
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read(self) -> str:
        """Wait for one line; empty at the end."""
        assert self._process.stdout is not None, "opened as a pipe"
        return self._process.stdout.readline()

    def close(self) -> None:
        """Close its stdin, which ends it."""
        assert self._process.stdin is not None, "opened as a pipe"
        try:
            self._process.stdin.close()
        except OSError:
            pass  # it ended by itself; its status is of no more interest than its work
        try:
            self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Floor(Program):
    """The bare relay of `floor.c`."""

    def __init__(self, program: Path, sockets: int) -> None:
        super().__init__([str(program), str(sockets)])
        self.ports = [int(self.read()) for _ in range(sockets)]

    def relay(self, peers: Iterable[int]) -> None:
        """Begin: peer number i of 127.0.0.1 sends to `ports[i]` and hears its neighbour (i ^ 1)."""
        self.say(" ".join(map(str, peers)))


@dataclass(frozen=True, slots=True)
class Counts:
    """What sockets of `Sound` sent and received since they were counted last."""

    sent: int
    received: int
    marked: int
    """Received, and sent by one of our sockets."""
    p50_us: float
    """Delay of all marked packets from our send to the kernel's arrival."""
    p99_us: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A socket began to receive something else than before."""

    socket: int
    who: int
    """The sending socket; −1: sound without a mark."""
    at_ns: int
    """Arrival, wall clock."""


class Sound(Program):
    """The phones' media of `sound.c`: `ports[i]` is the UDP port of socket i."""

    def __init__(self, program: Path, sockets: int) -> None:
        super().__init__([str(program), str(sockets)])
        self.ports = [int(self.read()) for _ in range(sockets)]
        self.heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._counts: queue.SimpleQueue[Counts] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen, name="sound", daemon=True)
        self._thread.start()

    def to(self, first: int, ports: Iterable[int]) -> None:
        """Let sockets `first`, `first`+1 … send to these ports of 127.0.0.1."""
        self.say(f"to {first} {' '.join(map(str, ports))}")

    def go(self, first: int, last: int) -> None:
        """Let these sockets send (inclusive)."""
        self.say(f"go {first} {last}")

    def stop(self, first: int, last: int) -> None:
        """Let them be quiet."""
        self.say(f"stop {first} {last}")

    def shape(self, first: int, last: int, size: int, *, faster: bool) -> None:
        """Let these sockets send packets of `size` bytes (RTP header included), 60 a second if `faster`, else 50."""
        self.say(f"shape {first} {last} {size} {int(faster)}")

    def count(self, first: int, last: int) -> Counts:
        """Count what these sockets did since the last count."""
        self.say(f"count {first} {last}")
        return self._counts.get(timeout=START_SECONDS)

    def _listen(self) -> None:
        while line := self.read():
            match line.split():
                case ["heard", socket, who, at]:
                    self.heard.put(Heard(int(socket), int(who), int(at)))
                case ["count", sent, received, marked, p50, p99]:
                    counts = Counts(int(sent), int(received), int(marked), float(p50), float(p99))
                    self._counts.put(counts)
