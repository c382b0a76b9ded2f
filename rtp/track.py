"""One medium of a leg: its two sockets, who is believed on them, and where its packets go.

datagram ─▶ right source? ─▶ evidence ─▶ route by payload type ─▶ Sender.relay of the other leg
                                                            └──▶ transcoding, digits
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from rtp.control import (
    Address,
    Codec,
    Dtmf,
    Event,
    MediaLost,
    MediaStarted,
    Medium,
    PortPair,
    Stream,
    StreamReport,
)
from rtp.dtmf import Detector
from rtp.evidence import PacketWriter
from rtp.latch import QUIET_SECONDS, Latch, canonical
from rtp.loop import Loop
from rtp.mapping import EVENT, payload_map
from rtp.outstream import OutStream
from rtp.packet import FIELDS, HEADER_SIZE, RTCP_TYPES, PacketError, payload_of
from rtp.picture import PictureRequests, way
from rtp.ports import Pair, disconnect
from rtp.sender import Sender
from rtp.sequence import MAX_DROPOUT, forward16
from rtp.source import LEAPT, SAME, Source
from rtp.transcode import Transcoder

DATAGRAM: Final = 9216
"""Bytes read of one datagram: a jumbo frame; RTP keeps below 1,500."""
_time_ns: Final = time.time_ns
_fields: Final = FIELDS.unpack_from

log = structlog.get_logger("media")


Special = Callable[[bytes, int, int, float], None]
"""What happens to packets that are not simply relayed: (packet, sequence, timestamp, now)."""


@dataclass(slots=True)
class Route:
    """Where packets of one payload type go."""

    rate: int
    sender: Sender | None = None
    codec: Codec | None = None
    special: Special | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a track needs of the process around it."""

    loop: Loop
    emit: Callable[[Event], None]
    numbers: "itertools.count[int]"
    """Numbers for sources (see `outstream`), never used twice."""


