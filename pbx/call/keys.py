"""Keys that go on to the other side: what comes by INFO as what comes in the sound does.

RFC 4733 events are relayed by the media process wherever the other side takes them. An INFO ends here, so what it told is made anew:
as such events, or as an INFO where a trunk wants it so.
"""

from typing import TYPE_CHECKING

from pbx.call import over_trunk
from pbx.call.effects import Item, LegDigit, ToMedia
from rtp.control import SendDtmf

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


def to_guest(exchange: "Exchange", guest: str | None, pressed: LegDigit) -> list[Item]:
    """A key of the host."""
    call = exchange.calls.get(guest or "")
    # A gateway makes a tone of what comes by INFO: no gate of ours would keep that from a silent caller.
    leg = None if call is None or call.silent else exchange.leg(call.leg)
    if call is None or leg is None:
        return []
    told = over_trunk.key(leg, pressed.digit)
    if told or not pressed.by_info or call.held:
        return told
    return [ToMedia(SendDtmf(leg.id, pressed.digit))]


def to_host(exchange: "Exchange", call: str, pressed: LegDigit) -> list[Item]:
    """A key of the guest."""
    found = exchange.calls.get(call)
    if found is None or found.held or not pressed.by_info:
        return []
    room = exchange.rooms.get(found.desk or "")
    if room is None or room.guest != call or room.leg is None:
        return []
    return [ToMedia(SendDtmf(room.leg, pressed.digit))]
