"""The media process by itself: its control socket, and phones of plain UDP sockets."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from rtp import control as c
from rtp.frames import Frames, decode_event, encode
from rtp.packet import Packet, parse
from tests.kit.native_engine import demand
from tests.kit.size import times

PCMA = c.Codec("PCMA", 8, 8000)
PCMU = c.Codec("PCMU", 0, 8000)
EVENTS = c.Codec("TELEPHONE-EVENT", 101, 8000)
H264 = c.Codec("H264", 96, 90000, fmtp="packetization-mode=1")
H264_HOST = c.Codec("H264", 105, 90000, fmtp="profile-level-id=42e01f;packetization-mode=1")
SILENT = b"\xd5" * 160
PATIENCE = 15.0
"""Seconds for anything that takes a fraction of one on an idle machine."""
FRAME = 0.02
E_ = TypeVar("E_")

WORKER = """
import json, sys
from recordings.pcapng import head
from rtp.worker import MediaSettings, run

class Sink:
    takes_blocks = False
    def __init__(self, call, folder):
        self.file = open(f"{folder}/{call}.json", "a")
        self.rows, self.packets, self.size, self.folder = [], 0, 0, folder
    def packet(self, at_ns, source, destination, data):
        self.rows.append(("rtp", at_ns, source, destination, data.hex()))
    def sip(self, at_ns, source, destination, transport, data):
        self.rows.append(("sip", at_ns, source, destination, data.hex()))
    def append(self, append, left_out):
        return False
    def left_out(self, packets, first_ns, last_ns, reason):
        self.rows.append(("left_out", packets, first_ns, last_ns, reason))
    def flush(self, *, sync):
        import os
        if os.path.exists(self.folder + "/full"):
            raise OSError(28, "No space left on device")
        # As of recordings.capture: the media loop appends meanwhile, and what it took hold of must stay the list that is written.
        count = len(self.rows)
        rows = self.rows[:count]
        del self.rows[:count]
        for row in rows:
            self.file.write(json.dumps(row) + "\\n")
            self.packets += 1
            self.size += len(row[4]) // 2
        self.file.flush()
    def close(self):
        self.flush(sync=True)
        self.file.close()
        return self.packets, self.size

class Factory:
    def open(self, call, folder):
        return Sink(call, folder)
    def head(self, source, destination):
        return head(source, destination)
    def sync(self, sinks):
        return False

path, first, last = sys.argv[1:4]
run(MediaSettings(path, port_min=int(first), port_max=int(last), drain_seconds=float(sys.argv[4]), loss_seconds=1.0,
                  rtcp_seconds=0.5, report_seconds=1.0, engine=sys.argv[5]), Factory())