class Track:
    """One medium of one leg."""

    def __init__(
        self, leg: str, medium: Medium, *, host: str, pair: Pair, out: OutStream, around: Surroundings
    ) -> None:
        """Begin to listen on both sockets; nothing is believed before `configure`."""
        self.leg = leg
        self.medium: Medium = medium
        self.pair = pair
        self.local: Address = (host, pair.port)
        self.local_rtcp: Address = (host, pair.port + 1)
        self.stream: Stream | None = None
        self.sender = Sender(pair.rtp, self.local, out, audio=medium == "audio")
        self.source = Source()
        self.latch = Latch()
        self.remote: Address | None = None
        """Whom we believe, else where the peer said it is."""
        self.evidence: PacketWriter | None = None
        """For what is received; what is sent has its own in `sender`."""
        self.destination: Track | None = None
        self.fed_by: Track | None = None
        self.pictures = PictureRequests()
        self.rejected = 0
        self.heard = float("-inf")
        """Monotonic seconds of the newest packet believed."""
        self._around = around
        self._loop = around.loop
        self._fd = pair.rtp.fileno()
        self._recv = pair.rtp.recv
        self._connected = False
        self._named: Address | None = None
        self._flowing = False
        self._expected_since: float | None = None
        self._lost_at: float | None = None
        self._gaps = 0
        self._number = next(around.numbers)
        self._detector = Detector()
        self._routes: list[Route | None] = [None] * 128
        self._dropped: frozenset[str] = frozenset()
        self._loop.add(self._fd, self._read_open, f"{leg}.{medium}")

    @property
    def ports(self) -> PortPair:
        """Our two ports."""
        return PortPair(self.medium, self.pair.port, self.pair.port + 1)

    # --- signalling ------------------------------------------------------------------------------------------------

    def configure(self, stream: Stream | None, sources: frozenset[str], now: float) -> None:
        """Take what was negotiated; None: this medium was refused. `sources`: expected IPs, canonical."""
        named = stream.remote if stream else None
        moved = named is not None and self._named is not None and named != self._named
        receiving = stream is not None and stream.receiving
        given_up = self.latch.configure(
            sources if stream else frozenset(), receiving=receiving, moved=moved, now=now
        )
        if given_up and self._connected:
            self._open()
        self._named = named or self._named
        if self.latch.latched is None:
            self.remote = named
        if not receiving:
            self._expected_since = None
        elif self._expected_since is None:
            self._expected_since = now
        self.stream = stream
        self.sender.configure(stream)
        self.sender.target(self.remote, connected=self._connected)
        self.wire(self.destination if stream else None, now)

    def wire(self, destination: "Track | None", now: float) -> None:
        """Send packets of this track to another one's peer; None: to nobody."""
        before = self.destination
        if before is not destination:
            if before is not None and before.fed_by is self:
                before.fed_by = None
                before.sender.out.part()
            if destination is not None:
                destination.fed_by = self
                destination.sender.out.part()
        self.destination = destination
        self._routes = [None] * 128
        receive = self.stream.receive if self.stream else ()
        accepted = destination.stream.send if destination is not None and destination.stream else ()
        dropped = set()
        for payload_type, mapped in payload_map(receive, accepted, self.medium).items():
            route = self._routes[payload_type] = Route(mapped.source.clock_rate)
            if destination is not None and mapped.destination is not None:
                route.sender, route.codec = destination.sender, mapped.destination
            if mapped.source.name == EVENT:
                route.special = self._digits(route)
            elif mapped.transcode and route.sender is not None and mapped.destination is not None:
                number = next(self._around.numbers)
                route.special = Transcoding(mapped.source, mapped.destination, route.sender, number).push
            elif route.sender is None and destination is not None and destination.stream is not None:
                dropped.add(mapped.source.name)
        if dropped - self._dropped:
            log.warning("codec_not_shared", leg=self.leg, medium=self.medium, codecs=sorted(dropped))
        self._dropped = frozenset(dropped)
        if destination is not None and before is not destination and self.medium == "video":
            self.want_picture(now)

    def want_picture(self, now: float) -> None:
        """Ask the peer for a key frame, at most once a second; a peer that sent nothing yet begins with one."""
        if self.source.ssrc >= 0 and self.pictures.want(now):
            self.ask_picture()

    ask_picture: Callable[[], None]
    """Set by the owner: it knows RTCP and signalling."""

    def picture_way(self) -> str:
        """How this peer is asked for a key frame."""
        return way(self.stream.feedback if self.stream else ())

    # --- packets ---------------------------------------------------------------------------------------------------

    def _read_connected(self) -> None:
        try:
            data = self._recv(DATAGRAM)
        except OSError:
            return  # nothing there after all, or the peer's system says that nobody listens there (ICMP)
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Every packet of the believed source."""
        loop = self._loop
        now = loop.now
        self.heard = now
        evidence = self.evidence
        if evidence is not None and self.remote is not None:
            evidence(_time_ns(), self.remote, self.local, data)
        if len(data) < HEADER_SIZE or data[0] & 0xC0 != 0x80:
            self.rejected += 1
            return
        route = self._routes[data[1] & 0x7F]
        if route is None:
            # RFC 3550 §5.1: "A receiver MUST ignore packets with payload types that it does not understand."
            self.rejected += 1
            return
        sequence, timestamp, ssrc = _fields(data)
        verdict = self.source.receive(ssrc, sequence, timestamp, route.rate, now)
        if verdict != SAME:
            if verdict == LEAPT:
                self.rejected += 1
                return
            self._number = next(self._around.numbers)
            self._detector.reset()
        if route.special is not None:
            route.special(data, sequence, timestamp, now)
        elif route.sender is not None and route.codec is not None:
            route.sender.relay(self._number, data, route.codec, sequence, timestamp, now)

    def _read_open(self) -> None:
        """One datagram while the socket is open to all."""
        try:
            data, address = self.pair.rtp.recvfrom(DATAGRAM)
        except OSError:
            return
        if not self._judge(data, (canonical(address[0]), address[1])):
            return
        if self._connected:
            # What waited in the socket before it was connected may be anybody's.
            while True:
                try:
                    data, address = self.pair.rtp.recvfrom(DATAGRAM)
                except OSError:
                    return
                self._judge(data, (canonical(address[0]), address[1]))

    def _judge(self, data: bytes, source: Address) -> bool:
        now = self._loop.now
        if (
            len(data) < HEADER_SIZE
            or data[0] & 0xC0 != 0x80
            or data[1] in RTCP_TYPES
            or self._routes[data[1] & 0x7F] is None
        ):
            self.rejected += 1
            return False
        sequence, _, ssrc = _fields(data)
        if not self.latch.receive(source, ssrc, sequence, now):
            self.rejected += 1
            return False
        if not self._connected or source != self.remote:
            self._believe(source)
        self._take(data)
        self.latch.heard(ssrc, sequence, now)
        return True

    def _believe(self, source: Address) -> None:
        if source != self.remote:
            log.info("media_source", leg=self.leg, medium=self.medium, source=f"{source[0]}:{source[1]}")
        self.remote = source
        try:
            self.pair.rtp.connect(source)
        except OSError as error:  # no route to it: stay open and go on judging packet by packet
            log.warning("media_source_unreachable", leg=self.leg, source=source[0], error=str(error))
        else:
            self._connected = True
            self._loop.replace(self._fd, self._read_connected)
        self.sender.target(source, connected=self._connected)
        if not self._flowing:
            self._flowing = True
            self._lost_at = None
            self._around.emit(MediaStarted(self.leg, self.medium, _time_ns()))

    def _open(self) -> None:
        """Hear all sources again."""
        disconnect(self.pair.rtp)
        self._connected = False
        self._loop.replace(self._fd, self._read_open)
        if self.source.ssrc >= 0:
            self.latch.heard(self.source.ssrc, self.source.highest, self.heard)
        self.sender.target(self.remote, connected=False)

    # --- now and then ----------------------------------------------------------------------------------------------

    def sweep(self, now: float, loss_seconds: float) -> None:
        """Notice what did not happen; every 100 ms or so."""
        if self._connected and now - self.heard > QUIET_SECONDS:
            self._open()
        if self._expected_since is not None:
            silence = now - max(self.heard, self._expected_since)
            since_told = now - self._lost_at if self._lost_at is not None else silence
            if silence >= loss_seconds and since_told >= loss_seconds:
                self._lost_at = now
                self._flowing = False
                self._around.emit(MediaLost(self.leg, self.medium, round(silence, 3)))
        if self.medium == "video" and self.destination is not None:
            if self.source.gaps != self._gaps:
                self.want_picture(now)
            elif self.pictures.expire(now):
                self.ask_picture()
        self._gaps = self.source.gaps

    def report(self, *, rejected_rtcp: int, round_trip: float | None) -> StreamReport:
        """Counts so far; `round_trip` in seconds."""
        return StreamReport(
            medium=self.medium,
            received=self.source.received,
            lost=self.source.lost,
            jitter_ms=round(self.source.jitter_ms, 3),
            sent=self.sender.packets,
            rejected=self.rejected + rejected_rtcp,
            round_trip_ms=None if round_trip is None else round(round_trip * 1000, 3),
        )

    def end(self) -> None:
        """Part from the others; the sockets are the owner's to drain and close."""
        if self.fed_by is not None:
            self.fed_by.wire(None, self._loop.now)
        self.wire(None, self._loop.now)
        self.evidence = self.sender.evidence = None

    def _digits(self, route: Route) -> Special:
        """Tell each digit once and pass its packets on."""

        def push(data: bytes, sequence: int, timestamp: int, now: float) -> None:
            if route.sender is not None and route.codec is not None:
                route.sender.relay(self._number, data, route.codec, sequence, timestamp, now)
            try:
                digit = self._detector.push(payload_of(data), timestamp)
            except PacketError:
                self.rejected += 1
                return
            if digit is not None:
                self._around.emit(Dtmf(self.leg, digit))

        return push


class Transcoding:
    """Packets of one source on their way into another codec."""

    def __init__(self, source: Codec, destination: Codec, sender: Sender, number: int) -> None:
        """`number`: this transcoding as a source of the sender."""
        self._transcoder = Transcoder(source, destination)
        self._codec = destination
        self._sender = sender
        self._number = number
        self._step = destination.clock_rate // 50
        self._last: int | None = None

    def push(self, data: bytes, sequence: int, _timestamp: int, now: float) -> None:
        """Take one packet; what comes out goes to the sender. What its source lost stays missing in what is sent."""
        steps = forward16(self._last, sequence) if self._last is not None else 1
        if steps == 0 or steps > 0xFFFF - MAX_DROPOUT:
            return  # repeated or late: a decoder needs order
        self._last = sequence
        if not self._sender.relay_open:
            return
        try:
            payload = payload_of(data)
        except PacketError:
            return
        if 1 < steps <= MAX_DROPOUT and self._sender.out.source == self._number:
            self._sender.out.skip(steps - 1, (steps - 1) * self._step)
        for frame in self._transcoder.push(payload):
            self._sender.made(self._number, self._codec, frame, self._step, now)
