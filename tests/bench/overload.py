"""L4 for calls for help: how many are served when more come than can be.

    phone: INVITE ─▶ nothing? again after 0.5, 1, 2 … s, as RFC 3261 §17.1.1.2 has it ─▶ 100: it waits ─▶ 200 ─▶ 100 ms ─▶ BYE
                                                                                          └ the load is over: CANCEL

First as many calls at a time as keep the exchange busy: what it carries so is its capacity C. Then C, 2C, 5C and 10C come in each
second, whatever becomes of them, and what counts is how many are carried to their end meanwhile.
"""

import heapq
import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.cpu import cpu_seconds, filesystem, memory
from tests.bench.figures import Figure, quantile
from tests.bench.native import Sound
from tests.bench.sip import Line
from tests.bench.site import Site

DESKS: Final = 80
TALK_SECONDS: Final = 0.1
AT_A_TIME: Final = 24
"""Calls under way while the capacity is found: enough that nobody waits for a phone."""
WARM_CALLS: Final = 200
RUN_IN_SECONDS: Final = 3.0
"""What the beginning of a load says is left out."""
FACTORS: Final = {1: 0.9, 2: 0.9, 5: 0.9, 10: 0.7}
"""Of what can be carried is offered, and how much of it must be carried then (bars L4)."""
REST_SECONDS: Final = 40.0
"""How long after a load all of it must be over."""
SETTLE_SECONDS: Final = 45.0
"""64·T1 = 32 s for which RFC 3261 keeps transactions, and some to close the last evidence."""
T1: Final = 0.5
GIVES_UP_SECONDS: Final = 64 * T1


@dataclass(slots=True)
class Crowd:
    """Phones that call, repeat what is not answered, hang up what is; all of one load."""

    site: Site
    lines: list[Line] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    """When each call was over, monotonic seconds."""
    todo: list[tuple[float, int, str, Line]] = field(default_factory=list)
    order: "itertools.count[int]" = field(default_factory=itertools.count)

    def begin(self) -> None:
        """Take the phones of the site."""
        self.site.phones.on_answer = self._answered
        self.site.phones.on_end = lambda _line: self.ended.append(time.monotonic())

    def call(self) -> None:
        """Let one more call come."""
        line = self.site.phones.invite("caller", "110", 9)
        self.lines.append(line)
        self._at(T1, "again", line)

    def _answered(self, line: Line) -> None:
        self._at(TALK_SECONDS, "bye", line)

    def _at(self, seconds: float, what: str, line: Line) -> None:
        heapq.heappush(self.todo, (time.monotonic() + seconds, next(self.order), what, line))

    def pump(self, until: float) -> None:
        """Serve the phones until monotonic time `until`."""
        while (now := time.monotonic()) < until:
            while self.todo and self.todo[0][0] <= now:
                _, _, what, line = heapq.heappop(self.todo)
                if what == "bye":
                    self.site.phones.bye(line)
                elif not line.first and not line.cancelled:
                    waited = T1 * (2 << line.repeated)
                    if waited < GIVES_UP_SECONDS:
                        self.site.phones.again(line)
                        self._at(waited, "again", line)
            wake = self.todo[0][0] if self.todo else until
            self.site.phones.pump(min(wake, until, now + 0.05))

    @property
    def open(self) -> list[Line]:
        """Calls that are not over."""
        return [line for line in self.lines if not line.ended and not line.refused]

    def clear(self) -> float:
        """Give up what was not answered, and wait until all is over; how many seconds that took.

        RFC 3261 §9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent; rather, the client MUST
        wait for the arrival of a provisional response before sending the request." Until then it repeats its INVITE.
        """
        start = time.monotonic()
        while self.open and time.monotonic() < start + REST_SECONDS:
            for line in self.open:
                if line.first and not line.answered and not line.cancelled:
                    self.site.phones.cancel(line)
            self.pump(time.monotonic() + 0.2)
        return time.monotonic() - start


@dataclass(slots=True)
class Run:
    """What came of one load."""

    factor: int
    goodput: float
    """Calls a second that were carried to their end."""
    trying: list[float]
    """ms from the INVITE to the first answer."""
    cleared: float
    calls: int
    refused: int
    """Calls that heard 503."""
    lost: int
    """Calls of which nothing was heard to the end."""
    repeated: int
    core: float
    """Share of a core signalling had."""


