"""SRTP and SRTCP of one medium of a leg (RFC 3711), by libsrtp.

packet off the wire ─▶ open ─▶ packet | None (a wrong tag, a replay, an old roll-over count: counted by whoever asks)
packet to send ─▶ seal ─▶ bytes for the wire
"""

from typing import Final

import pylibsrtp
from pylibsrtp import Error, Policy, Session

from rtp import aes256
from rtp.suites import Suite

LARGEST: Final = 9216
"""Bytes of the largest packet, that of a jumbo frame; pylibsrtp's own buffer refuses to protect more than 1,356."""
TRAILER: Final = 4 + 16 + 128
"""Bytes libsrtp may write behind a packet: SRTCP index, tag, key identifier."""
WINDOW: Final = 1024
"""Packets a late one may be behind and still be taken: a key frame of 300 packets may be reordered as a whole."""
OLD_KEY_SECONDS: Final = 5.0
"""How long the key before the present one is still tried: packets that were under way when the keys changed."""

_FFI: Final = pylibsrtp.ffi  # type: ignore[attr-defined]  # the library's own, for a larger buffer
_PROFILES: Final = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


class _Session(Session):
    """A session whose buffer takes every packet a network carries."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self._cdata = _FFI.new("char[]", LARGEST + TRAILER)
        self._buffer = _FFI.buffer(self._cdata)


def _session(suite: Suite, key: bytes, direction: int) -> _Session:
    if suite.name in _PROFILES:
        policy = Policy(key=key, ssrc_type=direction, srtp_profile=_PROFILES[suite.name])
    else:
        policy = aes256.policy(key, direction, short=suite.name.endswith("_32"))
    policy.window_size = WINDOW
    # Never two packets with one number: with another payload that would give both away (RFC 3711 §9.1).
    policy.allow_repeat_tx = False
    return _Session(policy)


class Sealer:
    """Protects what is sent."""

    def __init__(self, suite: Suite, key: bytes) -> None:
        """`key`: master key and salt; ValueError when it is too short."""
        self._session = _session(suite, key, Policy.SSRC_ANY_OUTBOUND)

    def rtp(self, packet: bytes) -> bytes | None:
        """Protect an RTP packet; None for one that was sent before or is too large."""
        try:
            return self._session.protect(packet)
        except (Error, ValueError):
            return None

    def rtcp(self, packet: bytes) -> bytes | None:
        """Protect a compound RTCP packet."""
        try:
            return self._session.protect_rtcp(packet)
        except (Error, ValueError):
            return None


class Opener:
    """Checks and opens what is received. Nothing of what it refuses leaves a trace in it."""

    def __init__(self, suite: Suite, key: bytes) -> None:
        """`key`: the peer's master key and salt; ValueError when it is too short."""
        self.session = _session(suite, key, Policy.SSRC_ANY_INBOUND)
        self._before: _Session | None = None
        self._until = 0.0

    def follow(self, before: "Opener", now: float) -> None:
        """Go on trying the key before this one for a while; `now`: monotonic seconds."""
        self._before = before.session
        self._until = now + OLD_KEY_SECONDS

    def rtp(self, packet: bytes, now: float) -> bytes | None:
        """Give the packet as it was before its peer protected it; None unless it is genuine and new."""
        try:
            return self.session.unprotect(packet)
        except (Error, ValueError):
            before = self._old(now)
        if before is None:
            return None
        try:
            return before.unprotect(packet)
        except (Error, ValueError):
            return None

    def rtcp(self, packet: bytes, now: float) -> bytes | None:
        """The same for RTCP."""
        try:
            return self.session.unprotect_rtcp(packet)
        except (Error, ValueError):
            before = self._old(now)
        if before is None:
            return None
        try:
            return before.unprotect_rtcp(packet)
        except (Error, ValueError):
            return None

    def _old(self, now: float) -> _Session | None:
        if self._before is not None and now >= self._until:
            self._before = None
        return self._before
