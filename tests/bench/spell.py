"""One stretch of measuring: some phones send, a process carries it, both are counted."""

import time
from dataclasses import dataclass

from tests.bench.cpu import cpu_seconds, stolen_seconds
from tests.bench.native import Counts, Sound

WARM_SECONDS = 1.0
"""Before counting begins: addresses are learned, the first bursts are over."""
LAST_SECONDS = 0.1
"""After the last packet was sent: what is under way arrives."""


@dataclass(frozen=True, slots=True)
class Spell:
    """What a stretch took."""

    used: float
    """Seconds of processor time, all threads of the process together."""
    took: float
    """Seconds that went by."""
    counts: Counts
    """Of those seconds."""
    sent: int
    """Packets that were sent in all, those of the warm-up and after counting ended too."""
    stolen: float = 0.0
    """The part of the processors' time that the host took from this machine while counting, 0…1."""

    @property
    def share(self) -> float:
        """Of a core."""
        return self.used / self.took

    @property
    def packet_us(self) -> float:
        """Processor time of each packet that came back, in µs."""
        return self.used / max(1, self.counts.received) * 1e6


def spell(sound: Sound, first: int, last: int, pid: int, seconds: float) -> Spell:
    """Let these phones (inclusive) send for a while, and count. Raises OSError when the process is gone."""
    sound.go(first, last)
    time.sleep(WARM_SECONDS)
    warm = sound.count(first, last)
    stolen, used, begin = stolen_seconds(), cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    used, took = cpu_seconds(pid) - used, time.monotonic() - begin
    stolen = max(0.0, stolen_seconds() - stolen)  # proc_stat(5) promises of no counter that it only grows
    counts = sound.count(first, last)
    sound.stop(first, last)
    time.sleep(LAST_SECONDS)
    rest = sound.count(first, last)
    return Spell(used, took, counts, warm.sent + counts.sent + rest.sent, stolen / took)