"""


class Signalling:
    """Signalling's end of the control socket, without asyncio."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < deadline, "the worker does not listen"
                time.sleep(0.02)
        self.frames = Frames()
        self.events: deque[c.Event] = deque()

    def send(self, *commands: c.Command) -> None:
        self.socket.sendall(b"".join(map(encode, commands)))

    def poll(self, seconds: float) -> None:
        self.socket.settimeout(max(seconds, 0.001))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return
        assert data, "the worker closed the control socket"
        self.events.extend(map(decode_event, self.frames.feed(data)))

    def wait(self, kind: type[E_], match: Callable[[E_], bool] = lambda _: True, seconds: float = 10.0) -> E_:
        """Give the next event of a kind, leaving the others where they are."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events:
                if isinstance(event, kind) and match(event):
                    self.events.remove(event)
                    return event
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind.__name__}; there are {list(self.events)}"
            self.poll(left)

    def none(self, kind: type[c.Event]) -> bool:
        self.poll(0.001)
        return not any(isinstance(event, kind) for event in self.events)


@dataclass
class Phone:
    """One medium of a phone: two sockets and counters of its own."""

    host: str = "127.0.0.1"
    payload_type: int = 8
    step: int = 160
    ssrc: int = 0x1111
    sequence: int = 65533
    timestamp: int = (1 << 32) - 320
    exchange: c.Address = ("", 0)
    rtp: socket.socket = field(init=False)
    rtcp: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.rtp, self.rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.rtp, self.rtcp):
            sock.bind((self.host, 0))

    @property
    def address(self) -> c.Address:
        return self.rtp.getsockname()

    def stream(self, medium: c.Medium, codecs: tuple[c.Codec, ...], **more: object) -> c.Stream:
        return msgspec.structs.replace(
            c.Stream(0 if medium == "audio" else 1, medium, self.address, self.rtcp.getsockname(), codecs, codecs,
                     sending=True, receiving=True),
            **more,
        )  # fmt: skip

    def packet(self, payload: bytes = b"x" * 160, **more: object) -> bytes:
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + self.step) & 0xFFFFFFFF
        fields = {
            "payload_type": self.payload_type, "sequence": self.sequence, "timestamp": self.timestamp,
            "ssrc": self.ssrc, "payload": payload,
        }  # fmt: skip
        return Packet(**{**fields, **more}).encode()  # type: ignore[arg-type]

    def say(self, payload: bytes = b"x" * 160, **more: object) -> None:
        self.rtp.sendto(self.packet(payload, **more), self.exchange)

    def rebind(self, host: str | None = None) -> None:
        self.rtp.close()
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind((host or self.host, 0))

    def hear(self, seconds: float) -> list[tuple[float, Packet]]:
        return [(at, parse(data)) for at, data in hear_raw(self.rtp, seconds)]

    def hear_until(self, enough: Callable[[list[Packet]], bool], seconds: float = 10.0) -> list[Packet]:
        """Hear until it is enough, or too long: what was heard."""
        deadline = time.monotonic() + seconds
        heard: list[Packet] = []
        while not enough(heard) and time.monotonic() < deadline:
            heard += [packet for _, packet in self.hear(0.01)]
        return heard

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


def hear_raw(sock: socket.socket, seconds: float) -> list[tuple[float, bytes]]:
    deadline = time.monotonic() + seconds
    heard = []
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            heard.append((time.monotonic(), sock.recv(9000)))
        except TimeoutError:
            break
    sock.setblocking(False)  # whatever a busy machine kept us from, what is there is heard
    while True:
        try:
            heard.append((time.monotonic(), sock.recv(9000)))
        except BlockingIOError:
            return heard


@dataclass
class MediaProcess:
    """A running media process and what is needed to talk to it."""

    process: subprocess.Popen[bytes]
    signalling: Signalling
    socket_path: Path
    folder: Path
    phones: list[Phone] = field(default_factory=list)

    def leg(
        self,
        name: str,
        audio: Phone | None = None,
        video: Phone | None = None,
        *,
        evidence: str | None = None,
        codecs: tuple[c.Codec, ...] = (PCMA, EVENTS),
        pictures: tuple[c.Codec, ...] = (H264,),
        sources: tuple[str, ...] = ("127.0.0.1",),
        **more: object,
    ) -> c.LegOpened:
        phones: dict[c.Medium, Phone] = {}
        if audio is not None:
            phones["audio"] = audio
        if video is not None:
            phones["video"] = video
        self.phones += phones.values()
        s = self.signalling
        s.send(c.OpenLeg(name, tuple(phones), "127.0.0.1", evidence))
        opened = s.wait(c.LegOpened, lambda event: event.leg == name)
        for pair in opened.ports:
            phones[pair.medium].exchange = ("127.0.0.1", pair.rtp)
        s.send(c.ConfigureLeg(name, self.streams(phones, codecs, pictures, **more), sources))
        return opened

    @staticmethod
    def streams(
        phones: dict[c.Medium, Phone],
        codecs: tuple[c.Codec, ...],
        pictures: tuple[c.Codec, ...] = (H264,),
        **more: object,
    ) -> tuple[c.Stream, ...]:
        return tuple(
            phone.stream(medium, codecs if medium == "audio" else pictures, **more)
            for medium, phone in phones.items()
        )

    def settle(self) -> None:
        """Return when every command sent so far has been carried out."""
        self.signalling.send(c.Query("settled"))
        self.signalling.wait(c.Holdings, lambda event: event.ref == "settled")

    def evidence(self, call: str) -> list[tuple[str, int, c.Address, c.Address, bytes]]:
        rows = map(json.loads, (self.folder / f"{call}.json").read_text().splitlines())
        return [
            (kind, at, tuple(src), tuple(dst), bytes.fromhex(data))
            for kind, at, src, dst, data in rows
            if kind != "left_out"
        ]


PORTS = times(60, 300)
"""Of one media process."""
# Below the range from which the system gives ports to others (net.ipv4.ip_local_port_range).
_next_port = 10000 + os.getpid() % 8 * 1200


def free_ports() -> int:
    """The first of PORTS ports in a row that nobody has."""
    global _next_port  # a range of its own for each worker of this run
    for _ in range(100):
        first, _next_port = _next_port, _next_port + PORTS
        with ExitStack() as held:
            try:
                for port in range(first, first + PORTS):
                    held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("", port))
            except OSError:
                continue
        return first
    raise AssertionError("no free ports")


both_engines = pytest.mark.parametrize("media", ["native", "python"], indirect=True)


@pytest.fixture
def media(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MediaProcess]:
    """A media process of the Python engine, or of the one a test asks for."""
    engine = getattr(request, "param", "python")
    demand(engine)
    path, first = tmp_path / "media.sock", free_ports()
    log = (tmp_path / "worker.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(first), str(first + PORTS - 1), "0.5", engine],
        stdout=log,
        stderr=log,
    )
    signalling = Signalling(path)
    signalling.wait(c.Holdings)
    made = MediaProcess(process, signalling, path, tmp_path)
    yield made
    for phone in made.phones:
        phone.close()
    signalling.socket.close()
    process.send_signal(signal.SIGTERM)
    code = process.wait(10)
    log.close()
    text = (tmp_path / "worker.log").read_text()
    assert code == 0, text
    assert "handler_failed" not in text, text
    assert "Traceback" not in text, text


def talk(phones: list[Phone], frames: int, payloads: list[bytes] | None = None) -> None:
    start = time.monotonic()
    for number in range(frames):
        for index, phone in enumerate(phones):
            phone.say(payloads[index] if payloads else b"x" * 160)
        time.sleep(max(0.0, start + (number + 1) * FRAME - time.monotonic()))


def has(packets: list[Packet], payload: bytes) -> bool:
    """Whether somebody said that."""
    return any(packet.payload == payload for packet in packets)


def unbroken(packets: list[Packet]) -> None:
    """One SSRC, sequence +1, time stamps never back and never far ahead."""
    assert len({packet.ssrc for packet in packets}) == 1
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        # What this machine kept the process from sending is left out, in numbers of the clock, not of the sequence.
        assert 0 < (after.timestamp - before.timestamp) & 0xFFFFFFFF <= 8000 * 5
