"""Verb: answer an incoming leg; and everything until its ACK has come.

in → out: ports, the owner's decision, the ACK, time → the 200 with our SDP, its repetitions, `LegUp`.
"""

from collections.abc import Iterable

from pbx.call import hangup, hold, indialog, modify
from pbx.call.effects import (
    Effect,
    LegEnded,
    LegEvent,
    LegGone,
    LegReady,
    LegUnacked,
    LegUp,
    Respond,
    ToMedia,
)
from pbx.call.leg import SDP, Leg, State
from pbx.call.unacked import Unacked
from pbx.sip import reason
from pbx.sip.body import find_part
from pbx.sip.dialog import Dialog
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from rtp.control import CloseLeg, PortPair


def ports(
    leg: Leg, pairs: tuple[PortPair, ...], now: float, fingerprint: bytes = b""
) -> list[Effect | LegEvent]:
    """Take the ports that were bound, and the fingerprint of whoever bound them."""
    lost = leg.negotiation.opened(pairs, fingerprint)
    if leg.state is State.OPENING:
        leg.state = State.READY
        return [LegReady(leg.id)]
    if leg.waiting is not None:
        transaction, request = leg.waiting
        leg.waiting = None
        try:
            return hold.answer_offer(leg, transaction, request, now)
        except SipError as error:
            return [Respond(transaction, request.response(error.status, headers=error.headers))]
    return modify.renew(leg, now) if lost else []


def no_ports(leg: Leg) -> list[Effect | LegEvent]:
    """Hear that no port is to be had."""
    if leg.state is State.OPENING:
        refused = leg.reject(503, (("Retry-After", "2"),))
        leg.state = State.TERMINATED  # a call of ours has nobody to refuse
        return [
            *refused,
            LegEnded(leg.id, "no_media_ports", 503),
            LegGone(leg.id),
        ]
    return hold.put_off(leg, 488)


def answer(leg: Leg, now: float, headers: Iterable[tuple[str, str]] = ()) -> list[Effect | LegEvent]:
    """Send the 200 that answers the INVITE."""
    if leg.state is not State.READY or leg.invite is None or leg.transaction is None:
        return []
    body = find_part(leg.invite, SDP)
    try:
        if leg.progress is not None:
            sdp = leg.progress  # RFC 3261 §13.2.1: what was answered in the 183 stands
        else:
            sdp = leg.negotiation.offer() if body is None else leg.negotiation.answer(body)
    except SipError as error:
        return [
            *leg.reject(error.status, error.headers),
            ToMedia(CloseLeg(leg.id)),
            LegEnded(leg.id, "refused", error.status),
            LegGone(leg.id),
        ]
    # After ringing there is an early dialog, in which the caller may have said something already.
    leg.dialog = leg.dialog or Dialog.uas(leg.invite, local_tag=leg.local_tag, contact=leg.contact)
    leg.dialog.confirm()
    leg.ringing_at = None
    if leg.reliable is not None:
        leg.reliable.settle()
    response = leg.invite.response(
        200,
        to_tag=leg.local_tag,
        headers=(
            ("Contact", str(leg.contact)),
            *indialog.CAPABILITIES,
            *leg.session.answering(leg.invite, now),
            *headers,
        ),
        body=sdp,
        content_type=SDP,
    )
    leg.state = State.ANSWERED
    leg.unacked = Unacked.start(leg.transaction, response, now, leg.setup.timers, awaits_answer=body is None)
    out: list[Effect | LegEvent] = [] if body is None or leg.progress is not None else leg.configure()
    return [*out, Respond(leg.transaction, response)]


def cancelled(leg: Leg, transaction: str, cancel: Request) -> list[Effect | LegEvent]:
    """Hear that the INVITE was cancelled before it was answered. A CANCEL that comes later changes nothing (RFC 5407 §3.1.2).

    That of a re-INVITE, still waiting for its ports, leaves the session as it was (RFC 3261 §9.2, RFC 6141 §3.4).
    """
    if leg.waiting is not None and leg.waiting[0] == transaction:
        return hold.put_off(leg, 487)
    if leg.transaction != transaction or leg.state not in {State.OPENING, State.READY}:
        return []
    return [
        *leg.reject(487),
        ToMedia(CloseLeg(leg.id)),
        LegEnded(leg.id, "cancelled", 487, tuple(reason.read(cancel))),
        LegGone(leg.id),
    ]


def ack(leg: Leg, request: Request, flow: Flow) -> list[Effect | LegEvent]:
    """Take the ACK of a 2xx."""
    unacked = leg.unacked
    if unacked is None or request.cseq.number != unacked.cseq:
        return []
    leg.unacked = None
    leg.flow = flow
    out: list[Effect | LegEvent] = []
    if begins := leg.state is State.ANSWERED:
        leg.state = State.CONFIRMED
    if unacked.awaits_answer and leg.state is not State.LEAVING:
        out += _take_answer(leg, request)
    elif begins and not leg.vouched:
        out.append(ToMedia(leg.agreed()))  # it got what was sent to it: media may follow
    if leg.state is State.LEAVING:
        return [*out, *hangup.bye(leg)]
    return [*out, LegUp(leg.id)] if begins else out


def _take_answer(leg: Leg, ack: Request) -> list[Effect | LegEvent]:
    try:
        leg.negotiation.accept(find_part(ack, SDP) or b"")
    except SipError:
        # An ACK can't be refused; the leg stays without media, which the owner sees as media that never starts.
        leg.negotiation.withdraw()
        return []
    return leg.configure()


def _is_there(leg: Leg, unacked: Unacked) -> bool:
    """Whether a caller whose ACK never came has our answer all the same, and we its own: its media comes."""
    return leg.emergency and unacked.heard and not unacked.awaits_answer and not leg.losses


def expire_unacked(leg: Leg, unacked: Unacked, now: float) -> list[Effect | LegEvent]:
    """Repeat the 2xx, or give up waiting for its ACK."""
    if now >= unacked.deadline:
        leg.unacked = None
        if leg.state is State.LEAVING:
            return hangup.bye(leg)
        if leg.state is State.ANSWERED and _is_there(leg, unacked):
            # Not as RFC 3261 §13.3.1.4 would have it: the caller is on the line, only its ACKs are lost, and its sound comes.
            leg.state = State.CONFIRMED
            return [*([] if leg.vouched else [ToMedia(leg.agreed())]), LegUp(leg.id)]
        if leg.state is State.ANSWERED:
            # RFC 3261 §13.3.1.4: "the dialog is confirmed, but the session SHOULD be terminated … with a BYE".
            return hangup.give_up(leg, "no_ack", reason.NO_ACK)
        leg.negotiation.withdraw()
        return []  # a re-INVITE whose ACK never came: the call was fine before, it stays
    if unacked.notice(now) and leg.state is State.ANSWERED:
        return [LegUnacked(leg.id, round(now - unacked.deadline + 64 * leg.setup.timers.t1, 1))]
    if unacked.repeat(now, leg.setup.timers):
        return [Respond(unacked.transaction, unacked.response)]
    return []
