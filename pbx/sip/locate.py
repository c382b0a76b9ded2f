"""Where a SIP URI leads: RFC 3263 as a machine over what DNS said, with its cache.

in → out: a URI → questions for DNS; their answers, or that none came → the hops to try, best first. Nobody who is
registered is ever looked up: this is for servers that we call.

What DNS said is kept as long as it may be, and longer when nobody answers any more: yesterday's address of a trunk is
better than none (bars F26).
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from pbx.sip.flow import default_port
from pbx.sip.uri import Uri

Kind = Literal["NAPTR", "SRV", "A", "AAAA"]
Question = tuple[str, Kind]
"""(name in lower case without the last dot, kind)"""

MIN_TTL: Final = 5.0
"""Seconds an answer is kept at least: a TTL of 0 must not make every call wait for DNS."""
MAX_TTL: Final = 86_400.0
NEGATIVE_TTL: Final = 30.0
"""Seconds to believe that there is no such record: a mistake just mended must not last."""
RETRY_SECONDS: Final = 5.0
"""How long after a failure the same is not asked again."""
STALE_SECONDS: Final = 86_400.0
"""How long an answer is used after its end while no newer one is to be had (RFC 8767 §5 says 1 to 3 days)."""
MAX_ENTRIES: Final = 4096
MAX_HOPS: Final = 16
"""Hops tried for one request; timer B gives each 32 s."""
MAX_QUESTIONS: Final = 64
"""Questions for one URI: a zone with thousands of SRV targets is broken or hostile."""
MAX_RECORDS: Final = 32

_SERVICES: Final = {"sips+d2t": "tls", "sip+d2t": "tcp", "sip+d2u": "udp"}
"""NAPTR services of the transports we open connections with (RFC 3263 §4.1)."""
_LABELS: Final = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
_PREFERENCE: Final = ("udp", "tcp", "tls")
"""RFC 3263 §4.1 leaves it to us which SRV of which transport comes first when no NAPTR says."""


@dataclass(frozen=True, slots=True)
class Naptr:
    """RFC 3403 §4.1, as far as SIP uses it."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Srv:
    """RFC 2782."""

    priority: int
    weight: int
    port: int
    target: str


Records = tuple[Naptr | Srv | str, ...]
"""Of one kind; addresses are text."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One place to send a request to."""

    transport: str
    address: str
    """IP address."""
    port: int
    name: str
    """What was asked for: over TLS the peer must prove to be that (RFC 5922 §4), not what DNS made of it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask DNS; the outcome goes to `answered` or `failed`."""

    question: Question


@dataclass(frozen=True, slots=True)
class Located:
    """The hops for `ref`, best first; none: the URI leads nowhere."""

    ref: str
    hops: tuple[Hop, ...]


Effect = Ask | Located


def may_be_called(address: str) -> bool:
    """Whether an address that DNS gave may be sent to; whoever rules a name must not reach into this machine (bars S9)."""
    found = ipaddress.ip_address(address)
    return not (
        found.is_loopback
        or found.is_link_local
        or found.is_multicast
        or found.is_unspecified
        or found.is_reserved
        or address == "255.255.255.255"
    )


@dataclass(slots=True)
class _Entry:
    records: Records = ()
    fresh: float = 0.0
    stale: float = 0.0
    quiet: float = 0.0
    """Not asked again before."""


@dataclass(slots=True)
class _Look:
    """What one look at the cache found wanting."""

    now: float
    missing: dict[Question, None] = field(default_factory=dict)


