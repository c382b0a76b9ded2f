"""What sound costs in the media process, as metrics.

in → out: `SoundLoad` with sums since that process began → counters that only grow, also when it begins anew.
"""

from pbx.metrics import Metrics
from rtp.control import SoundLoad


class SoundCost:
    """The last sums of one media process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._last: dict[str, float] = {}

    def take(self, load: SoundLoad) -> None:
        """Add what has come since the last report; all of it when the sums have begun anew."""
        metrics = self._metrics
        seconds = {"mixing": load.mixing_seconds, "transcoding": load.transcoding_seconds}
        frames = {"mixed": load.mixed, "transcoded": load.transcoded, "concealed": load.concealed}
        sums = {**seconds, **frames}
        anew = any(value < self._last.get(what, 0) for what, value in sums.items())
        before = {} if anew else self._last
        for what, value in sums.items():
            counter = metrics.sound_seconds if what in seconds else metrics.sound_frames
            counter.labels(what).inc(value - before.get(what, 0))
        self._last = sums
        metrics.voices.set(load.voices)
