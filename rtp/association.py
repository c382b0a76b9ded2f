"""Whose DTLS handshake is believed on one port (bar S2): a few candidates at a time, the first that proves itself wins.

datagram from an expected IP ─▶ Association.receive ─▶ datagrams back; `keys` and `owner` once one candidate is done
"""

from collections.abc import Callable
from typing import Final

from rtp.control import Address, Dtls
from rtp.dtls import Certificate, Handshake, Keys

MAX_CANDIDATES: Final = 4
"""Addresses with a handshake under way. Beside the one the SDP named only a NAT's other port can be the peer; whoever sprays
ClientHellos from more ports of its IP replaces its own."""
PER_SECOND: Final = 20
"""Handshakes of addresses the SDP did not name that are begun in a second: each costs a signature."""
HANDSHAKE: Final = 22
"""The content type of a record that may begin one (RFC 6347 §4.1)."""
CLIENT_HELLO: Final = 1
HELLO_AT: Final = 13
"""Where the handshake's own type stands behind the record header."""
RETRY_SECONDS: Final = 2.0
"""Between two handshakes of ours that came to nothing."""

Send = Callable[[bytes, Address], None]


class Association:
    """The DTLS side of one port."""

    def __init__(self, certificate: Certificate, dtls: Dtls, send: Send) -> None:
        """`send(datagram, address)` puts a datagram on the wire."""
        self.dtls = dtls
        self.keys: Keys | None = None
        self.owner: Address | None = None
        """Whose handshake gave the keys."""
        self.mismatch: Address | None = None
        """Who showed a certificate that is not the peer's, though the SDP named it or nobody else was there."""
        self.refused = 0
        """Datagrams that could begin nothing."""
        self._certificate = certificate
        self._send = send
        self._named: Address | None = None
        self._candidates: dict[Address, Handshake] = {}
        self._again_at = float("-inf")
        self._second = float("-inf")
        self._begun = 0

    def name(self, address: Address | None, now: float) -> None:
        """Say where the peer is; begin, if that is ours to do."""
        self._named = address
        if self.dtls.active and address is not None and address not in self._candidates and self.keys is None:
            self._begin(address, now)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take one datagram from an IP address that the leg expects."""
        candidate = self._candidates.get(source)
        if candidate is None or candidate.failure is not None:
            if self.keys is not None or self.dtls.active or not _begins(data) or not self._may(source, now):
                self.refused += 1
                return
            candidate = self._begin(source, now)
        self._answer(candidate.receive(data), source)
        if candidate.failure is not None:
            self._failed(candidate, source, now)
        elif candidate.keys is not None and self.keys is None:
            self.keys, self.owner = candidate.keys, source
            self._candidates = {source: candidate}

    def expire(self, now: float) -> None:
        """Repeat what got no answer; every 100 ms or so."""
        for source, candidate in tuple(self._candidates.items()):
            self._answer(candidate.expire(), source)
            if candidate.failure is not None:
                self._failed(candidate, source, now)
        if self.dtls.active and self.keys is None and not self._candidates and now >= self._again_at:
            self.name(self._named, now)

    def _may(self, source: Address, now: float) -> bool:
        """Whether a handshake with this address may begin now."""
        if now - self._second >= 1.0:
            self._second, self._begun = now, 0
        self._begun += source != self._named
        return source == self._named or self._begun <= PER_SECOND

    def _begin(self, source: Address, now: float) -> Handshake:
        self._candidates.pop(source, None)
        if len(self._candidates) >= MAX_CANDIDATES:
            del self._candidates[next(other for other in self._candidates if other != self._named)]
        candidate = self._candidates[source] = Handshake(self._certificate, self.dtls)
        self._again_at = now + RETRY_SECONDS
        self._answer(candidate.start(), source)
        return candidate

    def _failed(self, candidate: Handshake, source: Address, now: float) -> None:
        del self._candidates[source]
        self._again_at = now + RETRY_SECONDS
        # Behind a NAT the peer is not where its SDP says; then somebody else of its IP may have come first, and the
        # peer's own handshake goes on beside it.
        if candidate.failure == "fingerprint" and (source == self._named or not self._candidates):
            self.mismatch = source

    def _answer(self, datagrams: list[bytes], source: Address) -> None:
        for datagram in datagrams:
            self._send(datagram, source)


def _begins(data: bytes) -> bool:
    return len(data) > HELLO_AT and data[0] == HANDSHAKE and data[HELLO_AT] == CLIENT_HELLO
