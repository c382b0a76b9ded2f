"""Debian's rtpengine between a phone that speaks in the clear and an exchange that is to speak SRTP with keys in the SDP.

phone ─ SIP ─▶ Gateway ─▶ exchange    each description goes to rtpengine, which puts its own ports and keys into it
phone ─ RTP ─▶ rtpengine ─ SRTP ─▶ exchange
exchange ─ SIP ─▶ Gateway ─▶ phone    the same for calls the other way

What it is here for: its SRTP is its own (key derivation, AES counter mode and tags over libcrypto), where ours and every phone's at
hand is libsrtp, and it speaks the suites of RFC 6188, which no phone at hand does.
"""

import re
from pathlib import Path
from typing import Any, Final, Literal

from tests.kit.rtpengine import Rtpengine
from tests.live.kit import ports
from tests.live.kit.road import Address, Road

MEDIA_PORTS: Final = 20
SUITES: Final = (
    "AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80",
    "AES_192_CM_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "F8_128_HMAC_SHA1_80",
    "F8_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32",
)  # fmt: skip
"""All it knows."""


def started(folder: Path) -> Rtpengine:
    """Start one with ports for one call. Use as a context manager."""
    first = ports.block(2 + MEDIA_PORTS)
    media = (first + 2, first + 1 + MEDIA_PORTS)
    threads = ("--num-threads=1", "--media-num-threads=1")
    return Rtpengine(folder, (ports.ADDRESS, first), media, "--log-level=6", *threads)


class Gateway(Road):
    """A road on which media goes over rtpengine, encrypted by one suite on one side."""

    def __init__(
        self, onward: Address, engine: Rtpengine, suite: str, *, encrypted: Literal["near", "far"] = "far"
    ) -> None:
        """`onward`: who is called; `encrypted`: on the side of who calls, or of who is called."""
        super().__init__(onward)
        self.engine, self.suite, self.encrypted = engine, suite, encrypted
        self.call_id = ""
        self._done: dict[bytes, bytes] = {}  # what is repeated is described alike

    def _described(self, data: bytes, side: Literal["near", "far"]) -> bytes:
        head, gap, body = data.partition(b"\r\n\r\n")
        if not re.search(rb"(?m)^m=", body):
            return data
        if body not in self._done:
            self._done[body] = self._ask(head, body, side)
        body = self._done[body]
        head = re.sub(rb"(?im)^(Content-Length|l)( *: *)[0-9]+", rb"\g<1>\g<2>%d" % len(body), head)
        return head + gap + body

    def _ask(self, head: bytes, body: bytes, side: str) -> bytes:
        self.call_id = self._header(head, rb"Call-ID: *(\S+)")
        if side == self.encrypted:  # it stands for a peer that knows this suite and no other
            lines = (
                rb"a=(crypto:[0-9]+ (?!%b )|fingerprint:|setup:|tls-id:)[^\r\n]*\r\n" % self.suite.encode()
            )
            body = re.sub(lines, b"", body)
        words: dict[str, Any] = {
            "call_id": self.call_id,
            "from_tag": self._header(head, rb"From:.*;tag=([^;\s]+)"),
            "sdp": body,
            "ICE": "remove",
            "replace": ["origin", "session-connection"],
        }
        if head.startswith(b"SIP/2.0 "):
            answer = self.engine.command(
                "answer", to_tag=self._header(head, rb"To:.*;tag=([^;\s]+)"), **words
            )
        else:
            others = [f"no-{suite}" for suite in SUITES if suite != self.suite]
            profile = "RTP/AVP" if side == self.encrypted else "RTP/SAVP"
            answer = self.engine.command(
                "offer", transport_protocol=profile, DTLS="off", SDES=others, **words
            )
        described = answer["sdp"]
        assert isinstance(described, bytes)
        return described

    @staticmethod
    def _header(head: bytes, pattern: bytes) -> str:
        found = re.search(rb"(?im)^" + pattern, head)
        assert found is not None, (pattern, head)
        return found[1].decode()

    def carried(self, what: Literal["RTP", "RTCP"]) -> tuple[int, int]:
        """Packets rtpengine has carried in this call, and those it could not (no key fits, nobody to send to)."""
        totals = self.engine.command("query", call_id=self.call_id)["totals"][what]
        return totals["packets"], totals["errors"]
