"""The jitter buffer of one voice on its way into a mix: packets in, in any order; one each time it is asked. Pure.

push(sequence, entry) ─▶ held by sequence number ─▶ pull() ─▶ entry | LOST | DRY

Only sequence numbers count. A phone's silence is a stretch in which nothing comes: the buffer runs dry, and what comes after
it is played at once, so talkspurts set the delay anew. The delay adapts without a clock: what comes too late for its beat
is played all the same and has made the delay longer; what is always there earlier than needed is merged away (`hurry`).
"""

from collections import deque
from typing import Any, Final, Generic, Protocol, TypeVar

from rtp.sequence import HALF16, MASK16, MAX_MISORDER

T = TypeVar("T")

MAX_MS: Final = 200
"""Sound waiting at most. Beyond, the oldest goes: a conversation bears no more delay."""
MAX_FRAMES: Final = 40
LEAST_FRAMES: Final = 3
"""Packets waiting at most, however short or long they are: 5 ms and 100 ms each."""
PULL_MS: Final = 20
"""What is concealed where a pull gives nothing."""
MAX_AHEAD: Final = 100
"""Packets a sequence number may be ahead of the expected one and still be the same stream: 2 s."""
LEAST_PATIENCE: Final = 100
"""Pulls (2 s) in which a packet has to be there too early each time before the delay is made shorter."""
MOST_PATIENCE: Final = 1600
"""The same where packets have come late: 32 s, doubled up to here each time a shorter delay proved too short."""
STRANGE: Final = 5
"""Packets in a row that come too late, after which it is the stream that has begun anew."""
REMEMBERED: Final = 32
"""Lost packets remembered, to know a late one from a repeated one."""


class Gap:
    """Why `pull` gives no packet."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


LOST: Final = Gap("LOST")
"""A packet is missing and later ones are here: conceal it."""
DRY: Final = Gap("DRY")
"""Nothing is here: conceal, as it may be late."""


class Buffer(Protocol[T]):
    """What a jitter buffer is to a voice: `JitterBuffer`, or its twin in C."""

    begun: bool
    hurry: bool
    span: int

    def push(self, sequence: int, entry: T) -> None:
        """See `JitterBuffer`, as for all of these."""

    def pull(self) -> T | Gap: ...

    def following(self) -> T | None: ...

    def merged(self) -> None: ...

    def snapshot(self) -> dict[str, Any]: ...


class JitterBuffer(Generic[T]):
    """Packets of one voice. `T`: whatever stands for a packet's sound."""

    __slots__ = (
        "_concealed", "_hold", "_least", "_lost", "_next", "_patience", "_pulls", "_rushed", "_strange",
        "begun", "held", "hurry", "late", "lost", "overflown", "span",
    )  # fmt: skip

    def __init__(self) -> None:
        self.held: dict[int, T] = {}
        """By sequence number."""
        self.begun = False
        """A packet has come since the beginning."""
        self.hurry = False
        """The next pull should be followed by another, both sounds merged into one; `merged` says it was done."""
        self.late = self.lost = self.overflown = 0
        """Packets that came when they were concealed already; that never came; that found the buffer full."""
        self.span = PULL_MS
        """ms of sound in a packet, 1 at least: who decodes them says so."""
        self._next = 0
        self._concealed = (
            0  # ms of pulls that found it dry since the last packet: what is missing was concealed by them
        )
        self._hold = False  # a pull to be left out, so that packets out of order find their place
        self._lost: deque[int] = deque(maxlen=REMEMBERED)
        self._strange = 0
        self._pulls = 0
        self._least = MAX_AHEAD
        self._patience = LEAST_PATIENCE
        self._rushed = False

    def push(self, sequence: int, entry: T) -> None:
        """Take a packet; a repeated one changes nothing."""
        held = self.held
        if not self.begun:
            self.begun = True
            self._next = sequence
        ahead = (sequence - self._next) & MASK16
        if ahead < MAX_AHEAD:
            self._strange = 0
            held.setdefault(sequence, entry)
            if len(held) > LEAST_FRAMES and len(held) > self.most:
                self._overflow()
            return
        if ahead >= HALF16 and HALF16 * 2 - ahead <= MAX_MISORDER:
            if sequence in self._lost:
                self._lost.remove(sequence)
                self.late += 1
                self._hold = True
                self._grow_patient()
            self._strange += 1
            if self._strange <= STRANGE:
                return
        self._begin(sequence)
        held[sequence] = entry

    @property
    def most(self) -> int:
        """Packets that may wait."""
        return max(LEAST_FRAMES, min(-(-MAX_MS // self.span), MAX_FRAMES))

    def pull(self) -> T | Gap:
        """Give the packet whose turn it is."""
        held = self.held
        if self._hold and len(held) < self.most:
            self._hold = False
            return DRY
        entry = held.pop(self._next, None)
        if entry is None:
            if not held:
                self._concealed += PULL_MS * self.begun
                return DRY
            entry = self._skip()
            if entry is None:
                return LOST
        if self._concealed:
            # It came, but late: the delay is longer now by what was concealed in its place.
            self._concealed = 0
            self._grow_patient()
        self._next = (self._next + 1) & MASK16
        depth = len(held)
        self._least = min(self._least, depth)
        self._pulls += 1
        if self._pulls >= self._patience:
            self._look_back()
        return entry

    def following(self) -> T | None:
        """What `pull` would give; None when it is not here."""
        return self.held.get(self._next)

    def merged(self) -> None:
        """Two packets were made one: the delay is shorter."""
        self.hurry = False
        self._rushed = True

    def _skip(self) -> T | None:
        """Step over what is missing: for nothing as far as it was concealed while the buffer was dry."""
        while self._concealed >= self.span and self._next not in self.held:
            self._concealed -= self.span
            self._miss()
        entry = self.held.pop(self._next, None)
        if entry is None:
            self._miss()
        return entry

    def _miss(self) -> None:
        self.lost += 1
        self._lost.append(self._next)
        self._next = (self._next + 1) & MASK16

    def _overflow(self) -> None:
        """Leave out the oldest: half of all, so that it does not happen again with the next packet."""
        ordered = sorted(self.held, key=lambda sequence: (sequence - self._next) & MASK16)
        left_out = (len(ordered) - 1) // 2
        for sequence in ordered[:left_out]:
            del self.held[sequence]
            self.overflown += 1
        self._next = ordered[left_out]
        self._concealed = 0
        self.hurry = False

    def _begin(self, sequence: int) -> None:
        self.held.clear()
        self._lost.clear()
        self._next = sequence
        self._concealed = self._strange = 0
        self._hold = self.hurry = False

    def _grow_patient(self) -> None:
        if self._rushed:
            self._rushed = False
            self._patience = min(self._patience * 2, MOST_PATIENCE)
        self._pulls = 0
        self._least = MAX_AHEAD
        self.hurry = False

    def _look_back(self) -> None:
        self.hurry = self._least >= 1
        if not self.hurry and self._patience > LEAST_PATIENCE:
            self._patience //= 2
        self._pulls = 0
        self._least = MAX_AHEAD

    def snapshot(self) -> dict[str, Any]:
        """Give depth, patience and counts as plain data, for a report; sound in flight is not kept."""
        return {
            "held": sorted(self.held),
            "next": self._next,
            "patience": self._patience,
            "late": self.late,
            "lost": self.lost,
            "overflown": self.overflown,
        }
