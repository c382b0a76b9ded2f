"""Verb: let the peer renegotiate, by re-INVITE or UPDATE: hold, resume, another codec, a picture added, a session refreshed.

in → out: the request → its answer, after ports were asked for if it needs more of them (RFC 3261 §14.2, RFC 3311 §5.2,
RFC 6337). Two exchanges never overlap: what crosses one of ours is answered 491, what comes too early 500.
"""

from pbx.call import indialog
from pbx.call.effects import Effect, LegEvent, LegUp, Respond
from pbx.call.leg import SDP, Leg, State
from pbx.call.unacked import Unacked
from pbx.sip.body import find_part
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from rtp.control import Medium

RETRY: tuple[tuple[str, str], ...] = (("Retry-After", "1"),)
"""RFC 3261 §14.2, RFC 3311 §5.2: a value between 0 and 10 seconds; ports are there in milliseconds."""


def reinvite(leg: Leg, transaction: str, request: Request, now: float) -> list[Effect | LegEvent]:
    """Take a re-INVITE. Raises `SipError`; the session stays as it was then."""
    if leg.renegotiating:
        # RFC 3261 §14.2: "A UAS that receives an INVITE on a dialog while an INVITE it had sent on that dialog is in
        # progress MUST return a 491 (Request Pending) response".
        raise SipError(491)
    if leg.waiting is not None or leg.state in {State.OPENING, State.READY, State.CALLING}:
        # RFC 3261 §14.2: "A UAS that receives a second INVITE before it sends the final response to a first INVITE …
        # MUST return a 500 (Server Internal Error) response … and MUST include a Retry-After header field".
        raise SipError(500, headers=RETRY)
    if leg.unacked is not None and leg.unacked.awaits_answer:
        # RFC 5407 §3.1.5: our offer is in the 2xx and its answer in the ACK that is still on its way.
        raise SipError(491)
    leg.session.check(request)
    wanted = leg.negotiation.wanted(find_part(request, SDP))
    return [*_acknowledged(leg), *_go_on(leg, transaction, request, wanted, now)]


def _acknowledged(leg: Leg) -> list[Effect | LegEvent]:
    """Take a new INVITE for the ACK that got lost: who sends it has our 2xx (RFC 5407 §3.1.4)."""
    if leg.unacked is None:
        return []
    leg.unacked = None
    if leg.state is not State.ANSWERED:
        return []
    leg.state = State.CONFIRMED
    return [LegUp(leg.id)]


def update(leg: Leg, transaction: str, request: Request, now: float) -> list[Effect | LegEvent]:
    """Take an UPDATE, with or without an offer. Raises `SipError`; the session stays as it was then."""
    body = find_part(request, SDP)
    leg.session.check(request)
    if body is None:
        return answer_offer(leg, transaction, request, now)
    if leg.renegotiating or leg.offering:
        # RFC 3311 §5.2: an offer that crosses ours, in a re-INVITE or a 2xx that has no ACK yet, is answered 491 …
        raise SipError(491)
    if leg.waiting is not None or leg.state in {State.OPENING, State.READY}:
        # … and one that comes before we answered the peer's last one, 500 with Retry-After.
        raise SipError(500, headers=RETRY)
    return _go_on(leg, transaction, request, leg.negotiation.wanted(body), now)


def _go_on(
    leg: Leg, transaction: str, request: Request, wanted: tuple[Medium, ...], now: float
) -> list[Effect | LegEvent]:
    if leg.negotiation.missing(wanted):
        leg.waiting = (transaction, request)
        return [leg.open(tuple(dict.fromkeys((*leg.negotiation.open_media, *wanted))))]
    return answer_offer(leg, transaction, request, now)


def answer_offer(leg: Leg, transaction: str, request: Request, now: float) -> list[Effect | LegEvent]:
    """Answer a re-INVITE or UPDATE, now that all its media have ports. Raises `SipError` for an unusable offer."""
    body = find_part(request, SDP)
    invite = request.method == "INVITE"
    sdp = b""
    if body is not None:
        sdp = leg.negotiation.answer(body)
    elif invite:
        sdp = leg.negotiation.offer()
    response = request.response(
        200,
        headers=(
            ("Contact", str(leg.contact)),
            *indialog.CAPABILITIES,
            *leg.session.answering(request, now),
        ),
        body=sdp,
        content_type=SDP if sdp else None,
    )
    if invite:
        leg.unacked = Unacked.start(transaction, response, now, leg.setup.timers, awaits_answer=body is None)
    out: list[Effect | LegEvent] = [] if body is None else leg.configure()
    return [*out, Respond(transaction, response)]


def put_off(leg: Leg, status: int) -> list[Effect | LegEvent]:
    """Refuse the request that waits for ports."""
    if leg.waiting is None:
        return []
    transaction, request = leg.waiting
    leg.waiting = None
    return [Respond(transaction, request.response(status, headers=SipError(status).headers))]
