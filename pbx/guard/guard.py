"""The guard: judges each message before it is parsed.

in → out: bytes and the flow they came on → None (go on), or a `Refusal` (and perhaps 503 bytes to send).

    emergency INVITE ──▶ buckets of its own, per flow and per address; never shed
            too much └──▶ while a port is free: it waits its turn in `lane`, one source after the other
            it would not begin in time ──▶ 503, whoever asks
    everything else  ──▶ bucket of the flow ─▶ bucket of the address ─▶ shed by rank when overloaded
            too much └──▶ a registered flow, a live call's flow or Call-ID: a wide bucket; others: dropped in silence

A message that exceeds a limit gets no answer: an answer would go to an address that may be forged, and UDP peers send again.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final, Literal, Protocol

from pbx.guard import feedback
from pbx.guard.buckets import Buckets, Limit
from pbx.guard.glance import Emergencies, Rank, branch, call_id, method, opens
from pbx.guard.lane import Lane
from pbx.guard.load import Load
from pbx.guard.refusal import acknowledges, refuse
from pbx.guard.refused import Refused
from pbx.sip.flow import Flow, answer_flow
from pbx.sip.message import Request
from pbx.targets import EmergencySettings

__all__ = ["Guard", "Limit", "Refusal", "Rules", "Standing"]

MAX_RETRY_AFTER: Final = 10
"""Seconds; the wait is drawn from 1 to this, so that those turned away together do not come back together (bars L4)."""
FEW: Final = 4
"""Emergency INVITEs one address may always have within their life, however few ports are left."""
NEWS_SECONDS: Final = 60.0
"""An address that goes on is told of this often: a flood must not fill the log."""
MAX_NEWS: Final = 256
"""Addresses told of within that time."""

ASKED_LATELY: Final = 1024
"""Addresses of which it is remembered whether they lie in a network of the settings."""

Address = tuple[str, int]
_BREAKS: Final = (b"\r", b"\n")
_KNOWN: Final = Limit(200, 600)
_EMERGENCY_PER_HOST: Final = Limit(50, 500)
_EMERGENCY_SPARE: Final = Limit(100, 50)
_EMERGENCY_PER_FLOW: Final = Limit(2, 20)
_PER_HOST: Final = Limit(200, 2000, 5.0)
_PER_FLOW: Final = Limit(20, 60, 5.0)


class Standing(Protocol):
    """What is known of peers; asked only when a limit is reached or load must be shed."""

    def flow(self, flow: Flow, now: float) -> Literal["live", "registered"] | None:
        """Tell whether a call is up on this very flow, or an account registered from it."""

    def dialog(self, call_id: str, now: float) -> bool:
        """Tell whether a live call or desk has this Call-ID; strangers can't guess one."""

    def free(self, now: float) -> int:
        """Tell for how many more calls there are media ports."""

    def crowded(self, host: str, now: float) -> bool:
        """Tell whether a call for help from this IP address would not begin in time, for those that wait, or find no port."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may send how much. Rates are messages a second."""

    per_flow: Limit = _PER_FLOW
    """A phone that is not registered: registering takes four messages."""
    per_host: Limit = _PER_HOST
    """All such flows of one address: a thousand phones behind one NAT after a power cut."""
    emergency_per_flow: Limit = _EMERGENCY_PER_FLOW
    """INVITE to an emergency target: one call is at most seven datagrams in 32 s."""
    emergency_per_host: Limit = _EMERGENCY_PER_HOST
    emergency_spare: Limit = _EMERGENCY_SPARE
    """Emergency INVITEs over these two, of all sources together: a third of what signalling serves, and fewer as fewer ports are free."""
    known: Limit = _KNOWN
    """A registered flow or one with a live call."""
    flows: int = 20_000
    """Flows remembered per kind of bucket, about 6 MiB."""
    hosts: int = 10_000
    upstreams: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses and networks of proxies in front of us, which speak for many: no limit by source. Load is shed all the same."""
    emergency: EmergencySettings = field(default_factory=EmergencySettings)
    trunks: tuple[str, ...] = ()
    """Addresses and networks of other exchanges: a limit of ours would turn away who calls for help there. Never shed either."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Don't go on. `answer`: bytes to send on `flow`; None: silence."""

    answer: bytes | None = None
    flow: Flow | None = None
    kept: bool = False
    """It is not lost: it waits, or is a repetition of one that does, or nobody waits for it. A stream it came on stays open."""


_SILENCE: Final = Refusal()
_KEPT: Final = Refusal(kept=True)


