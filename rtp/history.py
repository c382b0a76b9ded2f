"""The packets that were sent last, for a peer that says which of them it misses (RFC 4585 §6.2.1). Pure.

packet ─▶ before (in the clear) ─▶ [seal] ─▶ after (as it leaves) ─▶ socket
NACK ─▶ wanted ─▶ the very same bytes again: an encrypted packet is never encrypted twice

It is made with the first NACK of a peer, so a leg that loses nothing pays nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

MAX_PACKETS: Final = 256
"""Four seconds of a picture; who misses more needs a key frame."""
MAX_TIMES: Final = 3
"""How often one packet is sent again."""
AGAIN_SECONDS: Final = 0.05
"""Between two of those: a peer repeats its NACK while the packet is under way."""
PER_SECOND: Final = 200
"""Packets sent again in a second, whatever is asked: 16 bytes of NACK ask for 17 packets."""

Transmit = Callable[[bytes], int]


class History:
    """What one medium of a leg was sent."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[bytes, bytes]] = {}
        self._again: dict[int, tuple[int, float]] = {}
        self._clear: bytes | None = None
        self._second = float("-inf")
        self._spent = 0

    def before(self, onward: Transmit) -> Transmit:
        """See each packet before it is sealed."""

        def transmit(packet: bytes) -> int:
            self._clear = packet
            return onward(packet)

        return transmit

    def after(self, onward: Transmit) -> Transmit:
        """See it as it leaves, and keep both."""

        def transmit(wire: bytes) -> int:
            clear, self._clear = self._clear, None
            if clear is not None:
                sequence = int.from_bytes(clear[2:4], "big")
                self._kept.pop(sequence, None)
                self._kept[sequence] = (clear, wire)
                self._again.pop(sequence, None)
                if len(self._kept) > MAX_PACKETS:
                    oldest = next(iter(self._kept))
                    del self._kept[oldest]
                    self._again.pop(oldest, None)
            return onward(wire)

        return transmit

    def wanted(self, sequences: Iterable[int], now: float) -> list[tuple[bytes, bytes]]:
        """Give what is to be sent again: (as it was before it was sealed, as it left); `now`: monotonic seconds."""
        if now - self._second >= 1.0:
            self._second, self._spent = now, 0
        found = []
        for sequence in sequences:
            kept = self._kept.get(sequence)
            times, at = self._again.get(sequence, (0, float("-inf")))
            if kept is None or times >= MAX_TIMES or now - at < AGAIN_SECONDS or self._spent >= PER_SECOND:
                continue
            self._again[sequence] = (times + 1, now)
            self._spent += 1
            found.append(kept)
        return found

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data; a packet that left as it was stands there once."""
        return {
            "kept": [[clear, None if wire == clear else wire] for clear, wire in self._kept.values()],
            "again": [[sequence, times, at] for sequence, (times, at) in self._again.items()],
            "second": self._second,
            "spent": self._spent,
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "History":
        """Make a history that goes on where `snapshot` was taken."""
        history = cls()
        for clear, wire in data["kept"]:
            history._kept[int.from_bytes(clear[2:4], "big")] = (clear, clear if wire is None else wire)
        history._again = {sequence: (times, at) for sequence, times, at in data["again"]}
        history._second, history._spent = data["second"], data["spent"]
        return history
