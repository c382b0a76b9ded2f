"""Put the RTP packets of one sender back into the order they were sent in.

in → out: packets as they arrived → the same packets by sequence number, each saying whether some are missing before it.

Packets are held while one before them may still come, at most `WINDOW` of them; then the gap is final. A duplicate
or a packet behind a final gap is dropped and counted. A jump too far to be loss is a new beginning (RFC 3550 A.1).
"""

from dataclasses import dataclass
from typing import Final

from recordings.rtp_header import RtpPacket
from recordings.streams import Format

WINDOW: Final = 64
"""Packets waited for: a second of sound, or one key frame; reordering in networks is rarely more than ten deep."""
MAX_DROPOUT: Final = 3000
"""RFC 3550 A.1: a gap larger than this is a sender that began anew."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A packet in its place."""

    packet: RtpPacket
    at_ns: int
    format: Format | None
    """What its payload type meant when it arrived."""
    gap: bool
    """Packets before this one never came, or the sender began anew."""


class Reorder:
    """One sender (one SSRC on one leg)."""

    def __init__(self) -> None:
        self.duplicates = 0
        self.late = 0
        self.missing = 0
        """Sequence numbers given up on; restarts of the sender not counted."""
        self._next: int | None = None
        self._held: dict[int, tuple[RtpPacket, int, Format | None]] = {}

    def push(self, packet: RtpPacket, at_ns: int, form: Format | None) -> list[Ordered]:
        """Take a packet as it arrived; gives those whose turn has come."""
        if self._next is None:
            self._next = packet.sequence
        ahead = (packet.sequence - self._next) & 0xFFFF
        if ahead >= 0x8000:
            if 0x10000 - ahead <= MAX_DROPOUT:
                self.late += 1
                return []
            return self._restart(packet, at_ns, form)
        if ahead > MAX_DROPOUT:
            return self._restart(packet, at_ns, form)
        if packet.sequence in self._held:
            self.duplicates += 1
            return []
        self._held[packet.sequence] = (packet, at_ns, form)
        out = self._run(gap=False)
        while len(self._held) > WINDOW:
            out += self._skip()
        return out

    def flush(self) -> list[Ordered]:
        """Give everything that is held, whatever is missing between."""
        out: list[Ordered] = []
        while self._held:
            out += self._skip()
        return out

    def _run(self, *, gap: bool) -> list[Ordered]:
        out: list[Ordered] = []
        assert self._next is not None, "only called behind a first packet"
        while (found := self._held.pop(self._next, None)) is not None:
            out.append(Ordered(*found, gap))
            gap = False
            self._next = (self._next + 1) & 0xFFFF
        return out

    def _skip(self) -> list[Ordered]:
        """Give up on what is missing before the nearest held packet."""
        assert self._next is not None, "only called behind a first packet"
        base = self._next
        nearest = min(self._held, key=lambda sequence: (sequence - base) & 0xFFFF)
        self.missing += (nearest - base) & 0xFFFF
        self._next = nearest
        return self._run(gap=nearest != base)

    def _restart(self, packet: RtpPacket, at_ns: int, form: Format | None) -> list[Ordered]:
        out = self.flush()
        self._next = packet.sequence
        self._held[packet.sequence] = (packet, at_ns, form)
        return out + self._run(gap=True)
