"""What happens to a leg, given to the verb it is for.

in → out: requests and responses of the dialog, failures, time → effects and `LegEvent`s.
"""

from pbx.call import align, answer, hangup, hold, indialog, place, probe
from pbx.call.effects import (
    Effect,
    LegDigit,
    LegEnded,
    LegEvent,
    LegText,
    LegTextDelivered,
    Respond,
    SendCancel,
    ToMedia,
)
from pbx.call.leg import Leg, State
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from rtp.control import CloseLeg, WantPicture


def request(leg: Leg, transaction: str, request: Request, flow: Flow, now: float) -> list[Effect | LegEvent]:
    """Take a request inside the dialog."""
    if leg.dialog is None:
        return [Respond(transaction, request.response(481))]
    try:
        leg.dialog.receive(request)
    except SipError as error:
        return [Respond(transaction, request.response(error.status))]
    leg.flow = flow
    match request.method:
        case "BYE":
            return hangup.bye_received(leg, transaction, request)
        case "INVITE":
            return hold.reinvite(leg, transaction, request, now)
        case "MESSAGE":
            return _text_received(leg, transaction, request)
        case "INFO":
            response, digit = indialog.info(request)
            events: list[Effect | LegEvent] = [] if digit is None else [LegDigit(leg.id, digit)]
            if indialog.wants_picture(request) and leg.live:
                events.append(ToMedia(WantPicture(leg.id)))
            return [Respond(transaction, response), *events]
    return [Respond(transaction, indialog.other(request))]


def _text_received(leg: Leg, transaction: str, request: Request) -> list[Effect | LegEvent]:
    response, text = indialog.message(request)
    events: list[Effect | LegEvent] = [] if text is None else [LegText(leg.id, text)]
    return [Respond(transaction, response), *events]


def response(leg: Leg, ref: str, response: Response, flow: Flow) -> list[Effect | LegEvent]:
    """Take a response to a request of ours."""
    kind = ref.split("/")[1]
    if kind == "invite":
        return place.answered(leg, response, flow)
    if kind == "reinvite":
        return align.answered(leg, ref, response, flow)
    if response.status < 200:
        return []
    if kind == "bye":
        return leg.end("hung_up")
    if kind == "text":
        return [LegTextDelivered(leg.id, delivered=response.status < 300)]
    if kind == "probe":
        leg.probe_deadline = None
        leg.missed = 0
        # RFC 3261 §12.2.1.2: on 481 or 408 "the UAC SHOULD terminate the dialog".
        return leg.end("unreachable") if response.status in {481, 408} else []
    return []


def failed(leg: Leg, ref: str, why: str) -> list[Effect | LegEvent]:
    """Hear that a request of ours got no answer, or could not be sent."""
    kind = ref.split("/")[1]
    if kind == "bye":
        return leg.end("hung_up")
    if kind == "text":
        return [LegTextDelivered(leg.id, delivered=False)]
    if kind == "invite" and leg.state in {State.CALLING, State.LEAVING}:
        return leg.end("no_answer" if why == "timeout" else "unreachable")
    if kind == "reinvite":
        return align.failed(leg)
    return probe.missed(leg) if kind == "probe" else []


def expire(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Do what is due."""
    out: list[Effect | LegEvent] = []
    if leg.unacked is not None:
        out += answer.expire_unacked(leg, leg.unacked, now)
    if leg.ring_deadline is not None and now >= leg.ring_deadline:
        leg.ring_deadline = None
        if leg.state is State.CALLING:
            leg.state = State.LEAVING
            out += [
                SendCancel(leg.invite_ref),
                ToMedia(CloseLeg(leg.id)),
                LegEnded(leg.id, "no_answer"),
            ]
    if leg.probe_deadline is not None and now >= leg.probe_deadline:
        out += probe.missed(leg)
    return out
