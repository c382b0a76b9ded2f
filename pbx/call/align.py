"""Verb: have a desk's phone send a picture its guest can decode.

The permanent leg was negotiated before the guest was known. If the phone's picture codec is one the guest does not take,
and the phone knows another that it does, a re-INVITE offers only what both have. Pictures are never transcoded; sound is,
so sound needs no re-INVITE.

in → out: host's leg, guest's leg → a re-INVITE inside the permanent dialog; what comes of it is the business of `modify`.
"""

from dataclasses import replace

from pbx.call import modify
from pbx.call.effects import Effect, LegEvent
from pbx.call.leg import Leg
from rtp.control import Codec, Stream


def align(host: Leg, guest: Leg) -> list[Effect | LegEvent]:
    """Re-INVITE the host if its picture would not reach the guest though it could."""
    sent, taken = _picture(host), _picture(guest)
    if not modify.free(host) or not (sent and taken):
        return []
    if not sent.receive or not taken.send:
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
    return [modify.reinvite(host, host.negotiation.offer(capabilities), "reinvite")]


def _picture(leg: Leg) -> Stream | None:
    return next((s for s in leg.negotiation.streams if s.medium == "video"), None)


def _known(host: Leg, codec: Codec) -> bool:
    """Whether the host's phone ever said it knows this codec."""
    return codec.name in host.negotiation.pictures
