"""Who is in a room besides host and guest, why, and what becomes of them when the others come and go.

A visitor is a dispatcher whose permanent leg is lent to another desk's room, or an outside party whom we called. Each has a
room of its own in which it is the host, and hosts no other: a visitor is staff in the room it visits, and to take a guest over
it goes home and the guest follows.

in → out: what dispatchers want, what happened to guests, hosts and visitors → commands to legs, queue and media process.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from pbx.call import call_events as events
from pbx.call import negotiated, quiet, referral, talks
from pbx.call.effects import Item, Note, ToMedia
from pbx.call.reach import Directory, Nobody
from pbx.call.referral import Referral
from routing.acd import Seize
from routing.moves import DeskReturns, DeskVisits
from rtp.control import Join, Leave, SetStaff, StaffMode

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


Purpose = Literal["consult", "blind", "help", "talk", "supervise"]

MAX_STAFF: Final = 8
"""Visitors of one room: more than any incident has services, and what one mixer can say together."""


@dataclass(slots=True)
class Visit:
    """One visitor."""

    visitor: str
    """Desk or outside party; it visits one room at a time."""
    host: str
    """The desk whose room it is in, or is being called for."""
    purpose: Purpose
    """`consult`: may be handed the guest; `blind`: is being called to be handed the guest; `help`: stays with the guest;
    `talk`, `supervise`: stays with the desk."""
    call: str | None
    """The guest it concerns."""
    who: str
    """Name or number, for people."""
    role: str
    """`dispatcher`, `supervisor`, `fire` …: what the conference document says."""
    mode: StaffMode
    referral: str | None = None
    """The REFER that asked for it and wants to know."""
    up: bool = False
    """In the room; False: its phone still rings, or its guest waits in the queue."""


@dataclass(slots=True)
class Passing:
    """A caller on the way to somebody, and the REFER that wants to know whether it arrives."""

    desk: str | None
    """None: anybody but `back`."""
    back: str
    """The desk it comes from."""
    referral: str | None


@dataclass(slots=True)
class Hands:
    """What dispatchers' hands hold at the moment; part of the exchange."""

    visits: dict[str, Visit] = field(default_factory=dict)
    passing: dict[str, Passing] = field(default_factory=dict)
    """By call."""
    referrals: dict[str, Referral] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)
    """Keys of a code that is not whole yet, by desk."""
    on_hold: set[str] = field(default_factory=set)
    """Desks whose phone has put us on hold."""
    referred: dict[str, float] = field(default_factory=dict)
    """Desks whose phone was told that its REFER succeeded, and until when its BYE means nothing more than that."""
    talks: dict[str, talks.Talk] = field(default_factory=dict)
    """Talks without a caller whose captures are not closed yet, by id."""

    @property
    def empty(self) -> bool:
        """Whether they hold nothing."""
        held = (
            self.visits,
            self.passing,
            self.referrals,
            self.typed,
            self.on_hold,
            self.referred,
            self.talks,
        )
        return not any(held)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "visits": [asdict(visit) for visit in self.visits.values()],
            "passing": {call: asdict(passing) for call, passing in self.passing.items()},
            "referrals": [one.snapshot() for one in self.referrals.values()],
            "typed": dict(self.typed),
            "on_hold": sorted(self.on_hold),
            "referred": dict(self.referred),
            "talks": [asdict(talk) for talk in self.talks.values()],
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Hands:
        """Make the hands that `snapshot` described."""
        return cls(
            {one["visitor"]: Visit(**one) for one in data["visits"]},
            {call: Passing(**one) for call, one in data["passing"].items()},
            {one["id"]: Referral.restore(one) for one in data["referrals"]},
            dict(data["typed"]),
            set(data["on_hold"]),
            dict(data["referred"]),
            {one["id"]: talks.Talk(**one) for one in data["talks"]},
        )


NOBODY: Final[Directory] = Nobody()


def staff(exchange: Exchange, desk: str) -> list[Visit]:
    """Return the visitors of a desk's room, those still being called included."""
    return [visit for visit in exchange.hands.visits.values() if visit.host == desk]


def consulted(exchange: Exchange, desk: str) -> Visit | None:
    """Return whom a desk consults, or is having called to hand its guest to."""
    return next((v for v in staff(exchange, desk) if v.purpose in {"consult", "blind"}), None)


# --- coming and going ---------------------------------------------------------------------------------------------------


def begin(exchange: Exchange, visit: Visit, now: float) -> list[Item]:
    """Have a desk's leg visit a room, or note whom the leg that is being called is for."""
    exchange.hands.visits[visit.visitor] = visit
    room = exchange.room(visit.visitor)
    if room.outside:
        return enter(exchange, visit.visitor, now) if room.present else []
    # Who goes away leaves nobody behind to talk to an empty chair.
    out = [
        item
        for v in staff(exchange, visit.visitor)
        if v.purpose == "talk"
        for item in _ends_talk(exchange, v, now)
    ]
    return [*out, events.ToAcd(DeskVisits(visit.visitor)), *enter(exchange, visit.visitor, now)]


