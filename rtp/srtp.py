"""SRTP and SRTCP of one medium of a leg (RFC 3711), by libsrtp.

packet off the wire ─▶ open ─▶ packet | None (a wrong tag, a replay, an old roll-over count: counted by whoever asks)
packet to send ─▶ seal ─▶ bytes for the wire
"""

from collections.abc import Iterator, Sequence
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

STRIDE: Final = 0x4000
"""Numbers between two packets of `Index.road`: below 2^15 the next one is believed to be ahead (RFC 3711 §3.3.1)."""

MAX_ROLLOVERS: Final = 64
"""How far `Opener.search` looks: 23 hours of sound, or a picture of a shift."""

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


def _empty(number: int, ssrc: int) -> bytes:
    return b"\x80\0" + (number & 0xFFFF).to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big")


class Index:
    """How far the numbers of one direction have come: what libsrtp counts and does not tell. Pure.

    Of RTP the newest SSRC's sequence number and roll-over count (RFC 3711 §3.3.1), of RTCP how many packets (§3.4).
    """

    __slots__ = ("control", "control_ssrc", "rollovers", "sequence", "ssrc")

    def __init__(self) -> None:
        self.ssrc = self.control_ssrc = -1
        self.sequence = self.rollovers = self.control = 0

    def rtp(self, packet: bytes) -> None:
        """Take note of an RTP packet in the clear."""
        sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
        if ssrc != self.ssrc:
            self.ssrc, self.sequence, self.rollovers = ssrc, sequence, 0
        elif (sequence - self.sequence) & 0xFFFF < 0x8000:
            self.rollovers += sequence < self.sequence
            self.sequence = sequence

    def rtcp(self, packet: bytes) -> None:
        """Take note of an RTCP packet in the clear."""
        ssrc = int.from_bytes(packet[4:8], "big")
        if ssrc != self.control_ssrc:
            self.control_ssrc, self.control = ssrc, 0
        self.control += 1

    def road(self) -> Iterator[bytes]:
        """Give empty packets that lead a new session to this very number: a few for each roll-over."""
        if self.ssrc < 0:
            return
        last = self.rollovers << 16 | self.sequence
        for number in (*range(0, last, STRIDE), last):
            yield _empty(number, self.ssrc)

    def control_road(self) -> Iterator[bytes]:
        """The same of RTCP, one for each."""
        if self.control_ssrc >= 0:
            yield from [b"\x80\xc9\0\x01" + self.control_ssrc.to_bytes(4, "big")] * self.control

    def snapshot(self) -> list[int]:
        """Give all of it as plain data."""
        return [self.ssrc, self.sequence, self.rollovers, self.control_ssrc, self.control]

    @classmethod
    def restore(cls, data: Sequence[int]) -> "Index":
        """Make what `snapshot` described."""
        index = cls()
        index.ssrc, index.sequence, index.rollovers, index.control_ssrc, index.control = data
        return index


class Sealer:
    """Protects what is sent."""

    def __init__(self, suite: Suite, key: bytes) -> None:
        """`key`: master key and salt; ValueError when it is too short."""
        self._session = _session(suite, key, Policy.SSRC_ANY_OUTBOUND)
        self.index = Index()
        """How far the numbers of what was sent have come."""

    def rtp(self, packet: bytes) -> bytes | None:
        """Protect an RTP packet; None for one that was sent before or is too large."""
        try:
            sealed = self._session.protect(packet)
        except (Error, ValueError):
            return None
        self.index.rtp(packet)
        return sealed

    def rtcp(self, packet: bytes) -> bytes | None:
        """Protect a compound RTCP packet."""
        try:
            sealed = self._session.protect_rtcp(packet)
        except (Error, ValueError):
            return None
        self.index.rtcp(packet)
        return sealed

    def resume(self, index: Index) -> None:
        """Go on behind the packets that another process has sealed with this key: no number is ever used twice."""
        for packet in index.road():
            self.rtp(packet)
        for packet in index.control_road():
            self.rtcp(packet)


