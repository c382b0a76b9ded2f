"""`[limits]` of the settings file: how much anybody may have of us.

in → out: settings → `Limits`; `rules(…)` makes of it what the guard goes by.
"""

from typing import Annotated

import msgspec

from pbx.guard.buckets import Limit
from pbx.guard.guard import Rules
from pbx.section import Count, Seconds, Section
from pbx.targets import EmergencySettings

__all__ = ["Limits", "rules"]

Rate = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]


class Limits(Section, frozen=True, kw_only=True):
    """Sizes nobody may pass. Rates are SIP messages a second; a burst is what may come at once."""

    feed_readers: Count = 200
    """Open `/api/events` feeds; each holds up to 256 events."""
    upstreams: tuple[str, ...] = ("127.0.0.1", "::1")
    """IP addresses and networks of proxies in front of us, which speak for many phones: no limit by source."""
    flow_rate: Rate = 20.0
    flow_burst: Count = 60
    """One address and port that is not registered."""
    host_rate: Rate = 200.0
    host_burst: Count = 2000
    """One address: a thousand phones behind one NAT that register after a power cut."""
    block_seconds: Seconds = 5.0
    """Who exceeds these is not heard until it was quieter for so long."""
    emergency_flow_rate: Rate = 2.0
    emergency_flow_burst: Count = 20
    """Emergency INVITEs of one address and port, repetitions included; never blocked."""
    emergency_host_rate: Rate = 50.0
    emergency_host_burst: Count = 500
    emergency_spare_rate: Rate = 100.0
    emergency_spare_burst: Count = 50
    """Emergency INVITEs over both, of all sources together; they take turns while a port is free, the slower the fewer are left."""
    emergency_wait_seconds: Seconds = 32.0
    """A call for help that would begin later than this, at the pace at which calls begin, hears 503 at once."""
    known_rate: Rate = 200.0
    known_burst: Count = 600
    """A registered phone, or one with a live call."""
    identity_rate: Rate = 20.0
    identity_burst: Count = 100
    """Requests of one account from wherever, emergency calls and requests inside dialogs not counted."""
    digest_failures: Count = 10
    """Wrong passwords a minute for one identity from one address; then it is not listened to for the rest of it."""
    flows: Count = 20_000
    """Addresses with port remembered for each of these limits."""
    hosts: Count = 10_000


def rules(limits: Limits, emergency: EmergencySettings, trunks: tuple[str, ...] = ()) -> Rules:
    """Return the limits as the guard wants them. `trunks`: addresses and networks of other exchanges."""
    block = limits.block_seconds
    return Rules(
        per_flow=Limit(limits.flow_rate, limits.flow_burst, block),
        per_host=Limit(limits.host_rate, limits.host_burst, block),
        emergency_per_flow=Limit(limits.emergency_flow_rate, limits.emergency_flow_burst),
        emergency_per_host=Limit(limits.emergency_host_rate, limits.emergency_host_burst),
        emergency_spare=Limit(limits.emergency_spare_rate, limits.emergency_spare_burst),
        known=Limit(limits.known_rate, limits.known_burst),
        flows=limits.flows,
        hosts=limits.hosts,
        upstreams=limits.upstreams,
        emergency=emergency,
        trunks=trunks,
    )
