"""Q2, Q7 and Q9: what the media process takes when many calls are up.

Q2: 200 rooms, sound (50 packets a second) and picture (60, 1,000 bytes) both ways, all recorded, in turns with rtpengine
Q7: 50, then 100, 200, 400 rooms with sound both ways: the processor time of one call
Q9: 200 callers who wait, send sound, hear a tone or a prompt, all recorded
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rtp.control import Medium
from tests.bench import anchor
from tests.bench.calls_up import Calls
from tests.bench.cpu import keep_apart, wait_childless
from tests.bench.figures import Figure, median
from tests.bench.native import Floor, Sound
from tests.bench.relay import PROMPT_SECONDS
from tests.bench.spell import Spell, spell

CALLS = 200
PICTURE_BYTES = 1000
SHARE_BAR, P50_BAR, P99_BAR = 0.45, 1.0, 5.0
RTPENGINE_BAR = 0.79
"""Of what rtpengine takes for the same: it took 0.57 of a core where the bar of 0.45 was set."""
STEPS = (50, 100, 200, 400)
GROWTH_BAR = 1.15
WAITING_BAR = 0.15
ASTERISK_WAITING = 0.59
"""Core that Asterisk's music on hold took for 200 callers, unrecorded."""
MEDIA: tuple[Medium, ...] = ("audio", "video")
Say = Callable[[str], None]
PLAYED = {"tone": ("tone:waiting",), "prompt": ("en/please-wait",)}


@contextmanager
def _running(
    programs: dict[str, Path], folder: Path, sockets: int, ports: tuple[int, int], *, recorded: bool
) -> Iterator[tuple[Sound, Calls]]:
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="at110-bench-", dir=folder)))
        sound = stack.enter_context(Sound(programs["sound"], sockets))
        worker = stack.enter_context(Calls(work, "calls", ports, engine="auto", recorded=recorded))
        wait_childless(worker.pid, PROMPT_SECONDS)
        yield sound, worker


def recorded(
    programs: dict[str, Path], folder: Path, *, rounds: int, seconds: float, say: Say
) -> list[Figure]:
    """Measure Q2. Raises SetUpError."""
    sockets = CALLS * 2 * len(MEDIA)
    say(f"Q2: {CALLS} calls with sound and picture, recorded, {rounds} rounds of 3 × {seconds:g} s")
    with (
        _running(programs, folder, 3 * sockets, (26000, 27999), recorded=True) as (sound, worker),
        Floor(programs["floor"], sockets) as floor,
        tempfile.TemporaryDirectory(prefix="at110-bench-", dir=folder) as other,
        anchor.turns(Path(other), sound, 2 * sockets, CALLS, MEDIA, recorded=True) as its,
    ):
        floor.relay(sound.ports[:sockets])
        sound.to(0, floor.ports)
        sound.to(sockets, worker.rooms(range(CALLS), MEDIA, sound.ports[sockets : 2 * sockets]))
        for place in range(2, 3 * sockets, 4):  # of each room: sound of both, then picture of both
            sound.shape(place, place + 1, PICTURE_BYTES, faster=True)
        keep_apart([floor.pid, worker.pid, *its.threads], sound.pid)
        worker.pause()
        floors: list[Spell] = []
        spells: list[Spell] = []
        for number in range(rounds):
            floors.append(spell(sound, 0, sockets - 1, floor.pid, seconds))
            worker.resume()
            spells.append(spell(sound, sockets, 2 * sockets - 1, worker.pid, seconds))
            worker.drain()
            worker.pause()
            told = [f"  round {number + 1}: {_told(spells[-1])}", f"bare relay: {_told(floors[-1])}"]
            if (other_spell := its.take(seconds)) is not None:
                told.append(f"rtpengine: {_told(other_spell)}")
            say("; ".join(told))
        its.close_recordings()
        worker.resume()
        kept = worker.close_evidence(range(CALLS))
    sent = sum(one.counts.sent for one in spells)
    lost = sent - sum(one.counts.received for one in spells)
    return [
        Figure("Q2", "200 calls, sound and picture, relayed and recorded", median([one.share for one in spells]), "core", SHARE_BAR),
        Figure("Q2.floor", "  the same packets through a bare C relay, not recorded", median([one.share for one in floors]), "core"),
        Figure("Q2.lost", "  packets sent less packets that came, while counted", lost / max(1, sent) * 100, "%", note="under way when counting ended"),
        Figure("Q2.p50", "  delay, p50", median([one.counts.p50_us for one in spells]) / 1000, "ms", P50_BAR),
        Figure("Q2.p99", "  delay, p99", median([one.counts.p99_us for one in spells]) / 1000, "ms", P99_BAR),
        # Of each call: what the guest and the host sent, and what the guest was sent; counting leaves the warm-up out.
        Figure("Q2.stolen", "  what the host took of the processors meanwhile", median([one.stolen for one in spells]) * 100, "%"),
        Figure("Q2.evidence", "  packets in evidence for each that was counted", kept / (1.5 * max(1, sent)), "×", 1.0, "more"),
        *anchor.figures("Q2", spells, its, lambda one: one.share, "core", RTPENGINE_BAR),
    ]  # fmt: skip


