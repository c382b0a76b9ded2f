"""The one door to everything a dispatcher does with a call: hold, transfer, consult, take over, supervise, add, remove, call out.

in → out: an `Order`, from the API, from keys of the desk's phone or from a REFER → commands to the machines. Raises `Impossible`.

The guest is never alone: it stays with its host until somebody else has it, or waits at the head of the line for one desk with
the host as the way back. A room has one host and at most one guest, always; whoever else comes is staff (see `visits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast, get_args
from urllib.parse import quote

from pbx.call import call_events as events
from pbx.call import quiet, reach, referral, visits
from pbx.call import room as rooms
from pbx.call.calling import CallOfOurs, callee
from pbx.call.effects import Item, Note
from pbx.call.gates import HostPicture
from pbx.call.impossible import Impossible
from pbx.call.owner import Owner
from pbx.call.reach import AtDesk, AtQueue, Party
from pbx.call.visits import MAX_STAFF, Passing, Purpose, Visit
from pbx.sip.uri import Uri
from routing.acd import ToHead
from routing.moves import DeskCalls

if TYPE_CHECKING:
    from pbx.call.effects import Effect
    from pbx.call.exchange import Exchange
    from rtp.control import StaffMode


Verb = Literal[
    "hold", "unhold", "transfer", "consult", "complete", "cancel", "conference", "take",
    "listen", "whisper", "barge", "leave", "add", "remove", "call", "picture",
]  # fmt: skip
MODES: Final[dict[str, StaffMode]] = {"listen": "listen", "whisper": "whisper", "barge": "barge"}


@dataclass(frozen=True, slots=True)
class Order:
    """What one dispatcher wants."""

    desk: str
    """Who wants it: the user name of a dispatcher who is signed in."""
    verb: Verb
    target: str = ""
    """User, number, `queue`, `queue:NAME` or `district:ID`; for `take` and the modes of supervision the desk it is about; for `remove` who is to go, ""
    for everybody; for `picture` `on`, `off` or `still`."""
    role: str = "helper"
    """What somebody added is there as: `interpreter`, `fire`, `ambulance`, `traffic` …"""
    by: str = "api"
    """`api`, `keys` or `refer`."""
    referral: str | None = None
    """The REFER that wants to know what came of it."""
    first: str | None = None
    """The call that an outgoing call follows."""
    incident: str | None = None
    """What that one belongs to; None: it began it."""


def verb(name: str) -> Verb:
    """Return a verb by its name. Raises ValueError."""
    for known in get_args(Verb):
        if known == name:
            return cast("Verb", known)
    raise ValueError(name)


def act(exchange: Exchange, order: Order, now: float) -> list[Effect]:
    """Carry out an order. Raises `Impossible`, and nothing has happened then."""
    return exchange.run(items(exchange, order, now), now)


def items(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """As `act`, for who is inside the exchange already."""
    if not exchange.room(order.desk).present:
        raise Impossible("signed_out")
    match order.verb:
        case "hold" | "unhold":
            return _hold(exchange, order, now)
        case "transfer":
            return _transfer(exchange, order, now)
        case "consult":
            return _consult(exchange, order, now)
        case "complete" | "cancel" | "conference":
            return _consulted(exchange, order, now)
        case "take":
            return _take(exchange, order, now)
        case "listen" | "whisper" | "barge":
            return _supervise(exchange, order, now)
        case "leave":
            if order.desk not in exchange.hands.visits:
                raise Impossible("no_staff")
            return visits.end(exchange, order.desk, "left", now)
        case "add":
            return _add(exchange, order, now)
        case "remove":
            return _remove(exchange, order, now)
        case "call":
            return _call(exchange, order, now)
        case "picture":
            return _picture(exchange, order, now)


# --- who and where --------------------------------------------------------------------------------------------------------


def _guest(exchange: Exchange, desk: str) -> str:
    """Return the guest a desk is talking with."""
    found = exchange.calls.get(exchange.room(desk).guest or "")
    if found is None or found.state != "talking":
        raise Impossible("no_call")
    return found.id


def _check_free(exchange: Exchange, desk: str) -> None:
    """Raise `Impossible` unless a desk is in its own room, without a guest."""
    if desk in exchange.hands.visits:
        raise Impossible("visiting")
    if exchange.room(desk).guest is not None or _taken(exchange, desk):
        raise Impossible("has_call")


def _taken(exchange: Exchange, desk: str) -> bool:
    found = exchange.acd.desk(desk)
    return found is None or found.call is not None


def check_other(exchange: Exchange, desk: str, target: str) -> None:
    """Raise `Impossible` unless another desk can come at once."""
    if desk == target:
        raise Impossible("itself")
    if target in exchange.hands.visits or exchange.room(target).guest is not None or _taken(exchange, target):
        raise Impossible("busy")


def outside(
    exchange: Exchange,
    party: Party,
    now: float,
    call: str | None = None,
    *,
    headers: tuple[tuple[str, str], ...] = (),
) -> tuple[str, list[Item]]:
    """Call somebody into a room of its own, for the sake of `call`; returns the id of its host. Raises `Impossible`.

    `headers`: what the INVITE says besides.
    """
    if party.account is not None and party.account.kind != "dispatcher":
        raise Impossible("is_caller")
    name = f"{party.name}.{exchange.mint('party')}"  # read by people in the events
    room = rooms.Room(name, outside=True)
    said = (*quiet.headers(exchange, call), *headers)
    leg, opening = reach.place_call(exchange, party, Owner("desk", name), now, focus=room.id, headers=said)
    exchange.rooms[name] = room
    return name, [*room.receive(rooms.SignsIn(leg.id)), *opening]


def _invite(
    exchange: Exchange, order: Order, purpose: Purpose, call: str | None, now: float, *, mode: StaffMode
) -> list[Item]:
    """Have the target of an order come to the room of its desk: with its own leg if it is signed in, else it is called."""
    if len(visits.staff(exchange, order.desk)) >= MAX_STAFF:
        raise Impossible("full_room")
    target = reach.find(exchange, order.target, now)
    opening: list[Item] = []
    match target:
        case AtQueue():
            raise Impossible("unknown_target")
        case AtDesk(desk):
            check_other(exchange, order.desk, desk)
            visitor = desk
        case Party():
            visitor, opening = outside(exchange, target, now, call, headers=_referred_by(exchange, order))
    role = order.role if purpose == "help" else "dispatcher"
    visit = Visit(visitor, order.desk, purpose, call, order.target, role, mode, order.referral)
    asked = Note(f"{purpose}_asked", call, {"desk": order.desk, "who": order.target, "by": order.by})
    return [asked, *visits.begin(exchange, visit, now), *opening]


def _referred_by(exchange: Exchange, order: Order) -> tuple[tuple[str, str], ...]:
    # RFC 3892 §3: the request a REFER leads to says who referred. In our own words: the dialog it came in says who it is,
    # whatever its own Referred-By claims (bars S8).
    if order.by != "refer":
        return ()
    user = quote(order.desk, safe="", errors="surrogateescape")
    return (("Referred-By", f"<{Uri('sip', user, None, exchange.site.host)}>"),)


# --- verbs ------------------------------------------------------------------------------------------------------------------


def _hold(exchange: Exchange, order: Order, now: float) -> list[Item]:
    call = exchange.calls[_guest(exchange, order.desk)]
    # A phone has one key for both.
    on = not call.held if order.by == "keys" else order.verb == "hold"
    return exchange.to_call(call.id, events.HeldByHost(on=on, by=order.by), now)


def _transfer(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """Blind: the guest goes to a desk when that is free, to the head of the queue, or to a party that answered."""
    call = _guest(exchange, order.desk)
    if visits.consulted(exchange, order.desk) is not None:
        raise Impossible("consulting")
    target = reach.find(exchange, order.target, now)
    if isinstance(target, Party):
        return _invite(exchange, order, "blind", call, now, mode="listen")
    if isinstance(target, AtDesk):
        if target.desk == order.desk:
            raise Impossible("itself")
        sent = ToHead(call, desk=target.desk, seconds=exchange.site.hands.transfer_seconds)
    else:
        sent = ToHead(call, queue=target.name)
    exchange.hands.passing[call] = Passing(sent.desk, order.desk, order.referral)
    asked = {"desk": order.desk, "to": order.target, "by": order.by}
    return [Note("transfer_asked", call, asked), events.ToAcd(sent)]


def _consult(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """Attended: somebody comes to the room while the guest is held."""
    call = _guest(exchange, order.desk)
    if visits.consulted(exchange, order.desk) is not None:
        raise Impossible("consulting")
    return _invite(exchange, order, "consult", call, now, mode="whisper")


def _consulted(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """What becomes of a consultation: it takes the guest, it goes, or all three talk."""
    visit = visits.consulted(exchange, order.desk)
    if visit is None or visit.call is None:
        raise Impossible("no_desk_call")
    if order.verb == "cancel":
        return visits.end(exchange, visit.visitor, "cancelled", now)
    if not visit.up:
        raise Impossible("no_desk_call")  # nobody has picked up yet
    if order.verb == "complete":
        noted = Note("transfer_asked", visit.call, {"desk": order.desk, "to": visit.who, "by": order.by})
        done = visits.hand_over(exchange, visit.call, visit.visitor, now)
        return [noted, *done, *referral.finish(exchange, order.referral, 200, now)]
    opened = visits.set_mode(exchange, visit, "barge")
    return [*opened, *exchange.to_call(visit.call, events.HeldByHost(on=False, by=order.by), now)]


def _take(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """Take the guest of another desk."""
    if order.target == order.desk:
        raise Impossible("itself")
    room = exchange.rooms.get(order.target)
    if room is None or room.outside:
        raise Impossible("unknown_desk")
    call = _guest(exchange, order.target)
    visit = exchange.hands.visits.get(order.desk)
    if visit is not None and visit.host != order.target:
        raise Impossible("visiting")
    if visit is None:
        _check_free(exchange, order.desk)
    taken = Note("taken_over", call, {"desk": order.target, "by_desk": order.desk, "by": order.by})
    return [taken, *visits.hand_over(exchange, call, order.desk, now)]


def _supervise(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """Listen, whisper, barge; a supervisor who is in the room already changes the gates."""
    if order.desk not in exchange.supervisors:
        raise Impossible("not_supervisor")
    mode = MODES[order.verb]
    there = exchange.hands.visits.get(order.desk)
    if there is not None and order.target in {"", there.host}:
        if there.purpose != "supervise":
            raise Impossible("visiting")
        return visits.set_mode(exchange, there, mode)
    room = exchange.rooms.get(order.target)
    if room is None or room.outside or not room.present:
        raise Impossible("unknown_desk" if room is None else "signed_out")
    _check_free(exchange, order.desk)
    if order.target == order.desk:
        raise Impossible("itself")
    if order.target in exchange.hands.visits:
        raise Impossible("busy")
    if len(visits.staff(exchange, order.target)) >= MAX_STAFF:
        raise Impossible("full_room")
    visit = Visit(order.desk, order.target, "supervise", None, order.desk, "supervisor", mode, order.referral)
    return visits.begin(exchange, visit, now)


def _add(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """Join an interpreter, the fire brigade, an ambulance … to the guest; they stay with it wherever it goes."""
    return _invite(exchange, order, "help", _guest(exchange, order.desk), now, mode="barge")


def _remove(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """Send somebody out of the room, or everybody who was called in for the guest. A supervisor is not sent out."""
    gone = [
        visit
        for visit in visits.staff(exchange, order.desk)
        if visit.purpose != "supervise" and order.target in {"", visit.who, visit.visitor}
    ]
    if not gone:
        raise Impossible("no_staff")
    out = [item for visit in gone for item in visits.end(exchange, visit.visitor, "removed", now)]
    return [*out, *referral.finish(exchange, order.referral, 200, now)]


def _picture(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """Show the guest the host (`on`), nobody (`off`) or the site's still image (`still`)."""
    if order.target not in get_args(HostPicture):
        raise Impossible("bad_picture")
    return exchange.to_call(_guest(exchange, order.desk), events.ShowHost(order.target, order.by), now)


