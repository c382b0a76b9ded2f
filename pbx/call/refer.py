"""REFER and Replaces as a way to say what `hands` does: whoever may, and which order it is.

in → out: a REFER in a desk's dialog, or to its focus; an INVITE of a desk's phone to another desk, or with Replaces → orders,
202 or a refusal. A caller's REFER is refused: who is a guest moves nobody (bars F30), and no URI in it makes us send (bars S9).

- in the permanent dialog: the guest goes to whom Refer-To names (blind);
- with Replaces naming a second call of the same phone: to whom that call is with (attended);
- outside a dialog, to the room: Refer-To is added to the room, with `method=BYE` sent out of it (RFC 4579 §5.5, §5.11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pbx.call import call_events as events
from pbx.call import hands, reach, referral, visits
from pbx.call import room as rooms
from pbx.call.effects import Item, LegRefer, Note, Respond
from pbx.call.hands import Order, Verb
from pbx.call.impossible import Impossible
from pbx.call.leg import Leg, State
from pbx.call.owner import Owner
from pbx.call.reach import Party
from pbx.call.referral import Referral
from pbx.call.visits import Visit
from pbx.sip import refer
from pbx.sip.dialog import Dialog
from pbx.sip.effects import RequestArrived
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.refer import Referred, Replaces
from routing.moves import DeskVisits

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange


STATUS: Final = {
    "unknown_target": 404,
    "not_registered": 480,
    "busy": 486,
    "is_caller": 403,
    "no_trunk": 404,
    "bad_number": 404,
    "unknown_queue": 404,
    "unknown_district": 404,
    "trunk_full": 503,
    "trunk_busy": 503,
    "itself": 403,
}
"""What a phone is told for each reason; 480 for all others: not now."""
RETRY_AFTER: Final = (("Retry-After", "10"),)
"""Of a 503: the trunk is full, and calls end (RFC 3261 §21.5.4)."""
MAX_SECOND_CALLS: Final = 2
"""Second calls one desk's phone may have; RFC 5359 §2.5 needs one."""


def in_dialog(exchange: Exchange, said: LegRefer, now: float) -> list[Item]:
    """Take a REFER that came in the dialog of a leg, or a SUBSCRIBE that asks about one."""
    leg, request = exchange.legs[said.leg], said.request
    if request.method == "SUBSCRIBE":
        return _subscribed(exchange, said)
    owner = exchange.owners[leg.id]
    room = exchange.rooms.get(owner.id) if owner.kind == "desk" else None
    desk = None if room is None else room.user if room.outside else room.desk
    if desk is None or leg.dialog is None or leg.state is not State.CONFIRMED:
        return [Respond(said.transaction, request.response(403))]
    made = Referral(exchange.mint("refer"), desk, f"refer;id={request.cseq.number}", leg.id, None, leg.flow)
    contact = str(leg.contact)
    asked = Asked(said.transaction, request, made, contact, leg.dialog, add=False)
    return _referred(exchange, asked, now)


def _subscribed(exchange: Exchange, said: LegRefer) -> list[Item]:
    request = said.request
    try:
        made = referral.of_leg(exchange, said.leg, request)
        return referral.subscribed(exchange, made, said.transaction, request)
    except SipError as error:
        return [Respond(said.transaction, request.response(error.status, headers=error.headers))]


def to_focus(exchange: Exchange, event: RequestArrived, desk: str, now: float) -> list[Item]:
    """Take a REFER to the URI of a desk's room, of somebody who may. Raises `SipError`."""
    request, flow = event.request, event.flow
    contact = exchange.focus(exchange.room(desk).id, flow, secure=request.uri.scheme == "sips")
    dialog = Dialog.uas(request, local_tag=exchange.mint("tag"), contact=contact)
    dialog.confirm()
    # RFC 3515 §2.4.6: the id tells the REFERs of one dialog apart; in a dialog of its own there is only this one.
    made = Referral(exchange.mint("refer"), desk, "refer", None, dialog, flow)
    asked = Asked(event.transaction, request, made, str(contact), dialog, add=True)
    return _referred(exchange, asked, now)


