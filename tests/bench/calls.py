"""Q6: what one short call costs signalling, and how many a second one core carries.

    INVITE ─▶ 200 ─▶ ACK, attached to a free desk ─▶ 100 ms ─▶ BYE; journalled, evidence folder made, no sound

First at an easy rate, for the cost of one call; then at the rate of the bar; then nothing, to see what memory stays.
"""

import heapq
import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cpu import cpu_seconds, filesystem, memory
from tests.bench.figures import Figure, quantile
from tests.bench.native import Sound
from tests.bench.sip import Line
from tests.bench.site import SetUpError, Site

DESKS = 80
TALK_SECONDS = 0.1
EASY_RATE = 40.0
HARD_RATE = 300.0
WARM_CALLS = 200
SLACK_SECONDS = 1.0
"""How long after the last INVITE the last call may end and the load still count as carried."""
COST_BAR, RATE_BAR = 2.0, 300.0
MEMORY_FACTOR, MEMORY_MORE = 1.1, 16.0
"""Global invariant 5 of the bars: base · 1.1 + 16 MiB."""
CLEAR_SECONDS = 40.0
"""How long calls that are left when a load is over may take to end."""
SETTLE_SECONDS = 45.0
"""64·T1 = 32 s for which RFC 3261 keeps transactions, and some to close the last evidence."""


@dataclass(slots=True)
class Load:
    """What came of one load."""

    offered: int
    answered: int
    ended: int
    seconds: float
    late_ms: list[float]
    rate: float
    """Offered, calls a second."""
    cpu: dict[str, float]
    """Seconds of processor time by process."""

    def cost(self, role: str) -> float:
        """ms of processor time for each call that ended."""
        return self.cpu[role] / max(1, self.ended) * 1e3

    @property
    def carried(self) -> float:
        """Calls a second that were served: the rate offered if all were and the last was over soon after it came."""
        if self.ended == self.offered and self.seconds < self.offered / self.rate + SLACK_SECONDS:
            return self.rate
        return self.ended / self.seconds


def _load(site: Site, rate: float, count: int) -> Load:
    """Offer `count` calls at `rate` a second; each hangs up 100 ms after its answer."""
    phones = site.phones
    todo: list[tuple[float, int, Line]] = []
    order = itertools.count()
    lines: list[Line] = []
    left = count
    ended: list[int] = []

    def answered(line: Line) -> None:
        heapq.heappush(todo, (time.monotonic() + TALK_SECONDS, next(order), line))

    def over(line: Line) -> None:
        ended.append(line.ended)
        phones.forget(line)

    phones.on_answer, phones.on_end = answered, over
    before = {role: cpu_seconds(pid) for role, pid in site.roles.items()}
    start = due = time.monotonic()
    end = start + count / rate + 10.0
    while (left or len(ended) < count) and time.monotonic() < end:
        now = time.monotonic()
        while todo and todo[0][0] <= now:
            phones.bye(heapq.heappop(todo)[2])
        while left and due <= now:
            lines.append(phones.invite("caller", "110", 9))
            left -= 1
            due += 1 / rate
        wake = min([todo[0][0]] if todo else [end])
        phones.pump(min(wake, due if left else wake, now + 0.05))
    seconds = (max(ended) - lines[0].invited) / 1e9 if ended else time.monotonic() - start
    # What follows a call belongs to its cost: evidence is closed, rows are written.
    phones.pump(time.monotonic() + 2.0)
    cpu = {role: cpu_seconds(pid) - before[role] for role, pid in site.roles.items()}
    late = [(line.answered - line.invited) / 1e6 for line in lines if line.answered]
    phones.on_answer = phones.on_end = lambda _line: None
    return Load(count, len(late), len(ended), seconds, late, rate, cpu)


def _clear(site: Site) -> None:
    """Give up what waits and hang up what stands, so that rest is rest."""
    phones, end = site.phones, time.monotonic() + CLEAR_SECONDS
    while left := [
        line
        for line in phones.lines.values()
        if line.user == "110" and line.first and not (line.ended or line.refused)
    ]:
        if time.monotonic() > end:
            raise SetUpError(f"{len(left)} calls do not end")
        for line in left:
            if line.answered and not line.bye_sent:
                phones.bye(line)
            elif not line.answered and not line.cancelled:
                phones.cancel(line)
        phones.pump(time.monotonic() + 0.2)


