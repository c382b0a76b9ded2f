"""Whose packets are believed: the rule of bars S1 and F13, one machine for each RTP port. Pure.

                    ┌ from the address the SDP names, or another expected IP: at once
    UNSEEN ─────────┼ from the IP the SDP names but another port: when 300 ms brought nothing from the named port
                    └ from a foreign IP: 4 sequential packets of one SSRC, 3 s of silence, and an authenticated
                      request lately ────────────────────────────────────────────────────────────────────────┐
                                                                                                             ▼
    LATCHED ─ 300 ms of silence ─▶ QUIET ─┬ the latched address again ─────────────────────────────────▶ LATCHED
      (the kernel drops strangers)        ├ an expected IP, or the latched one with another port:
                                          │   the same SSRC going on: at once; else 4 sequential packets and 3 s
                                          └ a foreign IP: the same SSRC going on with 4 sequential packets, 2.5 s,
                                              and nobody else who claims to be that stream

While LATCHED the socket is connected, so that what the kernel lets through is the peer. Silence counts only while
the peer may send: during its hold nobody foreign can take its place. Where two foreign addresses claim to be the same stream,
none is believed before one has been alone for 2.5 s; the phone's next re-INVITE settles it at once.
"""

import ipaddress
from functools import lru_cache
from typing import Any, Final

from rtp.control import Address
from rtp.sequence import MAX_DROPOUT, forward16

PREFER_SECONDS: Final = 0.3
"""How long, from the first packet of the named IP's other ports on, the port in the SDP has precedence: somebody behind the same
NAT, or a spray, may be faster than the phone. A phone that does send from another port loses its first 300 ms."""
QUIET_SECONDS: Final = 0.3
"""Silence after which a changed port is looked for (bar F13: media back ≤ 1 s)."""
FOREIGN_SECONDS: Final = 3.0
"""Silence of the expected addresses before a foreign one is believed (bar S1)."""
MOVED_SECONDS: Final = 2.5
"""The same for a stream that goes on from another IP address, Wi-Fi to 4G (bar F13: media back ≤ 3 s)."""
REQUEST_SECONDS: Final = 32.0
"""How long an authenticated offer/answer exchange counts as a recent request (bar S1): 64·T1, the life of a SIP transaction."""
SEQUENTIAL: Final = 4
"""Packets of one SSRC in unbroken sequence that a doubtful source must show (bar S1)."""
MAX_CANDIDATES: Final = 16
"""Doubtful sources remembered at once: a spray from many addresses finds no memory here."""