def _capacity(site: Site, seconds: float) -> float:
    """Keep so many calls under way; return how many a second are carried."""
    crowd = Crowd(site)
    crowd.begin()
    start = time.monotonic()
    while (now := time.monotonic()) < start + RUN_IN_SECONDS + seconds:
        for _ in range(AT_A_TIME - (len(crowd.lines) - len(crowd.ended))):
            crowd.call()
        crowd.pump(now + 0.005)
    carried = sum(start + RUN_IN_SECONDS <= at < start + RUN_IN_SECONDS + seconds for at in crowd.ended)
    crowd.clear()
    return carried / seconds


def _offered(site: Site, factor: int, capacity: float, seconds: float) -> Run:
    """Offer `factor` times the capacity for so long."""
    crowd = Crowd(site)
    crowd.begin()
    used, start = cpu_seconds(site.roles["signalling"]), time.monotonic()
    end = start + RUN_IN_SECONDS + seconds
    due = start
    while (now := time.monotonic()) < end:
        while due <= now:
            crowd.call()
            due += 1 / (factor * capacity)
        crowd.pump(min(due, end))
    core = (cpu_seconds(site.roles["signalling"]) - used) / (end - start)
    carried = sum(start + RUN_IN_SECONDS <= at < end for at in crowd.ended)
    cleared = crowd.clear()
    trying = [(line.first - line.invited) / 1e6 for line in crowd.lines if line.first]
    repeated = sum(line.repeated for line in crowd.lines)
    refused = sum(line.refused == 503 for line in crowd.lines)
    lost = len(crowd.open)
    return Run(factor, carried / seconds, trying, cleared, len(crowd.lines), refused, lost, repeated, core)


def measure(
    programs: dict[str, Path], folder: Path, *, seconds: float, say: Callable[[str], None]
) -> list[Figure]:
    """Measure the calls carried at C, 2C, 5C and 10C, `seconds` each. Raises SetUpError."""
    say(f"L4: calls for help to {DESKS} desks; state on {filesystem(folder.absolute())}")
    with ExitStack() as stack:
        sound = stack.enter_context(Sound(programs["sound"], DESKS)) if "sound" in programs else None
        site = stack.enter_context(Site(folder, desks=DESKS, sound=sound, label="o"))
        warm = Crowd(site)
        warm.begin()
        for _ in range(WARM_CALLS):
            warm.call()
            warm.pump(time.monotonic() + 0.025)
        warm.clear()
        base = memory(site.roles["signalling"])
        capacity = _capacity(site, seconds)
        runs = []
        for factor in FACTORS:
            say(f"  {factor} × {capacity:.0f} calls a second")
            runs.append(_offered(site, factor, capacity, seconds))
        say(f"  {SETTLE_SECONDS:g} s of rest")
        site.pump(SETTLE_SECONDS)
        rest = memory(site.roles["signalling"])
    return _figures(runs, capacity, base, rest)


def _figures(runs: list[Run], capacity: float, base: int, rest: int) -> list[Figure]:
    mib = 1 << 20
    found = [Figure("L4.capacity", f"calls/s carried, {AT_A_TIME} at a time", capacity, "calls/s")]
    for run in runs:
        name = f"L4.{run.factor}C"
        late = quantile(run.trying, 0.99) if run.trying else None
        share = run.goodput / capacity if capacity else None
        found += [
            Figure(
                name, f"goodput at {run.factor}C ÷ C", share, "×", FACTORS[run.factor], "more",
                f"{run.goodput:.0f} calls/s",
            ),
            Figure(f"{name}.lost", f"  of {run.calls} calls, of which nothing was heard to the end", run.lost, "", 0),
            Figure(f"{name}.refused", "  told 503, for no more can wait", run.refused, ""),
            Figure(f"{name}.trying_p99", "  INVITE → first answer, p99", late, "ms"),
            Figure(f"{name}.repeated", "  INVITEs sent again", run.repeated, ""),
            Figure(f"{name}.cleared", "  all over, those that waited given up, after", run.cleared, "s"),
            Figure(f"{name}.core", "  share of a core signalling had", run.core * 100, "%"),
        ]  # fmt: skip
    found.append(
        Figure(
            "L4.memory", "memory of signalling at rest afterwards", rest / mib, "MiB",
            base / mib * 1.1 + 16.0, note=f"{base / mib:.0f} MiB before",
        )
    )  # fmt: skip
    return found
