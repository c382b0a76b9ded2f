"""Sort the packets of a capture by sender, put them in order and name the moment of each.

in → out: `Captured` in the order of the file → `Heard`: sender, codec, moment, units of sound or picture.

Moments need the whole of a sender's packets (`timeline.place`), so a capture is heard twice: the first `Listener`
collects times, the second is given `moments(first)`. Both see the same packets in the same order.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from recordings.depacketize import DEPACKETIZERS, AccessUnit, Depacketizer
from recordings.pcapng import Captured
from recordings.reorder import Ordered, Reorder
from recordings.rtp_header import parse_rtp
from recordings.streams import Format, Party, StreamMap
from recordings.timeline import Nanoseconds, Steady, place, unwrap

MAX_SENDERS: Final = 64
"""Synchronisation sources of one call that are rendered: a dozen re-negotiations and transfers, not a flood of SSRCs."""
MAX_MEDIA_NS: Final = 1 << 60
"""A sender's clock is begun anew before it leaves 64 bits (36 years)."""

RECENT: Final = 8
"""Timestamps a unit may be late by: one is enough, more do no harm."""

SenderKey = tuple[str, str, int]
"""(leg, medium, SSRC)."""


@dataclass(slots=True)
class Sender:
    """One SSRC on one leg."""

    party: Party
    medium: str
    ssrc: int
    order: Reorder = field(default_factory=Reorder)
    depacketizers: dict[Format, Depacketizer] = field(default_factory=dict)
    packets: int = 0
    unknown: int = 0
    """Packets of a payload type nobody negotiated, or of no medium (events, comfort noise)."""
    incomplete: int = 0
    """Pictures of which a part is missing."""
    clock: tuple[int, int] | None = None
    """(extended timestamp, media time in ns) of the packet before."""
    arrivals: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    placed: int = 0
    """Packets that have got their moment in the second hearing."""
    recent: dict[int, int] = field(default_factory=dict)
    """Moment of the first packet of each of the last RTP timestamps."""

    @property
    def bad(self) -> int:
        """Payloads that could not be understood."""
        return sum(depacketizer.bad for depacketizer in self.depacketizers.values())

    def media_time(self, timestamp: int, clock_rate: int) -> int:
        """Give the sender's own time in ns, counted from its first packet."""
        if self.clock is None or abs(self.clock[1]) > MAX_MEDIA_NS:
            self.clock = (timestamp, 0)
        else:
            extended, media = self.clock
            now = unwrap(extended, timestamp)
            self.clock = (now, media + (now - extended) * 1_000_000_000 // clock_rate)
        return self.clock[1]


@dataclass(frozen=True, slots=True)
class Heard:
    """One unit of sound or picture."""

    key: SenderKey
    party: Party
    medium: str
    format: Format
    moment: int
    """Wall clock, ns, of the first packet of the unit; in a first hearing its arrival."""
    unit: AccessUnit


class Listener:
    """One hearing of a capture."""

    def __init__(self, streams: StreamMap, moments: dict[SenderKey, Nanoseconds] | None = None) -> None:
        self.senders: dict[SenderKey, Sender] = {}
        self.ignored = 0
        """Packets of senders beyond `MAX_SENDERS`, of our own, of strangers, and what is no RTP."""
        self.steady = Steady()
        self.now = 0
        """Arrival of the last packet taken, ns."""
        self._streams = streams
        self._moments = moments

    @property
    def start(self) -> int:
        """First moment of all, ns; only in a second hearing, and only if there is one."""
        assert self._moments is not None, "a first hearing knows no moments"
        return min(int(row.min()) for row in self._moments.values() if len(row))

    def hear(self, record: Captured) -> Iterator[Heard]:
        """Take the next record of the file; gives the units that are finished."""
        packet = parse_rtp(record.data)
        match = None
        if packet is not None:
            match = self._streams.find(record.at_ns, record.source, record.destination, packet.payload_type)
        if packet is None or match is None:
            self.ignored += 1
            return
        key = (match.leg, match.medium, packet.ssrc)
        sender = self.senders.get(key)
        if sender is None:
            if len(self.senders) >= MAX_SENDERS:
                self.ignored += 1
                return
            sender = self.senders[key] = Sender(match.party, match.medium, packet.ssrc)
        self.now = self.steady.at(record.at_ns)
        sender.packets += 1
        for ordered in sender.order.push(packet, self.now, match.format):
            yield from self._take(key, sender, ordered)

    def flush(self) -> Iterator[Heard]:
        """Give what was still held when the file ended."""
        for key, sender in self.senders.items():
            for ordered in sender.order.flush():
                yield from self._take(key, sender, ordered)
            for form, depacketizer in sender.depacketizers.items():
                yield from self._heard(key, sender, form, depacketizer.flush())

    def _take(self, key: SenderKey, sender: Sender, ordered: Ordered) -> Iterator[Heard]:
        packet, form = ordered.packet, ordered.format
        if ordered.gap:
            for depacketizer in sender.depacketizers.values():
                depacketizer.lost()
        if form is None or form.name not in DEPACKETIZERS:
            sender.unknown += 1
            return
        if self._moments is None:
            sender.arrivals.append(ordered.at_ns)
            sender.times.append(sender.media_time(packet.timestamp, form.clock_rate))
            moment = ordered.at_ns
        else:
            moment = int(self._moments[key][sender.placed])
            sender.placed += 1
        if packet.timestamp not in sender.recent:
            sender.recent[packet.timestamp] = moment
            if len(sender.recent) > RECENT:
                del sender.recent[next(iter(sender.recent))]
        if form not in sender.depacketizers:
            sender.depacketizers[form] = DEPACKETIZERS[form.name]()
        units = sender.depacketizers[form].push(packet.payload, packet.marker, packet.timestamp)
        yield from self._heard(key, sender, form, units)

    def _heard(
        self, key: SenderKey, sender: Sender, form: Format, units: list[AccessUnit]
    ) -> Iterator[Heard]:
        for unit in units:
            sender.incomplete += not unit.complete
            moment = sender.recent.get(unit.timestamp, self.now)
            yield Heard(key, sender.party, sender.medium, form, moment, unit)


def moments(first: Listener) -> dict[SenderKey, Nanoseconds]:
    """Give the moment of every packet of every sender, from a first hearing that is over."""
    return {
        key: place(np.array(sender.arrivals, dtype=np.int64), np.array(sender.times, dtype=np.int64))
        for key, sender in first.senders.items()
    }
