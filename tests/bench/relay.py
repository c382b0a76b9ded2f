"""Q1: processor time of one relayed packet in the media process, beside a bare relay in C on as many sockets.

    400 phones at 50 packets a second ─▶ floor.c, or a media process with 100 rooms (host and guest, sound and picture each)

The same phones send the same packets to each in turn, for some seconds, several times; each round gives one ratio and the
median of the ratios is the figure. Whoever is not measured is stopped (SIGSTOP), so it takes nothing from the others.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from rtp.control import (
    Codec,
    Command,
    ConfigureLeg,
    Event,
    EvidenceOpened,
    Join,
    LegOpened,
    Medium,
    OpenEvidence,
    OpenLeg,
    Refused,
    Stream,
)
from rtp.frames import Frames, decode_event, encode
from tests.bench.cpu import cpu_seconds, keep_apart, wait_childless
from tests.bench.figures import Figure, median
from tests.bench.native import Counts, Floor, Sound
from tests.bench.site import SetUpError

SOCKETS = 400
MEDIA: tuple[Medium, ...] = ("audio", "video")
ROOMS = SOCKETS // (2 * len(MEDIA))
WARM_SECONDS = 1.0
"""After a change of sides: addresses are learned again, the first bursts are over."""
BAR = 2.0
ANSWER_SECONDS = 20.0
PROMPT_SECONDS = 40.0
"""How long a media process may take to encode its prompts; nothing is measured meanwhile."""

CODEC = {"audio": Codec("PCMA", 8, 8000), "video": Codec("H264", 8, 90000, fmtp="packetization-mode=1")}
"""Both with the payload type that our one kind of packet has."""


class Worker:
    """A media process with 100 rooms whose legs are `sound`'s sockets from `first` on; a context manager."""

    def __init__(self, folder: Path, name: str, ports: tuple[int, int], *, recorded: bool) -> None:
        path = folder / f"{name}.sock"
        command = [sys.executable, "-m", "tests.bench.media", str(path), str(ports[0]), str(ports[1])]
        self._process = subprocess.Popen(command)
        self.pid = self._process.pid
        self._evidence = folder / name if recorded else None
        self._frames = Frames()
        self._events: list[Event] = []
        self._socket = _connect(path, self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        os.kill(self.pid, signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def set_up(self, phones: list[int]) -> list[int]:
        """Open, configure and join all legs for phones at these ports; give the ports they are to send to.

        Neighbours (i, i ^ 1) hear each other: host and guest of one room in one medium.
        """
        calls = [f"call-{room}" for room in range(ROOMS)] if self._evidence is not None else []
        self.send(*(OpenEvidence(call, f"{self._evidence}/{call}") for call in calls))
        self.wait(lambda event: isinstance(event, EvidenceOpened), len(calls))
        legs = [f"{role}-{room}" for room in range(ROOMS) for role in ("guest", "host")]
        for number, leg in enumerate(legs):
            own = calls[number // 2] if calls and number % 2 == 0 else None
            self.send(OpenLeg(leg, MEDIA, "127.0.0.1", own))
        opened = self.wait(lambda event: isinstance(event, LegOpened), len(legs))
        where = {event.leg: event.ports for event in opened if isinstance(event, LegOpened)}
        targets = [0] * SOCKETS
        for number, leg in enumerate(legs):
            room, side = divmod(number, 2)
            streams = []
            for index, medium in enumerate(MEDIA):
                phone = (room * len(MEDIA) + index) * 2 + side
                targets[phone] = where[leg][index].rtp
                here = ("127.0.0.1", phones[phone])
                codecs = (CODEC[medium],)
                streams.append(
                    Stream(index, medium, here, here, codecs, codecs, sending=True, receiving=True)
                )
            self.send(ConfigureLeg(leg, tuple(streams), ("127.0.0.1",)))
            self.send(Join(f"room-{room}", leg, "host" if side else "guest"))
        return targets

    def pause(self) -> None:
        """Stop the whole process."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def drain(self) -> None:
        """Read what it reported meanwhile, so that it never waits for us."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(1 << 16):
                pass
        except BlockingIOError:
            return
        finally:
            self._socket.setblocking(True)

    def send(self, *commands: Command) -> None:
        """Give commands."""
        for command in commands:
            self._socket.sendall(encode(command))

    def wait(self, wanted: Callable[[Event], bool], count: int) -> list[Event]:
        """Read events until `count` are what is wanted, and give those. Raises SetUpError when something is refused."""
        found: list[Event] = []
        self._socket.settimeout(ANSWER_SECONDS)
        while len(found) < count:
            for frame in self._frames.feed(self._socket.recv(1 << 16)):
                event = decode_event(frame)
                if isinstance(event, Refused):
                    raise SetUpError(f"the media process refused {event}")
                if wanted(event):
                    found.append(event)
        return found


def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    end = time.monotonic() + ANSWER_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return connection


def _spell(sound: Sound, first: int, pid: int, seconds: float) -> tuple[float, Counts]:
    """Let 400 phones send for `seconds`: (µs of processor time per relayed packet, what was counted)."""
    last = first + SOCKETS - 1
    sound.go(first, last)
    time.sleep(WARM_SECONDS)
    sound.count(first, last)
    before = cpu_seconds(pid)
    time.sleep(seconds)
    counts = sound.count(first, last)
    used = cpu_seconds(pid) - before
    sound.stop(first, last)
    time.sleep(0.05)
    return used / max(1, counts.received) * 1e6, counts


def measure(
    programs: dict[str, Path], folder: Path, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Figure]:
    """Measure Q1. `programs`: the compiled `floor` and `sound`; `rounds` of three spells of `seconds` each."""
    say(f"Q1: {SOCKETS} sockets at 50 packets a second, {rounds} rounds of 3 × {seconds:g} s")
    costs: dict[str, list[float]] = {"floor": [], "relay": [], "recorded": []}
    last: dict[str, Counts] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="at110-bench-", dir=folder)))
        sound = stack.enter_context(Sound(programs["sound"], 3 * SOCKETS))
        floor = stack.enter_context(Floor(programs["floor"], SOCKETS))
        floor.relay(sound.ports[:SOCKETS])
        sound.to(0, floor.ports)
        workers: dict[str, Worker] = {}
        for number, (name, ports) in enumerate({"relay": (30000, 31399), "recorded": (31400, 32767)}.items()):
            worker = stack.enter_context(Worker(work, name, ports, recorded=name == "recorded"))
            first = (number + 1) * SOCKETS
            sound.to(first, worker.set_up(sound.ports[first : first + SOCKETS]))
            wait_childless(worker.pid, PROMPT_SECONDS)
            worker.drain()
            worker.pause()
            workers[name] = worker
        keep_apart([floor.pid, *(worker.pid for worker in workers.values())], sound.pid)
        for number in range(rounds):
            cost, last["floor"] = _spell(sound, 0, floor.pid, seconds)
            costs["floor"].append(cost)
            for side, (name, worker) in enumerate(workers.items(), 1):
                worker.resume()
                cost, last[name] = _spell(sound, side * SOCKETS, worker.pid, seconds)
                costs[name].append(cost)
                worker.drain()
                worker.pause()
            told = ", ".join(f"{name} {values[-1]:.2f} µs" for name, values in costs.items())
            say(f"  round {number + 1}: {told}")
    return _figures(costs, last)


