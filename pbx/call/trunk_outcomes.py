"""What the exchange hears of legs over trunks, given to the verb and to the trunk it concerns.

in → out: outcomes of requests, time, requests on their way → items for `Exchange.run`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbx.call import answer, by_presence, leg_events, over_trunk, progress
from pbx.call.effects import Item, SendRequest
from pbx.call.leg import Leg
from pbx.call.over_trunk import Counted, PeerSaid
from pbx.location.presence_subscription import REF as PRESENCE
from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.trunks.line import Line
from pbx.trunks.trunk import REF

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Taken:
    """An outcome that was a trunk's business, and what comes of it."""

    items: list[Item]


def outcome(exchange: Exchange, event: ResponseArrived | TransactionFailed, now: float) -> Taken | None:
    """Take what became of a trunk's own request, or of one on a leg over a trunk; None: it is for `leg_events`."""
    if event.ref.startswith(REF):
        return Taken(list(exchange.trunks.outcome(event, now)))
    leg = exchange.leg(event.ref.split("/")[0])
    if leg is None or leg.line is None:
        return None
    items = _on_leg(exchange, leg, leg.line, event, now)
    return None if items is None else Taken(items)


def _on_leg(
    exchange: Exchange, leg: Leg, line: Line, event: ResponseArrived | TransactionFailed, now: float
) -> list[Item] | None:
    trunk = exchange.trunks.get(line.trunk)
    if isinstance(event, TransactionFailed):
        return over_trunk.failed(leg, line, event.ref, event.why, now)
    if trunk is None:
        return None  # it is no longer in the settings
    first = line.outgoing and event.ref == leg.invite_ref
    if first and event.response.status < 300:
        contact = exchange.contact(leg.contact.uri.user or "", event.flow)
        over_trunk.fit(leg, contact, event.flow)
    # A request that opens goes to a peer of the trunk again; one in the dialog over the leg's flow, wherever that leads now.
    safe = first or trunk.leads(leg.flow)
    return over_trunk.response(
        leg,
        event.ref,
        event.response,
        event.flow,
        now,
        line=line,
        answer=trunk.credentials if safe else _no_credentials,
        redirected=trunk.redirected,
        acknowledged=trunk.leads(event.flow),
    )


def _no_credentials(_request: Request, _response: object, _cseq: int) -> Request | None:
    return None


def expire(leg: Leg, now: float) -> list[Item]:
    """Do what is due on any leg; on one over a trunk that may be to give up a peer."""
    due: list[Item] = list(leg_events.expire(leg, now))
    return due if leg.line is None else [*due, *over_trunk.expire(leg, leg.line, now)]


def hear(leg: Leg, headers: tuple[tuple[str, str], ...], now: float) -> list[Item]:
    """Let a caller hear us before it is answered; one whose offer can't be taken is answered, which says what is wrong."""
    return list(progress.begin(leg, now, headers)) or list(answer.answer(leg, now, headers))


def sent(exchange: Exchange, effect: SendRequest) -> None:
    """Hear of a request in a dialog, in case it has to be sent again with credentials."""
    leg = exchange.legs.get(effect.ref.partition("/")[0])
    if leg is not None and leg.line is not None:
        leg.line.sent(effect.ref, effect.request)


def found(exchange: Exchange, ref: str, flow: Flow, now: float) -> None:
    """Hear where a request to a trunk, or to who tells a caller's place, really goes; each such hop has its time to answer."""
    if ref.startswith(PRESENCE):
        by_presence.sent(exchange, ref, flow)
        return
    if ref.startswith(REF):
        exchange.trunks.found(ref, flow)
        return
    leg = exchange.legs.get(ref.partition("/")[0])
    if leg is None or leg.line is None or (trunk := exchange.trunks.get(leg.line.trunk)) is None:
        return
    trunk.found(flow)
    if ref == leg.invite_ref and leg.line.deadline is not None:
        leg.line.deadline = now + leg.line.attempt


def take(exchange: Exchange, item: PeerSaid | Counted, now: float) -> list[Item]:
    """Give the trunk what a leg heard of it."""
    trunk = exchange.trunks.get(item.trunk)
    if trunk is None:
        return []
    match item:
        case PeerSaid(_, peer, response):
            return list(trunk.heard(peer, response, now))
        case Counted(_, "failed"):
            trunk.counts.failed += 1
        case Counted():
            trunk.counts.failovers += 1
    return []
