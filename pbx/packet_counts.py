"""Packets and bytes of all legs as metrics, and how well they can be listened to.

in → out: the growing counts of each leg's reports → steps of the counter.
"""

from collections.abc import Iterable
from typing import Final

from pbx.metrics import Metrics
from rtp.control import StreamReport

COUNTED: Final = ("received", "sent", "lost", "rejected", "unsent")
"""Of a `StreamReport`, as labels of the metric."""


class PacketCounts:
    """Turns the growing counts of each leg into steps of the metric."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seen: dict[tuple[str, str], tuple[int, ...]] = {}
        self._bytes: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, leg: str, stream: StreamReport) -> None:
        """Take one report."""
        now = tuple(getattr(stream, what) for what in COUNTED)
        before = self._seen.get((leg, stream.medium), (0,) * len(COUNTED))
        for what, new, old in zip(COUNTED, now, before, strict=True):
            self._metrics.packets.labels(what).inc(max(0, new - old))
        self._seen[leg, stream.medium] = now
        both = (stream.bytes_received, stream.bytes_sent)
        for direction, new, old in zip(
            ("received", "sent"), both, self._bytes.get((leg, stream.medium), (0, 0)), strict=True
        ):
            self._metrics.media_bytes.labels(stream.medium, direction).inc(max(0, new - old))
        self._bytes[leg, stream.medium] = both
        if stream.mos is not None:
            self._metrics.listening.observe(stream.mos)

    def forget(self, legs: Iterable[str]) -> None:
        """Drop the counts of all legs but `legs`."""
        kept = set(legs)
        self._seen = {key: value for key, value in self._seen.items() if key[0] in kept}
        self._bytes = {key: value for key, value in self._bytes.items() if key[0] in kept}
