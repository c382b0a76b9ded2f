"""Keys of a host that go to its guest by INFO, because a trunk wants it so.

All others go by the media process: RFC 4733 events with the sound, and what an INFO told as such events (`leg_events`) to whoever
hears its sender, through the same gates.
"""

from typing import TYPE_CHECKING

from pbx.call import over_trunk
from pbx.call.effects import Item, LegDigit

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


def to_guest(exchange: "Exchange", guest: str | None, pressed: LegDigit) -> list[Item]:
    """A key of the host."""
    call = exchange.calls.get(guest or "")
    # A gateway makes a tone of what comes by INFO: no gate of ours would keep that from a silent caller.
    leg = None if call is None or call.silent else exchange.leg(call.leg)
    return [] if leg is None else over_trunk.key(leg, pressed.digit)