def _call(exchange: Exchange, order: Order, now: float) -> list[Item]:
    """Call somebody from a desk: another dispatcher comes to talk, anybody else becomes its guest."""
    _check_free(exchange, order.desk)
    target = reach.find(exchange, order.target, now)
    if not isinstance(target, Party) or (target.account is not None and target.account.kind == "dispatcher"):
        return _invite(exchange, order, "talk", None, now, mode="barge")
    call_id = exchange.mint("call")
    # RFC 7090 §5: a PSAP's callback says so, so that nothing at the other end keeps it away.
    leg, opening = reach.place_call(
        exchange,
        target,
        Owner("call", call_id),
        now,
        evidence=call_id,
        headers=(("Priority", "psap-callback"),),
    )
    leg.patience = CALLER_PATIENCE
    call, arriving = CallOfOurs.begin(
        call_id, leg.id, callee(target), exchange.site.policy, desk=order.desk, first=order.first, now=now
    )
    same = [] if order.first is None else call.follows(order.incident or order.first)
    exchange.add_call(call)
    return [
        *arriving[:2],
        *opening,
        *arriving[2:],
        *same,
        events.ToAcd(DeskCalls(order.desk, call_id)),
        *exchange.room(order.desk).receive(rooms.GuestIn(call_id)),
    ]


CALLER_PATIENCE: Final = 12
"""As for callers (`exchange.CALL_PATIENCE`): who is called back may be in a tunnel too."""
