"""That a caller is silent, told to whoever is with the caller and sees no console: parties outside, over a trunk or at a phone.

in → out: silent mode goes on or off, or a party comes to a silent caller → a text and a prompt to that party; what a party
sends is kept from the caller.

That no sound reaches a silent caller, whoever talks, is the media process's to hold (`rtp.wiring`, the gate of the leg). What else
makes a phone sound is decided here: texts and keys that travel as messages. A dispatcher at a desk sees the mark, and writes to a
silent caller on purpose; a party outside can't know what a beep may cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.call import call_events as events
from pbx.call.effects import Item, Note, ToMedia
from rtp.control import Play

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.exchange import Exchange

SUBJECT: Final = ("Subject", "静默报警 silent call for help")
"""RFC 3261 §20.36; says so before anybody speaks. `SPOKEN` is for exchanges that pass no headers and no texts on."""
SPOKEN: Final = "silent-caller"
ON: Final = (
    "静默报警：来电人听不到您的声音，也收不到您的文字，请注意倾听。\n"
    "Silent call for help: the caller can neither hear you nor read what you write. Please listen."
)
OFF: Final = "静默已解除：来电人可以听到您。\nNo longer silent: the caller can hear you."
WITHHELD: Final = "未转发：来电人处于静默模式。\nNot passed on: the caller is in silent mode."


def headers(exchange: Exchange, call: str | None) -> tuple[tuple[str, str], ...]:
    """Return what an INVITE to a party says of the caller it is called for."""
    found = exchange.calls.get(call or "")
    return (SUBJECT,) if found is not None and found.silent else ()


def arrived(exchange: Exchange, party: str, call: str | None) -> list[Item]:
    """Hear that somebody is with a caller now: a party outside is told if the caller is silent."""
    found = exchange.calls.get(call or "")
    room = exchange.rooms.get(party)
    if found is None or not found.silent or room is None or not room.outside or room.leg is None:
        return []
    return _tell(exchange, found, party, room.leg)


def changed(exchange: Exchange, call: str) -> list[Item]:
    """Hear that silent mode went on or off: every party that is with the caller is told."""
    found = exchange.calls.get(call)
    if found is None:
        return []
    out: list[Item] = []
    for room in list(exchange.rooms.values()):
        if room.outside and room.leg is not None and room.present and _with(exchange, room.desk, found):
            out += _tell(exchange, found, room.desk, room.leg)
    return out


def keeps_back(exchange: Exchange, party: str, call: Call) -> bool:
    """Say whether what a party writes is kept from the caller."""
    room = exchange.rooms.get(party)
    return call.silent and room is not None and room.outside


def withheld(call: Call, party: str, text: str) -> Item:
    """Keep a party's text in evidence only; the party is to be told so."""
    return Note("text", call.id, {"from": party, "text": text, "withheld": "silent"})


def _with(exchange: Exchange, party: str, call: Call) -> bool:
    """Whether a party is the host of a caller, or in the room with it."""
    visit = exchange.hands.visits.get(party)
    return exchange.room(party).guest == call.id or (visit is not None and visit.up and visit.call == call.id)


def _tell(exchange: Exchange, call: Call, party: str, leg: str) -> list[Item]:
    on = call.silent
    # Short, and in one language: what the caller's surroundings sound like matters from the first second.
    spoken = (f"{exchange.site.policy.languages[0]}/{SPOKEN}",) if on else ("tone:zip",)
    return [
        Note("silence_told", call.id, {"who": party, "silent": on}),
        events.Say(leg, ON if on else OFF),
        ToMedia(Play(leg, f"{party}/{'silent' if on else 'audible'}", spoken)),
    ]
