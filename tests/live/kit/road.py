"""A bad road between one phone and the exchange: SIP passes, sound and picture lose packets when the test says so.

phone ─ SIP ─▶ Road ─▶ exchange     descriptions are rewritten so that the phone's media goes through here as well
phone ─ RTP ─▶ near │ far ─▶ exchange   and back; what is lost and what begins a key frame is written down

The phone is told this address in place of the exchange's. It must not register here (its digest would name another address).
"""

import itertools
import random
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.live.kit import ports

Address = tuple[str, int]
Way = Literal["up", "down"]
"""From the phone, to the phone."""
IDR, SPS, STAP_A, FU_A = 5, 7, 24, 28
"""NAL unit types of H.264 (RFC 6184 §5.2): what a key frame begins with."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One packet of picture that came to the road."""

    at: float
    """Seconds, monotonic."""
    lost: bool
    key: bool
    """It begins a key frame, or the parameter sets before one."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a picture became whole again."""

    seconds: float
    """From the end of the losses to the key frame; 0 when it had come before."""
    pause: float
    """The longest time meanwhile in which no picture came at all: none that was damaged, and none that was whole."""


@dataclass
class Crossing:
    """One port of one medium: a socket towards the phone and one towards the exchange."""

    medium: str
    near: socket.socket
    far: socket.socket
    phone: Address | None = None
    exchange: Address | None = None


def begins_key(packet: bytes) -> bool:
    """Whether an RTP packet of H.264 begins a key frame."""
    if len(packet) < 14:
        return False
    payload = packet[12 + 4 * (packet[0] & 15) :]
    kind = payload[0] & 0x1F
    if kind == FU_A:
        return bool(payload[1] & 0x80) and payload[1] & 0x1F == IDR
    return kind in {IDR, SPS} or (kind == STAP_A and payload[3] & 0x1F in {IDR, SPS})


@dataclass
class Road:
    """A context manager; `address` is the exchange as the phone knows it, `loss` the share of packets lost from now on."""

    exchange: Address
    seed: int = 1
    loss: float = 0.0
    seen: dict[Way, list[Seen]] = field(default_factory=lambda: {"up": [], "down": []})

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._near = self._socket(ports.free_port())
        self._far = self._socket(ports.free_port())
        self.address: Address = self._near.getsockname()
        self._phone: Address | None = None
        self._crossings: dict[str, list[Crossing]] = {}
        self._readers = selectors.DefaultSelector()
        self._readers.register(self._near, selectors.EVENT_READ, self._from_phone)
        self._readers.register(self._far, selectors.EVENT_READ, self._from_exchange)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="road", daemon=True)

    @staticmethod
    def _socket(port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind((ports.ADDRESS, port))
        made.setblocking(False)
        return made

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)
        for key in list(self._readers.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._readers.close()

    def recovered(self, way: Way, since: float) -> Recovery | None:
        """How the picture became whole after `since`, when the road began to lose nothing any more; None: it is not yet."""
        seen = tuple(self.seen[way])
        lost = max((one.at for one in seen if one.lost), default=float("-inf"))
        key = next((one.at for one in seen if one.key and not one.lost and one.at > lost), None)
        if key is None:
            return None
        meanwhile = [since, *(one.at for one in seen if since < one.at <= key)]
        pause = max((after - before for before, after in itertools.pairwise(meanwhile)), default=0.0)
        return Recovery(max(0.0, key - since), pause)

    # --- the thread ---

    def _run(self) -> None:
        while not self._over.is_set():
            for key, _ in self._readers.select(0.05):
                assert isinstance(key.fileobj, socket.socket)
                take: Callable[[bytes, Address], None] = key.data
                with suppress(OSError):  # nothing there after all, or nobody listens there (ICMP)
                    while True:
                        take(*key.fileobj.recvfrom(65535))

    def _from_phone(self, data: bytes, source: Address) -> None:
        self._phone = source
        said = self._renamed(data, self.address, self.exchange)
        self._far.sendto(self._described(said, "near"), self.exchange)

    def _from_exchange(self, data: bytes, _source: Address) -> None:
        if self._phone is None:
            return
        said = self._renamed(data, self.exchange, self.address)
        self._near.sendto(self._described(said, "far"), self._phone)

    @staticmethod
    def _renamed(data: bytes, before: Address, after: Address) -> bytes:
        return data.replace(
            b"%s:%d" % (before[0].encode(), before[1]), b"%s:%d" % (after[0].encode(), after[1])
        )

    def _described(self, data: bytes, side: Literal["near", "far"]) -> bytes:
        """Let media of this side's description come here instead; `near`: the phone's."""
        head, gap, body = data.partition(b"\r\n\r\n")
        if not re.search(rb"(?m)^m=", body):
            return data

        def here(match: re.Match[bytes]) -> bytes:
            medium, port = match[1].decode(), int(match[2])
            if not port:
                return match[0]
            crossings = self._crossings.get(medium) or self._cross(medium)
            for number, crossing in enumerate(crossings):
                address = (ports.ADDRESS, port + number)
                if side == "near":
                    crossing.phone = address
                else:
                    crossing.exchange = address
            sock = crossings[0].far if side == "near" else crossings[0].near
            return b"m=%s %d " % (match[1], sock.getsockname()[1])

        body = re.sub(rb"(?m)^m=(audio|video) ([0-9]+) ", here, body)
        head = re.sub(rb"(?im)^(Content-Length|l)( *: *)[0-9]+", rb"\g<1>\g<2>%d" % len(body), head)
        return head + gap + body

    def _cross(self, medium: str) -> list[Crossing]:
        near, far = ports.block(2), ports.block(2)
        made = [Crossing(medium, self._socket(near + n), self._socket(far + n)) for n in range(2)]
        for number, crossing in enumerate(made):
            self._readers.register(
                crossing.near, selectors.EVENT_READ, self._carrier(crossing, "up", rtp=not number)
            )
            self._readers.register(
                crossing.far, selectors.EVENT_READ, self._carrier(crossing, "down", rtp=not number)
            )
        self._crossings[medium] = made
        return made

    def _carrier(self, crossing: Crossing, way: Way, *, rtp: bool) -> Callable[[bytes, Address], None]:
        def carry(data: bytes, _source: Address) -> None:
            lost = self._dice.random() < self.loss
            if rtp and crossing.medium == "video":
                self.seen[way].append(Seen(time.monotonic(), lost, begins_key(data)))
            target = crossing.exchange if way == "up" else crossing.phone
            if lost or target is None:
                return
            (crossing.far if way == "up" else crossing.near).sendto(data, target)

        return carry
