"""Sockets, loop and evidence for tests of the media process: no clock, no thread, no port.

The same tests run on both engines (`engine`, a fixture). For the native one a socket is one end of a socket pair, since C reads
descriptors; time still passes only when the test says so.
"""

import itertools
import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from rtp.control import Address, Codec, Event, Medium, Stream
from rtp.loop import Loop, Together
from rtp.outstream import Numbering
from rtp.overrun import SO_MEMINFO
from rtp.packet import Packet, parse
from rtp.parts import PYTHON, Parts
from rtp.ports import Pair
from rtp.route import Surroundings
from rtp.track import Track
from tests.kit.native_engine import demand

PHONE: Address = ("10.0.0.1", 4000)
PCMA = Codec("PCMA", 8, 8000)
PCMU = Codec("PCMU", 0, 8000)
EVENTS = Codec("TELEPHONE-EVENT", 101, 8000)
H264 = Codec("H264", 96, 90000, fmtp="packetization-mode=1")

_descriptors = itertools.count(1000)


class WireSocket:
    """A UDP socket whose other end is two lists."""

    def __init__(self) -> None:
        self.arriving: deque[tuple[bytes, Address]] = deque()
        self.sent: list[tuple[bytes, Address | None]] = []
        self.peer: Address | None = None
        self.error: OSError | None = None
        self.closed = False
        self.dropped = 0
        """What the kernel says it has dropped."""
        self._fd = next(_descriptors)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        self.closed = True

    family = socket.AF_INET

    def getsockname(self) -> Address:
        raise OSError("a socket of a test has no port")

    def getsockopt(self, _level: int, option: int, size: int) -> bytes:
        assert (option, size) == (SO_MEMINFO, 36)
        return struct.pack("9I", *range(8), self.dropped & 0xFFFF_FFFF)

    def connect(self, address: Address) -> None:
        self.peer = address

    def recv(self, size: int) -> bytes:
        return self.recvfrom(size)[0]

    def recvfrom(self, _size: int) -> tuple[bytes, Address]:
        if not self.arriving:
            raise BlockingIOError
        return self.arriving.popleft()

    def send(self, data: bytes) -> int:
        return self.sendto(data, None)

    def sendto(self, data: bytes, address: Address | None) -> int:
        if self.error is not None:
            raise self.error
        self.sent.append((data, address))
        return len(data)


class PairSocket(WireSocket):
    """The same with a descriptor: what is lent to C goes through a pair of Unix sockets."""

    def __init__(self) -> None:
        super().__init__()
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self._far.setblocking(False)
        opened.append(self)

    def fileno(self) -> int:
        return self._near.fileno()

    def arrive(self, data: bytes) -> None:
        """Let a datagram wait for C."""
        self._far.send(data)

    def settle(self) -> None:
        """Take over what C has sent."""
        while self._far.fileno() >= 0:
            try:
                self.sent.append((self._far.recv(65536), None))
            except BlockingIOError:
                return

    def sendto(self, data: bytes, address: Address | None) -> int:
        self.settle()  # what C has sent before
        return super().sendto(data, address)

    def refuse(self) -> None:
        """Let every further packet fail."""
        self._far.close()

    def end(self) -> None:
        self._near.close()
        self._far.close()


class StillLoop:
    """A loop in which time passes when the test says so; each step of it is a look at all sockets."""

    def __init__(self) -> None:
        self._now = self.looked = self.vacant = 100.0
        self.handlers: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Callable[[float], None]]] = []
        self.failures: list[tuple[str, Exception]] = []
        self.deferred: set[int] = set()

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        if now > self._now:
            self.looked, self.vacant = self._now, self.looked
        self._now = now

    def add(self, fd: int, handler: Callable[[], None], _name: str) -> None:
        assert fd not in self.handlers
        self.handlers[fd] = handler

    def replace(self, fd: int, handler: Callable[[], None], _name: str | None = None) -> None:
        assert fd in self.handlers
        self.handlers[fd] = handler

    def join(self, fd: int, member: Track, serve: Together) -> None:
        self.handlers[fd] = lambda: serve([member], cast("Loop", self))

    def remove(self, fd: int) -> None:
        del self.handlers[fd]

    def defer(self, fd: int, *, deferred: bool) -> None:
        self.deferred = self.deferred | {fd} if deferred else self.deferred - {fd}

    def serve_deferred(self) -> None:
        """Datagrams are read when they arrive."""

    def at(self, due: float, callback: Callable[[float], None], _name: str) -> None:
        self.timers.append((due, callback))

    def failed(self, name: str, error: Exception) -> None:
        self.failures.append((name, error))

    def read(self, sock: WireSocket, data: bytes, source: Address = PHONE) -> None:
        """Let one datagram arrive."""
        sock.arriving.append((data, source))
        self.handlers[sock.fileno()]()


