"""The call to a desk's phone that begins its shift, and the one that goes on with it when the phone hung up by itself.

in → out: (exchange, desk, phone) → the permanent leg, and what opens it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.call import reach
from pbx.call import room as rooms
from pbx.call.effects import Item
from pbx.call.owner import Owner
from pbx.call.reach import Party, Road
from pbx.sip.uri import Uri

if TYPE_CHECKING:
    from pbx.binding import Binding
    from pbx.call.exchange import Exchange


AUTO_ANSWER: Final = (
    ("Alert-Info", "<http://localhost/>;info=alert-autoanswer;delay=0"),
    ("Answer-Mode", "Auto"),
)
"""What makes desk phones pick up by themselves: Alert-Info as many phones read it, Answer-Mode as in RFC 5373 §3."""


def begin(exchange: Exchange, desk: str, phone: Binding, now: float, agent: str | None = None) -> list[Item]:
    """Call a desk's phone; the leg stays for the shift. `agent`: who sits there."""
    room = exchange.room(desk)
    site = exchange.site
    road = Road(phone.target, phone.flow, routes=phone.path)
    party = Party(desk, road, Uri("sip", desk, None, site.host), None)
    headers = (("Call-Info", f"<sip:{site.host}>;answer-after=0"), *AUTO_ANSWER)
    leg, opening = reach.place_call(exchange, party, Owner("desk", desk), now, focus=room.id, headers=headers)
    return [*room.receive(rooms.SignsIn(leg.id, agent)), *opening]


def again(exchange: Exchange, desk: str, now: float) -> list[Item]:
    """Call a desk's phone that hung up, if it is still registered."""
    found = exchange.directory.phones(desk, now)
    return begin(exchange, desk, found[0], now, exchange.room(desk).agent) if found else []