class Locator:
    """Finds hops. Times are seconds monotonic."""

    def __init__(self, draw: Callable[[], float], *, allowed: Callable[[str], bool] = may_be_called) -> None:
        """`draw` gives 0…1 at random, for the weights of SRV; `allowed` judges addresses that DNS gave."""
        self._draw = draw
        self._allowed = allowed
        self._cache: dict[Question, _Entry] = {}
        self._asked: set[Question] = set()
        self._wanted: dict[str, Uri] = {}

    def locate(self, ref: str, uri: Uri, now: float) -> list[Effect]:
        """Find where `uri` leads; the outcome comes as `Located(ref, …)`, at once if all is known."""
        self._wanted[ref] = uri
        return self._look(ref, now)

    def forget(self, ref: str) -> None:
        """Stop looking for `ref`."""
        self._wanted.pop(ref, None)

    def answered(self, question: Question, records: Records, ttl: float, now: float) -> list[Effect]:
        """Hear what DNS said; no records: there are none. `ttl` in seconds."""
        if question not in self._asked:
            return []
        longest = MAX_TTL if records else NEGATIVE_TTL
        fresh = now + min(max(ttl, MIN_TTL), longest)
        self._cache.pop(question, None)
        self._cache[question] = _Entry(records[:MAX_RECORDS], fresh, fresh + STALE_SECONDS)
        while len(self._cache) > MAX_ENTRIES:
            del self._cache[next(iter(self._cache))]
        return self._settled(question, now)

    def failed(self, question: Question, now: float) -> list[Effect]:
        """Hear that DNS gave no answer; what it said last is used as long as that is not too old."""
        if question not in self._asked:
            return []
        self._cache.setdefault(question, _Entry()).quiet = now + RETRY_SECONDS
        return self._settled(question, now)

    def _settled(self, question: Question, now: float) -> list[Effect]:
        self._asked.discard(question)
        return [effect for ref in list(self._wanted) for effect in self._look(ref, now)]

    def _look(self, ref: str, now: float) -> list[Effect]:
        look = _Look(now)
        hops = tuple(_few(self._hops(self._wanted[ref], look)))
        if len(look.missing) > MAX_QUESTIONS:
            hops, look.missing = (), {}
        if not look.missing:
            del self._wanted[ref]
            return [Located(ref, hops)]
        new = [question for question in look.missing if question not in self._asked]
        self._asked.update(new)
        return [Ask(question) for question in new]

    # --- RFC 3263 §4 ------------------------------------------------------------------------------------------------

    def _hops(self, uri: Uri, look: _Look) -> Iterator[Hop]:
        # §4: "…let TARGET be the value of the maddr parameter of the URI, if present, otherwise, the host value"
        target = (uri.param("maddr") or uri.host).strip("[]").lower().removesuffix(".")
        secure = uri.scheme == "sips"
        stated = (uri.param("transport") or "").lower()
        if stated in ("ws", "wss", "sctp"):
            return  # nothing we open connections with
        transport = "tls" if secure or stated == "tls" else stated
        usual = transport or "udp"
        # §4.1: "…if the TARGET is a numeric IP address, the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI."
        if _is_literal(target):
            yield Hop(usual, target, uri.port or default_port(usual), target)
        # "Similarly, if … a port is present …, the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI."
        elif uri.port is not None:
            yield from self._addresses(target, usual, uri.port, target, look)
        else:
            found = list(self._services(target, transport, look))
            # §4.2: "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name."
            none = not found and not look.missing
            yield from self._addresses(target, usual, default_port(usual), target, look) if none else found

    def _services(self, target: str, transport: str, look: _Look) -> Iterator[Hop]:
        if transport:
            yield from self._servers(f"{_LABELS[transport]}.{target}", transport, target, look)
            return
        rules = [r for r in self._ask((target, "NAPTR"), look) if isinstance(r, Naptr)]
        usable = [r for r in rules if r.flags.lower() == "s" and r.service.lower() in _SERVICES]
        # §4.1 takes the first that we support; the others come after it, for when it leads nowhere.
        for rule in sorted(usable, key=lambda r: (r.order, r.preference)):
            yield from self._servers(rule.replacement, _SERVICES[rule.service.lower()], target, look)
        if not usable and not look.missing:
            for ours in _PREFERENCE:
                yield from self._servers(f"{_LABELS[ours]}.{target}", ours, target, look)

    def _servers(self, name: str, transport: str, target: str, look: _Look) -> Iterator[Hop]:
        found = [record for record in self._ask((name.lower(), "SRV"), look) if isinstance(record, Srv)]
        for server in ordered(found, self._draw):
            # RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
            if server.target not in ("", "."):
                yield from self._addresses(server.target.lower(), transport, server.port, target, look)

    def _addresses(self, host: str, transport: str, port: int, name: str, look: _Look) -> Iterator[Hop]:
        kinds: tuple[Kind, Kind] = ("AAAA", "A")
        for kind in kinds:
            for record in self._ask((host, kind), look):
                if isinstance(record, str) and _is_literal(record) and self._allowed(record):
                    yield Hop(transport, record, port, name)

    def _ask(self, question: Question, look: _Look) -> Records:
        entry = self._cache.get(question)
        if entry is not None and look.now < entry.fresh:
            return entry.records
        if entry is None or look.now >= entry.quiet:
            look.missing[question] = None
            return ()
        return entry.records if look.now < entry.stale else ()


def ordered(servers: Iterable[Srv], draw: Callable[[], float]) -> list[Srv]:
    """Put SRV records in the order in which they are tried (RFC 2782, "Usage rules")."""
    # "…arrange all SRV RRs (that have not been ordered yet) in any order, except that all those with weight 0 are placed
    # at the beginning of the list."
    rest = sorted(servers, key=lambda server: (server.priority, server.weight, server.target, server.port))
    out: list[Srv] = []
    while rest:
        group = [server for server in rest if server.priority == rest[0].priority]
        mark, running = draw() * sum(server.weight for server in group), 0
        for server in group:
            running += server.weight
            if running >= mark:
                break
        out.append(server)
        rest.remove(server)
    return out


def _few(hops: Iterator[Hop]) -> Iterator[Hop]:
    seen: dict[tuple[str, str, int], None] = {}
    for hop in hops:
        if (hop.transport, hop.address, hop.port) not in seen and len(seen) < MAX_HOPS:
            seen[hop.transport, hop.address, hop.port] = None
            yield hop


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
