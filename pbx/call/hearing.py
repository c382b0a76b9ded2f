"""Whether a desk that was given a caller sends sound: the media process's reports tell (RONA).

in → out: counts of a desk's leg → `DeskHeard` for the queue, once its sound has grown since it was given the caller, and
`DeskAlive` while it is merely quiet.

A phone that falls silent while nobody speaks (voice activity detection, DTX) is no dead one. What proves it alive: comfort
noise, which is sound; RTCP and keep-alives, if it has sent sound on this leg before: then its microphone has a way to us.
A phone that never sent any is put away whatever else it sends, for its callers would hear nothing.
"""

from collections.abc import Sequence
from typing import Final

from pbx.call import call_events as events
from pbx.call.effects import Item, Note
from pbx.call.exchange import Exchange
from routing.acd import DeskAlive, DeskHeard
from rtp.control import StreamReport

NOBODY: Final = ""
"""In place of a caller: what a desk had sent when it had none."""
ALIVE_MS: Final = 15_000.0
"""Quiet for longer than this it has missed two reports of its own: RTCP comes every 2.5 to 7.5 s (RFC 3550 §6.2, §6.3.1),
keep-alives every 15 s (RFC 6263 §4.6)."""


def reported(exchange: Exchange, desk: str, streams: Sequence[StreamReport]) -> list[Item]:
    """Take one report of a desk's leg."""
    found = exchange.acd.desk(desk)
    if found is None:
        exchange.sounds.pop(desk, None)
        return []
    sound = [stream for stream in streams if stream.medium == "audio"]
    received = sum(stream.received for stream in sound)
    call, before = exchange.sounds.get(desk, (found.call or NOBODY, received))
    if found.call is None or received < before:
        exchange.sounds[desk] = (found.call or NOBODY, received)
        return []
    # What stood in the last report before the caller came is what counts from: who says "110" and then listens was heard.
    since = before if call in {NOBODY, found.call} else received
    exchange.sounds[desk] = (found.call, since)
    if received > since:
        return _heard(exchange, desk)
    alive = any(stream.quiet_ms is not None and stream.quiet_ms <= ALIVE_MS for stream in sound)
    return [events.ToAcd(DeskAlive(desk))] if alive and received and not found.heard else []


def started(exchange: Exchange, desk: str) -> list[Item]:
    """Take the first sound of a desk's leg."""
    return _heard(exchange, desk)


def _heard(exchange: Exchange, desk: str) -> list[Item]:
    found = exchange.acd.desk(desk)
    if found is None or found.call is None or found.heard:
        return []
    return [Note("desk_heard", found.call, {"desk": desk}), events.ToAcd(DeskHeard(desk))]
