"""What stands between the sockets of a track and the track when packets are encrypted, or RTCP shares the RTP port.

datagram ─▶ first byte (RFC 7983): DTLS ─▶ Association ─▶ keys
                                   RTP  ─▶ genuine? ─▶ Track.admit ─▶ latch, evidence, relay   (so: proved, then latched)
                                   RTCP ─▶ genuine? ─▶ Reports.admit
Sender ─▶ [silent gate] ─▶ seal ─▶ socket

Evidence holds what was said: packets as their peer made them, before it encrypted them; no key is ever written anywhere.
"""

import socket
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import structlog

from rtp.association import Association
from rtp.control import Address, Dtls, Sdes, Secured, SecurityFailed, Stream
from rtp.dtls import Certificate
from rtp.flood import CHECKS, CHECKS_OF_OTHERS, Limit
from rtp.latch import canonical
from rtp.packet import RTCP_TYPES
from rtp.reports import Reports
from rtp.road import DATAGRAM
from rtp.route import Surroundings
from rtp.sender import Transmit
from rtp.srtp import Index, Opener, Sealer
from rtp.suites import SUITES, Suite
from rtp.track import Track

Port = Literal["rtp", "rtcp"]
# RFC 7983 §7: what the first byte of a datagram says
DTLS: Final = range(20, 64)
RTP: Final = range(128, 192)

log = structlog.get_logger("media")


class Seal:
    """The keys of one port, once there are any."""

    def __init__(self, suite: Suite, send: bytes, receive: bytes) -> None:
        self.suite = suite
        self.send = send
        self.receive = receive
        self.sealer = Sealer(suite, send)
        self.opener = Opener(suite, receive)

    def renewed(self, suite: Suite, send: bytes, receive: bytes, now: float) -> "Seal":
        """Take other keys for either direction; a key that stays keeps its roll-over count and replay list."""
        new = Seal(suite, send, receive)
        if (suite, send) == (self.suite, self.send):
            new.sealer = self.sealer
        if (suite, receive) == (self.suite, self.receive):
            new.opener = self.opener
        else:
            new.opener.follow(self.opener, now)
        return new

    def carry(self) -> list[Any]:
        """Give keys and counts as plain data."""
        indexes = [self.sealer.index.snapshot(), self.opener.index.snapshot()]
        return [self.suite.name, self.send, self.receive, *indexes]

    @classmethod
    def resume(cls, packed: list[Any]) -> "Seal":
        """Make what `carry` gave."""
        name, send, receive, sent, received = packed
        seal = cls(SUITES[name], send, receive)
        seal.sealer.resume(Index.restore(sent))
        seal.opener.resume(seal.suite, receive, Index.restore(received))
        return seal


