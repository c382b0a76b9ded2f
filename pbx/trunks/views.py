"""How trunks look to people: plain data for the API, the live feed and metrics.

in → out: a `Trunk` and how many calls it has → a dict as `pbx.api.trunks` describes it. No password, no nonce.
"""

from typing import Any

from pbx.trunks.trunk import Trunk


def trunk_view(trunk: Trunk, calls: int) -> dict[str, Any]:
    """Return one trunk."""
    registration, counts = trunk.registration, trunk.counts
    return {
        "trunk": trunk.name,
        "state": state(trunk),
        "in_service": trunk.in_service,
        "registered": None if registration is None else registration.registered,
        "registration": None if registration is None else str(registration.state),
        "refused": None if registration is None else registration.status,
        "peers": [
            {
                "peer": peer.name,
                "up": peer.up,
                "priority": peer.settings.priority,
                "weight": peer.settings.weight,
                "held_back": round(peer.overload.share, 2),
            }
            for peer in trunk.peers
        ],
        "calls": calls,
        "capacity": trunk.settings.capacity or None,
        "incoming": counts.incoming,
        "outgoing": counts.outgoing,
        "failed": counts.failed,
        "failovers": counts.failovers,
        "queue": trunk.settings.queue,
    }


def state(trunk: Trunk) -> str:
    """Return what a trunk is, in one word: `out_of_service`, `down`, `unregistered`, `partly` (a peer is down) or `up`."""
    if not trunk.in_service:
        return "out_of_service"
    if trunk.peers and not any(peer.up for peer in trunk.peers):
        return "down"
    if trunk.registration is not None and not trunk.registration.registered:
        return "unregistered"
    return "up" if all(peer.up for peer in trunk.peers) else "partly"
