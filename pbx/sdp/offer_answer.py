"""Offer and answer (RFC 3264): what both sides can do → descriptions, and `Stream`s for the media process.

peer's offer ─▶ wanted ─▶ (the media process opens ports) ─▶ answer ─▶ Description to send, Streams
our offer ─▶ peer's answer ─▶ accept ─▶ Streams
"""

import re
from collections.abc import Container, Iterable, Mapping
from typing import Final

from msgspec import structs

from pbx.sdp import encryption as keys
from pbx.sdp.addresses import NOTHING, UNSPECIFIED, destination, unicast
from pbx.sdp.capabilities import Capabilities
from pbx.sdp.codecs import AUXILIARY, common, same_format, taken
from pbx.sdp.description import Attributes, Description, Direction, Feedback, Media, Origin
from pbx.sdp.encryption import Crypto, Encryption
from pbx.sip.errors import SipError
from rtp.control import Address, Codec, Medium, Stream

PTIME: Final = 20
"""ms of sound we wish to get in a packet (RFC 3264 §5.1): what is mixed and made here, and shorter than what any phone bears."""
MAX_PTIME: Final = 200
"""ms we take in one at most, as RFC 3551 §4.2 has a receiver of G.711 and G.722 do; Opus and AMR have bounds of their own."""
_IN_THE_CLEAR: Final = Encryption()
_BESIDE: Final = frozenset({"slides", "alt"})
"""Values of a=content: a presentation, another source of the same (RFC 4796 §5). `sl` is the person, who signs."""
MUX: Final = "rtcp-mux"  # RFC 5761
_MEDIA: Final[dict[str, Medium]] = {"audio": "audio", "video": "video"}
_BANDWIDTH: Final = re.compile(r"(?:AS|TIAS):[0-9]{1,10}")

# (the side that wrote it sends, … receives); RFC 8866 §6.7
_FLAGS: Final[dict[Direction, tuple[bool, bool]]] = {
    "sendrecv": (True, True),
    "sendonly": (True, False),
    "recvonly": (False, True),
    "inactive": (False, False),
}
_DIRECTION: Final[dict[tuple[bool, bool], Direction]] = {flags: name for name, flags in _FLAGS.items()}


def media_addresses(description: Description) -> tuple[str, ...]:
    """Return the IP addresses the peer may send media from, as far as it said so, without repetition."""
    hosts: list[str | None] = []
    for media in description.media:
        if media.port:
            hosts += [media.connection, media.rtcp_address]
    return tuple(dict.fromkeys(text for host in hosts if (text := unicast(host)) is not None))


def wanted(
    offer: Description, capabilities: Capabilities, encryption: Encryption = _IN_THE_CLEAR
) -> tuple[Medium, ...]:
    """Return the media an answer can accept, the first acceptable m-line of each kind, in the offer's order."""
    return tuple(medium for medium, _ in _acceptable(offer, capabilities, encryption).values())


