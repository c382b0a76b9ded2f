"""What media processes report of themselves now and then, as metrics: packets of each leg, and what sound costs.

in → out: `LegReport`, `SoundLoad` → `pbx.packet_counts`, `pbx.sound_cost`; who was reported is told on.
"""

from collections.abc import Callable, Container

from pbx.metrics import Metrics
from pbx.packet_counts import PacketCounts
from pbx.sound_cost import SoundCost
from rtp.control import Event, LegReport, SoundLoad


class MediaReports:
    """See the module."""

    def __init__(self, metrics: Metrics, reported: Callable[[str], None]) -> None:
        """`reported` hears of each leg that was reported."""
        self._packets = PacketCounts(metrics)
        self._sound_cost = SoundCost(metrics)
        self._reported = reported

    def take(self, event: Event) -> None:
        """Count a report; any other event is none of ours."""
        if isinstance(event, SoundLoad):
            self._sound_cost.take(event)
        elif isinstance(event, LegReport):
            self._reported(event.leg)
            for stream in event.streams:
                self._packets.add(event.leg, stream)

    def forget(self, legs: Container[str]) -> None:
        """Drop what was counted of all legs but `legs`."""
        self._packets.forget(legs)
