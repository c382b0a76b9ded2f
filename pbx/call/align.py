"""Verb: have a desk's phone send a picture its guest can decode.

The permanent leg was negotiated before the guest was known. If the phone's picture codec is one the guest does not take,
and the phone knows another that it does, a re-INVITE offers only what both have. Pictures are never transcoded; sound is,
so sound needs no re-INVITE.

in → out: host's leg, guest's leg → a re-INVITE inside the permanent dialog, its ACK, the new streams.
"""

from dataclasses import replace

from pbx.call.effects import Effect, LegEvent, SendAck, SendRequest
from pbx.call.leg import SDP, Leg, State
from pbx.sip.body import find_part
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Response
from rtp.control import Codec, Stream


def align(host: Leg, guest: Leg) -> list[Effect | LegEvent]:
    """Re-INVITE the host if its picture would not reach the guest though it could."""
    sent, taken = _picture(host), _picture(guest)
    if host.state is not State.CONFIRMED or host.dialog is None or host.renegotiating or not (sent and taken):
        return []
    if host.unacked is not None or host.waiting is not None or not sent.receive or not taken.send:
        return []
    if sent.receive[0].name in {codec.name for codec in taken.send}:
        return []
    names = [codec.name for codec in taken.send]
    shared = [codec for codec in host.setup.capabilities.video if codec.name in names]
    if not any(_known(host, codec) for codec in shared):
        return []
    capabilities = replace(
        host.setup.capabilities, video=tuple(sorted(shared, key=lambda c: names.index(c.name)))
    )
    body = host.negotiation.offer(capabilities)
    host.renegotiating = True
    request = host.dialog.request("INVITE", body=body, content_type=SDP)
    return [SendRequest(f"{host.id}/reinvite/{request.cseq.number}", request, host.flow)]


def _picture(leg: Leg) -> Stream | None:
    return next((s for s in leg.negotiation.streams if s.medium == "video"), None)


def _known(host: Leg, codec: Codec) -> bool:
    """Whether the host's phone ever said it knows this codec."""
    return codec.name in host.negotiation.pictures


def answered(leg: Leg, ref: str, response: Response, flow: Flow) -> list[Effect | LegEvent]:
    """Take the answer to our re-INVITE; when the phone refuses, all stays as it was (RFC 3261 §14.1)."""
    if response.status < 200 or leg.dialog is None:
        return []
    if response.status >= 300:
        leg.renegotiating = False
        leg.negotiation.withdraw()
        # RFC 3261 §12.2.1.2: on 481 or 408 "the UAC SHOULD terminate the dialog".
        return leg.end("unreachable") if response.status in {481, 408} else []
    ack = SendAck(leg.dialog.ack(int(ref.rsplit("/", 1)[1])), flow)
    if not leg.renegotiating:
        return [ack]  # the same 2xx again
    leg.renegotiating = False
    leg.dialog.refresh(response)
    try:
        leg.negotiation.accept(find_part(response, SDP) or b"")
    except SipError:
        leg.negotiation.withdraw()
        return [ack]
    return [ack, *leg.configure()]


def failed(leg: Leg) -> list[Effect | LegEvent]:
    """Hear that the re-INVITE got no answer: all stays as it was; whether the phone lives, media will tell."""
    leg.renegotiating = False
    leg.negotiation.withdraw()
    return []