def answer(
    offer: Description,
    capabilities: Capabilities,
    *,
    address: str,
    ports: Mapping[Medium, tuple[int, int]],
    session: int,
    version: int,
    directions: Mapping[Medium, Direction] | None = None,
    loopback_ok: bool = True,
    own: Container[Address] = NOTHING,
    encryption: Encryption = _IN_THE_CLEAR,
    previous: Mapping[Medium, Crypto] | None = None,
) -> tuple[Description, tuple[Stream, ...]]:
    """Answer every m-line of `offer` in its place; those we can't or won't take get port 0.

    `ports` are (RTP, RTCP) of each medium to accept; one without ports is refused. `directions` restrict what we do
    (`recvonly`: we only listen); the answer never exceeds what the offer allows. `own`: see `addresses.destination`.
    """
    acceptable = _acceptable(offer, capabilities, encryption)
    medias, streams = [], []
    for index, theirs in enumerate(offer.media):
        medium, pairs = acceptable.get(index, (None, ()))
        if medium is None or medium not in ports:
            medias.append(_refused(theirs, address))
            continue
        direction = _answered_direction(theirs, (directions or {}).get(medium, "sendrecv"))
        feedback = _answered_feedback(theirs, pairs, capabilities) if medium == "video" else ()
        before, mux = (previous or {}).get(medium), theirs.attribute(MUX) is not None
        agreed = keys.answer(offer, theirs, encryption, label=f"{medium}/{version}", previous=before)
        medias.append(
            _ours(
                medium,
                theirs.protocol,
                tuple(taken(offered, known) for offered, known in pairs),
                address=address,
                ports=ports[medium],
                direction=direction,
                feedback=feedback,
                bandwidth=_bandwidth(theirs.bandwidth),
                attributes=(*agreed.attributes, *((MUX, None),) * mux),
            )
        )
        codecs = tuple(offered for offered, _ in pairs)
        sending, receiving = _FLAGS[direction]
        remote, remote_rtcp = _remote(theirs, address, loopback_ok=loopback_ok, own=own)
        values = _values(feedback)
        remote_rtcp = remote if mux else remote_rtcp
        streams.append(
            Stream(
                index,
                medium,
                remote,
                remote_rtcp,
                codecs,
                codecs,
                sending,
                receiving,
                values,
                agreed.crypto,
                mux,
                ptime=theirs.ptime,
                max_ptime=theirs.max_ptime,
            )
        )
    origin = Origin("-", session, version, address)
    bandwidth = _bandwidth(offer.bandwidth)
    return Description(origin, address, tuple(medias), bandwidth=bandwidth), tuple(streams)


def offer(
    capabilities: Capabilities,
    *,
    address: str,
    ports: Mapping[Medium, tuple[int, int]],
    session: int,
    version: int,
    directions: Mapping[Medium, Direction] | None = None,
    encryption: Encryption = _IN_THE_CLEAR,
    previous: Mapping[Medium, Crypto] | None = None,
    protocols: Mapping[Medium, str] | None = None,
) -> Description:
    """Offer all we can for each medium with `ports` (RTP, RTCP). `previous`, `protocols`: what encryption holds now."""
    medias = []
    for medium in ("audio", "video"):
        codecs = capabilities.of(medium)
        if medium not in ports or not codecs:
            continue
        # RTP/AVP with a=rtcp-fb: RFC 4585 wants AVPF for it, but phones that know only AVP refuse an AVPF m-line
        # whole, while those that know feedback read the attribute under either name.
        values = capabilities.feedback if medium == "video" else ()
        profile, attributes = keys.offered(
            encryption,
            label=f"{medium}/{version}",
            previous=(previous or {}).get(medium),
            protocol=(protocols or {}).get(medium),
        )
        if any(name == "fingerprint" for name, _ in attributes):
            attributes = (*attributes, (MUX, None))  # one handshake for both, instead of two
        medias.append(
            _ours(
                medium,
                profile,
                codecs,
                address=address,
                ports=ports[medium],
                direction=(directions or {}).get(medium, "sendrecv"),
                feedback=tuple(Feedback(None, value) for value in values),
                attributes=attributes,
            )
        )
    return Description(Origin("-", session, version, address), address, tuple(medias))


def accept(
    offer: Description,
    answer: Description,
    *,
    loopback_ok: bool = True,
    own: Container[Address] = NOTHING,
    encryption: Encryption = _IN_THE_CLEAR,
) -> tuple[Stream, ...]:
    """Return the streams that `answer` makes of our `offer`; none when the peer refused all.

    Raises SipError 488 when the answer answers something else: m-lines added, lost or swapped, a refused medium
    revived, a profile or formats that were not offered.
    """
    # RFC 3264 §6: "For each "m=" line in the offer, there MUST be a corresponding "m=" line in the answer."
    if len(offer.media) != len(answer.media):
        raise SipError(488, "Answer Does Not Fit The Offer")
    streams = []
    for index, (ours, theirs) in enumerate(zip(offer.media, answer.media, strict=True)):
        if ours.kind != theirs.kind or (theirs.port and not ours.port):
            raise SipError(488, "Answer Does Not Fit The Offer")
        medium = _MEDIA.get(theirs.kind)
        if not theirs.port or medium is None:
            continue
        if theirs.protocol.upper() not in keys.PLAIN + keys.SECURED:
            raise SipError(488, "Answer Has A Profile That Was Not Offered")
        crypto = keys.accepted(ours, answer, theirs, encryption)
        stream = _accepted(index, medium, ours, theirs, loopback_ok=loopback_ok, own=own)
        mux = ours.attribute(MUX) is not None and theirs.attribute(MUX) is not None
        rtcp = stream.remote if mux else stream.remote_rtcp
        streams.append(structs.replace(stream, crypto=crypto, mux=mux, remote_rtcp=rtcp))
    return tuple(streams)


