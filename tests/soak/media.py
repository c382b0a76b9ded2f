"""A media process of the soak: started, spoken to, looked at (memory, descriptors, what it logged)."""

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from rtp.control import (
    Command,
    Dtmf,
    Event,
    EvidenceClosed,
    Holdings,
    LegOpened,
    LegReport,
    Medium,
    Query,
    Refused,
)
from rtp.frames import Frames, decode_event, encode

START_SECONDS: Final = 60.0
"""How long it may take to listen: an instrumented one starts slowly."""


class Media:
    """One engine in a process of its own; `tests.bench.media` with real evidence."""

    def __init__(self, engine: str, folder: Path, ports: tuple[int, int]) -> None:
        """Start it. Raises OSError when it does not listen in time."""
        self.engine = engine
        self.folder = folder / engine
        self.folder.mkdir()
        self.log = self.folder / "log"
        self._ports = range(ports[0], ports[1] + 1)
        path = self.folder / "control.sock"
        command = [sys.executable, "-m", "tests.bench.media", str(path), str(ports[0]), str(ports[1]), engine]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.pid = self._process.pid
        self.opened: dict[str, LegOpened] = {}
        self.digits: Counter[str] = Counter()
        """Digits told, by leg."""
        self.reports: dict[str, LegReport] = {}
        """The newest of each leg, the last one of those that ended."""
        self.closed: dict[str, EvidenceClosed] = {}
        self.answered: set[str] = set()
        self.refused: list[Refused] = []
        self._frames = Frames()
        self._queries = 0
        end = time.monotonic() + START_SECONDS
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(str(path))
            except OSError:
                self._socket.close()
                if self._process.poll() is not None or time.monotonic() > end:
                    raise OSError(f"{engine}: {self.log.read_text()[-2000:]}") from None
                time.sleep(0.05)
            else:
                break
        self._socket.setblocking(False)

    def say(self, *commands: Command) -> None:
        """Give commands."""
        self._socket.setblocking(True)
        for command in commands:
            self._socket.sendall(encode(command))
        self._socket.setblocking(False)

    def ask(self) -> str:
        """Ask a question whose answer says that all that came before is done; its name."""
        self._queries += 1
        name = f"q{self._queries}"
        self.say(Query(name))
        return name

    def listen(self) -> None:
        """Take in what it told. Raises EOFError when it is gone."""
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            if not data:
                raise EOFError(f"{self.engine} ended: {self.log.read_text()[-2000:]}")
            for frame in self._frames.feed(data):
                self._sort(decode_event(frame))

    def _sort(self, event: Event) -> None:
        match event:
            case LegReport(leg):
                self.reports[leg] = event
            case EvidenceClosed(call):
                self.closed[call] = event
            case Holdings(ref):
                self.answered.add(ref)
            case Refused():
                self.refused.append(event)
            case LegOpened(leg):
                self.opened[leg] = event
            case Dtmf(leg):
                self.digits[leg] += 1
            case _:
                pass  # lost and found media, load: told, not counted here

    def counts(self, leg: str) -> dict[Medium, tuple[int, int, int]]:
        """Of a leg's last report: medium → (received, flooded, sent)."""
        report = self.reports[leg]
        return {one.medium: (one.received, one.flooded, one.sent) for one in report.streams}

    @property
    def unread(self) -> bool:
        """Whether datagrams wait at one of its sockets."""
        # proc(5), /proc/net/udp: local address, remote address, state, tx_queue:rx_queue
        for line in Path(f"/proc/{self.pid}/net/udp").read_text().split("\n")[1:-1]:
            _, local, _, _, queues, *_ = line.split()
            if int(local.rpartition(":")[2], 16) in self._ports and int(queues.rpartition(":")[2], 16):
                return True
        return False

    @property
    def descriptors(self) -> int:
        """How many it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def end(self) -> str:
        """End it in order; what it logged as a failure."""
        self._socket.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"did not end\n{self.log.read_text()[-2000:]}"
        said = self.log.read_text(errors="replace")
        bad = [line for line in said.split("\n") if any(word in line for word in FAILURES)]
        if self._process.returncode != 0:
            bad.append(f"ended with {self._process.returncode}: {said[-2000:]}")
        return "\n".join(bad)


FAILURES: Final = ("handler_failed", "Traceback", "evidence_failed", "Sanitizer", "runtime error")
"""Words in its log that are a finding."""
