"""One stretch of measuring: some phones send, a media process carries it, both are counted."""

import time
from dataclasses import dataclass

from tests.bench.cpu import cpu_seconds
from tests.bench.native import Counts, Sound

WARM_SECONDS = 1.0
"""Before counting begins: addresses are learned, the first bursts are over."""


@dataclass(frozen=True, slots=True)
class Spell:
    """What a stretch took."""

    share: float
    """Of a core, all threads of the process together."""
    counts: Counts


def spell(sound: Sound, first: int, last: int, pid: int, seconds: float) -> Spell:
    """Let these phones (inclusive) send for a while, and count."""
    sound.go(first, last)
    time.sleep(WARM_SECONDS)
    sound.count(first, last)
    used, begin = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    used, took = cpu_seconds(pid) - used, time.monotonic() - begin
    counts = sound.count(first, last)
    sound.stop(first, last)
    time.sleep(0.1)
    return Spell(used / took, counts)
