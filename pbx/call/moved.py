"""Verb: let what goes to a phone follow it when it comes over another flow (RFC 5626, RFC 5658).

in → out: the flow it had and the flow it has → legs and subscriptions whose requests take the new one, with a Contact that fits.
"""

from msgspec import structs

from pbx.call.exchange import Exchange
from pbx.sip.flow import Flow
from pbx.sip.uri import Uri


def move(exchange: Exchange, old: Flow, new: Flow) -> None:
    """Let the dialogs of a phone that went from one flow to another follow it."""
    exchange.presence.move(old, new, exchange.contact("110", new))
    for leg in exchange.legs.values():
        if leg.flow != old:
            continue
        leg.flow = new
        exchange.changed.add(leg.id)
        uri = leg.contact.uri
        moved = exchange.contact(uri.user or "", new, secure=uri.scheme == "sips")
        # What the Contact says beside where, such as isfocus, stays.
        leg.contact = structs.replace(leg.contact, uri=moved.uri)
        if leg.dialog is not None:
            leg.dialog.contact = leg.contact


def hops(exchange: Exchange, flow: Flow) -> list[Uri]:
    """Return what the proxy at the other end of a flow calls itself, as far as dialogs go through it."""
    dialogs = (leg.dialog for leg in exchange.legs.values() if leg.flow == flow)
    return [dialog.next_hop for dialog in dialogs if dialog is not None and dialog.route_set]
