"""A scripted phone whose keys come from a DTLS handshake on its RTP port (RFC 5763): it offers, the exchange waits, it begins."""

import re
import time
from dataclasses import dataclass, field

from rtp.control import Dtls
from rtp.dtls import Certificate, Handshake
from rtp.srtp import Opener, Sealer
from tests.live.kit.scripted import Address, Phone

HANDSHAKE = range(20, 64)
"""First octet of a datagram that is DTLS (RFC 7983)."""
REPEAT = 0.1
"""Seconds between two looks whether a datagram of the handshake is to be sent again."""


@dataclass
class DtlsPhone(Phone):
    """It says nothing before both have their keys."""

    certificate: Certificate = field(default_factory=Certificate)
    handshake: Handshake | None = None
    _look: float = 0.0

    def sdp(self) -> str:
        """The offer, or the answer to one: everything on one port."""
        shown = ":".join(f"{octet:02X}" for octet in self.certificate.fingerprint)
        lines = f"a=fingerprint:sha-256 {shown}\r\na=setup:actpass\r\na=rtcp-mux\r\n"
        return super().sdp().replace("RTP/AVP", "UDP/TLS/RTP/SAVP") + lines

    def tick(self, now: float) -> None:
        super().tick(now)
        if not self.up or not self.port:
            return
        if self.handshake is None:
            self.handshake = self._begin()
        elif self.handshake.keys is None and now >= self._look:
            self._look = now + REPEAT
            self._say_all(self.handshake.expire())

    def _begin(self) -> Handshake:
        answer = next(answer for answer in reversed(self.answers) if answer.status == 200 and answer.body)
        assert "a=setup:passive" in answer.body, answer.body
        found = re.search(r"a=fingerprint:sha-256 ([0-9A-F:]+)", answer.body, re.IGNORECASE)
        assert found is not None, answer.body
        begun = Handshake(
            self.certificate, Dtls(True, (("sha-256", bytes.fromhex(found[1].replace(":", ""))),))
        )
        self._say_all(begun.start())
        return begun

    def _say_all(self, datagrams: list[bytes]) -> None:
        for data in datagrams:
            self.rtp.sendto(data, (self.exchange[0], self.port))

    def _take_rtp(self, data: bytes, source: Address) -> None:
        if self.handshake is None or data[0] not in HANDSHAKE:
            super()._take_rtp(data, source)
            return
        self._say_all(self.handshake.receive(data))
        assert self.handshake.failure is None, self.handshake.failure
        keys = self.handshake.keys
        if keys is not None and self.seal is None:
            sealer, opener = Sealer(keys.suite, keys.send), Opener(keys.suite, keys.receive)
            self.seal = lambda clear: sealer.rtp(clear) or b""
            self.open = lambda sealed: opener.rtp(sealed, time.monotonic()) or b""

    def say(self) -> None:
        if self.seal is not None:
            super().say()