def _accepted(
    index: int, medium: Medium, ours: Media, theirs: Media, *, loopback_ok: bool, own: Container[Address]
) -> Stream:
    send, receive = [], []
    for codec in theirs.codecs:
        offered = _counterpart(codec, ours.codecs)
        if offered is not None:
            # RFC 3264 §6.1: each side is sent the payload types it wrote itself. The parameters are the peer's in
            # both lists: its sprop-parameter-sets describe what it sends.
            send.append(codec)
            receive.append(structs.replace(codec, payload_type=offered.payload_type))
    if all(codec.name in AUXILIARY for codec in send):
        raise SipError(488, "Answer Has No Codec That Was Offered")
    local = ours.connection or "0.0.0.0"
    remote, remote_rtcp = _remote(theirs, local, loopback_ok=loopback_ok, own=own)
    we_send, we_receive = _FLAGS[ours.direction]
    they_send, they_receive = _flags(theirs)
    numbers = {codec.payload_type for codec in send}
    offered_values = {feedback.value for feedback in ours.feedback}
    feedback = tuple(
        item
        for item in theirs.feedback
        if item.value in offered_values and (item.payload_type is None or item.payload_type in numbers)
    )
    return Stream(
        index,
        medium,
        remote,
        remote_rtcp,
        tuple(send),
        tuple(receive),
        sending=we_send and they_receive,
        receiving=we_receive and they_send,
        feedback=_values(feedback),
        ptime=theirs.ptime,
        max_ptime=theirs.max_ptime,
    )


def _counterpart(codec: Codec, offered: Iterable[Codec]) -> Codec | None:
    """Find the offered format that a line of the answer means: the same number if it can be, else the same format."""
    same = [candidate for candidate in offered if _fits_answer(candidate, codec)]
    numbered = (candidate for candidate in same if candidate.payload_type == codec.payload_type)
    return next(numbered, same[0] if same else None)


def _fits_answer(offered: Codec, answered: Codec) -> bool:
    if same_format(offered, answered):
        return True
    # Phones that answer the very payload type of an H.264 offer without a=fmtp mean the format that it stood for.
    return (
        answered.name == offered.name == "H264"
        and answered.payload_type == offered.payload_type
        and "profile-level-id" not in answered.fmtp
    )


def _acceptable(
    offer: Description, capabilities: Capabilities, encryption: Encryption
) -> dict[int, tuple[Medium, tuple[tuple[Codec, Codec], ...]]]:
    """Return by m-line index the best acceptable line of each medium and its (offered, ours) codecs, in the offer's order.

    One stream of a kind is taken. Of several the first, unless a later one shows the person where that shows slides, or is
    encrypted where that, its alternative, is not.
    """
    found: dict[Medium, list[tuple[int, tuple[tuple[Codec, Codec], ...]]]] = {}
    for index, media in enumerate(offer.media):
        medium = _MEDIA.get(media.kind)
        if medium is None or not media.port or not keys.takes(offer, media, encryption):
            continue
        pairs = common(media.codecs, capabilities.taken(medium))
        if pairs:
            found.setdefault(medium, []).append((index, pairs))

    def rank(line: tuple[int, object]) -> tuple[bool, bool]:
        media = offer.media[line[0]]
        return _is_beside(media), not keys.encrypts(offer, media, encryption)

    best = [(lines[0] if len(lines) == 1 else min(lines, key=rank), m) for m, lines in found.items()]
    return {index: (medium, pairs) for (index, pairs), medium in sorted(best, key=lambda one: one[0][0])}


