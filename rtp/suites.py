"""SRTP crypto suites this exchange speaks: names, key lengths, what the libraries call them. Pure values.

Not done: AES_192_CM (RFC 6188), which libsrtp sets up in no function of its own.
"""

from dataclasses import dataclass
from typing import Final

from rtp.aes256 import AVAILABLE


@dataclass(frozen=True, slots=True)
class Suite:
    """One crypto suite."""

    name: str
    """As in a=crypto (RFC 4568 §6.2, RFC 7714 §14.2)."""
    key: int
    """Bytes of the master key."""
    salt: int
    """Bytes of the master salt."""
    openssl: str
    """The DTLS-SRTP protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2) as OpenSSL spells it; empty: there is none."""

    @property
    def length(self) -> int:
        """Bytes of what stands behind `inline:`: key and salt."""
        return self.key + self.salt


SUITES: Final[dict[str, Suite]] = {
    suite.name: suite
    for suite in (
        # Best first: this is the order of our offers.
        Suite("AEAD_AES_256_GCM", 32, 12, "SRTP_AEAD_AES_256_GCM"),
        Suite("AEAD_AES_128_GCM", 16, 12, "SRTP_AEAD_AES_128_GCM"),
        Suite("AES_256_CM_HMAC_SHA1_80", 32, 14, ""),
        Suite("AES_CM_128_HMAC_SHA1_80", 16, 14, "SRTP_AES128_CM_SHA1_80"),
        Suite("AES_256_CM_HMAC_SHA1_32", 32, 14, ""),
        Suite("AES_CM_128_HMAC_SHA1_32", 16, 14, "SRTP_AES128_CM_SHA1_32"),
    )
    if AVAILABLE or not suite.name.startswith("AES_256_CM")
}
