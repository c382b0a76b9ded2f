"""What a leg said, told to its owner (a call, a desk, a feature code); and what the queue decided, told to those it concerns.

in → out: `LegEvent`s and effects of the queue → events of calls and rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.call import (
    align,
    answer,
    codes,
    hands,
    keys,
    known,
    last_resort,
    negotiated,
    place,
    quiet,
    refer,
    referral,
    routed,
    seat_call,
    texting,
    visits,
)
from pbx.call import call_events as events
from pbx.call import room as rooms
from pbx.call.calling import CallOfOurs
from pbx.call.effects import (
    Item,
    LegDigit,
    LegEnded,
    LegEvent,
    LegFree,
    LegGone,
    LegNegotiated,
    LegReady,
    LegRefer,
    LegText,
    LegTextDelivered,
    LegUnacked,
    LegUp,
    Note,
    Respond,
    ToMedia,
)
from pbx.call.impossible import Impossible
from routing.acd import AcdEffect, BackToQueue, DeskChanged, PositionChanged, PutThrough
from rtp.control import Play

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.exchange import Exchange

_PLACED_BY_OWNER: Final = frozenset({"call", "desk"})
"""Kinds of owners that send the INVITE of their own calls when it suits them."""

# --- what a leg said ------------------------------------------------------------------------------------------


def leg_said(exchange: Exchange, event: LegEvent, now: float) -> list[Item]:
    owner = exchange.owners.get(event.leg)
    if owner is None:
        return []
    exchange.touch(event.leg)
    called = exchange.legs.get(event.leg) if isinstance(event, LegReady) else None
    if called is not None and called.line is not None and called.owner and owner.kind not in _PLACED_BY_OWNER:
        return list(place.place(called, now))  # a call over a trunk leaves by itself
    match owner.kind:
        case "call":
            return _call_leg_said(exchange, owner.id, event, now)
        case "desk":
            return _desk_leg_said(exchange, owner.id, event, now)
    match event:
        case LegReady(leg):
            return list(answer.answer(exchange.legs[leg], now))
        case LegUp(leg):
            # A trunk that is tried is heard for two seconds, which is long enough to be measured.
            tones = ("tone:zip",) * (1 if owner.kind == "feature" else 10)
            return [ToMedia(Play(leg, f"{leg}/done", tones))]
        case LegRefer(_, transaction, request):
            return [Respond(transaction, request.response(403))]
    return []


def _call_leg_said(exchange: Exchange, call: str, event: LegEvent, now: float) -> list[Item]:
    match event:
        case LegReady():
            return exchange.to_call(call, events.Opened(), now)
        case LegUp(leg):
            return exchange.to_call(call, events.Confirmed(), now) + _picked_up(exchange, call, leg)
        case LegEnded(_, cause, status, reason):
            over = events.LegOver(cause, status, reason)
            gone = visits.guest_ended(exchange, call, now)
            return exchange.to_call(call, over, now) + _guest_out(exchange, call) + gone
        case LegRefer(_, transaction, request):
            # Who is a guest moves nobody (bars F30, S7).
            return [Respond(transaction, request.response(403)), Note("refer_refused", call, {"status": 403})]
        case LegUnacked(_, seconds):
            return [Note("ack_missing", call, {"seconds": seconds})]
        case LegFree():
            return []  # nothing is asked of a caller but refreshes
        case LegGone():
            return exchange.to_call(call, events.LegGone(), now)
        case LegNegotiated(leg, held):
            return [
                negotiated.stated(exchange, call, "caller", leg),
                Note("caller_hold", call, {"held": held}),
            ]
        case LegText(_, text):
            return [*texted(exchange, call, text), *exchange.to_call(call, events.SignOfLife("text"), now)]
        case LegTextDelivered(_, delivered):
            return texting.outcome(exchange, call, delivered=delivered)
        case LegDigit(_, digit):
            stays = exchange.to_call(call, events.SignOfLife("key"), now)
            said = Note("dtmf", call, {"from": "caller", "digit": digit})
            return [said, *stays]


def _desk_leg_said(exchange: Exchange, desk: str, event: LegEvent, now: float) -> list[Item]:
    room = exchange.rooms.get(desk)
    if room is None:
        return []  # an outside party's room is gone with its leg; its dialog still says goodbye
    match event:
        case LegReady(leg):
            # Dialled in: answer it. Our own call: send it.
            return [*answer.answer(exchange.legs[leg], now), *place.place(exchange.legs[leg], now)]
        case LegUp(leg):
            up = list(room.receive(rooms.HostUp(leg)))
            handed = last_resort.up(exchange, desk, now) if room.outside else []
            return [*up, *visits.enter(exchange, desk, now), *visits.host_up(exchange, desk, now), *handed]
        case LegEnded(leg, cause, status, reason) if room.leg == leg:
            return _host_gone(exchange, room, rooms.HostGone(leg, cause, status, reason), now)
        case LegRefer():
            return refer.in_dialog(exchange, event, now)
        case LegFree(leg) if room.guest in exchange.calls:
            return _aligned(exchange, leg, exchange.calls[room.guest].leg)
        case LegDigit(_, digit):
            told = keys.to_guest(exchange, room.guest, event)
            return [*told, *room.receive(rooms.KeyPressed(digit)), *_keyed(exchange, room, digit, now)]
        case LegNegotiated(leg, held):
            stated = (
                [] if room.guest is None else [negotiated.stated(exchange, room.guest, f"desk:{desk}", leg)]
            )
            stated += negotiated.of_visitor(exchange, exchange.hands.visits.get(desk))
            return [*stated, *_phone_holds(exchange, room, held=held, now=now)]
        case LegText(_, text):
            return texting.from_desk(exchange, desk, text)
    return []


def _picked_up(exchange: Exchange, call: str, leg: str) -> list[Item]:
    """Go on with a call of ours that was picked up: its desk's picture has to fit it."""
    found = exchange.calls.get(call)
    if not isinstance(found, CallOfOurs) or found.desk is None:
        return []
    host = exchange.room(found.desk).leg
    return [] if host is None else _aligned(exchange, host, leg)


