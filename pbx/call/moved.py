"""Verb: let what goes to a phone follow it when it comes over another flow (RFC 5626, RFC 5658).

in → out: the flow it had and the flow it has → legs and subscriptions whose requests take the new one, with a Contact that fits.
"""

from msgspec import structs

from pbx.binding import Binding
from pbx.call.exchange import Exchange
from pbx.call.leg import Leg
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.uri import NameAddr, Uri


def move(exchange: Exchange, old: Flow, new: Flow) -> None:
    """Let the dialogs of a phone that went from one flow to another follow it."""
    exchange.presence.move(old, new, exchange.contact("110", new))
    for leg in exchange.legs.values():
        if leg.flow != old:
            continue
        _go(exchange, leg, new)


def _go(exchange: Exchange, leg: Leg, new: Flow) -> None:
    leg.flow = new
    exchange.changed.add(leg.id)
    leg.contact = _fitting(exchange, leg.contact, new)
    if leg.dialog is not None:
        leg.dialog.contact = leg.contact


def _fitting(exchange: Exchange, contact: NameAddr, flow: Flow) -> NameAddr:
    uri = contact.uri
    moved = exchange.contact(uri.user or "", flow, secure=uri.scheme == "sips")
    # What the Contact says beside where, such as isfocus, stays.
    return structs.replace(contact, uri=moved.uri)


def fitted(exchange: Exchange, request: Request, flow: Flow) -> Request:
    """Return a request of ours with the Contact that fits the flow it leaves over."""
    if request.contact is None:
        return request
    copy = request.copy()
    copy.headers.set("Contact", str(_fitting(exchange, request.contact, flow)))
    return copy


def reroute(exchange: Exchange, leg: str, phone: Binding) -> None:
    """Let a dialog go the way its phone was reached now.

    RFC 3261 §12.2 keeps a route set for the life of the dialog; but its first proxy says that this way is dead (RFC 5626 §11.5),
    and the phone has laid another since by its registration. Without it the call could never be ended from here.
    """
    found = exchange.leg(leg)
    if found is None or found.dialog is None:
        return
    found.dialog.route_set, found.dialog.remote_target = phone.path, phone.target
    _go(exchange, found, phone.flow)


def hops(exchange: Exchange, flow: Flow) -> list[Uri]:
    """Return what the proxy at the other end of a flow calls itself, as far as dialogs go through it."""
    dialogs = (leg.dialog for leg in exchange.legs.values() if leg.flow == flow)
    return [dialog.next_hop for dialog in dialogs if dialog is not None and dialog.route_set]
