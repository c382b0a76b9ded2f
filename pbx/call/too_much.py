"""A caller's picture that is more than the desk's phone takes: said to the dispatcher and in the evidence, never silently stalled.

in → out: what the media process counted of a caller's picture → a note and a text, once for each guest of a desk.

Nothing is held back: a phone that states less than it can is the rule, and a picture that stalls is better than none.
"""

from collections.abc import Sequence
from typing import Final

from pbx.call import call_events as events
from pbx.call.call_state import State
from pbx.call.effects import Item, Note
from pbx.call.exchange import Exchange
from rtp.control import StreamReport

SLACK: Final = 1.1
"""How far above the limit is too much: a key frame in five seconds is no excess, and AS counts headers that are not measured."""
TEXT: Final = "来电图像 {kbits} kbit/s 超出本机上限 {limit} kbit/s · the caller's picture has {kbits} kbit/s, this phone takes {limit}"


def reported(exchange: Exchange, call: str, streams: Sequence[StreamReport]) -> list[Item]:
    """Take one report of a caller's leg."""
    found = exchange.calls.get(call)
    if found is None or found.state is not State.TALKING or found.desk is None:
        return []
    room = exchange.rooms.get(found.desk)
    desk = None if room is None or room.leg is None else exchange.legs.get(room.leg)
    media = exchange.media.get(call)
    if desk is None or media is None or desk.negotiation.picture_limit is None:
        return []
    limit, by = desk.negotiation.picture_limit
    bits = max((stream.bits_received for stream in streams if stream.medium == "video"), default=0)
    if bits <= limit * SLACK or found.desk in media.told:
        return []
    media.told.add(found.desk)
    noted = {"desk": found.desk, "bits": bits, "limit": limit, "by": by}
    said = TEXT.format(kbits=round(bits / 1000), limit=round(limit / 1000))
    return [Note("picture_too_large", call, noted), events.Say(desk.id, said)]
