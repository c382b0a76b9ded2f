"""What the queue decided beyond who comes next, told to those it concerns and written down for people.

in → out: effects of the queue → notes, events of calls and rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pbx.call import call_events as events
from pbx.call import last_resort
from pbx.call.effects import Item, Note
from routing.acd import (
    AcdEffect,
    Candidate,
    DeskChanged,
    DeskNotComing,
    DeskSilent,
    DeskState,
    Overflowed,
    OverflowToTrunk,
    Routed,
    SameIncident,
    SeizeFailed,
)

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


NO_SOUND: Final = "no_sound"
"""The reason of a desk that was put away; whoever signs in again starts afresh."""


def said(exchange: Exchange, effect: AcdEffect, now: float) -> list[Item]:
    """Take a decision that is no `PutThrough`, `PositionChanged`, `BackToQueue` or `DeskChanged`."""
    match effect:
        case Routed():
            return [Note("routed", effect.call, decision(effect))]
        case SameIncident(call, incident, why):
            note = Note("same_incident", call, {"incident": incident, "why": why})
            return [note, *exchange.to_call(call, events.BelongsTo(incident), now)]
        case Overflowed(call, queue, to, why):
            return [Note("overflow", call, {"queue": queue, "to": to, "why": why})]
        case OverflowToTrunk():
            return last_resort.wanted(exchange, effect, now)
        case DeskSilent(desk, call, seconds, put_away):
            noted = {"desk": desk, "seconds": round(seconds, 3), "put_away": put_away}
            return [Note("desk_sent_no_sound", call, noted)]
        case SeizeFailed(call, desk, why):
            known = call if call in exchange.calls else None
            return [Note("takeover_failed", known, {"desk": desk, "why": why})]
        case DeskNotComing(call, desk, queue):
            return [Note("desk_not_coming", call, {"desk": desk, "queue": queue})]
    return []


def keep_away(exchange: Exchange, change: DeskChanged) -> None:
    """Keep who is away and why; a dispatcher who leaves in order is not away but gone."""
    room = exchange.room(change.desk)
    agent = room.agent or change.desk
    lost = change.state is None and room.fault is not None
    if change.state is DeskState.PAUSED and change.reason != NO_SOUND:
        exchange.away[agent] = change.reason
    elif not lost and change.state not in {DeskState.TALKING, DeskState.VISITING}:
        exchange.away.pop(agent, None)


def decision(routed: Routed) -> dict[str, Any]:
    """Return a decision as it stands in evidence and database: short, for two hundred wait at once."""
    return {
        "queue": routed.queue,
        "desk": routed.desk,
        "rule": routed.rule,
        "class": routed.priority.name.lower(),
        "position": routed.position,
        "candidates": [_candidate(one) for one in routed.candidates],
        "others": dict(routed.others),
    }


def _candidate(one: Candidate) -> dict[str, Any]:
    return {
        "desk": one.desk,
        "score": one.score,
        "level": one.level,
        "idle": one.idle,
        "served": one.served,
    }
