"""Reception statistics of one medium of a peer: sequence, loss, jitter (RFC 3550 A.1, A.3, A.8). Pure, integers only.

A source is valid by its address (see `latch`), so there is no probation of a new SSRC. Totals run on when the peer
changes its SSRC or restarts its counters; the fields of a reception report are those of the present SSRC.
"""

from typing import Any, Final, Self

from rtp.rtcp import ReportBlock
from rtp.sequence import HALF32, MASK16, MASK32, MAX_DROPOUT, MAX_MISORDER

SAME: Final = 0
"""The packet continues the stream."""
RESTARTED: Final = 1
"""The packet begins a stream: another SSRC, or the counters of this one started anew."""
LEAPT: Final = 2
"""The sequence number leapt; valid only if the next packet follows it. Not counted as received."""

_FIRST_LATE: Final = 65536 - MAX_MISORDER
_NONE: Final = -1


FIELDS: Final = (
    "_bad",
    "_base",
    "_expected_before",
    "_expected_prior",
    "_received_before",
    "_received_prior",
    "count",
    "cycles",
    "gaps",
    "highest",
    "jitter16",
    "rate",
    "ssrc",
    "transit",
)


NO_FIELDS: Final = ()
"""Slots of a class whose fields are its subclasses'."""


class Counting:
    """What is done with the counters of a source; where they lie is the subclass's: here, or beside the native engine."""

    __slots__ = NO_FIELDS
    ssrc: int
    """SSRC of the stream, −1 before the first packet."""
    rate: int
    """Hz of the timestamps seen last."""
    gaps: int
    """How often a packet was missing between two; grows for ever."""
    # Public for the packet road alone (`track`), which counts the usual packet in line:
    highest: int
    """Highest sequence number received, 0…65535; meaningless while `ssrc` is −1."""
    cycles: int
    """65536 for each time it wrapped."""
    count: int
    """Packets received since the last RESTARTED."""
    jitter16: int
    """Interarrival jitter in 1/16 of a timestamp unit."""
    transit: int
    """Arrival less timestamp of the newest packet, −1 before the first."""
    _bad: int
    _base: int
    _expected_before: int
    _expected_prior: int
    _received_before: int
    _received_prior: int

    def __init__(self) -> None:
        self.ssrc = self.transit = _NONE
        self.rate = self.gaps = 0
        self.highest = self.cycles = self.count = self.jitter16 = 0
        self._base = 0
        self._bad = _NONE
        self._received_before = self._expected_before = 0
        self._received_prior = self._expected_prior = 0

    def receive(self, ssrc: int, sequence: int, timestamp: int, rate: int, arrival: int) -> int:
        """Count one packet: SAME, RESTARTED or LEAPT. `rate`: Hz of its clock, `arrival`: the time in units of it."""
        if ssrc != self.ssrc:
            self._begin(ssrc, sequence)
            self.transit = _NONE
            verdict = RESTARTED
        else:
            verdict = SAME
            step = (sequence - self.highest) & MASK16
            if step < MAX_DROPOUT:
                if sequence < self.highest:
                    self.cycles += 65536
                self.highest = sequence
                if step > 1:
                    self.gaps += 1
            elif step <= _FIRST_LATE:
                # RFC 3550 A.1: "Two sequential packets -- assume that the other side restarted without telling us".
                if sequence != self._bad:
                    self._bad = (sequence + 1) & MASK16
                    return LEAPT
                self._begin(ssrc, (sequence - 1) & MASK16)
                self.highest = sequence
                verdict = RESTARTED
        self.count += 1
        # RFC 3550 A.8, with the scaled integer form it recommends.
        transit = (arrival - timestamp) & MASK32
        if self.transit != _NONE and rate == self.rate:
            change = (transit - self.transit) & MASK32
            if change >= HALF32:
                change = MASK32 + 1 - change
            self.jitter16 += change - ((self.jitter16 + 8) >> 4)
        self.transit = transit
        self.rate = rate
        return verdict

    def _begin(self, ssrc: int, sequence: int) -> None:
        self._expected_before += self._expected
        self._received_before += self.count
        self.ssrc = ssrc
        self._base = self.highest = sequence
        self.cycles = self.count = 0
        self._bad = _NONE
        self._received_prior = self._expected_prior = 0

    @property
    def extended_highest(self) -> int:
        """Highest sequence number with its cycles (32 bits)."""
        return (self.cycles + self.highest) & MASK32

    @property
    def _expected(self) -> int:
        return self.cycles + self.highest - self._base + 1 if self.ssrc != _NONE else 0

    @property
    def received(self) -> int:
        """Packets received of all SSRCs, repeated ones too."""
        return self._received_before + self.count

    @property
    def lost(self) -> int:
        """Packets expected of all SSRCs less those received; repeated ones can make it negative (RFC 3550 A.3)."""
        return self._expected_before + self._expected - self.received

    @property
    def jitter(self) -> int:
        """Interarrival jitter in timestamp units."""
        return self.jitter16 >> 4

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter in ms."""
        return self.jitter * 1000 / self.rate if self.rate else 0.0

    def report(self, last_sr: int, delay: int) -> ReportBlock | None:
        """The block of the next reception report, None before the first packet.

        `last_sr`: middle 32 bits of the NTP time of the last sender report, `delay` since then in 1/65536 s; 0, 0 before one.
        """
        if self.ssrc == _NONE:
            return None
        expected = self._expected - self._expected_prior
        lost = expected - (self.count - self._received_prior)
        self._expected_prior, self._received_prior = self._expected, self.count
        fraction = (lost << 8) // expected if expected > 0 and lost > 0 else 0
        # RFC 3550 §6.4.1: a signed 24-bit number, "clamped at 0x7fffff for positive loss or 0x800000 for negative".
        total = max(-0x800000, min(0x7FFFFF, self._expected - self.count))
        return ReportBlock(
            self.ssrc, min(fraction, 255), total, self.extended_highest, self.jitter, last_sr, delay
        )

    def snapshot(self) -> dict[str, Any]:
        """Give all counters as plain data."""
        return {name: getattr(self, name) for name in FIELDS}

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Make a source that goes on where `snapshot` was taken."""
        source = cls()
        for name in FIELDS:
            setattr(source, name, data[name])
        return source


class Source(Counting):
    """What arrived from one peer on one medium."""

    __slots__ = FIELDS
