"""Verb: notice that a peer's media stopped coming, tell the dispatcher, and ask the phone anew where it is (bar F14).

in → out: a loss and its return, as the media process tells them → notes that bound the gap, texts to the desk, a re-INVITE.

For want of media alone nobody is hung up: that is decided by whether the phone still answers (`probe`).
"""

from typing import Final

from pbx.call import call_events as events
from pbx.call import modify
from pbx.call.call import State as CallState
from pbx.call.effects import Item
from pbx.call.exchange import Exchange
from pbx.call.leg import Leg
from pbx.call.noting import note
from pbx.call.owner import Owner
from rtp.control import Medium

DOUBTFUL_SECONDS: Final = 4.5
"""Silence after which it is asked whether the phone lives, and a newer call of the same person takes the place of this one:
after the alarm, because a phone that changes networks is back in three seconds."""
REINVITE_SECONDS: Final = 10.0
"""Silence of the sound after which the phone is asked to say anew where it is: longer than it takes to change networks."""
AGAIN_SECONDS: Final = 60.0
"""Between two such questions while the silence lasts."""


def lost(exchange: Exchange, leg: Leg, medium: Medium, seconds: float, now: float) -> list[Item]:
    """Hear that a medium has brought nothing for `seconds`; told again and again while it lasts."""
    items: list[Item] = []
    if medium not in leg.losses:
        leg.losses[medium] = now - seconds
        items += note(exchange, leg.id, "media_lost", {"medium": medium, "seconds": seconds})
        if medium == "audio":
            items += _tell(exchange, leg, f"已{seconds:.1f}秒没有声音 no sound for {seconds:.1f} s")
    if medium == "audio" or "audio" not in {stream.medium for stream in leg.negotiation.streams}:
        items += _ask(exchange, leg, seconds)
    return items


def back(exchange: Exchange, leg: Leg, medium: Medium, now: float) -> list[Item]:
    """Hear that a medium comes, for the first time or again."""
    since = leg.losses.pop(medium, None)
    if since is None:
        return []
    gap = round(now - since, 3)
    items = note(exchange, leg.id, "media_back", {"medium": medium, "seconds": gap})
    if medium == "audio":
        leg.asked_after = 0.0
        items += _tell(exchange, leg, f"{gap:.0f}秒后恢复声音 sound is back after {gap:.0f} s")
    return items


def _ask(exchange: Exchange, leg: Leg, seconds: float) -> list[Item]:
    """Send a re-INVITE that changes nothing: its answer says where the phone is now."""
    due = leg.asked_after + AGAIN_SECONDS if leg.asked_after else REINVITE_SECONDS
    if seconds < due or not modify.free(leg) or not _needed(exchange, exchange.owners[leg.id]):
        return []
    leg.asked_after = seconds
    return [
        *note(exchange, leg.id, "media_sought", {"seconds": seconds}),
        modify.reinvite(leg, leg.negotiation.again(), "reinvite"),
    ]


def _needed(exchange: Exchange, owner: Owner) -> bool:
    """Whether somebody listens to it: a desk that waits for callers may keep its microphone shut."""
    if owner.kind != "desk":
        return owner.kind == "call"
    room = exchange.rooms.get(owner.id)
    return room is not None and room.guest is not None


def _tell(exchange: Exchange, leg: Leg, text: str) -> list[Item]:
    """Write to the dispatcher whose caller this is."""
    owner = exchange.owners[leg.id]
    call = exchange.calls.get(owner.id) if owner.kind == "call" else None
    if call is None or call.desk is None or call.state is not CallState.TALKING:
        return []
    desk = exchange.room(call.desk).leg
    who = call.caller.number or call.caller.user or call.caller.address
    return [] if desk is None else [events.Say(desk, f"{who}: {text}")]
