"""Makes the media process hold what a restarted signalling process knows: what one of them said last, the other may not have heard.

in → out: the exchange as it came back, and what a media process tells it holds → commands and events that make up for
everything that was on its way when signalling died. All of it may be repeated, so nobody hears or sees a difference.

Legs and captures that only one of the two knows are `media_events`' business.
"""

from collections.abc import Iterator, Mapping

from pbx.call import media_events
from pbx.call.call import Call, State
from pbx.call.call_events import EndLeg
from pbx.call.effects import Effect, Item, ToMedia
from pbx.call.exchange import Exchange
from pbx.call.leg import Leg
from pbx.call.leg import State as LegState
from pbx.sip.effects import TransactionFailed
from rtp.control import (
    CloseLeg,
    Holdings,
    Join,
    Leave,
    LegHolding,
    OpenEvidence,
    OpenLeg,
    Play,
    StopPlay,
)


def resync(exchange: Exchange, held: Holdings, plays: Mapping[str, Play], now: float) -> list[Effect]:
    """Repeat what the media process must have been told; `plays`: leg → what loops there."""
    out: list[Effect] = []
    for one in held.legs:
        leg = exchange.legs.get(one.leg)
        if leg is not None:
            out += exchange.run(_leg(exchange, leg, one, plays.get(one.leg)), now, leg.id)
    for call in list(exchange.calls.values()):
        out += exchange.run(_evidence(exchange, call, open_there=call.id in held.evidence), now)
    return out


def unsent(exchange: Exchange, holds: Mapping[str, bool], now: float) -> list[Effect]:
    """End the attempts of legs whose INVITE was still looking for its way: the next peer is tried, if there is one.

    `holds`: ref of the INVITE of every leg that calls → whether its transaction came back.
    """
    out: list[Effect] = []
    for ref, held in holds.items():
        if not held:
            out += exchange.sip(TransactionFailed(ref, "transport"), now)
    return out


def calling(exchange: Exchange) -> list[str]:
    """Return the refs of the INVITEs that wait for an answer."""
    return [leg.invite_ref for leg in exchange.legs.values() if leg.state is LegState.CALLING]


def _leg(exchange: Exchange, leg: Leg, held: LegHolding, play: Play | None) -> Iterator[Item]:
    if not leg.live:
        yield ToMedia(CloseLeg(leg.id))
        return
    if leg.state is LegState.OPENING or leg.waiting is not None:
        # Its ports may have been told to a process that was dead; who asks again is told again.
        yield ToMedia(OpenLeg(leg.id, leg.asked, leg.setup.bind, leg.evidence, held.ports))
    if leg.negotiation.streams:
        yield ToMedia(leg.agreed())
    owner = exchange.owners[leg.id]
    again = [item for item in media_events.rejoin(exchange, leg.id, owner) if not _plays(item)]
    joins = [item.command for item in again if isinstance(item, ToMedia) and isinstance(item.command, Join)]
    if held.room is not None and held.room not in [join.room for join in joins]:
        yield ToMedia(Leave(leg.id))
    yield from again
    if play is not None:
        yield ToMedia(play)
    elif owner.kind == "call":
        yield ToMedia(StopPlay(leg.id))
    elif owner.kind in media_events.BRIEF:
        yield EndLeg(leg.id)  # that its tone was over was told to nobody


def _plays(item: Item) -> bool:
    return isinstance(item, ToMedia) and isinstance(item.command, Play)


def _evidence(exchange: Exchange, call: Call, *, open_there: bool) -> Iterator[Item]:
    if call.state is State.ARRIVING and open_there:
        yield ToMedia(OpenEvidence(call.id, f"{exchange.site.policy.folder}/{call.id}"))
