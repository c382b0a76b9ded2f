"""`make soak`: both engines carry random calls for a while, and every packet is accounted for.

    python -m tests.soak.run [--minutes 5] [--rooms 6] [--seed N] [--engine native|python|both]

Real sockets on 127.0.0.1, a media process for each engine, both given the same calls: joins, waiting with pictures kept, holds, silent
gates, NACK, SRTP, floods, phones that restart or move, staff coming and going, hosts that close and reopen, all recorded.
Compared are counts of the exchange, what phones heard and what evidence holds with what was sent; watched are memory, descriptors and
failures in the log. It ends with 1 when anything is not as it should be, and says what was done before it.
"""

import argparse
import heapq
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.cpu import memory, wait_childless
from tests.soak.media import Media
from tests.soak.room import Room

PORTS: Final = {"python": (24000, 25998), "native": (26000, 27998)}
ENGINES: Final = tuple(PORTS)
WARM_SHARE: Final = 0.4
"""Of the time: memory may grow to its working size; from then on it has to stay."""
GROWTH: Final = 1.1
SLACK: Final = 16 << 20
"""GI5: resident memory at the end ≤ base line × 1.1 + 16 MiB."""
PROMPT_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = 3.0
"""Longer than `tests.bench.media` keeps ports of ended legs."""
MAX_FOUND: Final = 20
"""Findings after which it is of no use to go on."""


class Soak:
    """The rooms of all engines, served in the order of their time."""

    def __init__(self, media: Sequence[Media], rooms: int, seed: int, seconds: float) -> None:
        self.found: list[str] = []
        self._end = time.monotonic() + seconds
        self.rooms = [Room(one, number, seed, self._tell) for one in media for number in range(rooms)]

    def _tell(self, finding: str) -> None:
        print(f"FOUND {finding}", flush=True)
        self.found.append(finding)

    def ended(self) -> bool:
        """Whether no further call is to begin."""
        return time.monotonic() > self._end or len(self.found) >= MAX_FOUND

    def run(self, look: float, watch: "Watch") -> None:
        """Serve the rooms until all have ended; `watch` is asked every `look` seconds."""
        order = itertools.count()
        now = time.monotonic()
        due = [
            (now + number * 0.013, next(order), room.life(self.ended))
            for number, room in enumerate(self.rooms)
        ]
        heapq.heapify(due)
        looked = now
        while due:
            at, _, life = heapq.heappop(due)
            now = time.monotonic()
            if at > now:
                time.sleep(at - now)
            for one in {room.media.engine: room.media for room in self.rooms}.values():
                one.listen()
            try:
                wait = next(life)
            except StopIteration:
                continue
            # From now on, not from when it was due: who was held up does not send a burst afterwards.
            heapq.heappush(due, (time.monotonic() + wait, next(order), life))
            if now - looked >= look:
                looked = now
                watch.look()


class Watch:
    """Memory of the media processes as time goes by."""

    def __init__(self, media: Sequence[Media]) -> None:
        self._media = media
        self.sizes: dict[str, list[int]] = {one.engine: [] for one in media}

    def look(self) -> None:
        """Note it."""
        for one in self._media:
            self.sizes[one.engine].append(memory(one.pid))

    def complaints(self) -> list[str]:
        """What grew and should not have."""
        complaints = []
        for engine, sizes in self.sizes.items():
            base = max(sizes[: max(1, int(len(sizes) * WARM_SHARE))], default=0)
            if sizes and sizes[-1] > base * GROWTH + SLACK:
                complaints.append(f"{engine}: memory grew from {base >> 20} to {sizes[-1] >> 20} MiB")
        return complaints


def soak(
    engines: Sequence[str], *, seconds: float, rooms: int, seed: int, folder: Path | None = None
) -> list[str]:
    """Run it and print what was carried; what is wrong. Raises OSError when a media process can't be started."""
    with tempfile.TemporaryDirectory(prefix="at110-soak-", dir=folder) as path:
        media = [Media(engine, Path(path), PORTS[engine]) for engine in engines]
        try:
            for one in media:
                wait_childless(one.pid, PROMPT_SECONDS)
            before = {one.engine: one.descriptors for one in media}
            watch = Watch(media)
            going = Soak(media, rooms, seed, seconds)
            going.run(max(0.5, seconds / 40), watch)
            complaints = [*going.found, *watch.complaints()]
            end = time.monotonic() + 10 * DRAIN_SECONDS
            while any(one.descriptors > before[one.engine] for one in media) and time.monotonic() < end:
                time.sleep(0.1)
            for one in media:
                if one.descriptors > before[one.engine]:
                    complaints.append(
                        f"{one.engine}: {one.descriptors} descriptors, {before[one.engine]} at first"
                    )
                complaints += [f"{one.engine}: {refused}" for refused in one.refused]
                own = [room for room in going.rooms if room.media is one]
                print(
                    f"{one.engine}: {sum(room.calls for room in own)} calls, {sum(room.heard for room in own)} marked packets "
                    f"heard, {sum(room.recorded for room in own)} recorded, {memory(one.pid) >> 20} MiB",
                    flush=True,
                )
        finally:
            endings = [(one.engine, one.end()) for one in media]
        return complaints + [f"{engine}: {said}" for engine, said in endings if said]


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every packet was accounted for."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description="carry random calls")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rooms", type=int, default=6, help="for each engine")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--engine", choices=(*ENGINES, "both"), default="both")
    options = parser.parse_args(argv)
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    engines = ENGINES if options.engine == "both" else (options.engine,)
    print(
        f"soak: {', '.join(engines)}, {options.rooms} rooms each, {options.minutes:g} min, seed {seed}",
        flush=True,
    )
    complaints = soak(engines, seconds=options.minutes * 60, rooms=options.rooms, seed=seed)
    print("\n".join(complaints) if complaints else "soak: every packet accounted for")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