@dataclass(frozen=True, slots=True)
class Asked:
    """One REFER that may be sent by whom it was sent."""

    transaction: str
    request: Request
    made: Referral
    contact: str
    """Ours, in its dialog."""
    dialog: Dialog
    add: bool
    """To the focus: whom it names is added, not handed the guest."""


def _referred(exchange: Exchange, asked: Asked, now: float) -> list[Item]:
    transaction, request, made, dialog = asked.transaction, asked.request, asked.made, asked.dialog
    tag = None if made.dialog is None else made.dialog.local_tag
    try:
        referred = refer.read(request)
    except SipError as error:
        return [Respond(transaction, request.response(error.status, to_tag=tag, headers=error.headers))]
    told = [] if referred.silent else referral.begin(exchange, made)
    before = dialog.local_seq
    try:
        done = _obey(exchange, asked, referred, now)
    except (Impossible, SipError) as error:
        exchange.hands.referrals.pop(made.id, None)
        dialog.local_seq = before - len(told)
        refused = error if isinstance(error, SipError) else _refused(error)
        noted = Note("refer_refused", None, {"desk": made.desk, "status": refused.status, "why": str(error)})
        return [
            Respond(transaction, request.response(refused.status, to_tag=tag, headers=refused.headers)),
            noted,
        ]
    # RFC 4488 §4: "Refer-Sub: false" in the 2xx says that no subscription was made.
    more = (("Refer-Sub", "false"),) if referred.silent else ()
    if referred.silent and made.leg is not None:
        # It hears no more than the 202, and hangs up on that.
        exchange.hands.referred[made.desk] = now + referral.GRACE_SECONDS
    accepted = request.response(202, to_tag=tag, headers=(("Contact", asked.contact), *more))
    claim = [] if referred.by is None else [_claim(exchange, made.desk, referred.by)]
    return [Respond(transaction, accepted), *claim, *told, *done]


def _refused(error: Impossible) -> SipError:
    status = STATUS.get(error.code, 480)
    return SipError(status, headers=RETRY_AFTER if status == 503 else ())


def _obey(exchange: Exchange, asked: Asked, referred: Referred, now: float) -> list[Item]:
    request, made = asked.request, asked.made
    wanted = None if referred.silent else made.id
    if referred.replaces is not None:
        if asked.add:
            raise SipError(403)
        return _attended(exchange, made, referred.replaces, wanted, now)
    target = reach.named_by(exchange, referred.uri, (request.uri.host, request.to.uri.host))
    verb: Verb = "remove" if referred.method == "BYE" else "add" if asked.add else "transfer"
    order = Order(made.desk, verb, target, by="refer", referral=wanted)
    return hands.items(exchange, order, now)


def _claim(exchange: Exchange, desk: str, by: str) -> Note:
    """Note a Referred-By (RFC 3892): what the phone says of itself; the dialog says who it is."""
    guest = exchange.room(desk).guest
    return Note(
        "referred_by", guest if guest in exchange.calls else None, {"desk": desk, "claims": by[:1024]}
    )


def _attended(
    exchange: Exchange, made: Referral, replaces: Replaces, wanted: str | None, now: float
) -> list[Item]:
    """Hand the guest to whom the phone's second call is with. Raises `Impossible`, SipError 403 or 481.

    Of the two dialogs the REFER comes in one and names the other; phones differ in which (RFC 5589 §7.3).
    """
    desk = made.desk
    second = owned(exchange, desk, replaces)
    room = exchange.rooms[exchange.owners[second.id].id]
    if not room.outside and made.leg is not None:
        second = exchange.legs[made.leg]
        room = exchange.rooms[exchange.owners[second.id].id]
    other = next((v for v in visits.staff(exchange, room.desk) if v.up), None)
    guest = exchange.room(desk).guest
    found = exchange.calls.get(guest or "")
    if not room.outside or other is None:
        raise Impossible("no_desk_call")
    if found is None or found.state != "talking":
        raise Impossible("no_call")
    asked = Note("transfer_asked", found.id, {"desk": desk, "to": other.who, "by": "refer"})
    return [
        asked,
        *visits.hand_over(exchange, found.id, other.visitor, now),
        *referral.finish(exchange, wanted, 200, now),
        events.EndLeg(second.id),
    ]


