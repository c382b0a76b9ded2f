"""Verb: place an outgoing leg, and take what comes back (RFC 3261 §13.2).

in → out: ports, responses → INVITE, ACK, `LegUp`.
"""

from pbx.call import hangup
from pbx.call.effects import Effect, LegEnded, LegEvent, LegUp, SendAck, SendRequest, ToMedia
from pbx.call.leg import SDP, Leg, State, methods
from pbx.sip.dialog import Dialog
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from rtp.control import CloseLeg


def place(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Send the INVITE of an outgoing leg."""
    if leg.state is not State.READY or leg.invite is None or leg.transaction is not None:
        return []
    headers = leg.invite.headers.copy()
    headers.set("Content-Type", SDP)
    leg.invite = Request(leg.invite.method, leg.invite.uri, headers, leg.negotiation.offer())
    leg.state = State.CALLING
    leg.ring_deadline = now + leg.setup.ring_seconds
    return [SendRequest(f"{leg.id}/invite/{leg.invite.cseq.number}", leg.invite, leg.flow)]


def answered(leg: Leg, response: Response, flow: Flow) -> list[Effect | LegEvent]:
    """Take a response to the INVITE."""
    if leg.invite is None or leg.transaction is not None:
        return []
    if response.status < 200:
        return []
    if response.status >= 300:
        waiting = leg.state in {State.CALLING, State.LEAVING}
        return leg.end("refused", response.status) if waiting else []
    dialog = Dialog.uac(leg.invite, response)
    ack = SendAck(dialog.ack(leg.invite.cseq.number), flow)
    if leg.dialog is not None:
        if leg.dialog.key == dialog.key:
            return [ack]
        # A second phone answered too (forking): it gets its ACK and a BYE (RFC 3261 §13.2.2.4).
        leg.count += 1
        return [ack, SendRequest(f"{leg.id}/fork/{leg.count}", dialog.request("BYE"), flow)]
    leg.dialog = dialog
    leg.flow = flow
    leg.allow = methods(response)
    if leg.state is State.LEAVING:
        return [ack, *hangup.bye(leg, ())]
    leg.state = State.CONFIRMED
    leg.ring_deadline = None
    try:
        leg.negotiation.accept(response.body)
    except SipError as error:
        end = hangup.bye(leg, (("Reason", f'SIP;cause={error.status};text="Unusable answer"'),))
        return [ack, *end, ToMedia(CloseLeg(leg.id)), LegEnded(leg.id, "refused", error.status)]
    return [ack, *leg.configure(), LegUp(leg.id)]


def stray(leg: Leg, response: Response, flow: Flow) -> list[Effect | LegEvent]:
    """Take a 2xx that no transaction wanted: a repeated one gets its ACK again."""
    if response.cseq.method != "INVITE" or leg.invite is None:
        return []
    if leg.dialog is not None and response.cseq.number != leg.invite.cseq.number:
        return [SendAck(leg.dialog.ack(response.cseq.number), flow)]  # of a re-INVITE of ours
    return answered(leg, response, flow)
