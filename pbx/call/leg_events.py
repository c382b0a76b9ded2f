"""What happens to a leg, given to the verb it is for.

in → out: requests and responses of the dialog, failures, time → effects and `LegEvent`s.
"""

from pbx.call import answer, hangup, hold, indialog, modify, place, probe, ringing
from pbx.call.effects import (
    Effect,
    LegDigit,
    LegEnded,
    LegEvent,
    LegRefer,
    LegText,
    LegTextDelivered,
    Respond,
    SendCancel,
    ToMedia,
)
from pbx.call.leg import Leg, State
from pbx.packages import table
from pbx.sip import acceptance, reason, refer
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from rtp.control import CloseLeg, PassDtmf, WantPicture


def request(leg: Leg, transaction: str, request: Request, flow: Flow, now: float) -> list[Effect | LegEvent]:
    """Take a request inside the dialog."""
    dialog = leg.dialog_of(request)
    ended = leg.state in {State.LEAVING, State.TERMINATED}
    # RFC 5407 §3.2.1: "UAs in the Mortal state return error responses to the requests that operate within a dialog or
    # session, such as re-INVITE, UPDATE, or REFER. However, the UA shall return a 200 OK to the BYE".
    if dialog is None or (ended and (request.method != "BYE" or leg.state is State.TERMINATED)):
        return [Respond(transaction, request.response(481))]
    target = dialog.remote_target
    try:
        dialog.receive(request)
        leg.flow = flow
        return _verb(leg, transaction, request, now)
    except SipError as error:
        # RFC 6141 §4.6: only what was accepted moves the remote target.
        dialog.remote_target = target
        return [Respond(transaction, request.response(error.status, headers=error.headers))]


def _verb(leg: Leg, transaction: str, request: Request, now: float) -> list[Effect | LegEvent]:
    if request.method == "BYE":
        return hangup.bye_received(leg, transaction, request)  # whatever it requires
    acceptance.check_require(request)
    refer.check_method(request)
    match request.method:
        case "INVITE" | "UPDATE":
            if leg.emergency:
                request = acceptance.readable(request)
            else:
                acceptance.check_body(request)
            verb = hold.reinvite if request.method == "INVITE" else hold.update
            return verb(leg, transaction, request, now)
        case "PRACK":
            return ringing.prack(leg, transaction, request)
        case "REFER":
            return [LegRefer(leg.id, transaction, request)]
        case "SUBSCRIBE" if (package := table.package(request)) not in table.CONTENT_TYPES:
            if package == "refer":
                return [LegRefer(leg.id, transaction, request)]
            raise SipError(489, headers=(table.ALLOW_EVENTS,))
        case "MESSAGE":
            return _text_received(leg, transaction, acceptance.unpacked(request, patient=leg.emergency))
        case "INFO":
            request = acceptance.unpacked(request, patient=leg.emergency)
            response, digit = indialog.info(request)
            events: list[Effect | LegEvent] = [] if digit is None else [LegDigit(leg.id, digit)]
            if digit is not None and leg.live:
                events.append(ToMedia(PassDtmf(leg.id, digit)))
            if indialog.wants_picture(request) and leg.live:
                events.append(ToMedia(WantPicture(leg.id)))
            return [Respond(transaction, response), *events]
    return [Respond(transaction, indialog.other(request))]


def _text_received(leg: Leg, transaction: str, request: Request) -> list[Effect | LegEvent]:
    response, text = indialog.message(request)
    events: list[Effect | LegEvent] = [] if text is None else [LegText(leg.id, text)]
    return [Respond(transaction, response), *events]


def response(
    leg: Leg, ref: str, response: Response, flow: Flow, now: float, *, draw: int
) -> list[Effect | LegEvent]:
    """Take a response to a request of ours. `draw`: a random number ≥ 0, for what is to be tried again."""
    kind = ref.split("/")[1]
    if kind == "invite":
        return place.answered(leg, response, flow, now)
    if kind in modify.KINDS:
        return modify.answered(leg, ref, response, flow, now, draw=draw)
    if response.status < 200:
        return []
    if kind == "bye":
        return leg.end("hung_up")
    if kind == "text":
        return [LegTextDelivered(leg.id, delivered=response.status < 300)]
    if kind == "probe":
        if response.status == 408 and leg.emergency:
            return probe.missed(
                leg
            )  # a proxy's word that the phone did not answer: emergencies happen in tunnels
        leg.probe_deadline = None
        leg.missed = 0
        # RFC 3261 §12.2.1.2: on 481 or 408 "the UAC SHOULD terminate the dialog".
        return leg.end("unreachable") if response.status in {481, 408} else []
    return []


def failed(leg: Leg, ref: str, why: str, now: float) -> list[Effect | LegEvent]:
    """Hear that a request of ours got no answer, or could not be sent."""
    kind = ref.split("/")[1]
    if kind == "bye":
        return leg.end("hung_up")
    if kind == "text":
        return [LegTextDelivered(leg.id, delivered=False)]
    if kind == "invite" and leg.state in {State.CALLING, State.LEAVING}:
        return leg.end("no_answer" if why == "timeout" else "unreachable")
    if kind in modify.KINDS:
        return modify.failed(leg, ref, why, now)
    return probe.missed(leg) if kind == "probe" else []


def expire(leg: Leg, now: float) -> list[Effect | LegEvent]:
    """Do what is due."""
    out: list[Effect | LegEvent] = []
    if leg.unacked is not None:
        out += answer.expire_unacked(leg, leg.unacked, now)
    out += ringing.expire(leg, now)
    out += modify.expire(leg, now)
    if leg.ring_deadline is not None and now >= leg.ring_deadline:
        leg.ring_deadline = None
        if leg.state is State.CALLING:
            leg.state = State.LEAVING
            out += [
                SendCancel(leg.invite_ref, (reason.NO_ANSWER,)),
                ToMedia(CloseLeg(leg.id)),
                LegEnded(leg.id, "no_answer"),
            ]
    if leg.probe_deadline is not None and now >= leg.probe_deadline:
        out += probe.missed(leg)
    return out
