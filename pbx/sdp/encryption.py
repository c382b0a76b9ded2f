"""Which encryption a medium gets (RFC 4568, 5763, 8643): what the peer offers or answers, and a policy → attributes and `Crypto`.

peer's offer ─▶ takes ─▶ answer ─▶ a=crypto or a=fingerprint of ours, keys for the media process
offered ─▶ our lines ─▶ peer's answer ─▶ accepted ─▶ keys

Keys are derived from a secret of the leg, so nothing here draws lots: the same leg makes the same keys again after a restart.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Final, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import structs

from pbx.sdp import security
from pbx.sdp.description import Attributes, Description, Media
from pbx.sdp.security import CryptoLine, Fingerprint
from pbx.sip.errors import SipError
from rtp.control import Dtls, Sdes
from rtp.suites import SUITES, Suite

Policy = Literal["off", "opportunistic", "mandatory", "dtls"]
Crypto = Sdes | Dtls

PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
SDES_PROFILES: Final = ("RTP/SAVP", "RTP/SAVPF")
DTLS_PROFILES: Final = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
SECURED: Final = SDES_PROFILES + DTLS_PROFILES

# RFC 4568 §6.1: "inline:" <key||salt> ["|" lifetime] ["|" MKI ":" length]; a lifetime has no colon
_INLINE: Final = re.compile(r"inline:([A-Za-z0-9+/]+=*)(?:\|(?:2\^)?[0-9]{1,20})?", re.IGNORECASE)
_HARMLESS: Final = re.compile(r"WSH=[0-9]{1,10}|-.*", re.IGNORECASE)
"""Session parameters that change nothing here: a replay window's size, and what RFC 4568 §6.3.7 lets one ignore."""
_HASHES: Final = ("sha-512", "sha-384", "sha-256", "sha-224", "sha-1")
TLS_ID_BYTES: Final = 20  # RFC 8842 §4 wants 120 bits of randomness


@dataclass(frozen=True, slots=True)
class Encryption:
    """What one leg may do about encryption, and of what its keys are made."""

    policy: Policy = "off"
    sdes: bool = False
    """Keys may stand in the SDP: the signalling is encrypted, or the site wants it all the same."""
    patient: bool = False
    """An emergency call: whatever is offered is taken, because the alternative is no sound."""
    secret: bytes = field(default=b"", repr=False)
    fingerprint: bytes = b""
    """SHA-256 of the certificate of the media process; empty before it opened the ports."""

    @property
    def required(self) -> bool:
        """Whether a medium in the clear is refused."""
        return self.policy in ("mandatory", "dtls") and not self.patient


_FIELDS: Final = tuple(field.name for field in fields(Encryption))
_VALUES: Final = attrgetter(*_FIELDS)


