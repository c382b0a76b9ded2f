"""A later offer of ours within a session: everything stays in its place and under its number (RFC 3264 §8).

in → out: what we can do, as a first offer would say it; what we said last, as offer or answer → the offer to send.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from msgspec import structs

from pbx.sdp.codecs import same_format
from pbx.sdp.description import Description, Media
from pbx.sdp.encryption import PLAIN
from rtp.control import Codec

_DYNAMIC: Final = tuple(chain(range(96, 128), range(35, 64)))
"""Payload types that mean nothing by themselves, those of RFC 3551 §6 first; the others are free beside RTCP (RFC 5761 §4)."""


def reoffer(offer: Description, before: Description) -> Description:
    """Put `offer` into the shape of `before`: the m-lines of that in their order, what is offered now in the line it had.

    RFC 3264 §8: "the number of "m=" lines in the new SDP MUST NOT be less than the number of "m=" lines in the previous SDP",
    and they correspond by their place. What had no line before comes last.
    """
    left = list(offer.media)
    placed = []
    for place in _places(before):
        media = next((media for media in left if media.kind == place.kind), None) if place.port else None
        if media is None:
            placed.append(_closed(place))
            continue
        left.remove(media)
        placed.append(_numbered(media, place))
    for media in left:
        # One that was refused before, or given up, may be offered anew in its old line (§8.2).
        index = next(
            (i for i, found in enumerate(placed) if found.kind == media.kind and not found.port), None
        )
        if index is None:
            placed.append(media)
        else:
            placed[index] = _numbered(media, before.media[index])
    return structs.replace(offer, media=tuple(placed))


def _places(before: Description) -> Iterator[Media]:
    """Give the lines of `before`; of several of one kind that stand, which never are ours, the first keeps it."""
    seen: set[str] = set()
    for media in before.media:
        yield structs.replace(media, port=0) if media.port and media.kind in seen else media
        if media.port:
            seen.add(media.kind)


def _closed(media: Media) -> Media:
    # RFC 3264 §8.2: "A stream that is offered with a port of zero MUST be marked with port zero in the answer", formats and all
    # else ignored.
    formats = media.formats[:1] or ("0",)
    return Media(media.kind, 0, media.protocol, formats, connection=media.connection, direction="inactive")


def _numbered(media: Media, before: Media) -> Media:
    """Give each format the number it had; a new one never gets that of another.

    RFC 3264 §8.3.2: "the mapping from a particular dynamic payload type number to a particular codec within that media stream
    MUST NOT change for the duration of a session."
    """
    known = {codec.payload_type: codec for codec in before.codecs}
    had = [_had(codec, known) for codec in media.codecs]
    taken = set(known) | {
        codec.payload_type for codec, number in zip(media.codecs, had, strict=True) if not number
    }
    free = (number for number in _DYNAMIC if number not in taken)
    codecs: list[Codec] = []
    for codec, number in zip(media.codecs, had, strict=True):
        if number is None:
            number = next(free) if codec.payload_type in known else codec.payload_type
        codecs.append(structs.replace(codec, payload_type=number))
    formats = tuple(str(codec.payload_type) for codec in codecs)
    # A stream keeps its profile: we offer feedback under RTP/AVP as well, but a peer that wrote RTP/AVPF need not know that.
    plain = {media.protocol.upper(), before.protocol.upper()} <= set(PLAIN)
    protocol = before.protocol if plain else media.protocol
    return structs.replace(media, codecs=tuple(codecs), formats=formats, protocol=protocol)


def _had(codec: Codec, known: dict[int, Codec]) -> int | None:
    return next((number for number, other in known.items() if same_format(codec, other)), None)
