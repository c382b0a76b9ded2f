"""Verb: let a caller hear ringing while its ports take longer than they should, reliably where it insists (RFC 3262 §3).

in → out: time → 180, its repetitions; PRACK → its answer. Normally nothing of this happens: a call is answered at once.
"""

from pbx.call import indialog, progress
from pbx.call.effects import Effect, LegEnded, LegEvent, LegGone, Respond, ToMedia
from pbx.call.leg import SDP, Leg, State
from pbx.sip import acceptance, reliable
from pbx.sip.body import find_part
from pbx.sip.dialog import Dialog
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from rtp.control import CloseLeg


def expire(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Ring when it is time, repeat what has no PRACK, refuse who never sends one."""
    if leg.ringing_at is not None and now >= leg.ringing_at:
        leg.ringing_at = None
        return _ring(leg, now) if leg.progress is None else progress.repeat(leg, now)
    held = leg.reliable
    if held is None or leg.state not in {State.OPENING, State.READY}:
        return []
    if held.given_up(now):
        held.settle()
        if leg.emergency:
            return []  # the answer will come all the same
        return [
            *leg.reject(504),
            ToMedia(CloseLeg(leg.id)),
            LegEnded(leg.id, "no_prack", 504),
            LegGone(leg.id),
        ]
    return [Respond(held.transaction, held.response)] if held.repeat(now) else []


def _ring(leg: Leg, now: float) -> list[Effect | LegEvent]:
    if leg.state not in {State.OPENING, State.READY} or leg.invite is None or leg.transaction is None:
        return []
    reliably = acceptance.wants(leg.invite, reliable.TAG)
    if reliably and find_part(leg.invite, SDP) is None:
        # RFC 3261 §13.2.1: "If the initial offer is not in an INVITE, the offer MUST be in the first reliable non-failure
        # message from the UAS back to the UAC": without ports there is none to make, and 100 has to do.
        return []
    leg.dialog = Dialog.uas(leg.invite, local_tag=leg.local_tag, contact=leg.contact)
    response = leg.invite.response(
        180, to_tag=leg.local_tag, headers=(("Contact", str(leg.contact)), indialog.ALLOW)
    )
    if reliably:
        leg.reliable = reliable.Reliable.start(
            leg.transaction, response, now, leg.setup.timers, number=leg.negotiation.session
        )
    return [Respond(leg.transaction, response)]


def prack(leg: Leg, transaction: str, request: Request) -> list[Effect | LegEvent]:
    """Take a PRACK. Raises `SipError` when nothing waits for it (RFC 3262 §3: 481), or when it brings an offer.

    Our provisional responses carry no description, so an offer in a PRACK comes before the one in the INVITE is answered.
    """
    if leg.reliable is None or not leg.reliable.prack(request):
        raise SipError(481)
    if request.body:
        raise SipError(488)
    return [Respond(transaction, request.response(200))]
