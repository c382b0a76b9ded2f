"""Texts between a desk and its caller (RFC 3428), and what the sender is told of their delivery.

in → out: what a desk's phone wrote, inside its permanent dialog or outside any, and what became of it → the text at the caller's
phone, a note, and, where it can't arrive, a text back that says so.

A text has arrived when the caller's phone has answered it with a 2xx. Half the phones there are send texts outside the dialog of
the call, to whom they are talking with: 110, the short code they dialled, or their room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.call import call_events as events
from pbx.call import quiet
from pbx.call.effects import Item, Note
from pbx.sip.errors import SipError

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.exchange import Exchange

NOBODY: Final = "未送达：没有来电者 not delivered: there is no caller"
UNREADABLE: Final = "未送达：来电者的终端不接收文字 not delivered: the caller's phone takes no texts"
LOST: Final = "有一条文字未送达来电者 a text did not reach the caller"


def from_desk(exchange: Exchange, desk: str, text: str) -> list[Item]:
    """Pass on what a desk's phone wrote in its permanent dialog, which was answered 200 already."""
    found = _guest(exchange, desk)
    if found is None:
        return _tell(exchange, desk, NOBODY)
    if quiet.keeps_back(exchange, desk, found):
        return [quiet.withheld(found, desk, text), *_tell(exchange, desk, quiet.WITHHELD)]
    if not _reads(exchange, found):
        unread = Note("text_delivered", found.id, {"delivered": False})
        return [*_written(found, desk, text), unread, *_tell(exchange, desk, UNREADABLE)]
    return [*_written(found, desk, text), events.Say(found.leg, text)]


def outside(exchange: Exchange, desk: str, text: str) -> list[Item]:
    """Pass on what a desk's phone wrote outside any dialog. Raises SipError 480: it can't arrive."""
    found = _guest(exchange, desk)
    if found is None or not _reads(exchange, found):
        raise SipError(480)
    return [*_written(found, desk, text), events.Say(found.leg, text)]


def outcome(exchange: Exchange, call: str, *, delivered: bool) -> list[Item]:
    """Hear what a caller's phone made of a text; whoever talks with it is told when it is lost."""
    noted: list[Item] = [Note("text_delivered", call, {"delivered": delivered})]
    if delivered:
        return noted
    hosts = [room.desk for room in exchange.rooms.values() if room.guest == call and not room.outside]
    return [*noted, *(item for desk in hosts for item in _tell(exchange, desk, LOST))]


def _guest(exchange: Exchange, desk: str) -> Call | None:
    """Return the caller somebody at a desk talks with: its own guest, or that of the room where it is one of those who speak."""
    visit = exchange.hands.visits.get(desk)
    speaks = visit is not None and visit.up and visit.mode == "barge"
    room = exchange.rooms.get(visit.host if visit is not None and speaks else desk)
    return None if room is None or room.guest is None else exchange.calls.get(room.guest)


def _reads(exchange: Exchange, call: Call) -> bool:
    leg = exchange.legs.get(call.leg)
    return leg is not None and leg.takes_text


def _written(call: Call, desk: str, text: str) -> list[Item]:
    return [Note("text", call.id, {"from": desk, "text": text})]


def _tell(exchange: Exchange, desk: str, text: str) -> list[Item]:
    room = exchange.rooms.get(desk)
    return [] if room is None or room.leg is None else [events.Say(room.leg, text)]
