"""One stream that we send: many sources, one SSRC, no jump (design §6, "the stream stays one stream"). Pure.

source A: 7 8 9 ─┐
silence:  · · ·  ├─▶ 100 101 102 103 104 …   sequence +1 and timestamp + elapsed time where the source changes
source B: 55 57 ─┘                            within a source its own gaps stay: 55 57 leaves as 105 107

A *source* is a number the caller chooses: another one for every peer, every restart of a peer's counters, every play.
Sources are relayed (their packets carry sequence and timestamp) or local (prompt, silence: made here, 20 ms each).
"""

from typing import Any, Final, Self

from rtp.sequence import HALF16, HALF32, MASK16, MASK32, MAX_DROPOUT, signed32, ticks

NOBODY: Final = 0
"""The source before the first and between two."""
MAX_LEAD_SECONDS: Final = 1.0
"""How far the timestamps of a source that resumes may run ahead of the time that passed and still be believed."""
MAX_LATE: Final = 100
"""Packets of sound a source may have missing when it resumes and still get a number each: 2 s, later nobody plays them."""
MAX_RESUMED: Final = 25
"""Resumptions whose numbering is remembered for late packets: silence begins after 40 ms, so these are a second at least."""
SEAM_SECONDS: Final = 0.060
"""A pause up to this long is no pause of the speaker but of the way: three packets, as in `local`."""


FIELDS: Final = (
    "_ahead",
    "_before",
    "_floor",
    "_left",
    "_offset_source",
    "at",
    "rate",
    "relaying",
    "sequence",
    "sequence_offset",
    "source",
    "ssrc",
    "timestamp",
    "timestamp_offset",
)


NO_FIELDS: Final = ()
"""Slots of a class whose fields are its subclasses'."""


