"""Who may hear and see whom: the one place where edges between legs come from (design §6, bar F30). Pure.

No input gives an edge from a guest to a guest: an edge has the host at one end, and a room has one host.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rtp.control import Medium, Role

Gate = Literal["open", "silent", "held", "no_picture"]
"""Why packets of an edge flow or not."""


@dataclass(frozen=True, slots=True)
class Gates:
    """The gates of a leg, of effect while it is a guest; sound and picture flow until signalling says otherwise."""

    silent: bool = False
    host_picture: bool = True
    held: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """Packets of one medium may go from `source` to `destination` when `gate` is open."""

    source: str
    destination: str
    medium: Medium
    gate: Gate


def wiring(members: Mapping[str, Role], gates: Mapping[str, Gates]) -> frozenset[Edge]:
    """All edges of one room. `members`: leg → role, `gates`: of those legs that have any.

    A room whose members break the rule (two hosts, two guests) has no edges at all: nobody hears anybody.
    """
    hosts = [leg for leg, role in members.items() if role == "host"]
    guests = [leg for leg, role in members.items() if role == "guest"]
    if len(hosts) != 1 or len(guests) != 1:
        return frozenset()
    host, guest = hosts[0], guests[0]
    gate = gates.get(guest, Gates())
    both: Gate = "held" if gate.held else "open"
    sound: Gate = "silent" if gate.silent else both
    picture: Gate = both if gate.host_picture else "no_picture"
    return frozenset(
        {
            Edge(guest, host, "audio", both),
            Edge(guest, host, "video", both),
            Edge(host, guest, "audio", sound),
            Edge(host, guest, "video", picture),
        }
    )
