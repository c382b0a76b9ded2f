"""Sound and picture over bad networks (bars F12): six profiles at once, each with a trace of what really left.

The road is spoilt before the media process, by a seeded hand that writes down what it did; what comes out is held against that.
"""

import heapq
import random
import socket
import struct
import time
from dataclasses import dataclass, field
from functools import partial

import pytest

from rtp import control as c
from rtp.packet import parse
from rtp.picture import INTERVAL_SECONDS
from rtp.rtcp import Nack, PictureLoss, ReceiverReport
from rtp.rtcp import encode as encode_rtcp
from rtp.rtcp import parse as parse_rtcp
from tests.kit.size import times
from tests.live.conftest import Measure
from tests.live.kit.worker import FRAME, MediaProcess, Phone, both_engines, media

__all__ = ["media"]

SECONDS = times(3, 60)
CALLS, ROUNDS = times(1, 5), times(1, 4)
"""Calls on each road at once, and how often: twenty of 60 s each at the size of the bar. More at once this one program can't speak for."""
SO_TIMESTAMPNS = 35
PATIENCE = 20.0
STALL = 0.5
"""Seconds the phones may be behind."""


@dataclass(frozen=True)
class Profile:
    """What a road does to packets: shares of 1, the mean length of a burst of losses, seconds."""

    name: str
    loss: float = 0.0
    burst: float = 1.0
    twice: float = 0.0
    late: float = 0.0
    jitter: float = 0.0


PROFILES = (
    Profile("clean"),
    Profile("loss 5 %", loss=0.05),
    Profile("loss 20 % in bursts of 5", loss=0.2, burst=5),
    Profile("every 20th twice", twice=0.05),
    Profile("every 10th late", late=0.1),
    Profile("jitter of 100 ms, loss 10 %", jitter=0.1, loss=0.1),
)


@dataclass
class Road:
    """One guest's way to the exchange."""

    profile: Profile
    phone: Phone
    lost: set[int] = field(default_factory=set)
    left: list[int] = field(default_factory=list)
    """Sequence numbers in the order in which they were sent."""
    offered: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._dice = random.Random(f"{self.profile.name} {self.phone.ssrc}")
        self._bad = False
        self._waiting: list[tuple[float, int, bytes]] = []
        self._order = 0

    def offer(self, data: bytes, now: float) -> None:
        """Take a packet of the phone."""
        sequence, profile = parse(data).sequence, self.profile
        self.offered.add(sequence)
        if self._loses():
            self.lost.add(sequence)
            return
        delay = self._dice.expovariate(1 / profile.jitter) if profile.jitter else 0.0
        delay += 0.06 if self._dice.random() < profile.late else 0.0
        self._later(now + delay, data)
        if self._dice.random() < profile.twice:
            self._later(now + delay + 0.005, data)

    def _loses(self) -> bool:
        profile = self.profile
        if profile.burst <= 1:
            return self._dice.random() < profile.loss
        stay, begin = 1 - 1 / profile.burst, profile.loss / (1 - profile.loss) / profile.burst
        self._bad = self._dice.random() < (stay if self._bad else begin)
        return self._bad

    def _later(self, due: float, data: bytes) -> None:
        self._order += 1
        heapq.heappush(self._waiting, (due, self._order, data))

    def go_on(self, now: float) -> None:
        """Send what is due."""
        while self._waiting and self._waiting[0][0] <= now:
            data = heapq.heappop(self._waiting)[2]
            self.left.append(parse(data).sequence)
            self.phone.rtp.sendto(data, self.phone.exchange)


def _awaited(road: Road) -> set[bytes]:
    """The newest that left, and the last: on a road with jitter that is another one, and the relay keeps their order."""
    first = 65_501
    numbers = [(sequence - first) & 0xFFFF for sequence in road.left]
    return {_payload(max(numbers)), _payload(numbers[-1])}


def _payload(number: int) -> bytes:
    return b"seq" + number.to_bytes(4) + b"x" * 153


@pytest.mark.limit(120 + 4 * SECONDS)
@pytest.mark.parametrize("turn", range(ROUNDS))
@both_engines
def test_nothing_is_lost_inside_and_the_order_stays(media: MediaProcess, turn: int) -> None:
    s = media.signalling
    roads, hosts = [], []
    for number, profile in enumerate(PROFILES * CALLS):
        ssrc = number + 0x100 * turn  # a road's dice: other ones each time
        guest, host = Phone(ssrc=0x1000 + ssrc, sequence=65_500), Phone(ssrc=0x2000 + ssrc)
        s.send(c.OpenEvidence(f"call-{number}", str(media.folder)))
        s.wait(c.EvidenceOpened)
        media.leg(f"guest-{number}", guest, evidence=f"call-{number}")
        media.leg(f"host-{number}", host)
        s.send(
            c.Join(f"room-{number}", f"host-{number}", "host"),
            c.Join(f"room-{number}", f"guest-{number}", "guest"),
        )
        host.say()
        roads.append(Road(profile, guest))
        hosts.append(host)
    media.settle()
    began, said = time.monotonic(), 0
    heard: list[list[bytes]] = [[] for _ in roads]

    def hear() -> None:
        for number, host in enumerate(hosts):
            host.rtp.setblocking(False)
            try:
                while True:
                    heard[number].append(parse(host.rtp.recv(2000)).payload)
            except BlockingIOError:
                continue

    while said < SECONDS / FRAME or any(road._waiting for road in roads):  # our own class
        now = time.monotonic()
        # Kept from its beat for long it goes on in step: to make up for it all at once would be a flood.
        began = max(began, now - said * FRAME - STALL)
        while said < SECONDS / FRAME and now - began >= said * FRAME:
            for road in roads:
                road.offer(road.phone.packet(_payload(said)), now)
            said += 1
        for road in roads:
            road.go_on(now)
        hear()
        s.poll(0.002)  # who does not read is sent away
    ours = [[payload for payload in payloads if payload.startswith(b"seq")] for payloads in heard]
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not all(
        _awaited(road) <= {*ours[n]} for n, road in enumerate(roads)
    ):
        time.sleep(0.05)
        hear()
        ours = [[payload for payload in payloads if payload.startswith(b"seq")] for payloads in heard]
    for number, road in enumerate(roads):
        s.send(c.CloseEvidence(f"call-{number}"))
        s.wait(c.EvidenceClosed)
        recorded = [
            data for _, _, source, _, data in media.evidence(f"call-{number}") if source == road.phone.address
        ]
        name = road.profile.name
        kept = [parse(data).sequence for data in recorded]
        assert kept == road.left, (
            f"{name}: evidence is not what was sent, {sorted(set(road.left) - set(kept))} are missing: {complaints(media)}"
        )
        assert road.offered - set(kept) == road.lost, f"{name}: other ones are missing"
        came = [parse(data).payload for data in recorded]
        relayed = iter(came)
        assert all(payload in relayed for payload in ours[number]), (
            f"{name}: relayed in another order than it came"
        )
        missing = set(came) - set(ours[number])
        # What left before the first that came has no number: the stream begins with that one.
        assert all(payload < came[0] for payload in missing), f"{name}: lost inside: {len(missing)}"
    assert sum(len(road.lost) for road in roads) > 20, "the roads were bad"
    assert any(road.left != sorted(road.left) for road in roads)


