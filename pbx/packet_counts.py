"""Packets of all legs as one metric.

in → out: the growing counts of each leg's reports → steps of the counter.
"""

from collections.abc import Iterable

from pbx.metrics import Metrics
from rtp.control import StreamReport


class PacketCounts:
    """Turns the growing counts of each leg into steps of the metric."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seen: dict[tuple[str, str], tuple[int, int, int, int]] = {}

    def add(self, leg: str, stream: StreamReport) -> None:
        """Take one report."""
        now = (stream.received, stream.sent, stream.lost, stream.rejected)
        before = self._seen.get((leg, stream.medium), (0, 0, 0, 0))
        for what, new, old in zip(("received", "sent", "lost", "rejected"), now, before, strict=True):
            self._metrics.packets.labels(what).inc(max(0, new - old))
        self._seen[leg, stream.medium] = now

    def forget(self, legs: Iterable[str]) -> None:
        """Drop the counts of all legs but `legs`."""
        kept = set(legs)
        self._seen = {key: value for key, value in self._seen.items() if key[0] in kept}