def measure(
    programs: dict[str, Path], folder: Path, *, seconds: float, say: Callable[[str], None]
) -> list[Figure]:
    """Measure Q6: `seconds` at each rate; without a compiled `sound` the desks are mute. Raises SetUpError."""
    say(f"Q6: short calls to {DESKS} desks; state on {filesystem(folder.absolute())}")
    with ExitStack() as stack:
        sound = stack.enter_context(Sound(programs["sound"], DESKS)) if "sound" in programs else None
        site = stack.enter_context(Site(folder, desks=DESKS, sound=sound, label="c"))
        signalling = site.roles["signalling"]
        _load(site, EASY_RATE, WARM_CALLS)
        site.pump(2.0)
        idle = _idle(site)
        base = memory(signalling)
        say(f"  {EASY_RATE:g} calls a second")
        easy = _load(site, EASY_RATE, round(EASY_RATE * seconds))
        say(f"  {HARD_RATE:g} calls a second")
        hard = _load(site, HARD_RATE, round(HARD_RATE * seconds))
        through = _attached(site)
        _clear(site)
        say(f"  {SETTLE_SECONDS:g} s of rest")
        site.pump(SETTLE_SECONDS)
        rest = memory(signalling)
        calls = WARM_CALLS + easy.offered + hard.offered
    return _figures(easy, hard, idle=idle, base=base, rest=rest, attached=through / calls)


def _idle(site: Site) -> float:
    """Processor time signalling takes each second with nothing but its desks."""
    before, start = cpu_seconds(site.roles["signalling"]), time.monotonic()
    site.pump(3.0)
    return (cpu_seconds(site.roles["signalling"]) - before) / (time.monotonic() - start)


def _attached(site: Site) -> int:
    """How many calls ended at a desk, as the exchange counts them."""
    for line in str(site.exchange.api("GET", "/metrics")).split("\n"):
        if line.startswith("at110_calls_total") and 'result="answered"' in line:
            return int(float(line.rpartition(" ")[2]))
    return 0


def _figures(easy: Load, hard: Load, *, idle: float, base: int, rest: int, attached: float) -> list[Figure]:
    mib = 1 << 20
    own = max(0.0, easy.cpu["signalling"] - idle * (easy.seconds + 2.0)) / max(1, easy.ended) * 1e3
    lost = hard.offered - hard.ended
    return [
        Figure("Q6.cpu", f"signalling's CPU for a call, {EASY_RATE:g} calls/s", easy.cost("signalling"), "ms", COST_BAR),
        Figure(
            "Q6.rate", f"calls/s carried when {HARD_RATE:g} are offered", hard.carried, "calls/s",
            RATE_BAR, "more", f"{lost} of {hard.offered} lost" if lost else "none lost",
        ),
        Figure(
            "Q6.memory", "memory of signalling at rest afterwards", rest / mib, "MiB",
            base / mib * MEMORY_FACTOR + MEMORY_MORE, note=f"{base / mib:.0f} MiB before",
        ),
        Figure("Q6.cpu_own", "  the same less what it takes idle", own, "ms"),
        Figure("Q6.cpu_hard", f"  signalling's CPU for a call, {HARD_RATE:g} calls/s", hard.cost("signalling"), "ms"),
        Figure("Q6.core", "  share of a core signalling had meanwhile", hard.cpu["signalling"] / (hard.seconds + 2) * 100, "%"),
        Figure("Q6.cpu_media", "  media process's CPU for a call (evidence files)", easy.cost("media"), "ms"),
        Figure("Q6.cpu_recorder", "  recorder's CPU for a call (at low priority)", easy.cost("recorder"), "ms"),
        Figure("Q6.answer_p99", f"  INVITE → 200, p99, {EASY_RATE:g} calls/s", _p99(easy), "ms"),
        Figure("Q6.answer_p99_hard", f"  the same, {HARD_RATE:g} calls/s", _p99(hard), "ms"),
        Figure("Q6.attached", "  calls that reached a desk", attached * 100, "%"),
        Figure("Q6.asterisk", "  anchor: Asterisk, bridged to a second leg", 2.45, "ms"),
    ]  # fmt: skip


def _p99(load: Load) -> float | None:
    return quantile(load.late_ms, 0.99) if load.late_ms else None
