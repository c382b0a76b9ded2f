"""Verb: take the provisional responses to our INVITE (RFC 3261 §13.2.2.1, RFC 3262 §4).

in → out: 101 to 199 → an early dialog; a reliable one → PRACK, and the answer to our offer if it brings it. A desk's phone
that answers so early is heard early. Several phones may be ringing (forking): each has its own early dialog.
"""

from pbx.call.effects import Effect, LegEvent, SendRequest
from pbx.call.leg import SDP, Leg, State
from pbx.sip.body import find_part
from pbx.sip.dialog import Dialog
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Response
from pbx.sip.reliable import in_order, is_reliable, rack_header

MAX_FORKS = 8
"""Early dialogs of one INVITE that are kept; a desk has a handful of phones at most."""


def provisional(leg: Leg, response: Response, flow: Flow) -> list[Effect | LegEvent]:
    """Take a provisional response to the INVITE."""
    tag = response.to.tag
    if leg.state is not State.CALLING or leg.invite is None or response.status == 100 or not tag:
        return []
    known = leg.early.get(tag)
    if known is None and len(leg.early) >= MAX_FORKS:
        return []
    dialog, last = known or (Dialog.uac(leg.invite, response), None)
    leg.early[tag] = (dialog, last)
    if not is_reliable(response):
        # A trunk's network speaks to the caller before the answer ("the number you have dialled …"), as a rule unreliably.
        return [] if leg.line is None else _take_answer(leg, response, tag)
    rseq = in_order(last, response)
    if rseq is None:
        return []
    leg.early[tag] = (dialog, rseq)
    prack = dialog.request("PRACK", headers=(rack_header(rseq, response),))
    sent = SendRequest(f"{leg.id}/prack/{prack.cseq.number}", prack, flow)
    return [sent, *_take_answer(leg, response, tag)]


def _take_answer(leg: Leg, response: Response, tag: str) -> list[Effect | LegEvent]:
    """Take the answer a reliable response brings (RFC 3261 §13.2.1); the first phone that answers is the one heard."""
    if leg.early_answer is not None:
        return []
    try:
        body = find_part(response, SDP)
        if body is None:
            return []
        leg.negotiation.accept(body, early=True)
    except SipError:
        return []  # the 2xx may bring a better one; if not, the leg ends then
    leg.early_answer = tag
    return leg.configure()


def confirmed(leg: Leg, response: Response) -> Dialog:
    """Make of an early dialog, or of nothing, the dialog of the 2xx (RFC 3261 §13.2.2.4)."""
    assert leg.invite is not None, "an outgoing leg has its INVITE"
    known = leg.early.pop(response.to.tag or "", None)
    # A second phone may answer yet, and has to be hung up under the CSeq number behind its last PRACK.
    asked = leg.invite.cseq.number
    leg.early = {tag: early for tag, early in leg.early.items() if early[0].local_seq > asked}
    if known is None:
        return Dialog.uac(leg.invite, response)
    known[0].refresh(response)
    return known[0]


def take_final_answer(leg: Leg, response: Response) -> None:
    """Take the answer of the 2xx, unless the same phone gave it before. Raises `SipError`.

    RFC 3261 §13.2.1: "The UAC MUST treat the first session description it receives as the answer, and MUST ignore any
    session descriptions in subsequent responses to the initial INVITE."
    """
    answered, leg.early_answer = leg.early_answer, None
    if answered is not None and answered == response.to.tag:
        leg.negotiation.withdraw()
        return
    leg.negotiation.accept(find_part(response, SDP) or b"")