def _host_gone(exchange: Exchange, room: rooms.Room, gone: rooms.HostGone, now: float) -> list[Item]:
    desk = room.desk
    first, last = last_resort.gone(exchange, gone, desk, now)
    out = [*visits.leg_ended(exchange, desk, now), *first, *room.receive(gone), *last]
    referral.forget(exchange, gone.leg)
    if room.outside:
        exchange.rooms.pop(desk, None)
    elif gone.cause == "bye" and now <= exchange.hands.referred.pop(desk, 0.0):
        # A phone takes a REFER that succeeded for the end of its call. The dispatcher's shift goes on: call it again.
        out += seat_call.again(exchange, desk, now)
    return out


def _keyed(exchange: Exchange, room: rooms.Room, key: str, now: float) -> list[Item]:
    """Take a key of a desk's phone as part of a code."""
    if room.outside:
        return []
    typed, order = codes.pressed(exchange.site.hands, exchange.hands.typed.pop(room.desk, ""), key)
    if typed:
        exchange.hands.typed[room.desk] = typed
    if order is None:
        return []
    verb, target = order
    try:
        return hands.items(exchange, hands.Order(room.desk, hands.verb(verb), target, by="keys"), now)
    except Impossible as error:
        said = [] if room.leg is None else [events.Say(room.leg, " / ".join(error.texts))]
        return [Note("code_refused", None, {"desk": room.desk, "verb": verb, "why": error.code}), *said]


def _phone_holds(exchange: Exchange, room: rooms.Room, *, held: bool, now: float) -> list[Item]:
    """The hold key of a desk's phone holds the guest; other renegotiations say nothing of that."""
    if held is (room.desk in exchange.hands.on_hold):
        return []
    (exchange.hands.on_hold.add if held else exchange.hands.on_hold.discard)(room.desk)
    return (
        []
        if room.guest is None
        else exchange.to_call(room.guest, events.HeldByHost(on=held, by="phone"), now)
    )