def _ends_talk(exchange: Exchange, visit: Visit, now: float) -> list[Item]:
    return end(exchange, visit.visitor, "host_gone", now)


def enter(exchange: Exchange, visitor: str, now: float) -> list[Item]:
    """Let a visitor in, whose leg is up."""
    visit = exchange.hands.visits.get(visitor)
    if visit is None or visit.up:
        return []
    host = exchange.room(visit.host)
    here = host.present and visit.call in {None, host.guest}
    if not here and visit.purpose == "help" and visit.call in exchange.calls:
        return []  # its guest is between two desks
    if not here:
        return end(exchange, visitor, "nobody_there", now, status=480)
    if visit.purpose == "blind":
        assert visit.call is not None, "who is handed a guest is called for that guest"
        return hand_over(exchange, visit.call, visitor, now)
    leg = exchange.room(visitor).leg
    assert leg is not None, "its leg is up"
    visit.up = True
    out: list[Item] = [
        ToMedia(SetStaff(leg, visit.mode)),
        ToMedia(Join(host.id, leg, "staff")),
        _note("staff_joined", exchange, visit),
        *negotiated.of_visitor(exchange, visit),
        *talks.joined(exchange, visit),
        *quiet.arrived(exchange, visitor, visit.call),
    ]
    if visit.purpose == "consult" and visit.call is not None:
        out += exchange.to_call(visit.call, events.HeldByHost(on=True, by=visit.host), now)
    return [*out, *referral.finish(exchange, visit.referral, 200, now)]


def host_up(exchange: Exchange, desk: str, now: float) -> list[Item]:
    """Hear that the leg of a host is up: who was told to come comes."""
    waiting = [v.visitor for v in staff(exchange, desk) if not v.up and exchange.room(v.visitor).present]
    return [item for visitor in waiting for item in enter(exchange, visitor, now)]


def end(exchange: Exchange, visitor: str, why: str, now: float, *, status: int = 487) -> list[Item]:
    """Send a visitor home: a desk to its own room, an outside party away."""
    visit = exchange.hands.visits.pop(visitor, None)
    if visit is None:
        return []
    room = exchange.room(visitor)
    out: list[Item] = [_note("staff_left", exchange, visit, why=why)] if visit.up else []
    out += referral.finish(exchange, visit.referral, status, now)
    out += talks.left(exchange, visit.host, why)
    if room.outside and room.user is None:
        out += [] if room.leg is None else [events.EndLeg(room.leg)]
    elif room.leg is not None and room.present:
        out += [ToMedia(Join(room.id, room.leg, "host")), events.ToAcd(DeskReturns(visitor))]
    if visit.purpose == "consult" and visit.call is not None:
        out += exchange.to_call(visit.call, events.HeldByHost(on=False, by=visit.host), now)
    return out


def set_mode(exchange: Exchange, visit: Visit, mode: StaffMode) -> list[Item]:
    """Open or close a visitor's gates."""
    visit.mode = mode
    leg = exchange.room(visit.visitor).leg
    if leg is None:
        return []
    return [ToMedia(SetStaff(leg, mode)), _note("staff_mode", exchange, visit)]


def hand_over(exchange: Exchange, call: str, to: str, now: float) -> list[Item]:
    """Give a guest to a desk or party that has none, now; it goes home first, for that is where it is host."""
    visit = exchange.hands.visits.pop(to, None)
    room = exchange.room(to)
    assert room.leg is not None, "nobody is handed a guest before its leg is up"
    out: list[Item] = [] if visit is None else referral.finish(exchange, visit.referral, 200, now)
    if visit is not None and visit.up:
        out += [
            _note("staff_left", exchange, visit, why="takes_over"),
            *talks.left(exchange, visit.host, "takes_over"),
        ]
    return [*out, ToMedia(Join(room.id, room.leg, "host")), events.ToAcd(Seize(call, to))]


def _note(event: str, exchange: Exchange, visit: Visit, **more: str) -> Note:
    guest = exchange.room(visit.host).guest
    call = visit.call if visit.call in exchange.calls else guest
    about = {"who": visit.who, "role": visit.role, "mode": visit.mode, "purpose": visit.purpose}
    return Note(event, call, {"desk": visit.host, **about, **more})


# --- what happens to guests ---------------------------------------------------------------------------------------------