def owned(exchange: Exchange, desk: str, replaces: Replaces) -> Leg:
    """Find the leg a Replaces names, if it is one of this desk's own phone. Raises SipError 403 or 481."""
    # RFC 3891 §3: the dialog is matched by Call-ID and both tags; phones name the tags from either end's view.
    leg = exchange.leg_named(replaces.call_id, replaces.to_tag, replaces.from_tag)
    if leg is None:
        raise SipError(481)
    owner = exchange.owners[leg.id]
    room = exchange.rooms.get(owner.id)
    if owner.kind != "desk" or room is None or desk != (room.user if room.outside else room.desk):
        raise SipError(403)
    return leg


def check_permanent(exchange: Exchange, desk: str, replaces: Replaces) -> None:
    """Raise SipError 403 or 481 unless a Replaces names a desk's permanent leg."""
    # RFC 3891 §3: only the one whose dialog it is may replace it.
    if exchange.owners[owned(exchange, desk, replaces).id].id != desk:
        raise SipError(403)


def check_may(exchange: Exchange, user: str, desk: str) -> None:
    """Raise SipError(403) unless this user may send a REFER to the room of a desk."""
    if desk != user and user not in exchange.supervisors:
        raise SipError(403)


def second_call(exchange: Exchange, event: RequestArrived, user: str, target: str, now: float) -> list[Item]:
    """Take an INVITE of a desk's phone (`user`) to another desk: that one comes to talk. Raises `SipError`."""
    other = exchange.rooms.get(target)
    if other is None or not other.present:
        raise SipError(480)
    try:
        hands.check_other(exchange, user, target)
    except Impossible as error:
        raise _refused(error) from error
    name, line = _second_line(exchange, event, user, now)
    exchange.hands.visits[target] = Visit(target, name, "talk", None, target, "dispatcher", "barge")
    # The other desk is spoken for at once, so that no caller is put through to it meanwhile.
    return [events.ToAcd(DeskVisits(target)), *line]


def second_call_outside(
    exchange: Exchange, event: RequestArrived, user: str, number: str, now: float
) -> list[Item]:
    """Take an INVITE of a desk's phone (`user`) to a number: that is called over a trunk, and comes to talk. Raises `SipError`.

    The phone is answered at once and hears silence until somebody picks up there; if nobody does, it is hung up. The host of its
    URI says nothing: numbers are called over our trunks (bars S9).
    """
    try:
        party = reach.find(exchange, number, now)
        if not isinstance(party, Party) or party.road is not None:
            raise SipError(404)
        _check_second_line(exchange, user)
        visitor, calling = hands.outside(exchange, party, now)
    except Impossible as error:
        raise _refused(error) from error
    name, line = _second_line(exchange, event, user, now)
    exchange.hands.visits[visitor] = Visit(visitor, name, "talk", None, number, "dispatcher", "barge")
    return [*line, *calling]


def _check_second_line(exchange: Exchange, user: str) -> None:
    mine = [room for room in exchange.rooms.values() if room.outside and room.user == user]
    if len(mine) >= MAX_SECOND_CALLS:
        raise SipError(486)
    if not exchange.room(user).present:
        raise SipError(480)


def _second_line(exchange: Exchange, event: RequestArrived, user: str, now: float) -> tuple[str, list[Item]]:
    """Take the second call of a desk's phone into a room of its own; returns the id of its host. Raises `SipError`."""
    _check_second_line(exchange, user)
    request, flow = event.request, event.flow
    name = f"{user}.{exchange.mint('party')}"
    room = rooms.Room(name, outside=True, user=user)
    leg, opening = Leg.incoming(
        exchange.mint("leg"),
        request,
        flow,
        event.transaction,
        local_tag=exchange.mint("tag"),
        session=exchange.session(),
        contact=exchange.focus(room.id, flow, secure=request.uri.scheme == "sips"),
        setup=exchange.setup(flow, user),
        evidence=None,
        now=now,
    )
    exchange.rooms[name] = room
    exchange.add_leg(leg, Owner("desk", name), event.transaction)
    return name, [*room.receive(rooms.SignsIn(leg.id)), *opening]