class Opener:
    """Checks and opens what is received. Nothing of what it refuses leaves a trace in it."""

    def __init__(self, suite: Suite, key: bytes) -> None:
        """`key`: the peer's master key and salt; ValueError when it is too short."""
        self._suite, self._key = suite, key
        self.session = _session(suite, key, Policy.SSRC_ANY_INBOUND)
        self.index = Index()
        """How far the numbers of what was believed have come."""
        self._floor: tuple[int, int] | None = None
        self._before: _Session | None = None
        self._until = 0.0

    @property
    def fresh(self) -> bool:
        """Whether nothing was believed yet under this key."""
        return self.index.ssrc < 0

    def follow(self, before: "Opener", now: float) -> None:
        """Go on trying the key before this one for a while; `now`: monotonic seconds."""
        self._before = before.session
        self._until = now + OLD_KEY_SECONDS

    def rtp(self, packet: bytes, now: float) -> bytes | None:
        """Give the packet as it was before its peer protected it; None unless it is genuine and new."""
        if self._floor is not None and self._below(packet):
            return None
        try:
            clear = self.session.unprotect(packet)
        except (Error, ValueError):
            before = self._old(now)
        else:
            self.index.rtp(clear)
            return clear
        if before is None:
            return None
        try:
            return before.unprotect(packet)
        except (Error, ValueError):
            return None

    def search(self, packet: bytes) -> tuple[bytes | None, int]:
        """Open the first packet of a peer that has used this key for long: its roll-over count died with another process.

        The count stands in no packet, and the peer has no reason to begin anew (RFC 3711 §3.3.1). As `rtp`, and how many counts were
        tried, each of which takes about 50 µs. None at once when something was believed already.
        """
        if not self.fresh or len(packet) < 12:
            return None, 0
        session = _session(self._suite, self._key, Policy.SSRC_ANY_INBOUND)
        peer = _session(self._suite, self._key, Policy.SSRC_ANY_OUTBOUND)
        ssrc, sequence = int.from_bytes(packet[8:12], "big"), int.from_bytes(packet[2:4], "big")
        at = 0
        for rollovers in range(1, MAX_ROLLOVERS + 1):
            last = (rollovers << 16 | sequence) - 1
            for number in (*range(at, last, STRIDE), last):
                session.unprotect(peer.protect(_empty(number, ssrc)))
            at = last + STRIDE
            try:
                clear = session.unprotect(packet)
            except (Error, ValueError):
                continue
            self.session = session
            self.index = Index.restore(
                [ssrc, sequence, rollovers, self.index.control_ssrc, self.index.control]
            )
            self._floor = (ssrc, last & 0xFFFF)
            return clear, rollovers
        return None, MAX_ROLLOVERS

    def rtcp(self, packet: bytes, now: float) -> bytes | None:
        """The same for RTCP."""
        try:
            clear = self.session.unprotect_rtcp(packet)
        except (Error, ValueError):
            before = self._old(now)
        else:
            self.index.rtcp(clear)
            return clear
        if before is None:
            return None
        try:
            return before.unprotect_rtcp(packet)
        except (Error, ValueError):
            return None

    def resume(self, suite: Suite, key: bytes, index: Index) -> None:
        """Go on behind what another process has believed under this key: its roll-over count, and nothing of it once more."""
        peer = _session(suite, key, Policy.SSRC_ANY_OUTBOUND)
        for packet in index.road():
            self.session.unprotect(peer.protect(packet))
        for packet in index.control_road():
            self.session.unprotect_rtcp(peer.protect_rtcp(packet))
        self.index = Index.restore(index.snapshot())
        if index.ssrc >= 0:
            self._floor = (index.ssrc, index.sequence)

    def _below(self, packet: bytes) -> bool:
        """Whether a packet is not behind those of the other process, whose replay list stayed there."""
        assert self._floor is not None, "asked only after `resume`"
        ssrc, sequence = self._floor
        if len(packet) < 12 or int.from_bytes(packet[8:12], "big") != ssrc:
            return False
        if (self.index.sequence - sequence) & 0xFFFF > WINDOW:
            self._floor = None  # the session's own list reaches back far enough now
            return False
        return (int.from_bytes(packet[2:4], "big") - sequence - 1) & 0xFFFF >= 0x8000

    def _old(self, now: float) -> _Session | None:
        if self._before is not None and now >= self._until:
            self._before = None
        return self._before
