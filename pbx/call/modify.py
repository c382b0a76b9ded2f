"""Verb: change or refresh what was agreed, by a re-INVITE or UPDATE of ours (RFC 3261 §14.1, RFC 3311, RFC 4028 §10).

in → out: a wish, the session timer → the request, its ACK, another try after it crossed one of the peer's, or BYE when the
session is over.
"""

from pbx.call import hangup, indialog
from pbx.call.effects import Effect, LegEvent, LegFree, SendAck, SendRequest
from pbx.call.leg import SDP, Leg, State
from pbx.sip import acceptance, glare, reason
from pbx.sip.body import find_part
from pbx.sip.dialog import response_key
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Response
from pbx.sip.session_timer import Expired

KINDS = frozenset({"reinvite", "refresh", "update"})
"""Under which our requests go out: a change by re-INVITE, a refresh by re-INVITE, a refresh by UPDATE."""
BUSY_SECONDS = 1.0
"""A refresh that finds another exchange under way waits so long."""


def free(leg: Leg) -> bool:
    """Whether a re-INVITE may be sent.

    RFC 3261 §14.1: "a UAC MUST NOT initiate a new INVITE transaction within a dialog while another INVITE transaction is
    in progress in either direction."
    """
    busy = leg.renegotiating or leg.unacked is not None or leg.waiting is not None
    return leg.state is State.CONFIRMED and leg.dialog is not None and not busy


def reinvite(leg: Leg, body: bytes, kind: str) -> SendRequest:
    """Send a re-INVITE with an offer; ask `free` first. Its outcome comes to `answered` or `failed` under `kind`."""
    leg.renegotiating = True
    headers = (acceptance.SUPPORTED, *leg.session.refreshing())
    return leg.ask(kind, "INVITE", headers, body, SDP)


def refresh(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Refresh the session: by UPDATE if the peer takes it, for that touches no media, else by a re-INVITE that changes nothing."""
    if leg.state is not State.CONFIRMED:
        return []
    if leg.allows("UPDATE"):
        return [leg.ask("update", "UPDATE", (acceptance.SUPPORTED, *leg.session.refreshing()))]
    if not free(leg):
        leg.again = (now + BUSY_SECONDS, "refresh")
        return []
    return [reinvite(leg, leg.negotiation.again(), "refresh")]


def answered(
    leg: Leg, ref: str, response: Response, flow: Flow, now: float, *, draw: int
) -> list[Effect | LegEvent]:
    """Take a response to our re-INVITE or UPDATE. When the peer refuses, all stays as it was (RFC 3261 §14.1).

    `draw`: a random number, used when the two requests crossed.
    """
    if response.status < 200 or leg.dialog is None:
        return []
    invite = response.cseq.method == "INVITE"
    if response.status >= 300:
        return _refused(leg, ref, response, now, draw=draw)
    out: list[Effect | LegEvent] = [SendAck(leg.dialog.ack(response.cseq.number), flow)] if invite else []
    if leg.state is not State.CONFIRMED or (invite and not leg.renegotiating):
        return out  # the same 2xx again, or we have said BYE meanwhile (RFC 5407 §3.2.3)
    if response_key(response) == leg.dialog.key:
        leg.dialog.refresh(response)
    leg.session.accepted(response, now)
    leg.allow = indialog.methods(response) or leg.allow
    if not invite:
        return out
    leg.renegotiating = False
    try:
        leg.negotiation.accept(find_part(response, SDP) or b"")
    except SipError:
        leg.negotiation.withdraw()
        return out
    return [*out, *leg.configure(), *renew(leg, now)]


def renew(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Offer new keys where those that were agreed died with a media process; later while another exchange is under way."""
    if not leg.negotiation.lost or leg.state is not State.CONFIRMED:
        return []
    if free(leg):
        return [reinvite(leg, leg.negotiation.offer(), "reinvite")]
    leg.again = (now + BUSY_SECONDS, "reinvite")
    return []


def _refused(leg: Leg, ref: str, response: Response, now: float, *, draw: int) -> list[Effect | LegEvent]:
    kind = _ended(leg, ref)
    if leg.state is not State.CONFIRMED:
        return []
    match response.status:
        case 491:
            leg.again = (now + glare.backoff(owner=leg.owner, draw=draw), kind)
        case 422:
            leg.session.too_small(response, now)
            if kind == "reinvite":
                leg.again = (now, kind)
        case 405 | 501 if kind == "update":
            leg.allow -= {"UPDATE"}
            return refresh(leg, now)
        case 481 | 408 if not leg.emergency:
            # RFC 3261 §12.2.1.2: on 481 or 408 "the UAC SHOULD terminate the dialog".
            return leg.end("unreachable")
        case _ if kind != "reinvite":
            leg.session.failed(now)
    return []


def _ended(leg: Leg, ref: str) -> str:
    """Take note that a request of ours came to nothing; returns its kind. Only a re-INVITE carried an offer."""
    kind = ref.split("/")[1]
    if kind != "update":
        leg.renegotiating = False
        leg.negotiation.withdraw()
    return kind


def failed(leg: Leg, ref: str, why: str, now: float) -> list[Effect | LegEvent]:
    """Hear that a re-INVITE or UPDATE got no answer.

    A desk whose phone leaves a refresh unanswered is given up (RFC 4028 §10). A caller is not, before the whole interval
    has passed: emergencies happen in tunnels. What was only a change is forgotten; whether the phone lives, media will tell.
    """
    if _ended(leg, ref) == "reinvite" or leg.state is not State.CONFIRMED:
        return []
    if why == "timeout" and not leg.emergency:
        return hangup.give_up(leg, "unreachable", reason.SESSION_EXPIRED)
    leg.session.failed(now)
    return []


def expire(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Refresh what is due, try again what crossed, end what nobody refreshed."""
    if leg.state is not State.CONFIRMED:
        return []
    for due in leg.session.expire(now):
        if isinstance(due, Expired):
            return hangup.give_up(leg, "session_expired", reason.SESSION_EXPIRED)
        return refresh(leg, now)
    if leg.again is None or now < leg.again[0]:
        return []
    kind, leg.again = leg.again[1], None
    if kind == "reinvite":
        return renew(leg, now) or ([] if leg.again else [LegFree(leg.id)])
    return refresh(leg, now)