def complaints(media: MediaProcess) -> list[str]:
    """What the media process complained of."""
    log = (media.folder / "worker.log").read_text()
    return [line for line in log.splitlines() if "warning" in line or "error" in line]


def stamped(sock: socket.socket) -> tuple[float, bytes] | None:
    """Receive a datagram with the kernel's own time stamp, seconds since 1970."""
    sock.settimeout(0.5)
    try:
        data, more, _, _ = sock.recvmsg(2000, 64)
    except TimeoutError:
        return None
    ((_, _, stamp),) = more
    seconds, nanoseconds = struct.unpack("qq", stamp)
    return seconds + nanoseconds / 1e9, data


def until(sock: socket.socket, fits: object) -> float:
    """Wait for the datagram that fits; when the kernel got it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = stamped(sock)
        if found is not None and fits(found[1]):  # type: ignore[operator]
            return found[0]
    raise AssertionError("what was waited for did not come")


@both_engines
def test_what_a_phone_asks_for_when_it_loses_pictures(media: MediaProcess, measure: Measure) -> None:
    """PLI goes on to who sends the picture, NACK is answered from what was sent; the bar's 50 ms is measured, not demanded."""
    s = media.signalling
    guest = Phone(payload_type=96, ssrc=0x3333, step=3000)
    host = Phone(payload_type=96, ssrc=0x4444, step=3000)
    media.leg("guest", None, guest, feedback=("nack pli", "nack"))
    media.leg("host", None, host, feedback=("nack pli", "nack"))
    for sock in (guest.rtcp, host.rtp):
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    guest.say(b"G" * 300)
    host.say(b"H" * 300)
    for leg in ("guest", "host"):
        s.wait(c.MediaStarted, lambda event, leg=leg: event.leg == leg)  # type: ignore[misc]
    s.send(c.Join("room", "host", "host"), c.Join("room", "guest", "guest"))
    s.wait(c.Joined, lambda event: event.leg == "guest")
    exchange_rtcp = (host.exchange[0], host.exchange[1] + 1)
    until(guest.rtcp, partial(_holds, PictureLoss))  # the one for the join
    guest.say(b"\x65" * 300)  # a key frame: nobody asks again
    time.sleep(INTERVAL_SECONDS)  # what comes sooner waits
    deadline, asked, came = time.monotonic() + PATIENCE, 0.0, None
    while came is None and time.monotonic() < deadline:
        asked = time.time()
        host.rtcp.sendto(encode_rtcp([ReceiverReport(1), PictureLoss(1, 2)]), exchange_rtcp)
        found = stamped(guest.rtcp)
        came = found[0] if found is not None and _holds(PictureLoss, found[1]) else None
    assert came is not None
    measure("PLI passed on in", (came - asked) * 1000, "ms")
    for _ in range(3):
        guest.say(b"G" * 300)
    ours = parse(_newest(host.rtp)).ssrc
    host.rtcp.sendto(
        encode_rtcp([ReceiverReport(1), Nack(1, ours, (1,))]), exchange_rtcp
    )  # from now on packets are kept
    again, deadline = None, time.monotonic() + PATIENCE
    while again is None and time.monotonic() < deadline:
        guest.say(b"again" * 60)
        sequence = parse(_newest(host.rtp)).sequence
        asked = time.time()
        host.rtcp.sendto(encode_rtcp([ReceiverReport(1), Nack(1, ours, (sequence,))]), exchange_rtcp)
        again = stamped(host.rtp)
    assert again is not None, "no NACK is answered"
    assert parse(again[1]).sequence == sequence
    measure("NACK answered in", (again[0] - asked) * 1000, "ms")


def _newest(sock: socket.socket) -> bytes:
    """The last of the datagrams that come until it is quiet for half a second."""
    newest, deadline = None, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = stamped(sock)
        if found is None and newest is not None:
            return newest[1]
        newest = found or newest
    raise AssertionError("nothing came, or no end of it")


def _holds(kind: type, data: bytes) -> bool:
    return any(isinstance(packet, kind) for packet in parse_rtcp(data))
