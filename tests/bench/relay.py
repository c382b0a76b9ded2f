"""Q1: processor time of one relayed packet in the media process, beside a bare relay in C on as many sockets.

    400 phones at 50 packets a second ─▶ floor.c, or a media process with 100 rooms (host and guest, sound and picture each),
                                         or rtpengine with as many calls

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
from rtp.native import NoEngineError, choose
from tests.bench import anchor
from tests.bench.cpu import keep_apart, wait_childless
from tests.bench.figures import Figure, median
from tests.bench.native import Floor, Sound
from tests.bench.site import SetUpError
from tests.bench.spell import Spell, spell

SOCKETS = 400
MEDIA: tuple[Medium, ...] = ("audio", "video")
ROOMS = SOCKETS // (2 * len(MEDIA))
BAR = 1.25
PYTHON_BAR = 2.0
PORTS = 26000
PORT_SPAN = 1000
"""Ports of one media process: 100 rooms take 800, below the range the system gives to others (from 32768)."""
LABELS = {
    "floor": "bare C epoll relay",
    "relay": "native engine",
    "recorded": "native engine, recorded",
    "python": "Python engine",
}
ANSWER_SECONDS = 20.0
PROMPT_SECONDS = 40.0
"""How long a media process may take to encode its prompts; nothing is measured meanwhile."""

CODEC = {"audio": Codec("PCMA", 8, 8000), "video": Codec("H264", 8, 90000, fmtp="packetization-mode=1")}
"""Both with the payload type that our one kind of packet has."""


class Worker:
    """A media process with 100 rooms whose legs are `sound`'s sockets from `first` on; a context manager."""

    def __init__(
        self, folder: Path, name: str, ports: tuple[int, int], *, engine: str, recorded: bool
    ) -> None:
        path = folder / f"{name}.sock"
        command = [sys.executable, "-m", "tests.bench.media", str(path), str(ports[0]), str(ports[1]), engine]
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
            while data := self._socket.recv(1 << 16):
                self._frames.feed(data)  # a frame may be cut where we stop
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


WORKERS = {"relay": ("native", False), "recorded": ("native", True), "python": ("python", False)}
"""What is measured beside the floor: name → engine, whether everything is recorded."""


def measure(
    programs: dict[str, Path], folder: Path, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Figure]:
    """Measure Q1. `programs`: the compiled `floor` and `sound`; `rounds` of five spells of `seconds` each.

    Without the native engine, or without rtpengine, their figures are told as missing, with the reason.
    """
    engines = {name: one for name, one in WORKERS.items() if one[0] == "python" or native_missing() is None}
    say(
        f"Q1: {SOCKETS} sockets at 50 packets a second, {rounds} rounds of {len(engines) + 2} × {seconds:g} s"
    )
    spells: dict[str, list[Spell]] = {name: [] for name in ("floor", *engines)}
    beside = len(spells) * SOCKETS
    """The first of rtpengine's phones."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="at110-bench-", dir=folder)))
        sound = stack.enter_context(Sound(programs["sound"], beside + SOCKETS))
        floor = stack.enter_context(Floor(programs["floor"], SOCKETS))
        floor.relay(sound.ports[:SOCKETS])
        sound.to(0, floor.ports)
        workers: dict[str, Worker] = {}
        for number, (name, (engine, recorded)) in enumerate(engines.items(), 1):
            ports = (PORTS + number * PORT_SPAN, PORTS + (number + 1) * PORT_SPAN - 1)
            worker = stack.enter_context(Worker(work, name, ports, engine=engine, recorded=recorded))
            first = number * SOCKETS
            sound.to(first, worker.set_up(sound.ports[first : first + SOCKETS]))
            wait_childless(worker.pid, PROMPT_SECONDS)
            worker.drain()
            worker.pause()
            workers[name] = worker
        its = stack.enter_context(anchor.turns(work, sound, beside, ROOMS, MEDIA, recorded=False))
        keep_apart([floor.pid, *(worker.pid for worker in workers.values()), *its.threads], sound.pid)
        for number in range(rounds):
            spells["floor"].append(spell(sound, 0, SOCKETS - 1, floor.pid, seconds))
            for side, (name, worker) in enumerate(workers.items(), 1):
                worker.resume()
                first = side * SOCKETS
                spells[name].append(spell(sound, first, first + SOCKETS - 1, worker.pid, seconds))
                worker.drain()
                worker.pause()
            its.take(seconds)
            named = {**spells, anchor.NAME: its.spells}
            told = ", ".join(f"{name} {found[-1].packet_us:.2f} µs" for name, found in named.items() if found)
            taken = median([found[-1].stolen for found in named.values() if found])
            say(f"  round {number + 1}: {told}; host took {taken * 100:.1f} %")
    return [
        *_figures(spells),
        *anchor.figures("Q1", spells.get("relay", []), its, lambda one: one.packet_us, "µs"),
    ]


def native_missing() -> str | None:
    """Why the native engine can't be measured; None when it can."""
    try:
        choose("native")
    except NoEngineError as error:
        return str(error)
    return None


def _figures(spells: dict[str, list[Spell]]) -> list[Figure]:
    costs = {name: [one.packet_us for one in found] for name, found in spells.items()}
    ratios: dict[str, float | None] = dict.fromkeys(WORKERS)
    for name in costs.keys() & WORKERS.keys():
        ratios[name] = median([mine / base for mine, base in zip(costs[name], costs["floor"], strict=True)])
    cost = {name: median(values) for name, values in costs.items()}
    note = native_missing() or ""
    figures = [
        Figure("Q1", "CPU of a relayed packet ÷ bare C relay, native engine", ratios["relay"], "×", BAR, note=note),
        Figure("Q1.python", "  the same, Python engine", ratios["python"], "×", PYTHON_BAR),
        Figure("Q1.recorded_ratio", "  native, recorded: each packet in and out ÷ bare C relay", ratios["recorded"], "×"),
    ]  # fmt: skip
    for name, label in LABELS.items():
        figures.append(
            Figure(
                f"Q1.{name}_us",
                f"  {label}: CPU of a packet",
                cost.get(name),
                "µs",
                note=note if name not in cost else "",
            )
        )
    taken = median([one.stolen for found in spells.values() for one in found])
    figures.append(Figure("Q1.stolen", "  what the host took of the processors meanwhile", taken * 100, "%"))
    for name, label in LABELS.items():
        if name in spells:
            counts = spells[name][-1].counts
            lost = 1 - counts.received / max(1, counts.sent)
            figures += [
                Figure(f"Q1.{name}_packets", f"  {label}: packets of the last round", counts.received, ""),
                Figure(f"Q1.{name}_lost", "    that did not come back", lost * 100, "%"),
                Figure(f"Q1.{name}_p50", "    delay p50", counts.p50_us / 1000, "ms"),
                Figure(f"Q1.{name}_p99", "    delay p99", counts.p99_us / 1000, "ms"),
            ]
    return figures
