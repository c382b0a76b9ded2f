"""What watchers see of the exchange: one seat as plain facts, and which notes may have changed one.

in → out: the machines → `pbx.packages.seat.Seat`. This is all that the notifier knows of calls.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

from pbx.call import visits
from pbx.call.seats import seat_state
from pbx.identity import ROOM
from pbx.packages.seat import Guest, Media, Seat, SeatState, Staff
from pbx.sip.uri import Uri

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.effects import Note
    from pbx.call.exchange import Exchange
    from pbx.call.visits import Visit
    from pbx.identity import Account

OF_THE_GUEST: Final = frozenset({"caller_hold", "media_negotiated"})
"""Notes of a call that change how it looks from its desk; the others name the desk if they concern one."""
_DIRECTIONS: Final = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}
"""(We receive, we send) → what the other side says of itself."""


def concerned(exchange: Exchange, note: Note) -> str | None:
    """Return the desk whose seat may look different after a note."""
    desk = note.fields.get("desk")
    if isinstance(desk, str):
        return desk
    call = exchange.calls.get(note.call or "")
    return call.desk if call is not None and note.event in OF_THE_GUEST else None


def seat(exchange: Exchange, account: Account) -> Seat:
    """Look at the seat of a dispatcher."""
    desk = account.user
    room_user = ROOM + quote(desk, safe="", errors="surrogateescape")
    room = exchange.rooms.peek(desk)
    state = seat_state(exchange, desk)
    guest = None if room is None else exchange.calls.get(room.guest or "")
    return Seat(
        uri=account.aor,
        room=str(exchange.uri(room_user)),
        name=account.display_name or desk,
        # While its phone still rings a desk can take nobody; and no note tells when the ringing begins.
        state="signed_out" if state == "calling" else cast("SeatState", state),
        guest=None if guest is None else _guest(exchange, guest, account.realm),
        staff=tuple(_staff(exchange, visit, account.realm) for visit in visits.staff(exchange, desk)),
        media=_media(exchange, None if room is None else room.leg),
    )


def _media(exchange: Exchange, leg: str | None) -> Media:
    """Look at what a phone sends and hears."""
    found = exchange.legs.get(leg or "")
    if found is None:
        return ()
    return tuple(
        (stream.medium, _DIRECTIONS[stream.receiving, stream.sending]) for stream in found.negotiation.streams
    )


def _staff(exchange: Exchange, visit: Visit, realm: str) -> Staff:
    found = exchange.directory.account(visit.who)
    uri = str(Uri("sip", quote(visit.who, safe="", errors="surrogateescape"), None, realm))
    name = visit.who if found is None else found.display_name or found.user
    room = exchange.rooms.peek(visit.visitor)
    media = _media(exchange, None if room is None else room.leg)
    return Staff(f"s{visit.visitor}", uri, name, visit.role, visit.mode, visit.up, media)


def _guest(exchange: Exchange, call: Call, realm: str) -> Guest:
    who = call.caller
    number = who.number or who.user or "anonymous"
    leg = exchange.legs.get(call.leg)
    return Guest(
        id="c" + hashlib.blake2s(call.id.encode(), digest_size=12).hexdigest(),
        # What a phone wrote into its From may be anything: as a user part it is escaped whole.
        uri=str(Uri("sip", quote(number, safe="", errors="surrogateescape"), None, realm)),
        label=f"{who.name or number} ({who.mark()})",
        held=call.held or (leg is not None and leg.negotiation.held),
        media=_media(exchange, call.leg),
    )