def _told(one: Spell) -> str:
    return (
        f"{one.share:.3f} of a core, {one.counts.sent} in, {one.counts.received} out, "
        f"p50 {one.counts.p50_us / 1000:.2f} ms, p99 {one.counts.p99_us / 1000:.2f} ms, host took {one.stolen * 100:.1f} %"
    )


def growth(programs: dict[str, Path], folder: Path, *, rounds: int, seconds: float, say: Say) -> list[Figure]:
    """Measure Q7: the media process's part of it. Raises SetUpError."""
    say(
        f"Q7: {', '.join(map(str, STEPS))} calls with sound, {rounds} rounds of {seconds:g} s each, and as many of a bare relay"
    )
    sockets = 2 * STEPS[-1]
    costs: dict[int, list[float]] = {}
    with (
        _running(programs, folder, 2 * sockets, (26000, 27999), recorded=False) as (sound, worker),
        Floor(programs["floor"], sockets) as floor,
    ):
        floor.relay(sound.ports[:sockets])
        sound.to(0, floor.ports)
        keep_apart([floor.pid, worker.pid], sound.pid)
        before = 0
        for calls in STEPS:
            more = range(before, calls)
            first = sockets + 2 * before
            sound.to(first, worker.rooms(more, ("audio",), sound.ports[first : sockets + 2 * calls]))
            before = calls
            costs[calls] = []
            for _ in range(rounds):
                bare = spell(sound, 0, 2 * calls - 1, floor.pid, seconds)
                ours = spell(sound, sockets, sockets + 2 * calls - 1, worker.pid, seconds)
                costs[calls].append(ours.share / max(1e-9, bare.share))
                worker.drain()
                say(
                    f"  {calls} calls: {ours.share / calls * 1e6:.0f} µs a second for one, bare relay {bare.share / calls * 1e6:.0f}"
                )
    ratios = {calls: median(found) for calls, found in costs.items()}
    least = min(ratios.values())
    return [
        Figure("Q7", "CPU of a call, the dearest number of calls ÷ the cheapest", max(ratios.values()) / least, "×", GROWTH_BAR,
               note="each as a ratio to a bare relay of as many"),
        *(Figure(f"Q7.at_{calls}", f"  {calls} calls ÷ bare relay", ratio, "×") for calls, ratio in ratios.items()),
    ]  # fmt: skip


def waiting(
    programs: dict[str, Path], folder: Path, *, rounds: int, seconds: float, say: Say
) -> list[Figure]:
    """Measure Q9. Raises SetUpError."""
    say(f"Q9: {CALLS} callers waiting, recorded, {rounds} rounds of {seconds:g} s for {' and '.join(PLAYED)}")
    shares: dict[str, list[float]] = {name: [] for name in PLAYED}
    out = 0.0
    with _running(programs, folder, CALLS * len(PLAYED), (26000, 27999), recorded=True) as (sound, worker):
        keep_apart([worker.pid], sound.pid)
        for index, (name, items) in enumerate(PLAYED.items()):
            numbers = range(index * CALLS, (index + 1) * CALLS)
            sound.to(numbers[0], worker.waiting(numbers, items, sound.ports[numbers[0] : numbers[-1] + 1]))
            for number in range(rounds):
                found = spell(sound, numbers[0], numbers[-1], worker.pid, seconds)
                shares[name].append(found.share)
                out = found.counts.received / max(1, found.counts.sent)
                worker.drain()
                say(
                    f"  {name}, round {number + 1}: {found.share:.3f} of a core; {found.counts.sent} in, {found.counts.received} out"
                )
            worker.hang_up(numbers)
    return [
        Figure("Q9", "200 callers waiting, recorded", max(median(found) for found in shares.values()), "core", WAITING_BAR,
               note=f"Asterisk unrecorded {ASTERISK_WAITING}"),
        *(Figure(f"Q9.{name}", f"  with a {name}", median(found), "core") for name, found in shares.items()),
        Figure("Q9.out", "  packets out for each packet in", out, "×"),
    ]  # fmt: skip