def _guest_out(exchange: Exchange, call: str) -> list[Item]:
    hosts = [room for room in exchange.rooms.values() if room.guest == call]
    return [item for room in hosts for item in exchange.room(room.desk).receive(rooms.GuestOut(call))]


def texted(exchange: Exchange, call: str, text: str) -> list[Item]:
    """Take what a caller wrote: it is kept, and shown on the desk's phone if that takes texts."""
    return [Note("text", call, {"from": "caller", "text": text}), *_say_to_host(exchange, call, text)]


def _say_to_host(exchange: Exchange, call: str, text: str) -> list[Item]:
    return [
        events.Say(room.leg, text)
        for room in exchange.rooms.values()
        if room.guest == call and room.leg is not None
    ]


# --- what the queue decided -----------------------------------------------------------------------------------


def acd_said(exchange: Exchange, effect: AcdEffect, now: float) -> list[Item]:
    match effect:
        case PutThrough(call, desk, waited):
            return _put_through(exchange, call, desk, waited, now)
        case PositionChanged(call, position, expected):
            return exchange.to_call(call, events.PlaceTold(position, expected), now)
        case BackToQueue(call, desk, why):
            lost = exchange.to_call(call, events.DeskLost(desk, why), now)
            return [*lost, *_guest_out(exchange, call), *visits.guest_released(exchange, call, desk, now)]
        case DeskChanged(desk) if desk not in exchange.rooms or exchange.rooms[desk].outside:
            return []
        case DeskChanged(desk, state, call, reason):
            routed.keep_away(exchange, effect)
            noted = {
                "desk": desk,
                "state": None if state is None else str(state),
                "guest": call,
                "reason": reason,
            }
            return [Note("desk_changed", None, noted)]
    return routed.said(exchange, effect, now)


def _aligned(exchange: Exchange, host: str, guest: str) -> list[Item]:
    hosts, guests = exchange.leg(host), exchange.leg(guest)
    return [] if hosts is None or guests is None else list(align.align(hosts, guests))


def _put_through(exchange: Exchange, call: str, desk: str, waited: float, now: float) -> list[Item]:
    room = exchange.room(desk)
    found = exchange.calls.get(call)
    at = exchange.acd.desk(desk)
    if found is not None and (found.state != "waiting" or at is None or at.call != call):
        return []  # what came before this one in the same breath has changed it again
    if found is None or room.leg is None:
        # The queue and the rooms hold the same desks and calls; should they ever differ, say so and go on.
        return [Note("put_through_failed", call, {"desk": desk})]
    exchange.touch(call)
    return [
        *found.receive(events.GivenTo(desk, room.id, waited, _other(room.agent, desk)), now),
        *room.receive(rooms.GuestIn(call)),
        *_aligned(exchange, room.leg, found.leg),
        negotiated.stated(exchange, call, f"desk:{desk}", room.leg),
        *_announced(exchange, room.leg, found),
        *quiet.arrived(exchange, desk, call),
        *visits.guest_arrived(exchange, call, desk, now),
        *_still_holds(exchange, call, desk, now),
    ]


def _announced(exchange: Exchange, leg: str, call: Call) -> list[Item]:
    """Write to a host's phone who its caller is. Over a trunk nobody reads that: what it may know its settings say (`tells`)."""
    host = exchange.legs.get(leg)
    if host is None or host.line is not None:
        return []
    who = call.caller
    name = who.name or who.user or who.number or "?"
    mark = who.mark()
    if who.trunk is not None and who.unavailable is None:
        mark = f"号码来自中继 {who.trunk}, number by trunk"
    silent = " · 静默 SILENT" if call.silent else ""
    return [events.Say(leg, "\n".join([f"110 来电 call: {name} ({mark}){silent}", *known.advice(call)]))]


def _other(agent: str | None, desk: str) -> str:
    return "" if agent in {None, desk} else str(agent)


def _still_holds(exchange: Exchange, call: str, desk: str, now: float) -> list[Item]:
    """Let a caller whose desk's phone has us on hold hear the tone: silence would sound like a dead line."""
    if desk not in exchange.hands.on_hold:
        return []
    return exchange.to_call(call, events.HeldByHost(on=True, by="phone"), now)
