"""The exchange bit by bit, for the journal of live state: what changed, and the way back. Pure.

in → out: an exchange → (name, data) of every machine that changed since this was asked last; those → the machines again.

A record is one machine, or a part of one that is large and changes rarely (`neg`, `inv`). What does not fit together when
it comes back, because a record of it was lost, is dropped: a leg without its call, a call without its leg. The rest of what
does not fit `reconcile` mends.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pbx.call import exchange_snapshot, leg_snapshot, visits
from pbx.call.call_events import PlaceTold
from pbx.call.exchange import Exchange
from pbx.call.last_resort import LastResort
from pbx.call.leg import Leg
from pbx.location.presence import Presence
from routing.acd import Acd

Change = tuple[str, Any]
Kinds = Mapping[str, Mapping[str, Any]]
"""Kind of record → name → plain data."""

OF_A_LEG: Final = ("leg", "neg", "inv")
OF_A_CALL: Final = ("call", "trail")
OTHERS: Final = ("room", "trail", "hands", "trunk", "presence", "away")
_OF_ANY: Final = (*OF_A_LEG, *OF_A_CALL)
FROM_THE_QUEUE: Final = ("place", "desk", "person", "acd")


class LiveState:
    """See the module."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._parts: dict[str, tuple[object, ...]] = {}
        self._invites: dict[str, tuple[object, ...]] = {}
        self._trails: dict[str, int | None] = {}
        self._away: dict[str, str] = {}
        self._handless = True
        self._trying = False
        self._placed: set[str] = set()

    # --- out --------------------------------------------------------------------------------------------------------

    def changes(self) -> Iterator[Change]:
        """Give what may have changed; None as data: it is no more. Raises, in the end, what one of the machines did."""
        out: list[Change] = []
        try:
            self._gather(out)
        finally:
            yield from out

    def _gather(self, out: list[Change]) -> None:
        exchange = self._exchange
        if changed := exchange.changed:
            exchange.changed = set()
        if exchange.placed:
            self._placed |= exchange.placed - changed
            exchange.placed.clear()
        for key in changed:
            if (leg := exchange.legs.get(key)) is not None:
                self._leg(leg, out)
            elif key in exchange.calls:
                out.append((f"call/{key}", exchange.calls[key].snapshot()))
                self._trail(key, out)
            else:
                self._gone(key, out)
        for kind, name, data in exchange.acd.changes():
            out.append((f"{kind}/{name}", data))
        if rooms := exchange.rooms.changed:
            exchange.rooms.changed = set()
            for desk in rooms:
                room = dict.get(exchange.rooms, desk)
                out.append((f"room/{desk}", None if room is None else room.snapshot()))
        self._rest(out)

    def lazily(self) -> None:
        """Have the calls written that were only told their places: two hundred of them for each that leaves the queue."""
        self._exchange.changed |= self._placed
        self._placed.clear()

    def _leg(self, leg: Leg, out: list[Change]) -> None:
        exchange = self._exchange
        owner = exchange.owners[leg.id]
        data = leg_snapshot.light(leg)
        data["owner"] = (owner.kind, owner.id)
        if owner.kind == "call" and (media := exchange.media.get(owner.id)) is not None:
            data["media"] = (sorted(media.flowing), sorted(media.lost))
            self._trail(owner.id, out)
        out.append((f"leg/{leg.id}", data))
        if not _same(self._parts.get(leg.id), parts := leg.negotiation.parts):
            self._parts[leg.id] = parts
            out.append((f"neg/{leg.id}", leg.negotiation.snapshot()))
        contact = None if leg.invite is None else leg.invite.headers.get("Contact")
        before = self._invites.get(leg.id)
        if before is None or before[0] is not leg.invite or before[1] != contact:
            self._invites[leg.id] = (leg.invite, contact)
            out.append((f"inv/{leg.id}", leg_snapshot.invite(leg)))

    def _trail(self, call: str, out: list[Change]) -> None:
        count = self._exchange.whereabouts.count(call)
        if count != self._trails.get(call):
            self._trails[call] = count
            out.append((f"trail/{call}", self._exchange.whereabouts.kept(call)))

    def _gone(self, key: str, out: list[Change]) -> None:
        self._parts.pop(key, None)
        self._invites.pop(key, None)
        self._trails.pop(key, None)
        out += [(f"{kind}/{key}", None) for kind in _OF_ANY]

    def _rest(self, out: list[Change]) -> None:
        exchange = self._exchange
        empty = exchange.hands.empty
        if not (empty and self._handless):
            self._handless = empty
            out.append(("hands/", exchange.hands.snapshot()))
        trying = bool(exchange.last_resort.attempts)
        if trying or self._trying:
            self._trying = trying
            out.append(("trunk/", exchange.last_resort.snapshot()))
        if exchange.presence.changed:
            exchange.presence.changed = False
            out.append(("presence/", exchange.presence.snapshot()))
        if exchange.away != self._away:
            self._away = dict(exchange.away)
            out.append(("away/", dict(exchange.away)))

    # --- back -------------------------------------------------------------------------------------------------------

    def resume(self, records: Mapping[str, Any], now: float, grace: float) -> list[str]:
        """Take everything up again; nobody is given up for silence before `grace` seconds have passed.

        Returns the names of what could not be read, or fits nothing any more.
        """
        exchange, kinds, until = self._exchange, _by_kind(records), now + grace
        bad = self._calls(kinds, until)
        bad += self._legs(kinds, until)
        for kind in OTHERS:
            bad += _each(kind, kinds, self._one)
        try:
            exchange.acd = Acd.resume(kinds, exchange.site.routing)
        except Exception:  # noqa: BLE001 - `reconcile` puts everybody in line again
            bad += [f"{kind}/{name}" for kind in FROM_THE_QUEUE for name in kinds.get(kind, {})]
        self._away, self._handless = dict(exchange.away), exchange.hands.empty
        self._trying = bool(exchange.last_resort.attempts)
        exchange.run([], now, *exchange.legs, *exchange.calls)
        exchange.run(list(self._corrected()), now)
        return bad

    def _calls(self, kinds: Kinds, until: float) -> list[str]:
        def add(_kind: str, _call: str, data: dict[str, Any]) -> None:
            leg = data["leg"]
            _parts = [kinds[kind][leg] for kind in OF_A_LEG]  # a call without its leg is none
            exchange_snapshot.add_call(self._exchange, _patient(data, ("deadline",), until))

        return _each("call", kinds, add)

    def _legs(self, kinds: Kinds, until: float) -> list[str]:
        exchange = self._exchange

        def add(_kind: str, leg: str, data: dict[str, Any]) -> None:
            kind, owner = data["owner"]
            call = exchange.calls.get(owner) if kind == "call" else None
            # A leg may outlive its call by the time of a goodbye; one whose call was lost may not.
            _fits(
                kind != "call" or owner not in kinds.get("call", {}) or (call is not None and call.leg == leg)
            )
            parts = {"negotiation": kinds["neg"][leg], "invite": kinds["inv"][leg]}
            exchange_snapshot.add_leg(exchange, {**_leg_patient(data, until), **parts}, (kind, owner))
            if "media" in data:
                exchange_snapshot.add_media(exchange, owner, *data["media"])

        bad = _each("leg", kinds, add)
        for call in [call for call in exchange.calls.values() if call.leg not in exchange.legs]:
            exchange.forget(call.id)
            bad.append(f"call/{call.id}")
        return bad

    def _one(self, kind: str, name: str, data: Any) -> None:
        exchange = self._exchange
        match kind:
            case "room":
                exchange_snapshot.add_room(exchange, data)
            case "trail" if name in exchange.calls:
                exchange.whereabouts.resume({name: data})
            case "hands":
                exchange.hands = visits.Hands.restore(data)
            case "trunk":
                exchange.last_resort = LastResort.restore(data)
            case "presence":
                exchange.presence = Presence.restore(data, exchange.mint)
            case "away":
                exchange.away.clear()
                exchange.away.update(data)

    def _corrected(self) -> Iterator[Any]:
        """Tell calls their places where what they know is older than the queue (`lazily`)."""
        exchange = self._exchange
        for place in exchange.acd.queue:
            call = exchange.calls.get(place.call)
            if call is not None and place.told not in (0, call.position):
                yield from exchange.to_call(call.id, PlaceTold(place.told, call.expected), 0.0)


