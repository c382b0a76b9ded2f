"""Packets and bytes of all legs as metrics, and how well they can be listened to.

in → out: the growing counts of each leg's reports → steps of the counter.
"""

from collections.abc import Container
from operator import attrgetter
from typing import Final

from prometheus_client import Counter

from pbx.metrics import Metrics
from rtp.control import StreamReport

COUNTED: Final = ("received", "sent", "lost", "rejected", "unsent")
"""Of a `StreamReport`, as labels of the metric."""
_COUNTS: Final = attrgetter(*COUNTED)
_NOTHING: Final = (0,) * (len(COUNTED) + 2)


class PacketCounts:
    """Turns the growing counts of each leg into steps of the metric."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._packets = [metrics.packets.labels(what) for what in COUNTED]
        self._of_bytes: dict[str, tuple[Counter, Counter]] = {}
        self._seen: dict[tuple[str, str], tuple[int, ...]] = {}

    def add(self, leg: str, stream: StreamReport) -> None:
        """Take one report."""
        of_bytes = self._of_bytes.get(stream.medium)
        if of_bytes is None:
            labels = self._metrics.media_bytes.labels
            of_bytes = labels(stream.medium, "received"), labels(stream.medium, "sent")
            self._of_bytes[stream.medium] = of_bytes
        now = (*_COUNTS(stream), stream.bytes_received, stream.bytes_sent)
        before = self._seen.get((leg, stream.medium), _NOTHING)
        for counter, new, old in zip((*self._packets, *of_bytes), now, before, strict=True):
            if new > old:
                counter.inc(new - old)
        self._seen[leg, stream.medium] = now
        if stream.mos is not None:
            self._metrics.listening.observe(stream.mos)

    def forget(self, legs: Container[str]) -> None:
        """Drop the counts of all legs but `legs`."""
        for key in [key for key in self._seen if key[0] not in legs]:
            del self._seen[key]
