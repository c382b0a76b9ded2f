"""Notes about a leg, in the call it concerns: a caller's own, or that of the guest a desk has."""

from pbx.call.effects import Item, Note
from pbx.call.exchange import Exchange


def note(exchange: Exchange, leg: str, name: str, fields: dict[str, object]) -> list[Item]:
    """Note what concerns the call a leg is on; nothing where there is none."""
    owner = exchange.owners.get(leg)
    if owner is None:
        return []
    if owner.kind == "call":
        return [Note(name, owner.id, {"leg": "caller", **fields})]
    room = exchange.rooms.get(owner.id) if owner.kind == "desk" else None
    guest = None if room is None else room.guest
    return [] if guest is None else [Note(name, guest, {"leg": f"desk:{owner.id}", **fields})]


def note_always(exchange: Exchange, leg: str, name: str, fields: dict[str, object]) -> list[Item]:
    """Note what concerns a leg even where no call is on it."""
    owner = exchange.owners.get(leg)
    alone = [] if owner is None else [Note(name, None, {"leg": f"{owner.kind}:{owner.id}", **fields})]
    return note(exchange, leg, name, fields) or list(alone)