def guest_ended(exchange: Exchange, call: str, now: float) -> list[Item]:
    """Hear that a call is over: who was there for it goes, and an outside host without a guest too."""
    out: list[Item] = []
    passing = exchange.hands.passing.pop(call, None)
    if passing is not None:
        out += referral.finish(exchange, passing.referral, 487, now)
    for visit in [v for v in exchange.hands.visits.values() if v.call == call]:
        out += end(exchange, visit.visitor, "call_ended", now)
    for room in list(exchange.rooms.values()):
        if room.outside and room.guest == call and room.leg is not None:
            out.append(events.EndLeg(room.leg))
    return out


def guest_released(exchange: Exchange, call: str, desk: str, now: float) -> list[Item]:
    """Hear that a guest leaves a desk and lives: consultations end, helpers wait for it to arrive somewhere."""
    out: list[Item] = []
    for visit in [v for v in staff(exchange, desk) if v.call == call]:
        if visit.purpose != "help":
            out += end(exchange, visit.visitor, "handed_on", now, status=480)
        elif visit.up and (leg := exchange.room(visit.visitor).leg) is not None:
            visit.up = False
            out.append(ToMedia(Leave(leg)))
    room = exchange.rooms.get(desk)
    if room is not None and room.outside and room.leg is not None:
        out.append(events.EndLeg(room.leg))  # whoever was called to take this guest has nobody now
    return out


def guest_arrived(exchange: Exchange, call: str, desk: str, now: float) -> list[Item]:
    """Hear that a guest is with a desk: helpers follow it, a talk between two desks ends."""
    out: list[Item] = []
    for visit in staff(exchange, desk):
        if visit.purpose == "talk":
            out += end(exchange, visit.visitor, "guest_came", now)
        else:
            out += negotiated.of_visitor(exchange, visit)
    for visit in [v for v in exchange.hands.visits.values() if v.call == call and v.purpose == "help"]:
        visit.host = desk
        if exchange.room(visit.visitor).present:
            out += enter(exchange, visit.visitor, now)
    passing = exchange.hands.passing.pop(call, None)
    if passing is not None:
        arrived = desk == passing.desk or (passing.desk is None and desk != passing.back)
        out.append(Note("transfer_arrived" if arrived else "transfer_failed", call, {"desk": desk}))
        out += referral.finish(exchange, passing.referral, 200 if arrived else 480, now)
    return out


# --- what happens to hosts and visitors -----------------------------------------------------------------------------------


def leg_ended(exchange: Exchange, desk: str, now: float) -> list[Item]:
    """Hear, before its room does, that the leg of a desk or party is over."""
    room = exchange.room(desk)
    out = _visitor_gone(exchange, desk, now)
    exchange.hands.typed.pop(desk, None)
    exchange.hands.on_hold.discard(desk)
    heir = consulted(exchange, desk)
    handed: list[Item] = []
    if room.guest in exchange.calls and heir is not None and heir.up:
        # The dispatcher is gone in the middle of a consultation: the guest stays with the one who knows.
        assert room.guest is not None, "it is in the table"
        handed = hand_over(exchange, room.guest, heir.visitor, now)
    for visit in staff(exchange, desk):
        if visit.purpose != "help":
            out += end(exchange, visit.visitor, "host_gone", now, status=480)
        elif visit.up and (leg := exchange.room(visit.visitor).leg) is not None:
            visit.up = False
            out.append(ToMedia(Leave(leg)))
    return [*out, *handed]  # helpers leave before they follow the guest


def _visitor_gone(exchange: Exchange, visitor: str, now: float) -> list[Item]:
    visit = exchange.hands.visits.pop(visitor, None)
    if visit is None:
        return []
    event = "staff_left" if visit.up else "staff_failed"
    out: list[Item] = [_note(event, exchange, visit, why="gone"), *talks.left(exchange, visit.host, "gone")]
    out += referral.finish(exchange, visit.referral, 480, now)
    if visit.purpose == "consult" and visit.call is not None:
        out += exchange.to_call(visit.call, events.HeldByHost(on=False, by=visit.host), now)
    host = exchange.room(visit.host)
    if host.outside and host.user is not None and host.leg is not None:
        out.append(events.EndLeg(host.leg))  # a phone's second call, with nobody at the other end any more
    elif not visit.up and host.leg is not None:
        out.append(events.Say(host.leg, f"{visit.who}: 未接通 no answer"))
    return out


def rejoin(exchange: Exchange, desk: str, leg: str) -> list[Item] | None:
    """Put a visiting leg back where it was, after the media process was away; None: it visits nobody."""
    visit = exchange.hands.visits.get(desk)
    if visit is None or not visit.up:
        return None
    return [ToMedia(SetStaff(leg, visit.mode)), ToMedia(Join(exchange.room(visit.host).id, leg, "staff"))]
