"""Dialogs that one identity leaves half open may not pile up (bars F18).

in → out: who asks for a new dialog → room for it, or 486. A call for help is never refused: it takes the place of an
earlier one of the same proven person whose phone has not even acknowledged our answer.
"""

from typing import Final

from pbx.call.call import State as CallState
from pbx.call.effects import Item, Note
from pbx.call.exchange import Exchange
from pbx.call.hangup import hang_up
from pbx.call.leg import Leg, State
from pbx.sip import reason
from pbx.sip.errors import SipError

MAX_OTHERS: Final = 2
"""Dialogs that are no emergency and not yet acknowledged, of one account: a desk has one permanent leg and one short code."""
PATIENCE: Final = 4
"""T1s an answer may be unacknowledged before a second call of the same person takes its place: one lost ACK is no reason."""

_EARLY: Final = frozenset({State.OPENING, State.READY, State.ANSWERED})


def check_others(exchange: Exchange, user: str) -> None:
    """Raise SipError(486) when a desk's account has as many half-open dialogs as it may."""
    early = [
        leg
        for leg, owner in exchange.owners.items()
        if owner.kind in {"desk", "feature"} and owner.id == user and exchange.legs[leg].state in _EARLY
    ]
    if len(early) >= MAX_OTHERS:
        raise SipError(486)


def supersede(exchange: Exchange, user: str, now: float) -> list[Item]:
    """Give up the calls of this person whose phone never said it heard our answer, or from which no sound comes any more.

    Whoever dials again has lost the old call, even if its phone had no time to say so: the new one gets its place.
    """
    out: list[Item] = []
    for call in list(exchange.calls.values()):
        leg = exchange.legs.get(call.leg)
        if call.caller.user != user or leg is None or call.state is CallState.CLOSING:
            continue
        if _unheard(leg, now) or _lost(exchange, call.id):
            found = exchange.leg(leg.id)
            assert found is not None, "it is in the table"
            out += [Note("call_superseded", call.id), *hang_up(found, reason.ELSEWHERE)]
    return out


def replaced(exchange: Exchange, call: str) -> list[Item]:
    """Give up a call whose sound was lost, if the same person has another one from which sound may still come."""
    found = exchange.calls.get(call)
    if found is None or found.caller.user is None or found.state is CallState.CLOSING:
        return []
    others = [
        other
        for other in exchange.calls.values()
        if other.id != call
        and other.caller.user == found.caller.user
        and other.state in {CallState.WAITING, CallState.TALKING}
        and not _lost(exchange, other.id)
    ]
    leg = exchange.leg(found.leg)
    if not others or leg is None:
        return []
    return [Note("call_superseded", call), *hang_up(leg, reason.ELSEWHERE)]


def _lost(exchange: Exchange, call: str) -> bool:
    media = exchange.media.get(call)
    return media is not None and "audio" in media.lost


def _unheard(leg: Leg, now: float) -> bool:
    if leg.state is not State.ANSWERED or leg.unacked is None:
        return False
    t1 = leg.setup.timers.t1
    return now >= leg.unacked.deadline - 64 * t1 + PATIENCE * t1
