"""Who is meant by a name or a number, and which way leads there.

in → out: what a dispatcher wrote, dialled or referred to → a desk, a queue or a `Party`; a party → the leg that calls it.

A call leads to phones that registered, over the flow they registered from, or over the configured trunks (`trunk_calls`); where
a URI points decides nothing (bars S9).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from pbx.call import trunk_calls
from pbx.call.effects import Item
from pbx.call.impossible import Impossible
from pbx.call.leg import Leg
from pbx.call.owner import Owner
from pbx.call.trunk_calls import Outside
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr, Uri
from routing.queues import DEFAULT

if TYPE_CHECKING:
    from pbx.binding import Binding
    from pbx.call.exchange import Exchange
    from pbx.identity import Account
    from pbx.sip.flow import Flow


QUEUE: Final = "queue"
DISTRICT: Final = "district"
_NUMBER: Final = re.compile(r"\+?[0-9]{3,15}")


class Directory(Protocol):
    """Who has an account, and where their phones are now."""

    def account(self, user: str) -> Account | None: ...
    def phones(self, user: str, now: float) -> Sequence[Binding]: ...


class Nobody:
    """The directory of an exchange that was given none."""

    def account(self, user: str) -> Account | None:  # noqa: ARG002 - the protocol's shape
        """Nobody has an account."""
        return None

    def phones(self, user: str, now: float) -> Sequence[Binding]:  # noqa: ARG002 - the protocol's shape
        """Nobody has a phone."""
        return ()


@dataclass(frozen=True, slots=True)
class Road:
    """Where a party's phone is."""

    uri: Uri
    """Request-URI of the INVITE."""
    flow: Flow
    routes: tuple[NameAddr, ...] = ()
    """Proxies on the way (RFC 3327), nearest first."""


@dataclass(frozen=True, slots=True)
class AtDesk:
    """A dispatcher who is signed in."""

    desk: str


@dataclass(frozen=True, slots=True)
class AtQueue:
    """Whoever of a queue is free next, but not the one who asks."""

    name: str | None
    """None: the queue the caller came from."""


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who has to be called."""

    name: str
    """User or number."""
    road: Road | None
    """None: `name` is a number outside, called over a trunk."""
    to: Uri
    account: Account | None = field(repr=False)


Target = AtDesk | AtQueue | Party


def find(exchange: Exchange, text: str, now: float) -> Target:
    """Say who is meant. Raises `Impossible`."""
    text = exchange.site.hands.short_numbers.get(text, text)
    kind, colon, queue = text.partition(":")
    if kind == QUEUE:
        rules = exchange.acd.rules
        if colon and queue not in {
            DEFAULT,
            *rules.queues,
            *(q for p in rules.profiles.values() for q in p.queues),
        }:
            raise Impossible("unknown_queue")
        return AtQueue(queue or None)
    if kind == DISTRICT and colon:
        served = exchange.whereabouts.queue_of(queue)
        if served is None:
            raise Impossible("unknown_district")
        return AtQueue(served)
    account = exchange.directory.account(text)
    if account is not None:
        room = exchange.rooms.get(text)
        if account.kind == "dispatcher" and room is not None and room.present:
            return AtDesk(text)
        found = exchange.directory.phones(text, now)
        if not found:
            raise Impossible("not_registered")
        user = quote(text, safe="", errors="surrogateescape")
        road = Road(found[0].target, found[0].flow, routes=found[0].path)
        return Party(text, road, Uri("sip", user, None, exchange.site.host), account)
    if _NUMBER.fullmatch(text) is None:
        raise Impossible("unknown_target")
    return Party(text, None, Uri("sip", text, None, exchange.site.host), None)


def named_by(exchange: Exchange, uri: Uri, known: Sequence[str]) -> str:
    """Return whom a URI of a REFER names: a user of ours, or a number. Raises `Impossible` for anybody else's users.

    `known`: hosts the phone calls us by, besides our own.
    """
    if uri.scheme == "tel":
        return re.sub(r"[-.() ]", "", uri.host)
    user = uri.user_text or ""
    account = exchange.directory.account(user)
    ours = {exchange.site.host, *known, *(() if account is None else (account.realm,))}
    if uri.host.lower() not in {host.lower() for host in ours}:
        raise Impossible("unknown_target")
    return user


def place_call(
    exchange: Exchange,
    party: Party,
    owner: Owner,
    now: float,
    *,
    focus: str | None = None,
    evidence: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> tuple[Leg, list[Item]]:
    """Begin to call a party; `place` sends the INVITE when the leg's ports are bound. Returns the leg, and what opens it.

    `owner`: whose leg it is; `focus`: the room our Contact names, None: none; `evidence`: the call that records it. Raises
    `Impossible` when no trunk takes a number, and nothing has happened then.
    """
    road = party.road
    if road is None:
        wanted = Outside(party.name, evidence=evidence, headers=tuple(headers))
        placed, items = trunk_calls.place(exchange, wanted, owner, now)
        return exchange.legs[placed], items
    secure = road.uri.scheme == "sips"
    if focus is None:
        contact = exchange.contact("110", road.flow, secure=secure)
    else:
        contact = exchange.focus(focus, road.flow, secure=secure)
    us = NameAddr("110", Uri("sip", "110", None, exchange.site.host, exchange.site.port))
    invite = Request.build(
        "INVITE",
        road.uri,
        from_=us.with_tag(exchange.mint("tag")),
        to=NameAddr(None, party.to),
        call_id=exchange.mint("sip_call"),
        cseq=1,
        contact=contact,
        routes=road.routes,
        headers=headers,
    )
    leg, effects = Leg.outgoing(
        exchange.mint("leg"),
        invite,
        road.flow,
        session=exchange.session(),
        contact=contact,
        setup=exchange.setup(road.flow, party.name, urgent=owner.kind == "desk"),
        evidence=evidence,
    )
    exchange.add_leg(leg, owner, None)
    return leg, list(effects)