class Numbering:
    """Sequence numbers and timestamps of one medium of one leg, for the leg's whole life.

    `sequence`, `timestamp` and `at` (monotonic seconds) are those of the newest packet sent. Where the numbers lie is the
    subclass's: here, or beside the native engine.
    """

    __slots__ = NO_FIELDS
    ssrc: int
    sequence: int
    timestamp: int
    at: float | None
    """When the newest packet left; None before the first."""
    rate: int
    source: int
    relaying: bool
    """The present source is a relayed one."""
    sequence_offset: int
    timestamp_offset: int
    _offset_source: int
    _floor: int
    """The newest number used by the source before this one."""
    _left: int
    """The newest number of the relayed source that resumes, when something else took its place."""
    _before: tuple[tuple[int, int, int, int], ...]
    """How that source was numbered before it last resumed, newest first: (`_floor`, `_left`, offset of sequence, of timestamp)."""
    _ahead: int
    """Ticks by which timestamps ran ahead of time, given back at the next change of source."""

    def __init__(self, ssrc: int, sequence: int, timestamp: int) -> None:
        """Random numbers, chosen by the caller (RFC 3550 §5.1): SSRC, and what the first packet follows."""
        self.ssrc = ssrc
        self.sequence = sequence
        self.timestamp = timestamp
        self.at = None
        self.rate = 0
        self.source = NOBODY
        self.relaying = False
        self.sequence_offset = 0
        self.timestamp_offset = 0
        self._offset_source = NOBODY
        self._floor = self._left = sequence
        self._before = ()
        self._ahead = 0

    def enter(self, source: int, sequence: int, timestamp: int, rate: int, step: int, now: float) -> None:  # noqa: PLR0917  # keywords cost on the packet road
        """Let a relayed source begin, or resume, with the packet that has this sequence number and timestamp.

        `step`: the fewest timestamp units between two sources' packets; 1 for a picture. The packet itself is then mapped by
        `relay`; one that was overtaken by its successors and by something local is mapped without that its source resumes.
        """
        elapsed = self._elapsed(rate, now)
        resumed = source == self._offset_source and rate == self.rate
        room = 0
        if resumed:
            missing = (sequence + self.sequence_offset - self._left - 1) & MASK16
            older = (timestamp + self.timestamp_offset - self.timestamp) & MASK32 >= HALF32
            if older and MASK16 - missing <= MAX_LATE:
                return  # it was sent before what this source sent last: `relay` knows its place
            if step > 1 and missing <= MAX_LATE:
                room = missing  # a number for each: they were overtaken by something local and may still come
            left = (self._floor, self._left, self.sequence_offset, self.timestamp_offset)
            self._before = (left, *self._before[: MAX_RESUMED - 1])
        else:
            self._before = ()
        if not (resumed and room < (sequence + self.sequence_offset - self.sequence) & MASK16 < MAX_DROPOUT):
            self.sequence_offset = (self.sequence + 1 + room - sequence) & MASK16
        lead = (timestamp + self.timestamp_offset - self.timestamp) & MASK32
        if not (resumed and step <= lead <= elapsed + ticks(MAX_LEAD_SECONDS, rate)):
            late = resumed and (lead < step or lead >= HALF32)
            before = self.timestamp_offset
            advance = step if late else self._advance(elapsed, step)
            self.timestamp_offset = (self.timestamp + advance - timestamp) & MASK32
            if late:
                # What is late was replaced by something local already: the stream now runs ahead of the clock.
                self._ahead += max(0, signed32(before, self.timestamp_offset))
        self._floor = self.sequence
        self._offset_source = self.source = source
        self.rate = rate
        self.relaying = True

    def relay(self, sequence: int, timestamp: int, now: float) -> tuple[int, int] | None:
        """Map one packet of the present relayed source: (sequence, timestamp) to send.

        None for a packet older than the source's first: its number belongs to the source before.
        """
        sequence = (sequence + self.sequence_offset) & MASK16
        timestamp = (timestamp + self.timestamp_offset) & MASK32
        if (sequence - self.sequence) & MASK16 < HALF16:
            self.sequence = sequence
            self.timestamp = timestamp
            self.at = now
        elif (sequence - self._floor - 1) & MASK16 >= HALF16:
            return self._late(sequence - self.sequence_offset, timestamp - self.timestamp_offset)
        return sequence, timestamp

    def _late(self, sequence: int, timestamp: int) -> tuple[int, int] | None:
        """Map a packet that its source sent before it last resumed, as it was mapped then; None without a place of its own."""
        for floor, left, sequence_offset, timestamp_offset in self._before:
            number = (sequence + sequence_offset) & MASK16
            if (number - floor - 1) & MASK16 < HALF16 and (left - number) & MASK16 < HALF16:
                return number, (timestamp + timestamp_offset) & MASK32
        return None

    def local(self, source: int, rate: int, step: int, now: float) -> tuple[int, int, bool]:
        """Number the next packet of a local source: (sequence, timestamp, whether it is the source's first).

        `step`: timestamp units since the source's last packet; 0 repeats the timestamp (RFC 4733 events), and leaves `at`.
        """
        first = source != self.source
        if first and self.source == self._offset_source:
            self._left = self.sequence
        self.sequence = (self.sequence + 1) & MASK16
        elapsed = self._elapsed(rate, now)
        if first or elapsed > 3 * step > 0:  # after a stall, time has passed that no packet stands for
            self.timestamp = (self.timestamp + self._advance(elapsed, step)) & MASK32
            self.at = now
        elif step:
            self.timestamp = (self.timestamp + step) & MASK32
            self.at = now
        self.source = source
        self.rate = rate
        self.relaying = False
        return self.sequence, self.timestamp, first

    def skip(self, packets: int, units: int) -> None:
        """Leave out numbers in the present source: packets that its own source lost."""
        self.sequence = (self.sequence + packets) & MASK16
        self.timestamp = (self.timestamp + units) & MASK32

    def go_on(self, source: int, now: float) -> None:
        """Let another way of the same sound take over without a seam: mixed now, relayed before, or the other way round.

        A local `source` follows as the present source's next packet would; a relayed one if `close_up` is called before.
        """
        if self.at is not None and now - self.at <= SEAM_SECONDS:
            self.source = source
            self.relaying = True

    def close_up(self, now: float) -> None:
        """Let the next source follow the newest packet at once, as if no time had passed; after a long pause it has."""
        if self.at is not None and now - self.at <= SEAM_SECONDS:
            self.at = now

    def part(self) -> None:
        """End the present source; whatever comes next, the same one too, begins anew with the marker set."""
        self.source = self._offset_source = NOBODY
        self.relaying = False

    def timestamp_at(self, now: float) -> int:
        """The timestamp of this moment, for a sender report (RFC 3550 §6.4.1)."""
        if self.at is None:
            return self.timestamp
        return (self.timestamp + ticks(max(0.0, now - self.at), self.rate)) & MASK32

    def _elapsed(self, rate: int, now: float) -> int:
        return 0 if self.at is None else ticks(max(0.0, now - self.at), rate)

    def _advance(self, elapsed: int, step: int) -> int:
        """Timestamp units from one source's last packet to the next source's first."""
        advance = max(step, elapsed - self._ahead, 1)
        self._ahead = max(0, self._ahead - max(0, elapsed - advance))
        return advance % HALF32

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data."""
        data = {name: getattr(self, name) for name in FIELDS}
        return {**data, "_before": [list(numbers) for numbers in self._before]}

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Make a stream that goes on where `snapshot` was taken."""
        stream = cls(data["ssrc"], data["sequence"], data["timestamp"])
        for name in FIELDS:
            setattr(stream, name, data[name])
        stream._before = tuple(tuple(numbers) for numbers in data["_before"])  # our own
        return stream


class OutStream(Numbering):
    """The numbers of one stream, in memory of Python's."""

    __slots__ = FIELDS
