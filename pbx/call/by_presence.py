"""Between the exchange and the subscriptions that tell where callers are (`pbx.location.presence`).

in → out: a reference a caller gave → the road to it, or why it is not followed; NOTIFYs, outcomes, time → items for
`Exchange.run`.

Default deny: a reference leads to a phone the caller itself registered, over that phone's own flow, or to a server the
settings name (`location.presence_servers`), and nowhere else (bars S9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.call.effects import AnswerOnce, Item, Note, Respond
from pbx.location import presence_uri
from pbx.location.presence import Follow, Told
from pbx.location.presence_subscription import Road
from pbx.sip.effects import RequestArrived, ResponseArrived, TransactionFailed
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.uri import NameAddr, Uri

if TYPE_CHECKING:
    from pbx.binding import Binding
    from pbx.call.call import Call
    from pbx.call.exchange import Exchange


def take(exchange: Exchange, item: Follow | Told, now: float) -> list[Item]:
    """Follow a reference, or put what was told there into the trail."""
    match item:
        case Told(call, uri, by, found):
            return exchange.whereabouts.told(call, uri, by, found, now)
        case Follow(call, uri):
            road = _road(exchange, call, uri, now)
            if road is None:
                why = "not a presence server of this site"
                return [Note("location_unusable", call, {"uri": uri, "why": why})]
            return [*exchange.presence.follow(call, uri, road, now)]


def request(exchange: Exchange, event: RequestArrived, now: float) -> list[Item]:
    """Answer a request of a dialog that is no call's: a NOTIFY of ours, or 481."""
    try:
        taken = exchange.presence.receive(event, now)
    except SipError as error:
        answer = event.request.response(error.status, headers=error.headers)
        return [Respond(event.transaction, answer)]
    return [AnswerOnce(event.transaction, event.request.response(481))] if taken is None else [*taken]


def outcome(exchange: Exchange, event: ResponseArrived | TransactionFailed, now: float) -> list[Item]:
    """Hear what became of a SUBSCRIBE: a request whose `ref` begins with `pbx.location.presence.REF`."""
    return [*(exchange.presence.receive(event, now) or ())]


def sent(exchange: Exchange, ref: str, flow: Flow) -> None:
    """Hear over which flow a SUBSCRIBE leaves."""
    exchange.presence.found(ref, flow, exchange.contact("110", flow))


def _road(exchange: Exchange, call: str, text: str, now: float) -> Road | None:
    uri = presence_uri.read(text)
    found = exchange.calls.get(call)
    if uri is None or found is None:
        return None
    us = NameAddr(None, exchange.uri("110"))
    phone = _own_phone(exchange, found, uri, now)
    if phone is not None:
        contact = exchange.contact("110", phone.flow, secure=phone.target.scheme == "sips")
        return Road(phone.target, "caller", us, contact, phone.flow, phone.path)
    if not presence_uri.leads_to(uri, exchange.site.presence_servers):
        return None
    contact = NameAddr(None, Uri(uri.scheme, "110", None, exchange.site.host, exchange.site.port))
    return Road(uri, f"server:{uri.host}", us, contact)


def _own_phone(exchange: Exchange, call: Call, uri: Uri, now: float) -> Binding | None:
    """Return the caller's phone if the URI names it, by its Contact or its address-of-record."""
    user = call.caller.user
    account = None if user is None or not call.caller.verified else exchange.directory.account(user)
    if user is None or account is None:
        return None
    phones = exchange.directory.phones(user, now)
    named = (uri.user_text, uri.host, uri.port)
    for phone in phones:
        at = phone.target
        if named == (at.user_text, at.host.lower(), at.port):
            return phone
    if uri.user_text != user or uri.host not in {account.realm.lower(), exchange.site.host.lower()}:
        return None
    leg = exchange.legs.get(call.leg)
    here = [phone for phone in phones if leg is not None and phone.flow == leg.flow]
    return next(iter([*here, *phones]), None)
