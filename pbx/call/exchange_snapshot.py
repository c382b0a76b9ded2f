"""The exchange as plain data, and back: whole, and bit by bit for the journal.

in → out: an exchange → data; data → the machines of an exchange that has none yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pbx.call import calling, leg_snapshot, visits
from pbx.call.last_resort import LastResort
from pbx.call.owner import Owner
from pbx.call.room import Room
from pbx.location.presence import Presence
from pbx.sip.flow import restore_flow
from routing.acd import Acd

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


def snapshot(exchange: Exchange) -> dict[str, Any]:
    """Return plain data."""
    return {
        "acd": exchange.acd.snapshot(),
        "places": exchange.whereabouts.snapshot(),
        "presence": exchange.presence.snapshot(),
        "away": dict(exchange.away),
        "legs": [leg_snapshot.snapshot(leg) for leg in exchange.legs.values()],
        "calls": [call.snapshot() for call in exchange.calls.values()],
        "rooms": [room.snapshot() for room in exchange.rooms.values()],
        "owners": [[leg, owner.kind, owner.id] for leg, owner in exchange.owners.items()],
        "hands": exchange.hands.snapshot(),
        "last_resort": exchange.last_resort.snapshot(),
        "media": [[call, sorted(m.flowing), sorted(m.lost)] for call, m in exchange.media.items()],
    }


def resume(exchange: Exchange, data: dict[str, Any]) -> None:
    """Give an exchange that has just been made what `snapshot` described."""
    exchange.acd = Acd.restore(data["acd"], exchange.site.routing)
    exchange.whereabouts.resume(data["places"])
    exchange.presence = Presence.restore(data["presence"], exchange.mint)
    exchange.away.update(data["away"])
    for call in data["calls"]:
        add_call(exchange, call)
    owners = {leg: (kind, owner) for leg, kind, owner in data["owners"]}
    for packed in data["legs"]:
        add_leg(exchange, packed, owners[packed["leg"]])
    for room in data["rooms"]:
        add_room(exchange, room)
    exchange.hands = visits.Hands.restore(data["hands"])
    exchange.last_resort = LastResort.restore(data["last_resort"])
    for call, flowing, lost in data["media"]:
        add_media(exchange, call, flowing, lost)
    exchange.run([], 0.0)


def add_call(exchange: Exchange, data: dict[str, Any]) -> None:
    """Take a call up again."""
    exchange.add_call(calling.restore(data, exchange.site.policy))


def add_leg(exchange: Exchange, data: dict[str, Any], owner: tuple[str, str]) -> None:
    """Take a leg up again; `owner`: kind and id."""
    leg = leg_snapshot.restore(data, exchange.site.setup(restore_flow(data["flow"])))
    exchange.add_leg(leg, Owner(*owner), leg.transaction)


def add_room(exchange: Exchange, data: dict[str, Any]) -> None:
    """Take a room up again."""
    exchange.rooms[data["desk"]] = Room.restore(data)


def add_media(exchange: Exchange, call: str, flowing: Iterable[str], lost: Iterable[str]) -> None:
    """State what flowed."""
    if (media := exchange.media.get(call)) is not None:
        media.flowing |= set(flowing)
        media.lost |= set(lost)
