"""The guard at work: built of the settings, told how loaded we are, and shown to those who watch.

in → out: settings, the calls and the registrar → a `Guard` for the endpoint; ten times a second the loop's lateness and the
socket's backlog → its load; its counts → metrics, blocked addresses → the log.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final, Literal, Protocol

import structlog

from pbx.call.reception import Reception
from pbx.guard.guard import Guard
from pbx.limits import Limits, rules
from pbx.metrics import Metrics
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.targets import EmergencySettings

PROBE_SECONDS: Final = 0.1
"""Between two looks at the load."""
STALE_SECONDS: Final = 0.1
"""Age of what `Peers` knows of live flows; a call younger than that is known by its Call-ID."""

log = structlog.get_logger("guard")


class LiveLeg(Protocol):
    """What is asked of a leg; `pbx.call.leg.Leg` is one."""

    flow: Flow
    invite: Request | None

    @property
    def asked(self) -> tuple[str, ...]:
        """The media it has ports for, or will have."""


class Registered(Protocol):
    """What is asked of the registrar."""

    def registered_from(self, flow: Flow, now: float) -> tuple[str, ...]: ...


class Line(Protocol):
    """What is asked of the calls for help that have not begun; `pbx.call.reception.Reception` is one."""

    pairs: int

    def __len__(self) -> int: ...
    def late(self, source: str, now: float) -> bool: ...
    def holds(self, call_id: str) -> bool: ...


class Peers:
    """Who is in a call or registered (`pbx.guard.Standing`)."""

    def __init__(
        self,
        legs: Callable[[], Collection[LiveLeg]],
        call_of: Callable[[str], str | None],
        registrar: Registered,
        pairs: int = 1_000_000,
    ) -> None:
        """`pairs`: of media ports; a call takes one for its sound and one for its picture."""
        self._pairs = pairs
        self._held = 0
        """Pairs of the legs as they were counted last."""
        self._legs_seen = 0
        self._legs = legs
        self._call_of = call_of
        self._registrar = registrar
        self.reception: Line = Reception()
        """Calls for help that have not begun; the shell's own takes the place of this one."""
        self._looked_at = self._counted_at = -STALE_SECONDS
        self._flows: set[tuple[str, tuple[str, int]]] = set()
        self._dialogs: set[str] = set()

    def flow(self, flow: Flow, now: float) -> Literal["live", "registered"] | None:
        """Tell whether a call is up on this very flow, or an account registered from it."""
        self._look(now)
        if (flow.transport, flow.remote) in self._flows:
            return "live"
        return "registered" if self._registrar.registered_from(flow, now) else None

    def dialog(self, call_id: str, now: float) -> bool:
        """Tell whether a live call or desk has this Call-ID, or one that is to begin: its CANCEL is to be heard."""
        self._look(now)
        return call_id in self._dialogs or self._call_of(call_id) is not None or self.reception.holds(call_id)

    def free(self, now: float) -> int:
        """Tell for how many more calls there are media ports, with sound alone. Ports of calls that ended lately count, though they
        drain for half a minute: the media process alone knows of them, and whoever it has none for hears so.
        """
        self._count(now)
        since = len(self._legs()) - self._legs_seen  # each has one pair at least
        return max(0, self._pairs - self._held - since - self.reception.pairs)

    def crowded(self, host: str, now: float) -> bool:
        """Tell whether a call for help would not begin in time, or those that wait will take the last port. Who comes when nobody
        waits begins at once, and hears the truth from the media process.
        """
        line = self.reception
        return len(line) > 0 and (line.late(host, now) or self.free(now) == 0)

    def _look(self, now: float) -> None:
        if now - self._looked_at < STALE_SECONDS:
            return
        self._looked_at = now
        legs = list(self._legs())
        self._flows = {(leg.flow.transport, leg.flow.remote) for leg in legs}
        self._dialogs = {leg.invite.call_id for leg in legs if leg.invite is not None}

    def _count(self, now: float) -> None:
        if now - self._counted_at < STALE_SECONDS:
            return
        self._counted_at = now
        legs = self._legs()
        self._legs_seen = len(legs)
        self._held = sum([len(leg.asked) or 1 for leg in legs])


def make_guard(
    limits: Limits, emergency: EmergencySettings, peers: Peers, trunks: tuple[str, ...] = ()
) -> Guard:
    """Build the guard of this process. `trunks`: addresses and networks of other exchanges."""
    draw = secrets.SystemRandom().random
    return Guard(rules(limits, emergency, trunks), peers, draw, epoch=time.time() - time.monotonic())


async def watch_guard(
    guard: Guard,
    backlog: Callable[[], float],
    metrics: Metrics,
    admit: Callable[[bytes, Flow], None],
    send: Callable[[bytes, Flow], None],
) -> None:
    """Tell the guard of the load, and metrics and log of the guard, for ever; spawn it through `Tasks`.

    `admit` takes the emergency INVITEs that had to wait when it is their turn; `send` answers those that had to make room.
    """
    clock = asyncio.get_running_loop().time
    shown: Counter[str] = Counter()
    while True:
        before, worked = clock(), time.thread_time()
        await asyncio.sleep(PROBE_SECONDS)
        passed = clock() - before
        busy = (time.thread_time() - worked) / max(passed, PROBE_SECONDS)
        guard.load.probe(max(0.0, passed - PROBE_SECONDS), backlog(), busy)
        for reason, count in (guard.counts - shown).items():
            metrics.guarded.labels(reason).inc(count)
        shown = guard.counts.copy()
        for data, flow in guard.waiting(time.monotonic()):
            admit(data, flow)
        for data, flow in guard.farewells(time.monotonic()):
            send(data, flow)
        metrics.shed_pressure.set(guard.load.pressure)
        for host, why in guard.news():
            log.warning("source_limited", address=host, why=why)
