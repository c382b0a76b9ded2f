"""Which processes go round, as signalling sees it by their pulses.

in → out: `pbx.pulse` → who gets no new call, what `/healthz` and the metrics say, from when to when there was no media process.

To be late is no verdict: the supervisor's watchdog gives that (`pbx.watchdog`).
"""

import time
from functools import partial
from typing import Any

from pbx.metrics import Metrics
from pbx.pulse import LATE_SECONDS, Pulses
from pbx.supervisor import media_role
from recordings.folder import utc


class Liveness:
    """See the module. Without pulses (nobody watches this process) everybody goes round."""

    def __init__(self, pulses: Pulses | None, media_processes: int, metrics: Metrics) -> None:
        """`media_processes`: how many there are; they have the first places."""
        self._pulses = pulses
        self._media = range(media_processes if pulses is not None else 0)
        if pulses is None:
            return
        roles = [*map(media_role, self._media), "signalling", "recorder"]
        for place, role in enumerate(roles):
            metrics.process_beat.labels(role).set_function(partial(self._age, place))
            metrics.process_hangs.labels(role).set_function(partial(pulses.hangs, place))

    def late(self) -> frozenset[int]:
        """The media processes, by number, of which nothing was heard for a while."""
        return frozenset(number for number in self._media if self._age(number) >= LATE_SECONDS)

    def media(self, *, connected: bool) -> str:
        """In one word how media is: `up`, `late`, or `down`."""
        if not connected:
            return "down"
        return "late" if self.late() else "up"

    def outage(self) -> dict[str, Any]:
        """From when to now a media process was missed, if one has ended: fields of `media_restarted`."""
        if self._pulses is None or (gone := self._pulses.outage(self._media)) is None:
            return {}
        last, hung = gone
        now, gap = time.time_ns(), max(0, time.monotonic_ns() - last)
        return {"from": utc(now - gap), "to": utc(now), "seconds": round(gap / 1e9, 3), "hung": hung}

    def _age(self, place: int) -> float:
        return 0.0 if self._pulses is None else self._pulses.age(place, time.monotonic())
