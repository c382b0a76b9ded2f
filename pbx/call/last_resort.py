"""Callers whom nobody here takes go on to the 110 trunk, as guests, and keep their place until it has answered.

in → out: `OverflowToTrunk` of the queue, what became of the trunk's leg → a call over the trunk, a guest handed over, or the
queue told that the trunk failed and when it may be asked again.

The trunk's leg is an outside party with a room of its own (`visits`): once it answers, the guest is handed over as to any host.
Whatever ends the wait otherwise (a desk, the caller, a hand) cancels the attempt at the end of the very same event (`settle`).
What the other side is told of the caller stands in the trunk's settings (`tells`); that somebody is silent it is always told.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pbx.call import call_events as events
from pbx.call import quiet, trunk_calls, visits
from pbx.call import room as rooms
from pbx.call.effects import Item, Note
from pbx.call.impossible import Impossible
from pbx.call.owner import Owner
from pbx.call.trunk_calls import Outside
from pbx.location import writing
from pbx.sip.message import MAX_FORWARDS
from pbx.trunks import caller_id
from routing.acd import OverflowToTrunk, TrunkFailed

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.exchange import Exchange


FIRST_WAIT: Final = 5.0
"""Seconds until a trunk that failed is asked again; doubled with each failure …"""
LONGEST_WAIT: Final = 60.0
"""… up to this: a caller waits, and a centre that is full is not helped by being asked more often."""
RING_SECONDS: Final = 60.0
"""How long the other centre may let it ring: it has a queue of its own, which answers."""
TALK_SECONDS: Final = 10.0
"""A trunk that says goodbye sooner after it answered has helped nobody: that is a failure, not the end of the call."""
NORMAL: Final = frozenset({16, 31})
"""Q.850 causes of a BYE by which people hang up: normal clearing, normal unspecified."""
_NUMBER: Final = re.compile(r"\+?[0-9]{3,20}")


@dataclass(slots=True)
class Attempt:
    """One caller's way over the trunk."""

    call: str
    trunk: str
    party: str | None = None
    """The room of the trunk's leg; None: the trunk failed, and is asked again not before `until`."""
    failures: int = 0
    until: float = 0.0
    since: float | None = None
    """When the caller was handed over."""


@dataclass(slots=True)
class LastResort:
    """Every attempt, by call; part of the exchange."""

    attempts: dict[str, Attempt] = field(default_factory=dict)

    def snapshot(self) -> list[dict[str, Any]]:
        """Return plain data."""
        return [asdict(attempt) for attempt in self.attempts.values()]

    @classmethod
    def restore(cls, data: list[dict[str, Any]]) -> LastResort:
        """Undo `snapshot`."""
        return cls({one["call"]: Attempt(**one) for one in data})

    def of(self, party: str) -> Attempt | None:
        """Return the attempt an outside party is of."""
        return next((one for one in self.attempts.values() if one.party == party), None)


def wanted(exchange: Exchange, effect: OverflowToTrunk, now: float) -> list[Item]:
    """Call the trunk for a caller who still waits."""
    call, place = exchange.calls.get(effect.call), exchange.acd.place(effect.call)
    known = exchange.last_resort.attempts.get(effect.call)
    asked = Note("overflow_wanted", effect.call, {"trunk": effect.trunk, "why": effect.why})
    if call is None or place is None or not place.trunked:
        return []  # a desk had the caller in the same breath
    if known is not None and (known.party is not None or now < known.until):
        return []  # its leg is being cleared away: the queue hears of it next
    attempt = known or Attempt(effect.call, effect.trunk)
    attempt.trunk, attempt.since = effect.trunk, None
    exchange.last_resort.attempts[effect.call] = attempt
    try:
        party, items = _place(exchange, call, effect, now)
    except Impossible as error:
        return [asked, *_failed(attempt, error.code, now)]
    attempt.party = party
    return [asked, *items]


def _place(exchange: Exchange, call: Call, effect: OverflowToTrunk, now: float) -> tuple[str, list[Item]]:
    invite = exchange.legs[call.leg].invite
    hops = MAX_FORWARDS if invite is None else invite.hops_left
    if not hops:
        # Two exchanges that send on to each other what neither can take would do so for ever (RFC 5393 §1, bars S9).
        raise Impossible("too_many_hops")
    name = f"{effect.number}.{exchange.mint('party')}"
    room = rooms.Room(name, outside=True)
    said = Outside(
        effect.number,
        trunk=effect.trunk,
        shown=_shown(exchange, call, effect.trunk),
        evidence=call.id,
        urgent=True,
        ring_seconds=RING_SECONDS,
        headers=quiet.headers(exchange, call.id),
        location=_location(exchange, call.id, effect.trunk),
        hops=hops,
        private=invite is not None and caller_id.is_private(invite),
    )
    leg, opening = trunk_calls.place(exchange, said, Owner("desk", name), now)
    exchange.rooms[name] = room
    return name, [*room.receive(rooms.SignsIn(leg, f"trunk:{effect.trunk}")), *opening]


