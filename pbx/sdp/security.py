"""What a description says about keys: a=crypto (RFC 4568), a=fingerprint (RFC 8122) and a=setup (RFC 4145, 5763).

in → out: the value of an attribute → what it means, SipError 488 if it means nothing; a medium → all it says. The lines
themselves stay among the description's attributes, as they came; whether a key is used is for whoever negotiates.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from pbx.sdp.description import Attributes, Description, Media
from pbx.sip.errors import SipError
from pbx.sip.grammar import lower

Setup = Literal["active", "passive", "actpass", "holdconn"]

MAX_CRYPTO: Final = 20
"""a=crypto lines of one medium that are read; RFC 4568, 6188 and 7714 together name fewer suites."""
MAX_FINGERPRINTS: Final = 10
"""a=fingerprint lines of one medium that are read; a certificate has one for each hash function."""

# RFC 4568 §9.1: tag = 1*9DIGIT, crypto-suite = 1*(ALPHA / DIGIT / "_"),
# key-param = key-method ":" key-info, key-params = key-param *(";" key-param)
_CRYPTO: Final = re.compile(
    r"([0-9]{1,9})[ \t]+([A-Za-z0-9_]{1,64})[ \t]+([A-Za-z0-9_]{1,32}:[\x21-\x7e]{1,512})((?:[ \t]+[\x21-\x7e]{1,128}){0,10})"
)
# RFC 8122 §5: fingerprint = 2UHEX *(":" 2UHEX); phones write it in small letters too
_FINGERPRINT: Final = re.compile(r"([A-Za-z0-9-]{1,20})[ \t]+([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){0,127})")
_BLANK: Final = re.compile(r"[ \t]+")
_LENGTHS: Final = {"sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
"""Bytes of each hash. MD5 and MD2 are not here: RFC 8122 §5 forbids them."""
_SETUPS: Final[dict[str, Setup]] = {
    "active": "active",
    "passive": "passive",
    "actpass": "actpass",
    "holdconn": "holdconn",
}


@dataclass(frozen=True, slots=True)
class CryptoLine:
    """One a=crypto line."""

    tag: int
    suite: str
    """As written, such as `AES_CM_128_HMAC_SHA1_80`."""
    key: str
    """The key parameters whole, as written: `inline:…|2^31|1:4`, several parted by `;`."""
    parameters: tuple[str, ...] = ()
    """The session parameters, as written: `UNENCRYPTED_SRTCP`, `KDR=3`, …"""

    def __str__(self) -> str:
        """Return the value of the line."""
        return " ".join((str(self.tag), self.suite, self.key, *self.parameters))

    def __repr__(self) -> str:
        """Say which it is, but never the key: a representation may end in a log."""
        return f"CryptoLine({self.tag}, {self.suite!r}, …)"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One a=fingerprint line."""

    algorithm: str
    """Lower case: `sha-256`."""
    value: bytes
    """The hash of the certificate, as many bytes as the algorithm makes."""

    def __str__(self) -> str:
        """Return the value of the line."""
        return f"{self.algorithm} {self.value.hex(':').upper()}"


def parse_crypto(text: str) -> CryptoLine:
    """Read the value of an a=crypto line; SipError 488 if it is none."""
    found = _CRYPTO.fullmatch(text.strip(" \t"))
    if found is None:
        raise SipError(488, "Malformed Crypto Attribute In SDP")
    parameters = tuple(_BLANK.split(found[4].strip(" \t"))) if found[4] else ()
    return CryptoLine(int(found[1]), found[2], found[3], parameters)


def parse_fingerprint(text: str) -> Fingerprint:
    """Read the value of an a=fingerprint line; SipError 488 if it is none, or no hash of that name has such a length."""
    found = _FINGERPRINT.fullmatch(text.strip(" \t"))
    if found is None:
        raise SipError(488, "Malformed Fingerprint In SDP")
    fingerprint = Fingerprint(lower(found[1]), bytes.fromhex(found[2].replace(":", "")))
    if _LENGTHS.get(fingerprint.algorithm) != len(fingerprint.value):
        raise SipError(488, "Fingerprint Of No Known Hash In SDP")
    return fingerprint


def crypto(media: Media) -> tuple[CryptoLine, ...]:
    """Return the a=crypto lines of a medium, the peer's favourite first; SipError 488 if one is malformed or a tag comes
    twice.
    """
    # RFC 4568 §4.1: "The tag MUST be unique among all crypto attributes for a given media line."
    lines = tuple(parse_crypto(text) for text in _values(media.attributes, "crypto")[:MAX_CRYPTO])
    if len({line.tag for line in lines}) < len(lines):
        raise SipError(488, "Crypto Tag Used Twice In SDP")
    return lines


def fingerprints(description: Description, media: Media) -> tuple[Fingerprint, ...]:
    """Return the fingerprints that hold for a medium; SipError 488 if one is malformed.

    Those of the medium, if it has some, else those of the session (RFC 8122 §5).
    """
    values = _values(media.attributes, "fingerprint") or _values(description.attributes, "fingerprint")
    return tuple(parse_fingerprint(text) for text in values[:MAX_FINGERPRINTS])


def setup(description: Description, media: Media) -> Setup | None:
    """Return who opens the DTLS association of a medium, or None if nothing (that has a meaning) is said of it."""
    values = _values(media.attributes, "setup") or _values(description.attributes, "setup")
    return _SETUPS.get(lower(values[0].strip(" \t"))) if values else None


def _values(attributes: Attributes, name: str) -> list[str]:
    return [value or "" for key, value in attributes if key == name]