def packed(encryption: Encryption) -> dict[str, object]:
    """Return plain data: the arguments that make it again."""
    return dict(zip(_FIELDS, _VALUES(encryption), strict=True))


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was chosen for one medium."""

    crypto: Crypto | None = None
    attributes: Attributes = ()


def takes(offer: Description, media: Media, encryption: Encryption) -> bool:
    """Whether an offered m-line can be answered, as far as its profile and keys go."""
    protocol = media.protocol.upper()
    if protocol in PLAIN and not encryption.required:
        return True
    if protocol not in PLAIN and protocol not in SECURED:
        return False
    return encrypts(offer, media, encryption)


def encrypts(offer: Description, media: Media, encryption: Encryption) -> bool:
    """Whether an answer to an m-line would encrypt it."""
    return _choose(offer, media, encryption) is not None


def answer(
    offer: Description,
    media: Media,
    encryption: Encryption,
    *,
    label: str,
    previous: Crypto | None,
) -> Agreed:
    """Answer the keys of an m-line that `takes` took. `label`: makes a new key another one; `previous`: what holds now."""
    match _choose(offer, media, encryption):
        case CryptoLine() as line:
            suite = SUITES[line.suite.upper()]
            crypto = Sdes(
                suite.name, _own_key(encryption, suite, _key(line, suite), label, previous), _key(line, suite)
            )
            return Agreed(crypto, (_crypto_line(line.tag, suite, crypto.send),))
        case tuple() as fingerprints if encryption.fingerprint:
            # RFC 5763 §5 recommends to answer `active`. Here we leave it: a phone behind a NAT is reached by nobody
            # before it sent something itself.
            active = security.setup(offer, media) == "passive"
            association = _attribute(offer, media, "tls-id")
            attributes = _dtls_lines(
                encryption, "active" if active else "passive", tls_id=association is not None
            )
            return Agreed(Dtls(active, _pairs(fingerprints), association or ""), attributes)
    return Agreed()


def offered(
    encryption: Encryption, *, label: str, previous: Crypto | None, protocol: str | None = None
) -> tuple[str, Attributes]:
    """Return the profile and lines of an m-line that we offer; `protocol`: of this medium now, if there is one."""
    if encryption.policy == "off" and previous is None:
        return PLAIN[0], ()
    sdes = encryption.sdes and encryption.policy != "dtls"
    profile = PLAIN[0]
    if encryption.policy in ("mandatory", "dtls"):
        profile = SDES_PROFILES[0] if sdes else DTLS_PROFILES[0]
    lines: list[tuple[str, str | None]] = []
    match previous:
        case Sdes():
            # The key stays, and with it the roll-over count: a re-INVITE about something else interrupts nothing.
            return protocol or profile, (_crypto_line(1, SUITES[previous.suite], previous.send),)
        case Dtls():
            return protocol or profile, _dtls_lines(encryption, "actpass", tls_id=True)
    if sdes:
        for tag, suite in enumerate(SUITES.values(), 1):
            lines.append(_crypto_line(tag, suite, _derive(encryption, f"{label}/{suite.name}", suite.length)))
    # RFC 8643: under RTP/AVP whoever knows these lines takes them, everybody else goes on in the clear. Where anybody on
    # the way could put another fingerprint in the place of ours they are left out: they would only make an INVITE over
    # UDP 400 bytes longer.
    if encryption.fingerprint and (profile in DTLS_PROFILES or (profile in PLAIN and encryption.sdes)):
        lines += _dtls_lines(encryption, "actpass", tls_id=True)
    return profile, tuple(lines)


def accepted(ours: Media, answered: Description, theirs: Media, encryption: Encryption) -> Crypto | None:
    """Return what the answer makes of our offer; raises SipError 488 when it leaves out what is required."""
    theirs_profile, profile = theirs.protocol.upper(), ours.protocol.upper()
    found = _accepted(ours, answered, theirs)
    if found is None and (encryption.required or profile in SECURED or theirs_profile in SECURED):
        raise SipError(488, "Answer Has No Encryption That Was Offered")
    return found


def again(media: Media) -> Media:
    """Make of an m-line of ours one that can be offered again."""
    # RFC 8842 §5.5: a subsequent offer that keeps the association says actpass.
    attributes = tuple((key, "actpass" if key == "setup" else value) for key, value in media.attributes)
    return structs.replace(media, attributes=attributes)


def _accepted(ours: Media, answered: Description, theirs: Media) -> Crypto | None:
    offered_lines = {line.tag: line for line in security.crypto(ours)}
    for line in security.crypto(theirs):
        mine, suite = offered_lines.get(line.tag), SUITES.get(line.suite.upper())
        if mine is not None and suite is not None and mine.suite == suite.name and _usable(line):
            return Sdes(suite.name, _key(mine, suite), _key(line, suite))
    if ours.attribute("fingerprint") is None:
        return None
    fingerprints = _known(security.fingerprints(answered, theirs))
    if not fingerprints:
        return None
    active = security.setup(answered, theirs) == "passive"
    return Dtls(active, _pairs(fingerprints), _attribute(answered, theirs, "tls-id") or "")


def _choose(
    offer: Description, media: Media, encryption: Encryption
) -> CryptoLine | tuple[Fingerprint, ...] | None:
    """Return what an answer takes of an offered m-line: DTLS, whose keys nobody on the way has seen, before SDES."""
    protocol = media.protocol.upper()
    if encryption.policy == "off" and not (encryption.patient and protocol in SECURED):
        return None
    # A browser's offer wants ICE (RFC 8829), which is not spoken here: it would answer our answer with an error.
    ice = protocol in DTLS_PROFILES and _attribute(offer, media, "ice-ufrag") is not None
    # A line that can't be read is as good as none: under RTP/AVP the call goes on in the clear, else it is refused.
    try:
        fingerprints = _known(security.fingerprints(offer, media))
    except SipError:
        fingerprints = ()
    if (
        fingerprints
        and not ice
        and protocol not in SDES_PROFILES
        and security.setup(offer, media) != "holdconn"
    ):
        return fingerprints
    if protocol in DTLS_PROFILES or not (encryption.sdes or encryption.patient):
        return None
    if encryption.policy == "dtls" and not encryption.patient:
        return None
    try:
        return next((line for line in security.crypto(media) if _usable(line)), None)
    except SipError:
        return None


def _usable(line: CryptoLine) -> bool:
    suite = SUITES.get(line.suite.upper())
    # RFC 4568 §6.3: parameters that switch parts off, or that are unknown, rule the line out.
    if suite is None or not all(_HARMLESS.fullmatch(text) for text in line.parameters):
        return False
    try:
        return len(_key(line, suite)) == suite.length
    except SipError:
        return False


def _key(line: CryptoLine, suite: Suite) -> bytes:
    """Return master key and salt. A line with a key identifier (MKI) or several keys is none of ours."""
    found = _INLINE.fullmatch(line.key)
    if found is None:
        raise SipError(488, "Crypto Key Not Supported")
    # RFC 4568 §6.1 wants the padding; phones leave it out.
    text = found[1].rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise SipError(488, "Malformed Crypto Key In SDP") from error
    if len(key) != suite.length:
        raise SipError(488, "Crypto Key Has A Wrong Length")
    return key


def _own_key(
    encryption: Encryption, suite: Suite, theirs: bytes, label: str, previous: Crypto | None
) -> bytes:
    """Keep our key while the peer keeps its own; another one of theirs begins anew in both directions."""
    if isinstance(previous, Sdes) and (previous.suite, previous.receive) == (suite.name, theirs):
        return previous.send
    return _derive(encryption, f"{label}/{suite.name}", suite.length)


def _derive(encryption: Encryption, label: str, length: int) -> bytes:
    assert encryption.secret, "a leg that encrypts has a secret"
    return HKDF(hashes.SHA256(), length, salt=None, info=label.encode()).derive(encryption.secret)


def _crypto_line(tag: int, suite: Suite, key: bytes) -> tuple[str, str]:
    return "crypto", f"{tag} {suite.name} inline:{base64.b64encode(key).decode()}"


def _dtls_lines(encryption: Encryption, role: str, *, tls_id: bool) -> Attributes:
    lines: list[tuple[str, str | None]] = [
        ("fingerprint", str(Fingerprint("sha-256", encryption.fingerprint))),
        ("setup", role),
    ]
    if tls_id:
        # Another media process has another certificate, and wants another association.
        made = _derive(encryption, f"tls-id/{encryption.fingerprint.hex()}", TLS_ID_BYTES)
        lines.append(("tls-id", made.hex()))
    return tuple(lines)


def _known(fingerprints: tuple[Fingerprint, ...]) -> tuple[Fingerprint, ...]:
    """Return the fingerprints of the best hash there is one of (RFC 8122 §5)."""
    best = next((name for name in _HASHES if any(f.algorithm == name for f in fingerprints)), None)
    return tuple(f for f in fingerprints if f.algorithm == best)


def _pairs(fingerprints: tuple[Fingerprint, ...]) -> tuple[tuple[str, bytes], ...]:
    return tuple((f.algorithm, f.value) for f in fingerprints)


def _attribute(description: Description, media: Media, name: str) -> str | None:
    own = media.attribute(name)
    if own is not None:
        return own
    return next((value or "" for key, value in description.attributes if key == name), None)