@lru_cache(maxsize=4096)
def canonical(ip: str) -> str:
    """One spelling for each IP address; IPv4 in IPv6 becomes IPv4. Text that is no address stays as it is."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return ip
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class Latch:
    """The source address of one RTP port."""

    def __init__(self) -> None:
        self.latched: Address | None = None
        """The address believed now; it stays while QUIET."""
        self.vouched = True
        """Whether whoever negotiates for the peer is authenticated; to be set before `configure`."""
        self.held = False
        """Whether the peer holds the call, and so may send nothing for long: nobody takes its place meanwhile, whatever it shows."""
        self._sources: frozenset[str] = frozenset()
        self._receiving = False
        self._resting = True
        self._configured_at: float | None = None
        self._silent_since = 0.0
        self._ssrc = -1
        self._sequence = 0
        self._named: Address | None = None
        self._other_port_since: float | None = None
        self._claim: Address | None = None  # the foreign address that said last it is the stream we lost …
        self._contested_at: float | None = None  # … and when another one said so too
        self._candidates: dict[
            Address, tuple[int, int, int]
        ] = {}  # address → SSRC, sequence, how many in a row

    def configure(
        self,
        sources: frozenset[str],
        *,
        receiving: bool,
        moved: bool,
        now: float,
        named: Address | None = None,
    ) -> bool:
        """Take the outcome of an offer/answer exchange; True when the latched address is given up.

        `sources`: expected IP addresses in canonical spelling; `receiving`: the peer may send; `moved`: it named another
        address for this medium than before; `named`: that address, its IP canonical.
        """
        changed = moved or (sources != self._sources and not self._expected(self.latched, sources))
        resting = self.held or not receiving
        if self._resting and not resting:
            self._silent_since = now  # who rested was not silent: others' time begins now
            self._forget()
        self._resting = resting
        self._sources = sources
        if named != self._named:
            self._named = named
            self._other_port_since = None
        self._receiving = receiving
        self._configured_at = now
        if not changed or self.latched is None:
            return False
        self.latched = None
        self._silent_since = now
        self._forget()
        return True

    def heard(self, ssrc: int, sequence: int, at: float) -> None:
        """State what the latched peer sent last and when (monotonic seconds), before asking `receive`."""
        self._ssrc = ssrc
        self._sequence = sequence
        self._silent_since = max(self._silent_since, at)
        self._claim = self._contested_at = None

    def receive(self, source: Address, ssrc: int, sequence: int, now: float) -> bool:
        """Whether a packet that came while the socket was open to all is believed; its source is `latched` from then on.

        `source` with its IP in canonical spelling.
        """
        if self._configured_at is None:
            return False
        if source == self.latched:
            return self._latch(source)
        silence = now - self._silent_since
        expected = source[0] in self._sources
        if self.latched is None and expected:
            return not self._awaits_named(source, now) and self._latch(source)
        if self.latched is not None and silence < QUIET_SECONDS:
            return False
        same = (
            self.latched is not None
            and ssrc == self._ssrc
            and 0 < forward16(self._sequence, sequence) < MAX_DROPOUT
        )
        near = expected or (self.latched is not None and source[0] == self.latched[0])
        if near and same:
            return self._latch(source)
        if same:
            self._claimed(source, now)
        if self._in_a_row(source, ssrc, sequence) < SEQUENTIAL or not self._receiving:
            return False
        if self.latched is None:
            allowed = silence >= FOREIGN_SECONDS and self._asked_lately(now)
        elif near:
            allowed = silence >= FOREIGN_SECONDS
        else:
            allowed = same and not self.held and silence >= MOVED_SECONDS and not self._contested(now)
        return allowed and self._latch(source)

    def _claimed(self, source: Address, now: float) -> None:
        """Take note of who says, from a foreign address, that it is the stream that fell silent."""
        if self._claim is not None and self._claim != source:
            self._contested_at = now
        self._claim = source

    def _contested(self, now: float) -> bool:
        return self._contested_at is not None and now - self._contested_at < MOVED_SECONDS

    def _awaits_named(self, source: Address, now: float) -> bool:
        """Whether the port the SDP names may still prove to be the right one."""
        if self._named is None or source == self._named or source[0] != self._named[0]:
            return False
        if self._other_port_since is None:
            self._other_port_since = now
        return now - self._other_port_since < PREFER_SECONDS

    def _asked_lately(self, now: float) -> bool:
        configured_at = self._configured_at
        return self.vouched and configured_at is not None and now - configured_at <= REQUEST_SECONDS

    def _in_a_row(self, source: Address, ssrc: int, sequence: int) -> int:
        known = self._candidates.pop(source, None)
        count = 1
        if known is not None and known[0] == ssrc and forward16(known[1], sequence) == 1:
            count = min(known[2] + 1, SEQUENTIAL)
        elif len(self._candidates) >= MAX_CANDIDATES:
            del self._candidates[next(iter(self._candidates))]
        self._candidates[source] = (ssrc, sequence, count)
        return count

    def _latch(self, source: Address) -> bool:
        self.latched = source
        self._other_port_since = None
        self._forget()
        return True

    def _forget(self) -> None:
        self._candidates.clear()
        self._claim = self._contested_at = None

    @staticmethod
    def _expected(latched: Address | None, sources: frozenset[str]) -> bool:
        return latched is None or latched[0] in sources

    def trusts(self, ip: str) -> bool:
        """Whether RTCP from this IP (canonical) is the peer's: the latched one, or an expected one while there is none."""
        return ip == self.latched[0] if self.latched is not None else ip in self._sources

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data."""
        return {
            "latched": list(self.latched) if self.latched else None,
            "named": list(self._named) if self._named else None,
            "other_port_since": self._other_port_since,
            "sources": sorted(self._sources),
            "receiving": self._receiving,
            "configured_at": self._configured_at,
            "silent_since": self._silent_since,
            "ssrc": self._ssrc,
            "sequence": self._sequence,
            "vouched": self.vouched,
            "held": self.held,
            "resting": self._resting,
            "claim": list(self._claim) if self._claim else None,
            "contested_at": self._contested_at,
            "candidates": [[*source, *state] for source, state in self._candidates.items()],
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "Latch":
        """Make a latch that goes on where `snapshot` was taken."""
        latch = cls()
        latch.latched = (data["latched"][0], data["latched"][1]) if data["latched"] else None
        latch._named = (data["named"][0], data["named"][1]) if data["named"] else None
        latch._other_port_since = data["other_port_since"]
        latch._sources = frozenset(data["sources"])
        latch._receiving = data["receiving"]
        latch._configured_at = data["configured_at"]
        latch._silent_since = data["silent_since"]
        latch._ssrc = data["ssrc"]
        latch._sequence = data["sequence"]
        latch.vouched = data["vouched"]
        latch.held = data["held"]
        latch._resting = data["resting"]
        latch._claim = (data["claim"][0], data["claim"][1]) if data["claim"] else None
        latch._contested_at = data["contested_at"]
        latch._candidates = {
            (host, port): (ssrc, sequence, count) for host, port, ssrc, sequence, count in data["candidates"]
        }
        return latch
