"""Verb: place an outgoing leg, and take what comes back (RFC 3261 §13.2).

in → out: ports, responses → INVITE, ACK, `LegUp`.
"""

from pbx.call import early, hangup, indialog
from pbx.call.effects import Effect, LegEvent, LegUp, SendAck, SendElsewhere, SendRequest
from pbx.call.leg import SDP, Leg, State
from pbx.location.writing import CONTENT_ID, multipart
from pbx.sip import acceptance, reason
from pbx.sip.dialog import Dialog, DialogState
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import CSeq, Request, Response
from pbx.sip.uri import NameAddr

FORGOTTEN_PRACKS = 16
"""CSeq numbers left out in a dialog whose PRACKs nobody remembers: a number used twice is refused (RFC 3261 §12.2.2), one that
is too high is not.
"""


def place(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Send the INVITE of an outgoing leg."""
    if leg.state is not State.READY or leg.invite is None or leg.transaction is not None:
        return []
    headers = leg.invite.headers.copy()
    kind, body = SDP, leg.negotiation.offer()
    if leg.line is not None and leg.line.location is not None:
        kind, body = multipart(body, leg.line.location, content_id=CONTENT_ID, boundary=f"at110-{leg.id}")
    for name, value in (("Content-Type", kind), acceptance.SUPPORTED, *leg.session.asking()):
        headers.set(name, value)
    leg.invite = Request(leg.invite.method, leg.invite.uri, headers, body)
    leg.state = State.CALLING
    leg.ring_deadline = now + leg.setup.ring_seconds
    return [send(leg, now)]


def send(leg: Leg, now: float) -> Effect:
    """Send the INVITE to where it goes: over a phone's flow, or to the present peer of its trunk (`over_trunk`)."""
    assert leg.invite is not None, "an outgoing leg has its INVITE"
    line = leg.line
    if line is None or line.target is None:
        return SendRequest(leg.invite_ref, leg.invite, leg.flow)
    line.deadline = now + line.attempt
    return SendElsewhere(leg.invite_ref, leg.invite, line.target.hop, line.attempt)


def answered(leg: Leg, response: Response, flow: Flow, now: float) -> list[Effect | LegEvent]:
    """Take a response to the INVITE."""
    if leg.invite is None or leg.transaction is not None:
        return []
    if response.cseq.number != leg.invite.cseq.number:
        return []  # of the INVITE that was refused with 422
    if response.status < 200:
        return early.provisional(leg, response, flow)
    if response.status == 422 and leg.state is State.CALLING and leg.session.too_small(response, now):
        return _ask_again(leg, now)
    if response.status >= 300:
        waiting = leg.state in {State.CALLING, State.LEAVING}
        return leg.end("refused", response.status) if waiting else []
    if leg.dialog is not None:
        return _answered_again(leg, leg.invite, leg.dialog, response, flow)
    dialog = leg.dialog = early.confirmed(leg, response)
    ack = SendAck(dialog.ack(leg.invite.cseq.number), flow)
    leg.flow = flow
    leg.allow = indialog.methods(response)
    if leg.state is State.LEAVING:
        return [ack, *hangup.bye(leg)]
    leg.state = State.CONFIRMED
    leg.ring_deadline = None
    leg.session.accepted(response, now)
    try:
        early.take_final_answer(leg, response)
    except SipError as error:
        why = reason.header("SIP", error.status, "Unusable answer")
        return [ack, *hangup.give_up(leg, "refused", why, error.status)]
    return [ack, *leg.configure(), LegUp(leg.id)]


def _ask_again(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Send the INVITE again with the session interval the phone wants (RFC 4028 §7.3): same Call-ID and tag, next CSeq."""
    assert leg.invite is not None, "an outgoing leg has its INVITE"
    headers = leg.invite.headers.copy()
    for name, value in leg.session.asking():
        headers.set(name, value)
    headers.set("CSeq", str(CSeq(leg.invite.cseq.number + 1, "INVITE")))
    leg.invite = Request("INVITE", leg.invite.uri, headers, leg.invite.body)
    leg.early.clear()
    return [send(leg, now)]


def _answered_again(
    leg: Leg, invite: Request, ours: Dialog, response: Response, flow: Flow
) -> list[Effect | LegEvent]:
    """Take one more 2xx: the same one gets its ACK again; a second phone (forking) its ACK and a BYE (RFC 3261 §13.2.2.4)."""
    dialog = Dialog.uac(invite, response)
    if ours.key == dialog.key:
        return [SendAck(ours.ack(invite.cseq.number), flow)]
    # A phone whose ringing had a PRACK has heard CSeq numbers beyond the INVITE's: its BYE goes on from there (§12.2.1.1).
    tag = response.to.tag or ""
    known = leg.early.get(tag)
    if known is not None and known[0].state is DialogState.CONFIRMED:
        return [SendAck(known[0].ack(invite.cseq.number), flow)]  # it has its BYE
    if known is not None:
        dialog = known[0]
        dialog.refresh(response)
    elif len(leg.early) < early.MAX_FORKS:
        leg.early[tag] = (dialog, None)
    leg.count += 1
    bye = dialog.request("BYE", headers=(reason.ELSEWHERE,))
    return [
        SendAck(dialog.ack(invite.cseq.number), flow),
        SendRequest(f"{leg.id}/fork/{leg.count}", bye, flow),
    ]


def stray(leg: Leg, response: Response, flow: Flow, now: float) -> list[Effect | LegEvent]:
    """Take a 2xx that no transaction wanted: a repeated one gets its ACK again."""
    if response.cseq.method != "INVITE" or leg.invite is None:
        return []
    if leg.dialog is not None and (
        leg.transaction is not None or response.cseq.number != leg.invite.cseq.number
    ):
        return [SendAck(leg.dialog.ack(response.cseq.number), flow)]  # of a re-INVITE of ours
    return answered(leg, response, flow, now)


def late(response: Response, flow: Flow, contact: NameAddr) -> list[Effect | LegEvent]:
    """Take a 2xx to an INVITE of a leg that is no more: its phone gets the ACK it waits for, and a BYE.

    Only for what matched a transaction of ours: a stranger's 2xx must not make us send anything.
    """
    if response.cseq.method != "INVITE" or not 200 <= response.status < 300 or response.contact is None:
        return []
    dialog = Dialog(
        call_id=response.call_id,
        local_tag=response.from_.tag or "",
        remote_tag=response.to.tag or "",
        local=response.from_,
        remote=response.to,
        local_seq=response.cseq.number + FORGOTTEN_PRACKS,
        remote_seq=None,
        route_set=response.record_routes[::-1],
        remote_target=response.contact.uri,
        contact=contact,
        state=DialogState.CONFIRMED,
        secure=False,
    )
    bye = dialog.request("BYE", headers=(reason.ELSEWHERE,))
    return [SendAck(dialog.ack(response.cseq.number), flow), SendRequest("gone/bye/0", bye, flow)]