def _tells(exchange: Exchange, trunk: str, what: str) -> bool:
    found = exchange.trunks.get(trunk)
    return found is not None and what in found.settings.tells


def _shown(exchange: Exchange, call: Call, trunk: str) -> str | None:
    """Return the caller's number, if the trunk may know it and somebody else than the caller vouches for it."""
    who = call.caller
    vouched = who.verified or who.trunk is not None
    number = who.number or ""
    good = vouched and _NUMBER.fullmatch(number) and _tells(exchange, trunk, "number")
    return number if good else None


def _location(exchange: Exchange, call: str, trunk: str) -> bytes | None:
    found = exchange.whereabouts.best(call) if _tells(exchange, trunk, "location") else None
    return None if found is None else writing.passed_on(found)


def up(exchange: Exchange, party: str, now: float) -> list[Item]:
    """Hear that an outside party's leg is up: hand over the caller it was called for."""
    attempt = exchange.last_resort.of(party)
    if attempt is None or attempt.since is not None:
        return []
    place, call = exchange.acd.place(attempt.call), exchange.calls.get(attempt.call)
    if place is None or not place.trunked or call is None or exchange.room(party).leg is None:
        return []  # `settle` sends it away
    attempt.since = now
    told = Note("overflow_answered", call.id, {"trunk": attempt.trunk, "desk": party})
    return [told, *visits.hand_over(exchange, call.id, party, now)]


def gone(exchange: Exchange, over: rooms.HostGone, party: str, now: float) -> tuple[list[Item], list[Item]]:
    """Hear, before its room does, that a party's leg is over: (what comes before the queue hears of it, what after)."""
    attempt = exchange.last_resort.of(party)
    if attempt is None:
        return [], []
    call = exchange.calls.get(attempt.call)
    if attempt.since is not None and call is not None and call.desk == party and _ended(over, attempt, now):
        # Their dispatcher hung up: for whom they have served, the call is over, as if ours had ended it.
        return exchange.to_call(call.id, events.HostEnds(party), now), []
    return [], _failed(attempt, over.cause, now, over.status)


def _ended(over: rooms.HostGone, attempt: Attempt, now: float) -> bool:
    """Whether the other side hung up as people do, and not because something failed."""
    causes = {said["cause"] for said in over.reason if said["protocol"] == "Q.850"}
    assert attempt.since is not None, "asked of those who talked"
    return over.cause == "bye" and causes <= NORMAL and now - attempt.since >= TALK_SECONDS


def _failed(attempt: Attempt, why: str, now: float, status: int | None = None) -> list[Item]:
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt.failures)
    attempt.failures = min(attempt.failures + 1, 10)
    attempt.party, attempt.until = None, now + wait
    fields = {"trunk": attempt.trunk, "why": why, "status": status, "again": wait}
    return [Note("overflow_failed", attempt.call, fields), events.ToAcd(TrunkFailed(attempt.call, wait))]


def settle(exchange: Exchange, todo: deque[Item]) -> bool:
    """Have the attempts cancelled for callers who don't wait for the trunk any more; asked at the end of each event.

    Returns whether there is anything to do.
    """
    todo.extend(_cancelled(exchange))
    return bool(todo)


def _cancelled(exchange: Exchange) -> Iterator[Item]:
    for attempt in list(exchange.last_resort.attempts.values()):
        call, place = exchange.calls.get(attempt.call), exchange.acd.place(attempt.call)
        waits = place is not None and (place.trunked or attempt.party is None)
        with_them = call is not None and attempt.party is not None and call.desk == attempt.party
        if waits or with_them:
            continue
        del exchange.last_resort.attempts[attempt.call]
        room = exchange.rooms.get(attempt.party or "")
        leg = None if room is None else room.leg
        if leg is not None:
            yield Note("overflow_cancelled", None if call is None else call.id, {"trunk": attempt.trunk})
            yield events.EndLeg(leg)
