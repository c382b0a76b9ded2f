"""Offers and answers of one leg (RFC 3264): what is negotiated and on which ports.

in → out: a body with SDP, ports → our SDP, `Stream`s for the media process.
"""

from collections.abc import Container
from dataclasses import replace
from typing import Any, Final, Self

import msgspec
from msgspec import structs

from pbx.sdp import capacity, language, offer_answer
from pbx.sdp import encryption as keys
from pbx.sdp.addresses import NOTHING
from pbx.sdp.capabilities import Capabilities
from pbx.sdp.description import Description, heard, parse
from pbx.sdp.encryption import Crypto, Encryption
from pbx.sdp.reoffer import reoffer
from pbx.sip.errors import SipError
from rtp.control import Address, Medium, PortPair, Stream

IN_THE_CLEAR: Final = Encryption()
ALL_MEDIA: tuple[Medium, ...] = ("audio", "video")


class Negotiation:
    """The media side of a dialog."""

    def __init__(
        self,
        capabilities: Capabilities,
        address: str,
        session: int,
        languages: tuple[str, ...] = (),
        *,
        loopback_ok: bool = True,
        own: Container[Address] = NOTHING,
        encryption: Encryption = IN_THE_CLEAR,
        asymmetric: bool = False,
    ) -> None:
        """`address`: the IP address our SDP states. `session`: the o= session id, a number nobody guesses.

        `languages`: what can be spoken here, best first (RFC 8373). `loopback_ok`: media may go to this machine;
        `own`: where on it there is no phone (`sdp.addresses.Own`). `asymmetric`: the peer does not hear where it sends from.
        """
        self._asymmetric = asymmetric
        self._loopback_ok = loopback_ok
        self._own = own
        self._encryption = encryption
        self._capabilities = capabilities
        self._address = address
        self.session = session
        self._languages = languages
        self._lost = False  # the keys agreed on are to be replaced
        self._outlived: Description | None = None  # the offer that was under way when they died
        self._ours: Description | None = None  # what we said in the exchange that ended last
        self._written: tuple[Description, bytes] | None = None  # the one written last
        self._version = 0
        self._ports: dict[Medium, PortPair] = {}
        self._offered: Description | None = None
        self._peer_addresses: tuple[str, ...] = ()
        self.streams: tuple[Stream, ...] = ()
        self.picture_limit: tuple[int, str] | None = None
        """Bits a second of picture the peer takes, and what says so (`sdp.capacity`)."""
        self.pictures: set[str] = set()
        """Names of the picture codecs the peer ever agreed to."""

    @property
    def parts(self) -> tuple[object, ...]:
        """Return everything that `snapshot` tells and that may change, to see whether it did: a change is another object."""
        ours = (self._ours, self._offered, self._version, self._ports, self._encryption, self._lost)
        return (*ours, self._peer_addresses, self.streams, len(self.pictures), self.picture_limit)

    @property
    def held(self) -> bool:
        """Whether the peer takes no sound from us though it has sound."""
        sound = [s for s in self.streams if s.medium == "audio"]
        return bool(sound) and not any(s.sending for s in sound)

    def wanted(self, body: bytes | None) -> tuple[Medium, ...]:
        """Return the media that need ports for this offer; all we know when the offer is ours to make.

        Raises `SipError` (400 or 488) when the body is no usable SDP.
        """
        if body is None:
            return tuple(medium for medium in ALL_MEDIA if self._capabilities.of(medium))
        return offer_answer.wanted(heard(body), self._capabilities, self._encryption)

    def missing(self, media: tuple[Medium, ...]) -> tuple[Medium, ...]:
        """Return those of `media` that have no ports yet."""
        return tuple(m for m in media if m not in self._ports)

    @property
    def open_media(self) -> tuple[Medium, ...]:
        """The media that have ports."""
        return tuple(self._ports)

    @property
    def pairs(self) -> tuple[PortPair, ...]:
        """The ports themselves."""
        return tuple(self._ports.values())

    def opened(self, ports: tuple[PortPair, ...], fingerprint: bytes = b"") -> bool:
        """Take the ports the media process bound, and the fingerprint of its certificate.

        True when keys that were agreed died with another process: an offer must bring new ones.
        """
        self._ports = {pair.medium: pair for pair in ports}
        before = self._encryption.fingerprint
        self._encryption = replace(self._encryption, fingerprint=fingerprint)
        if not before or before == fingerprint or not self._crypto:
            return False
        self._lost = True
        self._outlived = self._offered
        return True

    @property
    def lost(self) -> bool:
        """Whether an offer must bring new keys, because those that were agreed died with a media process."""
        return self._lost

    def port(self, medium: Medium) -> int | None:
        """Return our RTP port of a medium."""
        pair = self._ports.get(medium)
        return None if pair is None else pair.rtp

    def answer(self, body: bytes) -> bytes:
        """Answer an offer; afterwards `streams` holds what was agreed. Raises `SipError`."""
        offered = heard(body)
        answer, streams = offer_answer.answer(
            offered,
            self._capabilities,
            address=self._address,
            ports=self._pairs(),
            session=self.session,
            version=self._next_version(),
            loopback_ok=self._loopback_ok,
            own=self._own,
            encryption=self._encryption,
            previous=self._crypto,
        )
        answer = language.answer(offered, answer, self._languages)
        self._ours = answer
        self._agreed(offered, streams)
        return self._text(answer)

    def offer(self, capabilities: Capabilities | None = None) -> bytes:
        """Offer everything that has ports, or of it what `capabilities` hold; where something was agreed before, in its shape."""
        offered = offer_answer.offer(
            capabilities or self._capabilities,
            address=self._address,
            ports=self._pairs(),
            session=self.session,
            version=self._next_version(),
            encryption=self._encryption,
            previous={} if self._lost else self._crypto,
            protocols=self._protocols(),
        )
        self._offered = offered if self._ours is None else reoffer(offered, self._ours)
        return self._offered.encode()

    def again(self) -> bytes:
        """Offer what we said last, word for word: a refresh changes nothing (RFC 4028 §7.4)."""
        if self._ours is None or self._lost:
            return self.offer()
        self._offered = structs.replace(
            self._ours, media=tuple(keys.again(media) for media in self._ours.media)
        )
        return self._offered.encode()

    @property
    def offering(self) -> bool:
        """Whether an offer of ours has no answer yet."""
        return self._offered is not None

    def accept(self, body: bytes, *, early: bool = False) -> None:
        """Take the answer to our offer. Raises `SipError` when it does not fit.

        `early`: it came before the 2xx, and another phone may still answer the same offer (forking).
        """
        if self._offered is None:
            raise SipError(400, "Answer Without Offer")
        answered = heard(body)
        streams = offer_answer.accept(
            self._offered,
            answered,
            loopback_ok=self._loopback_ok,
            own=self._own,
            encryption=self._encryption,
        )
        # What was offered before the media process died names a certificate nobody has any more.
        outlived = self._lost and self._offered is self._outlived
        self._ours = self._offered
        if not early:
            self._offered = None
        self._agreed(answered, streams)
        self._lost = outlived

    def withdraw(self) -> None:
        """Forget an offer that was refused; what was agreed before stands (RFC 3264 §8)."""
        self._offered = None

    def sources(self, signalling: str) -> tuple[str, ...]:
        """Return the addresses media may come from: those of the peer's SDP and of its signalling."""
        return tuple(dict.fromkeys((*self._peer_addresses, signalling)))

    def _agreed(self, peer: Description, streams: tuple[Stream, ...]) -> None:
        self.streams = tuple(structs.replace(stream, asymmetric=self._asymmetric) for stream in streams)
        self._lost = False
        self._peer_addresses = offer_answer.media_addresses(peer)
        self.picture_limit = capacity.picture_limit(peer)
        for stream in streams:
            if stream.medium == "video":
                self.pictures |= {codec.name for codec in stream.receive}

    @property
    def _crypto(self) -> dict[Medium, Crypto]:
        """The encryption that holds now."""
        return {stream.medium: stream.crypto for stream in self.streams if stream.crypto is not None}

    def _protocols(self) -> dict[Medium, str]:
        """The profiles of what is encrypted now, as we wrote them last."""
        if self._ours is None:
            return {}
        return {
            stream.medium: self._ours.media[stream.index].protocol
            for stream in self.streams
            if stream.crypto is not None and stream.index < len(self._ours.media)
        }

    def _pairs(self) -> dict[Medium, tuple[int, int]]:
        return {medium: (pair.rtp, pair.rtcp) for medium, pair in self._ports.items()}

    def _text(self, description: Description) -> bytes:
        """Write a description, each once: it is sent and kept in the journal."""
        if self._written is None or self._written[0] is not description:
            self._written = (description, description.encode())
        return self._written[1]

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "address": self._address,
            "session": self.session,
            "languages": list(self._languages),
            "ours": None if self._ours is None else self._text(self._ours),
            "version": self._version,
            "ports": [msgspec.to_builtins(p) for p in self._ports.values()],
            "offered": None if self._offered is None else self._offered.encode(),
            "peer_addresses": list(self._peer_addresses),
            "pictures": sorted(self.pictures),
            "streams": [msgspec.to_builtins(s) for s in self.streams],
            "encryption": keys.packed(self._encryption),
            "lost": self._lost,
            "asymmetric": self._asymmetric,
            "picture_limit": self.picture_limit,
        }

    @classmethod
    def restore(
        cls,
        data: dict[str, Any],
        capabilities: Capabilities,
        *,
        loopback_ok: bool = True,
        own: Container[Address] = NOTHING,
    ) -> Self:
        """Make the negotiation that `snapshot` described."""
        languages = tuple(data["languages"])
        self = cls(
            capabilities,
            data["address"],
            data["session"],
            languages,
            loopback_ok=loopback_ok,
            own=own,
            encryption=Encryption(**data["encryption"]),
            asymmetric=data["asymmetric"],
        )
        self._lost = data["lost"]
        limit = data["picture_limit"]
        self.picture_limit = None if limit is None else (limit[0], limit[1])
        self._ours = None if data["ours"] is None else parse(data["ours"])
        self._version = data["version"]
        self._ports = {p.medium: p for p in msgspec.convert(data["ports"], tuple[PortPair, ...])}
        self._offered = None if data["offered"] is None else parse(data["offered"])
        self._peer_addresses = tuple(data["peer_addresses"])
        self.pictures = set(data["pictures"])
        self.streams = msgspec.convert(data["streams"], tuple[Stream, ...])
        return self