def _each(kind: str, kinds: Kinds, take: Callable[[str, str, Any], None]) -> list[str]:
    """Take up every record of a kind; return the names of those that could not be."""
    bad: list[str] = []
    for name, data in kinds.get(kind, {}).items():
        try:
            take(kind, name, data)
        except Exception:  # noqa: BLE001 - whatever it is, it costs this one record and is said
            bad.append(f"{kind}/{name}")
    return bad


def _fits(fits: bool) -> None:
    if not fits:
        raise LookupError


def _by_kind(records: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    kinds: dict[str, dict[str, Any]] = {}
    for name, data in records.items():
        kind, _, key = name.partition("/")
        kinds.setdefault(kind, {})[key] = data
    return kinds


def _same(one: tuple[object, ...] | None, other: tuple[object, ...]) -> bool:
    return one == other  # what is the same object is not looked into


def _patient(data: Mapping[str, Any], names: tuple[str, ...], until: float) -> dict[str, Any]:
    """Return data of a machine none of whose deadlines `names` comes before `until`."""
    late = {name: until for name in names if data.get(name) is not None and data[name] < until}
    return {**data, **late}


def _leg_patient(data: Mapping[str, Any], until: float) -> dict[str, Any]:
    out = _patient(data, ("probe_deadline", "ring_deadline"), until)
    for part, names in _DEADLINES.items():
        if data.get(part) is not None:
            out[part] = _patient(data[part], names, until)
    return out


_DEADLINES: Final = {
    "unacked": ("deadline",),
    "reliable": ("deadline",),
    "session": ("expires_at",),
    "line": ("deadline",),
}
"""Part of a leg → when it gives its peer up for silence."""