class Guard:
    """See the module."""

    def __init__(
        self, rules: Rules, standing: Standing, draw: Callable[[], float], *, epoch: float = 0.0
    ) -> None:
        """`draw` gives 0…1 at random. `epoch`: wall clock minus monotonic clock in seconds, for `oc-seq`."""
        self.load = Load()
        self.counts: Counter[str] = Counter()
        """What was turned away, by reason: `flow`, `host`, `known`, `emergency`, `shed_other`, `shed_register`, `shed_owner`; of
        emergency INVITEs what did not go on at once too: `emergency_waits`, `emergency_repeated`, `emergency_late`; and those that
        would not have begun in time: `emergency_crowded`."""
        self._news: list[tuple[str, str]] = []
        self._told: dict[str, float] = {}
        self._standing = standing
        self._draw = draw
        self._epoch = epoch
        self._emergencies = Emergencies(rules.emergency)
        self._flows: Buckets[Address] = Buckets(rules.per_flow, rules.flows)
        self._hosts: Buckets[str] = Buckets(rules.per_host, rules.hosts)
        self._emergency_flows: Buckets[Address] = Buckets(rules.emergency_per_flow, rules.flows)
        self._emergency_hosts: Buckets[str] = Buckets(rules.emergency_per_host, rules.hosts)
        self._lane = Lane(rules.emergency_spare)
        self._refused = Refused()
        self._known: Buckets[Address] = Buckets(rules.known, rules.flows)
        self._upstreams = tuple(ipaddress.ip_network(text) for text in rules.upstreams)
        self._trunks = tuple(ipaddress.ip_network(text) for text in rules.trunks)
        self._is_trunk = lru_cache(ASKED_LATELY)(partial(_within, networks=self._trunks))
        self._is_network_of_upstreams = lru_cache(ASKED_LATELY)(partial(_within, networks=self._upstreams))
        self._upstream_hosts = frozenset(
            str(network.network_address) for network in self._upstreams if network.num_addresses == 1
        )

    # --- judging --------------------------------------------------------------------------------------------------

    def judge(self, data: bytes, flow: Flow, now: float) -> Refusal | None:
        """Judge one message by its first bytes; empty `data` is a message that was no SIP. `now`: monotonic seconds."""
        if data.startswith(_BREAKS):
            data = data.lstrip(b"\r\n")  # as the parser does
        host = flow.remote[0]
        trunk = bool(self._trunks) and self._is_trunk(host)
        # What a trunk calls us by is told by its settings; what is a call for help is known once it is parsed.
        if data.startswith(b"INVITE ") and (trunk or self._emergencies.asked(data)):
            wait = self._refused.said(data, now)
            if wait is not None or self._standing.crowded(host, now):
                refusal = self._crowded(data, flow, wait, now)
                if refusal is not None:
                    return refusal
            return None if trunk or self.is_upstream(host) else self._emergency(data, flow, now)
        if trunk:
            return _KEPT if acknowledges(data) else None
        limited = not self.is_upstream(host)
        # From here to a refusal in silence nothing is made and little is looked at: a flood comes this way (bars L7).
        if limited and (refusal := self._limit(data, flow, now)) is not None:
            return refusal
        if acknowledges(data):
            return _KEPT
        if self.load.shedding:
            return self._shed(data, method(data), flow, now)
        return None

    def is_upstream(self, host: str) -> bool:
        """Tell whether an IP address is that of a proxy in front of us."""
        if host in self._upstream_hosts:
            return True
        if len(self._upstreams) == len(self._upstream_hosts):
            return False
        return self._is_network_of_upstreams(host)

    def _emergency(self, data: bytes, flow: Flow, now: float) -> Refusal | None:
        key = (flow.remote, call_id(data), branch(data))
        match self._lane.repeated(key, now):
            case "heard":
                return None
            case "over":
                self.counts["emergency_repeated"] += 1
                return _KEPT
        free = self._standing.free(now)
        if self._may(data, flow, free, now):
            self._lane.passed(key, now)
            return None
        match self._lane.offer(data, flow, key, free, now) if free else "full":
            case "go":
                return None
            case "waits":
                self.counts["emergency_waits"] += 1
                return _KEPT
        self.counts["emergency"] += 1
        return self._turned_away(data, flow, now)

    def _crowded(self, data: bytes, flow: Flow, wait: int | None, now: float) -> Refusal | None:
        """Turn away a call for help that would wait too long: with an answer, for who hears nothing sends it seven times, and
        who is refused can be helped elsewhere. None: it is one that was heard before, or of a call that stands. `wait`: what it was told
        when it came first; None: it is no repetition.
        """
        if not opens(data) or self._standing.dialog(call_id(data), now):
            return None
        if wait is not None:
            self.counts["emergency_repeated"] += 1
            return self._answer(data, flow, now, wait)
        self.crowd()
        wait = self._wait()
        self._refused.add(data, wait, now)
        return self._answer(data, flow, now, wait)

    def crowd(self) -> None:
        """Count a call for help that was found to come too late for its turn only when it had been parsed."""
        self.counts["emergency_crowded"] += 1

    def _may(self, data: bytes, flow: Flow, free: int, now: float) -> bool:
        """Tell whether its source may have one more emergency INVITE."""
        host = flow.remote[0]
        if self._emergency_flows.take(flow.remote, now):
            if self._emergency_hosts.take(host, now) and self._lane.recent(host, now) <= max(free, FEW):
                return True
            self._tell(host, "emergency_calls", now)
        return self._is_known(data, flow, now) and self._known.take(flow.remote, now)

    def _turned_away(self, data: bytes, flow: Flow, now: float) -> Refusal:
        # On UDP the phone sends it again, and by then there may be room; on a stream nothing is ever sent again.
        return self._answer(data, flow, now) if flow.reliable else _SILENCE

    def waiting(self, now: float) -> list[tuple[bytes, Flow]]:
        """Return the emergency INVITEs that waited and whose turn it is now; to be asked ten times a second."""
        if not len(self._lane):
            return []  # nearly always; ports are counted for those that wait
        turns = self._lane.turns(self._standing.free(now), now)
        self.counts["emergency_late"] += self._lane.late - self.counts["emergency_late"]
        return turns

    def farewells(self, now: float) -> list[tuple[bytes, Flow]]:
        """Return the 503s for emergency INVITEs that waited and had to make room for those of other sources."""
        displaced = self._lane.displaced()
        self.counts["emergency"] += len(displaced)
        answers = [self._turned_away(data, flow, now) for data, flow in displaced]
        return [(one.answer, one.flow) for one in answers if one.answer is not None and one.flow is not None]

    def _limit(self, data: bytes, flow: Flow, now: float) -> Refusal | None:
        remote = flow.remote
        if not self._flows.take(remote, now):
            reason = "flow"
        elif not self._hosts.take(remote[0], now):
            reason = "host"
            self._tell(remote[0], "requests", now)
        else:
            return None
        if self._is_known(data, flow, now):
            if self._known.take(remote, now):
                return None
            reason = "known"
        elif reason == "flow":
            self._tell(remote[0], "requests", now)
        self.counts[reason] += 1
        return _SILENCE

    def _is_known(self, data: bytes, flow: Flow, now: float) -> bool:
        return self._standing.flow(flow, now) is not None or self._standing.dialog(call_id(data), now)

    # --- shedding -------------------------------------------------------------------------------------------------

    def _shed(self, data: bytes, name: bytes, flow: Flow, now: float) -> Refusal | None:
        rank = self.rank(data, name, flow, now)
        share = self.load.share(rank)
        if share <= 0.0 or self._draw() >= share:
            return None
        self.counts[f"shed_{rank.name.lower()}"] += 1
        return self._answer(data, flow, now)

    def rank(self, data: bytes, name: bytes, flow: Flow, now: float) -> Rank:
        """Return the rank of a message that is no emergency INVITE; `name` is its method."""
        standing = self._standing.flow(flow, now)
        if (name == b"SIP" and standing is not None) or self._standing.dialog(call_id(data), now):
            return Rank.DIALOG
        if name == b"REGISTER":
            return Rank.OWNER if standing == "live" else Rank.REGISTER
        # A dispatcher who comes on duty is what empties the queue: the phone is registered, with a password, or in a call.
        return Rank.OWNER if name == b"INVITE" and standing is not None else Rank.OTHER

    def _wait(self) -> int:
        return 1 + min(MAX_RETRY_AFTER - 1, int(self._draw() * MAX_RETRY_AFTER))

    def _answer(self, data: bytes, flow: Flow, now: float, wait: int | None = None) -> Refusal:
        made = refuse(
            data,
            flow.remote,
            retry_after=self._wait() if wait is None else wait,
            share=self.load.share(Rank.OTHER),
            sequence=self._epoch + now,
        )
        return _SILENCE if made is None else Refusal(made[0], answer_flow(made[1], flow))

    def report(self, request: Request, now: float) -> None:
        """Write our overload report into the top Via of a request whose sender asks for it (RFC 7339)."""
        via = request.via
        if feedback.asks(via):
            request.set_via(feedback.report(via, self.load.share(Rank.OTHER), self._epoch + now))

    # --- for those who watch ----------------------------------------------------------------------------------------

    def _tell(self, host: str, why: str, now: float) -> None:
        if now - self._told.get(host, -NEWS_SECONDS) < NEWS_SECONDS:
            return
        if len(self._told) >= MAX_NEWS:
            self._told = {told: at for told, at in self._told.items() if now - at < NEWS_SECONDS}
        if len(self._told) < MAX_NEWS:
            self._told[host] = now
            self._news.append((host, why))

    def news(self) -> list[tuple[str, str]]:
        """Return the addresses that exceeded a limit since the last question, and of what."""
        news, self._news = self._news, []
        return news

    @property
    def remembered(self) -> int:
        """How many flows and addresses are remembered."""
        buckets = (self._flows, self._hosts, self._emergency_flows, self._emergency_hosts, self._known)
        return sum(len(bucket) for bucket in buckets) + len(self._lane) + len(self._refused)


def _within(host: str, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in networks)