class NativeStillLoop(StillLoop):
    """The same with C behind it."""

    def __init__(self) -> None:
        super().__init__()
        from rtp.native._relay import RelayLoop

        self.poll = select.epoll()
        self.relay = RelayLoop(self.poll.fileno(), self.poll.fileno())
        loops.append(self)

    def add(self, fd: int, handler: Callable[[], None], name: str) -> None:
        super().add(fd, handler, name)
        self.poll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        super().remove(fd)
        self.poll.unregister(fd)

    def read(self, sock: WireSocket, data: bytes, source: Address = PHONE) -> None:
        flow = next((flow for flow in self.relay.flows if flow.fd == sock.fileno()), None)
        if flow is None or not flow.lent or not isinstance(sock, PairSocket):
            super().read(sock, data, source)
        else:
            sock.arrive(data)
            for odd, handed in self.relay.serve(flow, self.now, self.looked, self.vacant):
                assert odd.owner is not None
                odd.owner.odd(handed)
        settle()


def settle() -> None:
    """Take over what C has done since."""
    for sock in opened:
        sock.settle()
    for each in after:
        each()


after: list[Callable[[], None]] = []
"""What else a test wants done then, such as pouring out tapes."""
opened: list[PairSocket] = []
loops: list[NativeStillLoop] = []
parts = PYTHON
"""What the running test's engine is made of."""


@pytest.fixture(params=["python", "native"])
def engine(request: pytest.FixtureRequest) -> Iterator[Parts]:
    """Run a test on both engines; the native one is left out, with the reason, where it was not built."""
    with running(request.param) as chosen:
        yield chosen


@contextmanager
def running(name: str) -> Iterator[Parts]:
    """Make wires of one engine; give their descriptors back at the end."""
    global parts  # noqa: PLW0603  # wires are made by plain functions in many tests
    parts = demand(name)
    try:
        yield parts
    finally:
        for loop in loops:
            loop.poll.close()
        for sock in opened:
            sock.end()
        loops.clear()
        opened.clear()
        after.clear()
        parts = PYTHON


def make_loop() -> StillLoop:
    """A loop of the running test's engine."""
    return StillLoop() if parts is PYTHON else NativeStillLoop()


def make_socket() -> WireSocket:
    """A socket of the running test's engine."""
    return WireSocket() if parts is PYTHON else PairSocket()


class Wire:
    """A loop, its events, and tracks that are made in it."""

    def __init__(self) -> None:
        self.loop = make_loop()
        self.events: list[Event] = []
        self.around = Surroundings(
            self.loop,  # type: ignore[arg-type]
            self.events.append,
            itertools.count(2),
            activity=parts.activity,
            buffer=parts.buffer,
            swift=parts.swift,
        )
        self.asked: list[str] = []

    def track(self, leg: str = "leg", medium: Medium = "audio", *, out: Numbering | None = None) -> Track:
        """A track with sockets of its own, not configured yet."""
        pair = Pair(make_socket(), make_socket(), 20000)  # type: ignore[arg-type]
        stream = out or parts.out(0xABCD, 0xFFF0, 0xFFFFFF00)
        track = parts.track(leg, medium, host="127.0.0.1", pair=pair, out=stream, around=self.around)
        track.ask_picture = lambda: self.asked.append(leg)
        return track

    def configured(
        self,
        leg: str = "leg",
        medium: Medium = "audio",
        codecs: tuple[Codec, ...] = (PCMA, EVENTS),
        **more: object,
    ) -> Track:
        """A track whose peer is PHONE and may send and receive."""
        track = self.track(leg, medium)
        track.configure(stream(medium, codecs, **more), frozenset({PHONE[0]}), self.loop.now)
        return track


def stream(medium: Medium = "audio", codecs: tuple[Codec, ...] = (PCMA, EVENTS), **more: object) -> Stream:
    """What was negotiated with PHONE."""
    fields: dict[str, object] = {
        "remote": PHONE, "remote_rtcp": (PHONE[0], PHONE[1] + 1), "send": codecs, "receive": codecs,
        "sending": True, "receiving": True,
    }  # fmt: skip
    return Stream(index=0, medium=medium, **{**fields, **more})  # type: ignore[arg-type]


def rtp_socket(track: Track) -> WireSocket:
    """The other end of a track's RTP socket."""
    return cast("WireSocket", track.pair.rtp)


def rtcp_socket(track: Track) -> WireSocket:
    """The other end of a track's RTCP socket."""
    return cast("WireSocket", track.pair.rtcp)


def sent(track: Track) -> list[Packet]:
    """Packets that left on a track so far."""
    return [parse(data) for data, _ in rtp_socket(track).sent]


def packet(sequence: int, payload: bytes = b"x" * 160, **more: object) -> bytes:
    """A packet of a phone."""
    fields: dict[str, object] = {
        "payload_type": 8, "sequence": sequence & 0xFFFF, "timestamp": sequence * 160 & 0xFFFFFFFF, "ssrc": 7,
        "payload": payload,
    }  # fmt: skip
    return Packet(**{**fields, **more}).encode()  # type: ignore[arg-type]
