"""Whether a desk that was given a caller sends sound: the media process's reports tell (RONA).

in → out: counts of a desk's leg → `DeskHeard` for the queue, once its sound has grown since it was given the caller.
"""

from collections.abc import Sequence

from pbx.call import call_events as events
from pbx.call.effects import Item, Note
from pbx.call.exchange import Exchange
from routing.acd import DeskHeard
from rtp.control import StreamReport


def reported(exchange: Exchange, desk: str, streams: Sequence[StreamReport]) -> list[Item]:
    """Take one report of a desk's leg."""
    found = exchange.acd.desk(desk)
    if found is None or found.call is None:
        exchange.sounds.pop(desk, None)
        return []
    received = sum(stream.received for stream in streams if stream.medium == "audio")
    call, before = exchange.sounds.get(desk, ("", 0))
    if call != found.call or received < before:
        # The first report since: what it counts may be older than the caller.
        exchange.sounds[desk] = (found.call, received)
        return []
    return _heard(exchange, desk) if received > before else []


def started(exchange: Exchange, desk: str) -> list[Item]:
    """Take the first sound of a desk's leg."""
    return _heard(exchange, desk)


def _heard(exchange: Exchange, desk: str) -> list[Item]:
    found = exchange.acd.desk(desk)
    if found is None or found.call is None or found.heard:
        return []
    return [Note("desk_heard", found.call, {"desk": desk}), events.ToAcd(DeskHeard(desk))]
