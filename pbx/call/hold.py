"""Verb: renegotiate by re-INVITE: hold, resume, another codec, a picture added (RFC 3261 §14.2).

in → out: a re-INVITE → its answer, after ports were asked for if it needs more of them.
"""

from pbx.call import indialog
from pbx.call.effects import Effect, LegEvent, Respond
from pbx.call.leg import SDP, Leg
from pbx.call.unacked import Unacked
from pbx.sip.body import find_part
from pbx.sip.errors import SipError
from pbx.sip.message import Request


def reinvite(leg: Leg, transaction: str, request: Request, now: float) -> list[Effect | LegEvent]:
    """Take a re-INVITE."""
    if leg.renegotiating:
        # RFC 3261 §14.2: "A UAS that receives an INVITE on a dialog while an INVITE it had sent on that dialog is in
        # progress MUST return a 491 (Request Pending) response".
        return [Respond(transaction, request.response(491))]
    if leg.waiting is not None or leg.unacked is not None:
        # RFC 3261 §14.2: "MUST return a 500 … Retry-After … between 0 and 10 seconds".
        return [Respond(transaction, request.response(500, headers=(("Retry-After", "1"),)))]
    try:
        wanted = leg.negotiation.wanted(find_part(request, SDP))
    except SipError as error:
        return [Respond(transaction, request.response(error.status))]
    if leg.negotiation.missing(wanted):
        leg.waiting = (transaction, request)
        return [leg.open(tuple(dict.fromkeys((*leg.negotiation.open_media, *wanted))))]
    return answer_reinvite(leg, transaction, request, now)


def answer_reinvite(leg: Leg, transaction: str, request: Request, now: float) -> list[Effect | LegEvent]:
    """Answer it, now that all its media have ports."""
    body = find_part(request, SDP)
    try:
        sdp = leg.negotiation.offer() if body is None else leg.negotiation.answer(body)
    except SipError as error:
        return [Respond(transaction, request.response(error.status))]
    headers = (("Contact", str(leg.contact)), *indialog.CAPABILITIES)
    response = request.response(200, headers=headers, body=sdp, content_type=SDP)
    leg.unacked = Unacked.start(transaction, response, now, leg.setup.timers, awaits_answer=body is None)
    out: list[Effect | LegEvent] = [] if body is None else leg.configure()
    return [*out, Respond(transaction, response)]
