"""Q5: how long a dispatcher looks at black: put through ─▶ the first packet of a key frame arrives at the desk's phone.

a caller waits and sends a picture: one key frame, then 30 pictures without one
Join (host and guest) leaves ─▶ a packet that begins a key frame arrives at the desk's socket     (nobody sends one meanwhile)
"""

import socket
import time
from collections.abc import Callable
from pathlib import Path

from rtp.control import CloseLeg, Codec, ConfigureLeg, Join, LegOpened, OpenLeg, Stream
from rtp.gop import kind
from rtp.packet import Packet, PacketError, parse
from tests.bench.figures import Figure, quantile
from tests.bench.relay import Worker
from tests.bench.site import SetUpError

BAR = 100.0
PATIENCE = 5.0
"""Seconds after which a trial counts as failed."""
PICTURES = 30
H264 = Codec("H264", 96, 90000, fmtp="packetization-mode=1")
IDR, SLICE = b"\x65" + bytes(999), b"\x41" + bytes(499)


def measure(folder: Path, *, trials: int, say: Callable[[str], None]) -> list[Figure]:
    """Measure Q5 with so many callers, one after the other. Raises SetUpError."""
    say(f"Q5: {trials} callers who waited with picture")
    with Worker(folder, "picture", (46000, 47999), engine="auto", recorded=False) as worker:
        waited = [_trial(worker, number) for number in range(trials)]
    p99 = quantile(waited, 0.99)
    return [
        Figure("Q5", "put through → key frame at the desk, p99", p99, "ms", BAR),
        Figure("Q5.p50", "the same, p50", quantile(waited, 0.5), "ms"),
    ]


def _trial(worker: Worker, number: int) -> float:
    """One caller and one desk: ms from Join to the first packet of a key frame."""
    guest, host = f"guest-{number}", f"host-{number}"
    with _phone() as caller, _phone() as desk:
        for leg, phone in ((guest, caller), (host, desk)):
            worker.send(OpenLeg(leg, ("video",), "127.0.0.1"))
            here = phone.getsockname()
            stream = Stream(0, "video", here, here, (H264,), (H264,), sending=True, receiving=True)
            worker.send(ConfigureLeg(leg, (stream,), ("127.0.0.1",)))
        opened = worker.wait(lambda event: isinstance(event, LegOpened), 2)
        ports = {event.leg: event.ports[0].rtp for event in opened if isinstance(event, LegOpened)}
        caller.connect(("127.0.0.1", ports[guest]))
        for index in range(PICTURES + 1):
            caller.send(Packet(96, index, index * 6000, 7, SLICE if index else IDR, marker=True).encode())
        _read(worker)
        worker.send(Join(f"room-{number}", host, "host"))
        start = time.monotonic()
        worker.send(Join(f"room-{number}", guest, "guest"))
        waited = _until_key(desk, start)
        worker.send(CloseLeg(guest), CloseLeg(host))
    return waited


def _read(worker: Worker) -> None:
    """Wait until the media process has read what was sent: it serves sockets in the order in which they were ready."""
    time.sleep(0.1)
    worker.drain()


def _until_key(desk: socket.socket, start: float) -> float:
    desk.settimeout(PATIENCE)
    while True:
        try:
            data = desk.recv(2048)
        except TimeoutError:
            raise SetUpError(f"no key frame within {PATIENCE:g} s") from None
        arrived = time.monotonic()
        try:
            packet = parse(data)
        except PacketError:
            continue  # RTCP, on this socket too
        if packet.payload_type == H264.payload_type and kind("H264", packet.payload) == "key":
            return (arrived - start) * 1000


def _phone() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made
