"""Where the packets of one payload type go, and what a track needs around it to find that out."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rtp.activity import Activity, Restlessness
from rtp.control import Codec, Event
from rtp.flood import SEARCHED, Limit
from rtp.jitter import Buffer, JitterBuffer
from rtp.load import Load
from rtp.loop import Loop
from rtp.mapping import Mapped
from rtp.packet import MARKER
from rtp.sender import Sender
from rtp.swift import Swift

if TYPE_CHECKING:
    from rtp.badge import Badge

Special = Callable[[bytes, int, int, float], None]
"""What happens to packets that are not simply relayed: (packet, sequence, timestamp, now)."""


@dataclass(slots=True)
class Route:
    """Where packets of one payload type go."""

    rate: int
    sender: Sender | None = None
    codec: Codec | None = None
    payload_type: int = 0
    """Of `codec`."""
    special: Special | None = None
    name: str = ""
    """Encoding name of what arrives."""


NO_HEADS: Final[Mapping[int, int]] = {}
"""Where no packet is the usual one."""


@lru_cache(maxsize=256)
def heads(arriving: int, leaving: int) -> Mapping[int, int]:
    """Give for the head (see `packet.HEADS`) of each RTP packet of payload type `arriving` the one it leaves with: its payload type is `leaving`.

    One for all flows of these two, so that it is in the caches whenever a packet comes.
    """
    return {
        first << 8 | marker | arriving: first << 8 | marker | leaving
        for first in range(0x80, 0xC0)
        for marker in (0, MARKER)
    }


def straight(mapped: Mapped, sender: Sender | None) -> Route:
    """Lay the route of one payload type to `sender`, as far as that takes it."""
    route = Route(mapped.source.clock_rate, name=mapped.source.name)
    if sender is not None and mapped.destination is not None:
        route.sender, route.codec = sender, mapped.destination
        route.payload_type = mapped.destination.payload_type
    return route


def _searches() -> Limit:
    made = Limit()
    made.permit(SEARCHED)
    return made


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a track needs of the process around it."""

    loop: Loop
    emit: Callable[[Event], None]
    numbers: "itertools.count[int]"
    """Numbers for sources (see `outstream`), never used twice."""
    load: Load = field(default_factory=Load)
    """Where the cost of mixing and transcoding is added up."""
    badges: "dict[str, Badge]" = field(default_factory=dict)
    """The still images that are sent now, by the name of their leg: few, where a sweep would look at every leg for them."""
    activity: Callable[[], Restlessness] = Activity
    """Makes what says whether a leg needs its beat."""
    buffer: Callable[[], Buffer[tuple[str, bytes]]] = JitterBuffer
    """Makes what a voice waits in for its mix."""
    swift: Callable[[], Swift] | None = None
    """Serves all voices and ears of a mix at once."""
    searches: Limit = field(default_factory=_searches)
    """Of roll-over counts nobody knows any more."""