def _is_beside(media: Media) -> bool:
    """Whether a stream says that it shows something else than who speaks (RFC 4796 §5)."""
    said = frozenset((media.attribute("content") or "").lower().replace(" ", "").split(","))
    return bool(said & _BESIDE) and "main" not in said


def _flags(theirs: Media) -> tuple[bool, bool]:
    """Return whether the peer (sends, receives)."""
    sends, receives = _FLAGS[theirs.direction]
    # RFC 3264 §8.4: c=0.0.0.0 is how RFC 2543 put a call on hold: nothing is to be sent there.
    return sends, receives and theirs.connection not in UNSPECIFIED


def _answered_direction(theirs: Media, limit: Direction) -> Direction:
    # RFC 3264 §6.1: "If a stream is offered as sendonly, the corresponding stream MUST be marked as recvonly or
    # inactive in the answer", and so on: we may send what they receive, and the other way round.
    they_send, they_receive = _flags(theirs)
    may_send, may_receive = _FLAGS[limit]
    return _DIRECTION[they_receive and may_send, they_send and may_receive]


def _answered_feedback(
    theirs: Media, pairs: tuple[tuple[Codec, Codec], ...], capabilities: Capabilities
) -> tuple[Feedback, ...]:
    # RFC 4585 §4.2: an answerer keeps of the offered values those it supports and adds none. Offers carry them under
    # RTP/AVP too, so the profile is not asked.
    numbers = {offered.payload_type for offered, _ in pairs}
    kept = (
        item
        for item in theirs.feedback
        if item.value in capabilities.feedback and (item.payload_type is None or item.payload_type in numbers)
    )
    return tuple(dict.fromkeys(kept))


def _values(feedback: tuple[Feedback, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.value for item in feedback))


def _bandwidth(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value for value in values if _BANDWIDTH.fullmatch(value) is not None)


def _remote(
    theirs: Media, local: str, *, loopback_ok: bool, own: Container[Address]
) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    rtp = destination(theirs.connection, theirs.port, local=local, loopback_ok=loopback_ok, own=own)
    if rtp is None:
        return None, None
    rtcp_port = theirs.rtcp_port or theirs.port + 1
    rtcp_host = theirs.rtcp_address or theirs.connection
    return rtp, destination(rtcp_host, rtcp_port, local=local, loopback_ok=loopback_ok, own=own)


def _refused(theirs: Media, address: str) -> Media:
    # RFC 3264 §6: "To reject an offered stream, the port number in the corresponding stream in the answer MUST be set
    # to zero. Any media formats listed are ignored. At least one MUST be present, as specified by SDP."
    formats = theirs.formats[:1] or ("0",)
    return Media(theirs.kind, 0, theirs.protocol, formats, connection=address, direction="inactive")


def _ours(
    medium: Medium,
    protocol: str,
    codecs: tuple[Codec, ...],
    *,
    address: str,
    ports: tuple[int, int],
    direction: Direction,
    feedback: tuple[Feedback, ...],
    bandwidth: tuple[str, ...] = (),
    attributes: Attributes = (),
) -> Media:
    rtp, rtcp = ports
    return Media(
        kind=medium,
        port=rtp,
        protocol=protocol,
        formats=tuple(str(codec.payload_type) for codec in codecs),
        codecs=codecs,
        connection=address,
        direction=direction,
        # RFC 3605 §2.1: the attribute is for RTCP that is not on the next higher port
        rtcp_port=rtcp if rtcp != rtp + 1 else None,
        feedback=feedback,
        ptime=PTIME if medium == "audio" else None,
        bandwidth=bandwidth,
        attributes=(("maxptime", str(MAX_PTIME)), *attributes) if medium == "audio" else attributes,
    )
