"""Verb: have a desk's phone send a picture its guest can decode.

The permanent leg was negotiated before the guest was known. If the phone's picture codec, or its packetization of H.264, is one
the guest does not take, and the phone knows another that it does, a re-INVITE offers only what both have; likewise if the guest
sends first what the phone knows and was not asked for. Pictures are never transcoded; sound is, so sound needs no re-INVITE.

in → out: host's leg, guest's leg → a re-INVITE inside the permanent dialog; what comes of it is the business of `modify`.
"""

from dataclasses import replace

from pbx.call import modify
from pbx.call.effects import Effect, LegEvent
from pbx.call.leg import Leg
from rtp import mapping
from rtp.control import Codec, Stream


def align(host: Leg, guest: Leg) -> list[Effect | LegEvent]:
    """Re-INVITE the host if a picture of the two would not reach the other though it could."""
    sent, taken = _picture(host), _picture(guest)
    if not modify.free(host) or not (sent and taken):
        return []
    if not sent.receive or not taken.send:
        return []
    if mapping.find(sent.receive[0], taken.send) is not None and not _missed(host, taken, sent):
        return []
    names = [codec.name for codec in taken.send]
    shared = [codec for codec in host.setup.capabilities.video if mapping.find(codec, taken.send) is not None]
    if not any(_known(host, codec) for codec in shared):
        return []
    capabilities = replace(
        host.setup.capabilities, video=tuple(sorted(shared, key=lambda c: names.index(c.name)))
    )
    return [modify.reinvite(host, host.negotiation.offer(capabilities), "reinvite")]


def _picture(leg: Leg) -> Stream | None:
    return next((s for s in leg.negotiation.streams if s.medium == "video"), None)


def _missed(host: Leg, guests: Stream, hosts: Stream) -> bool:
    """Whether the guest's picture does not reach a phone that knows its codec."""
    if not guests.receive or mapping.find(guests.receive[0], hosts.send) is not None:
        return False
    return _known(host, guests.receive[0])


def _known(host: Leg, codec: Codec) -> bool:
    """Whether the host's phone ever said it knows this codec."""
    return codec.name in host.negotiation.pictures
