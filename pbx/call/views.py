"""How calls, queue and desks look to people: plain data for the API, the live feed and the database.

in → out: the machines and the wall-clock times of a call → dicts as `pbx.api.exchange` describes them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pbx.call import gates, known, talks, visits
from pbx.call.call import Call, State
from pbx.call.exchange import Exchange
from pbx.call.seat_facts import seat
from pbx.call.seats import seat_state

_STATES: Final = {
    State.ARRIVING: "waiting",
    State.RINGING: "ringing",
    State.WAITING: "waiting",
    State.TALKING: "active",
    State.CLOSING: "ended",
    State.ENDED: "ended",
}


@dataclass(slots=True)
class Times:
    """Wall-clock times of one call, seconds since 1970; the machines know only the monotonic clock."""

    started: float
    answered: float | None = None
    attached: float | None = None
    ended: float | None = None
    silent_off_until: float | None = None

    def pack(self) -> dict[str, float | None]:
        """Return plain data: the arguments that make it again."""
        return {
            "started": self.started,
            "answered": self.answered,
            "attached": self.attached,
            "ended": self.ended,
            "silent_off_until": self.silent_off_until,
        }


def call_view(exchange: Exchange, call: Call, times: Times) -> dict[str, Any]:
    """Return one call."""
    media = exchange.media.get(call.id)
    flowing = set() if media is None else media.flowing
    return {
        "call": call.id,
        "state": "held" if call.held and call.state is State.TALKING else _STATES[call.state],
        "caller": call.caller.number or call.caller.user or call.caller.address,
        "account": call.caller.user,
        **call.caller.view(),
        "name": call.caller.name,
        "trunk": call.caller.trunk,
        "address": call.caller.address,
        "diverted": call.diverted,
        "silent": call.silent,
        "host_picture": gates.shown(call, exchange.site.policy),
        "silent_off_until": times.silent_off_until,
        "started": times.started,
        "attached": times.attached,
        "position": call.position or None,
        "queue": call.entry.queue,
        "incident": call.incident,
        "desk": call.desk,
        "audio": "audio" in flowing,
        "video": "video" in flowing,
        "alarm": _alarm(call, () if media is None else sorted(media.lost)),
        "place": exchange.whereabouts.place(call.id),
        "district": _district(exchange, call.id),
        "facts": call.facts,
        "advice": known.advice(call),
        "media": media_view(exchange, call.leg),
    }


def _district(exchange: Exchange, call: str) -> dict[str, Any] | None:
    decision = exchange.whereabouts.decision(call)
    if decision is None:
        return None
    found = exchange.whereabouts.districts.find(decision.district or "")
    return {
        "district": decision.district,
        "name": None if found is None else dict(found.names),
        "by": decision.by,
        "others": [share.district for share in decision.shares[1:]],
    }


def _alarm(call: Call, lost: Iterable[str]) -> str | None:
    if not call.recorded:
        return "not_recorded"
    return "no_media" if "audio" in lost else "no_picture" if "video" in lost else None


def media_view(exchange: Exchange, leg: str | None) -> list[dict[str, Any]]:
    """Return what was last counted of a leg's streams, a row for each."""
    found = None if leg is None else exchange.legs.get(leg)
    return [] if found is None else [msgspec.to_builtins(report) for report in found.report]


def legs_view(exchange: Exchange, legs: Iterable[str]) -> list[dict[str, Any]]:
    """Return the streams of those legs that are a caller's or a desk's: `call` or `desk`, and `media`."""
    rows = []
    for leg in legs:
        owner = exchange.owners.get(leg)
        if owner is not None and owner.kind in {"call", "desk"}:
            rows.append({owner.kind: owner.id, "media": media_view(exchange, leg)})
    return rows


def queue_view(exchange: Exchange, times: dict[str, Times]) -> list[dict[str, Any]]:
    """Return the queue, the next caller first."""
    found = [(place, exchange.calls.get(place.call)) for place in exchange.acd.queue]
    return [
        {
            "call": call.id,
            "position": place.told,
            "queue": place.queue,
            "class": place.priority.name.lower(),
            "needs": sorted(place.needs),
            "expected": call.expected,
            "incident": call.incident,
            "since": times[call.id].started,
            "caller": call.caller.number or call.caller.user or call.caller.address,
            "identity": call.caller.identity,
            "silent": call.silent,
            "unanswered": call.waits.asked,
        }
        for place, call in found
        if call is not None and call.id in times
    ]


def desk_view(exchange: Exchange, desk: str, *, since: float, registered: bool) -> dict[str, Any]:
    """Return one desk."""
    room = exchange.rooms.peek(desk)
    now, reason = seat(exchange, desk)
    profile = exchange.acd.rules.profile(desk if room is None else room.agent or desk)
    return {
        "desk": desk,
        "agent": None if room is None else room.agent or desk,
        "seat": now,
        "reason": reason,
        "queues": dict(profile.queues),
        "skills": sorted(profile.skills),
        "state": seat_state(exchange, desk),
        "call": None if room is None else room.guest,
        "talk": talks.of_desk(exchange, desk),
        "since": since,
        "registered": registered,
        "fault": None if room is None else room.fault,
        "media": [] if room is None else media_view(exchange, room.leg),
        "staff": [
            {"who": v.who, "role": v.role, "mode": v.mode, "purpose": v.purpose, "up": v.up}
            for v in visits.staff(exchange, desk)
        ],
        "visits": None if (visit := exchange.hands.visits.get(desk)) is None else visit.host,
        "supervisor": desk in exchange.supervisors,
    }