class Protection:
    """Encryption and demultiplexing of one track. Made with the first offer that asks for either."""

    def __init__(
        self, track: Track, reports: Reports, certificate: Certificate, around: Surroundings
    ) -> None:
        """It reads nothing before `configure`."""
        self._track = track
        self._reports = reports
        self._certificate = certificate
        self._around = around
        self._crypto: Sdes | Dtls | None = None
        self._mux = False
        self._seals: dict[Port, Seal] = {}
        self._associations: dict[Port, Association] = {}
        self._told: Address | None = None
        self._checks = {
            True: Limit(),
            False: Limit(),
        }  # of addresses the leg expects, and of all others together
        self._checks[True].permit(CHECKS)
        self._checks[False].permit(CHECKS_OF_OTHERS)
        self._done_elsewhere: set[Port] = set()  # whose handshake another process has done

    @property
    def active(self) -> bool:
        """Whether packets go through here."""
        return self._crypto is not None or self._mux

    def configure(self, stream: Stream | None, now: float) -> None:
        """Take what was negotiated; None: the medium was refused. To be called before the track's own `configure`."""
        crypto = stream.crypto if stream is not None else None
        mux = stream is not None and stream.mux
        if stream is None and self._crypto is not None:
            return  # a medium that rests keeps its keys: nothing is sent or believed meanwhile
        before, self._crypto = self._crypto, crypto
        self._mux = mux
        match crypto:
            case Sdes():
                self._associations.clear()
                self._take_keys("rtp", SUITES[crypto.suite], crypto.send, crypto.receive, now)
            case Dtls():
                assert stream is not None, "what is protected was negotiated"
                self._shake_hands(before, crypto, stream, now)
            case None:
                self._associations.clear()
                self._seals.clear()
        self._attach()

    def expire(self, now: float) -> None:
        """Repeat handshake datagrams that got no answer; every 100 ms or so."""
        for port, association in self._associations.items():
            association.expire(now)
            self._look(port, association, now)

    # --- to and from another process -----------------------------------------------------------------------------------

    @property
    def shaking_hands(self) -> bool:
        """Whether a handshake is under way, which nobody else could go on with."""
        return any(association.keys is None for association in self._associations.values())

    def carry(self) -> dict[str, Any]:
        """Give keys and counts as plain data, for nobody but the process that goes on with them."""
        return {
            "crypto": self._crypto,
            "mux": self._mux,
            "certificate": self._certificate.carry() if isinstance(self._crypto, Dtls) else None,
            "seals": {port: seal.carry() for port, seal in self._seals.items()},
        }

    def resume(self, data: dict[str, Any]) -> None:
        """Go on where `carry` was called; a handshake that was done is not done again."""
        self._crypto = msgspec.convert(data["crypto"], Sdes | Dtls | None)
        self._mux = data["mux"]
        self._seals = {port: Seal.resume(packed) for port, packed in data["seals"].items()}
        if isinstance(self._crypto, Dtls):
            self._done_elsewhere = set(self._seals)
        self._attach()

    # --- keys ------------------------------------------------------------------------------------------------------

    def _take_keys(self, port: Port, suite: Suite, send: bytes, receive: bytes, now: float) -> None:
        before = self._seals.get(port)
        if before is not None and (before.suite, before.send, before.receive) == (suite, send, receive):
            return
        new = Seal(suite, send, receive) if before is None else before.renewed(suite, send, receive, now)
        self._seals[port] = new
        if port == "rtp":
            by: Literal["sdes", "dtls"] = "sdes" if isinstance(self._crypto, Sdes) else "dtls"
            self._around.emit(Secured(self._track.leg, self._track.medium, suite.name, by))

    def _shake_hands(self, before: Sdes | Dtls | None, dtls: Dtls, stream: Stream, now: float) -> None:
        # RFC 8842 §4: another tls-id or fingerprint asks for another association; who would begin it plays no part.
        same = (
            isinstance(before, Dtls)
            and set(before.fingerprints) == set(dtls.fingerprints)
            and before.association == dtls.association
        )
        if not same:
            self._associations.clear()
            self._done_elsewhere.clear()
        unproven = dtls.active and stream.unproven  # no ClientHello to where a stranger points
        wanted: dict[Port, Address | None] = {"rtp": None if unproven else stream.remote}
        if not stream.mux:  # RFC 5764 §4.1: each port has an association of its own
            wanted["rtcp"] = None if unproven else stream.remote_rtcp
        for port in [port for port in self._associations if port not in wanted]:
            del self._associations[port]
        for port, address in wanted.items():
            if port in self._done_elsewhere:
                continue
            if port not in self._associations:
                self._associations[port] = Association(self._certificate, dtls, self._datagrams(port))
            self._associations[port].name(address, now)

    def _datagrams(self, port: Port) -> Callable[[bytes, Address], None]:
        sock = self._socket(port)

        def send(data: bytes, address: Address) -> None:
            try:
                sock.sendto(data, address)
            except OSError:
                self._track.sender.failed += 1

        return send

    def _socket(self, port: Port) -> socket.socket:
        pair = self._track.pair
        return pair.rtp if port == "rtp" else pair.rtcp

    def _attach(self) -> None:
        """Let packets come and go through here, or past."""
        active = self.active
        self._track.protect(
            self._read_rtp if active else None, self._wrap if self._crypto is not None else None
        )
        if not active:
            self._reports.protect(None, None, mux=False)
        elif self._crypto is None:
            self._reports.protect(self._read_rtcp, None, mux=self._mux)
        else:
            self._reports.protect(self._read_rtcp, self._seal_rtcp, mux=self._mux)

    # --- out -------------------------------------------------------------------------------------------------------

    def _wrap(self, onward: Transmit) -> Transmit:
        seal = self._seals.get("rtp")
        if seal is None:
            return _unsent  # no key yet: nothing leaves in the clear
        rtp = seal.sealer.rtp
        sender = self._track.sender

        def transmit(packet: bytes) -> int:
            sealed = rtp(packet)
            if sealed is None:
                sender.failed += 1
                return 0
            return len(packet) if onward(sealed) else 0

        return transmit

    def _seal_rtcp(self, data: bytes) -> bytes | None:
        seal = self._seals.get(self._rtcp_port)
        return None if seal is None else seal.sealer.rtcp(data)

    @property
    def _rtcp_port(self) -> Port:
        """Under which port the keys of RTCP are kept."""
        return "rtp" if self._mux or isinstance(self._crypto, Sdes) else "rtcp"

    # --- in --------------------------------------------------------------------------------------------------------

    def _read_rtp(self) -> None:
        self._read("rtp")

    def _read_rtcp(self) -> None:
        self._read("rtcp")

    def _read(self, port: Port) -> None:
        try:
            data, address = self._socket(port).recvfrom(DATAGRAM)
        except OSError:
            return
        source, now = (canonical(address[0]), address[1]), self._around.loop.now
        if port == "rtp":
            self._track.reckon(now)
        if self._crypto is not None and not self._may_be_checked(source, now):
            return
        first = data[0] if len(data) > 1 else 255
        if first in DTLS:
            self._handshake(port, data, source, now)
        elif first not in RTP:
            self._track.rejected += 1
        elif port == "rtcp" or (self._mux and data[1] in RTCP_TYPES):
            self._rtcp_arrived(data, source, now)
        else:
            self._rtp_arrived(data, source, now)

    def _may_be_checked(self, source: Address, now: float) -> bool:
        """Limit what is looked into at all: a forged packet costs as much as a genuine one (bars L9, S3)."""
        track = self._track
        expected = track.latch.trusts(source[0])
        if self._checks[expected].take(1, now):
            return True
        if expected:
            track.flooded += 1
        else:
            track.rejected += 1
            track.strangers.refused += 1
        return False

    def _rtp_arrived(self, data: bytes, source: Address, now: float) -> None:
        track = self._track
        if self._crypto is not None:
            seal = self._seals.get("rtp")
            clear = None if seal is None else seal.opener.rtp(data, now)
            if clear is None and seal is not None and track.latch.trusts(source[0]):
                clear = self._searched(seal.opener, data, now)
            if clear is None:
                self._not_genuine(source)
                return
            data = clear
        track.admit(data, source)

    def _searched(self, opener: Opener, data: bytes, now: float) -> bytes | None:
        """Open what may be the first packet since another process died that knew its roll-over count."""
        searches = self._around.searches
        if not opener.fresh or not searches.take(0, now):
            return None
        clear, tried = opener.search(data)
        searches.take(tried, now)
        return clear

    def _rtcp_arrived(self, data: bytes, source: Address, now: float) -> None:
        if self._crypto is not None:
            seal = self._seals.get(self._rtcp_port)
            clear = None if seal is None else seal.opener.rtcp(data, now)
            if clear is None:
                self._not_genuine(source)
                return
            data = clear
        self._reports.admit(data, source, now)

    def _not_genuine(self, source: Address) -> None:
        self._track.unauthentic += 1
        self._track.strangers.refused += not self._track.latch.trusts(source[0])

    def _handshake(self, port: Port, data: bytes, source: Address, now: float) -> None:
        association = self._associations.get(port)
        # Bar S2: DTLS is for the peer that owns the leg; a ClientHello of anybody else is not even looked at.
        if association is None or not self._track.latch.trusts(source[0]):
            self._track.rejected += 1
            self._track.strangers.refused += association is not None
            return
        association.receive(data, source, now)
        self._look(port, association, now)

    def _look(self, port: Port, association: Association, now: float) -> None:
        if association.mismatch is not None and self._told is None:
            self._told = association.mismatch
            log.error(
                "fingerprint_mismatch", leg=self._track.leg, medium=self._track.medium, source=self._told[0]
            )
            self._around.emit(
                SecurityFailed(self._track.leg, self._track.medium, "fingerprint", association.mismatch)
            )
        keys = association.keys
        if keys is None or association.mismatch is not None:
            return
        self._take_keys(port, keys.suite, keys.send, keys.receive, now)
        self._attach()


def _unsent(_packet: bytes) -> int:
    return 0