def _figures(costs: dict[str, list[float]], last: dict[str, Counts]) -> list[Figure]:
    floor = median(costs["floor"])
    ratios = {
        name: median([mine / base for mine, base in zip(costs[name], costs["floor"], strict=True)])
        for name in ("relay", "recorded")
    }
    lost = sum(1 - counts.received / max(1, counts.sent) for counts in last.values()) / len(last)
    return [
        Figure(
            "Q1", "CPU of a relayed packet ÷ bare C relay", ratios["relay"], "×", BAR, note="Python engine"
        ),
        Figure("Q1.floor", "  bare C epoll relay", floor, "µs"),
        Figure("Q1.relay", "  media process, not recorded", median(costs["relay"]), "µs"),
        Figure(
            "Q1.recorded",
            "  media process, recorded: each packet in and out",
            median(costs["recorded"]),
            "µs",
        ),
        Figure("Q1.recorded_ratio", "  recorded ÷ bare C relay", ratios["recorded"], "×"),
        Figure("Q1.delay_p50", "  delay through the media process, p50", last["relay"].p50_us / 1000, "ms"),
        Figure("Q1.delay_p99", "  the same, p99", last["relay"].p99_us / 1000, "ms"),
        Figure("Q1.lost", "  packets of the last round that did not come back", lost * 100, "%"),
    ]
