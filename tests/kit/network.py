"""A virtual network: carries bytes between pure machines, loses, doubles and reorders them as a seed says.

in → out: `attach(address, node)`, `send(...)`, then `run(until)` jumps from one arrival or wake-up to the next. No
socket, no thread, no sleep; the same seed gives the same run, and `trace` tells what became of every packet.
"""

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tests.kit.clock import Clock

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Road:
    """What happens to packets; chances from 0 to 1, times in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """Chance of a packet to be held back by up to `hold`, so that later ones overtake it."""
    delay: float = 0.02
    jitter: float = 0.0
    hold: float = 0.3


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet and its fate: when it was sent and when its copies arrive (none: lost)."""

    source: Address
    destination: Address
    data: bytes
    sent: float
    arrivals: tuple[float, ...]


class Node(Protocol):
    """A machine with an address."""

    @property
    def next_due(self) -> float | None:
        """When it wants `expire` to be called."""

    def receive(self, data: bytes, source: Address, now: float) -> Iterable[tuple[bytes, Address]]:
        """Take a packet; return packets to send, each with its destination."""

    def expire(self, now: float) -> Iterable[tuple[bytes, Address]]:
        """Take a wake-up; return packets to send."""


class Network:
    """Nodes, the road between them, and the time."""

    def __init__(self, seed: int, road: Road | None = None) -> None:
        self.clock = Clock()
        self.road = road or Road()
        self.trace: list[Packet] = []
        self._random = random.Random(seed)
        self._nodes: dict[Address, Node] = {}
        self._flying: list[tuple[float, int, Address, Address, bytes]] = []
        self._count = 0

    def attach(self, address: Address, node: Node) -> None:
        self._nodes[address] = node

    def send(self, source: Address, packets: Iterable[tuple[bytes, Address]]) -> None:
        """Put packets of `source` on the road, now."""
        for data, destination in packets:
            copies = 0 if self._random.random() < self.road.loss else 1
            copies += copies and self._random.random() < self.road.duplicate
            arrivals = tuple(self.clock.now + self._travel() for _ in range(copies))
            self.trace.append(Packet(source, destination, data, self.clock.now, arrivals))
            for arrival in arrivals:
                self._count += 1
                heapq.heappush(self._flying, (arrival, self._count, source, destination, data))

    def _travel(self) -> float:
        road, chance = self.road, self._random
        held = chance.random() * road.hold if chance.random() < road.reorder else 0.0
        return road.delay + chance.random() * road.jitter + held

    def step(self, until: float) -> bool:
        """Do what comes next, arrivals before wake-ups of the same moment; False when nothing comes by `until`."""
        due = [(node.next_due, address) for address, node in self._nodes.items() if node.next_due is not None]
        wake = min(due, default=None)
        if self._flying and (wake is None or self._flying[0][0] <= wake[0]):
            if self._flying[0][0] > until:
                return False
            arrival, _, source, destination, data = heapq.heappop(self._flying)
            now = self.clock.to(max(arrival, self.clock.now))
            if destination in self._nodes:
                self.send(destination, self._nodes[destination].receive(data, source, now))
            return True
        if wake is None or wake[0] > until:
            return False
        now = self.clock.to(max(wake[0], self.clock.now))
        self.send(wake[1], self._nodes[wake[1]].expire(now))
        return True

    def run(self, seconds: float) -> None:
        """Let up to `seconds` pass; ends early when nothing flies and nobody waits. Fails when it never calms down."""
        until = self.clock.now + seconds
        for _ in range(1_000_000):
            if not self.step(until):
                return
        raise AssertionError("the network does not calm down")
