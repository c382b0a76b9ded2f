"""Talks of two desks, or more, without a caller: recorded like any call, in evidence of their own.

in → out: a visitor that came to talk, or went → the capture opened or closed, whose packets belong to it, notes.

A talk has no machine: it lasts as long as somebody who came to talk is in the room, and is sealed when its capture has closed.
What is said to a guest is the guest's; a talk ends when one comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pbx.call import negotiated
from pbx.call.call import GIVE_UP_SECONDS
from pbx.call.effects import CallFinished, Item, Note, ToMedia
from rtp.control import CloseEvidence, OpenEvidence, RecordTalk

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange
    from pbx.call.visits import Visit


@dataclass(slots=True)
class Talk:
    """One talk; known until its capture is closed."""

    id: str
    """Of its evidence, as a call's."""
    host: str
    """Whose room it is in."""
    legs: list[str] = field(default_factory=list)
    """Whose packets belong to it."""
    over: bool = False
    give_up_at: float | None = None
    """When its capture is waited for no more (monotonic seconds); as of calls."""


def joined(exchange: Exchange, visit: Visit) -> list[Item]:
    """Hear that a visitor is in a room."""
    host = exchange.room(visit.host)
    leg = exchange.room(visit.visitor).leg
    if visit.purpose != "talk" or host.guest is not None or leg is None or host.leg is None:
        return []
    out: list[Item] = []
    talk = _of(exchange, visit.host)
    if talk is None:
        talk = Talk(exchange.mint("call"), visit.host)
        exchange.hands.talks[talk.id] = talk
        began = {"desk": visit.host, "who": visit.who, "user": visit.host}
        out += [
            Note("talk_began", talk.id, began),
            ToMedia(OpenEvidence(talk.id, f"{exchange.site.policy.folder}/{talk.id}", host.leg)),
            *_records(exchange, talk, host.leg, f"desk:{visit.host}"),
        ]
    entered = Note("talk_joined", talk.id, {"desk": visit.host, "who": visit.visitor, "role": visit.role})
    return [*out, entered, *_records(exchange, talk, leg, f"staff:{visit.visitor}")]


def left(exchange: Exchange, host: str, why: str) -> list[Item]:
    """Hear that somebody left a room, or that it has a guest: with nobody left to talk to, the talk is over."""
    talk = _of(exchange, host)
    if talk is None or any(
        v.host == host and v.purpose == "talk" and v.up for v in exchange.hands.visits.values()
    ):
        return []
    talk.over = True
    return [
        *(ToMedia(RecordTalk(leg, None)) for leg in talk.legs if leg in exchange.legs),
        Note("talk_ended", talk.id, {"desk": host, "why": why}),
        ToMedia(CloseEvidence(talk.id)),
    ]


def overdue(exchange: Exchange, now: float) -> list[Item]:
    """Look, now and then, whose capture does not close: it is left to the recorder as a call's is."""
    out: list[Item] = []
    for talk in [talk for talk in exchange.hands.talks.values() if talk.over]:
        if talk.give_up_at is None:
            talk.give_up_at = now + GIVE_UP_SECONDS
        elif now >= talk.give_up_at:
            out += closed(exchange, talk.id, 0, 0, "capture_given_up")
    return out


def closed(exchange: Exchange, talk: str, packets: int, size: int, fault: str | None = None) -> list[Item]:
    """Hear that the capture of a talk is closed, or is not waited for: hand the folder to the recorder."""
    del exchange.hands.talks[talk]
    noted = {"packets": packets, "bytes": size, "fault": fault}
    return [Note("capture_closed", talk, noted), CallFinished(talk)]


def resume(exchange: Exchange, held: tuple[str, ...]) -> list[Item]:
    """Go on with every talk in a media process that was away; `held`: the captures it has open."""
    out: list[Item] = []
    for talk in list(exchange.hands.talks.values()):
        if talk.over:
            out += [ToMedia(CloseEvidence(talk.id))] if talk.id in held else closed(exchange, talk.id, 0, 0)
            continue
        if talk.id not in held:
            near = next((leg for leg in talk.legs if leg in exchange.legs), None)
            out.append(ToMedia(OpenEvidence(talk.id, f"{exchange.site.policy.folder}/{talk.id}", near)))
            out.append(Note("media_restarted", talk.id, dict(exchange.media_gap)))
        out += [ToMedia(RecordTalk(leg, talk.id)) for leg in talk.legs if leg in exchange.legs]
    return out


def of_desk(exchange: Exchange, desk: str) -> str | None:
    """Return the talk that goes on in a desk's room."""
    talk = _of(exchange, desk)
    return None if talk is None else talk.id


def _of(exchange: Exchange, host: str) -> Talk | None:
    return next((one for one in exchange.hands.talks.values() if one.host == host and not one.over), None)


def _records(exchange: Exchange, talk: Talk, leg: str, label: str) -> list[Item]:
    talk.legs.append(leg)
    return [negotiated.stated(exchange, talk.id, label, leg), ToMedia(RecordTalk(leg, talk.id))]
