"""One medium of a leg: its two sockets, who is believed on them, and where its packets go.

datagram ─▶ right source? ─▶ evidence ─▶ route by payload type ─▶ Sender.relay of the other leg
                                                            └──▶ transcoding, digits
"""

import time
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

import structlog

from rtp.audience import Audience
from rtp.awaited import Asking
from rtp.call_evidence import PacketWriter
from rtp.carried import Carried
from rtp.control import Address, Dtmf, MediaLost, MediaStarted, Medium, PortPair, Stream
from rtp.dtmf import Detector
from rtp.flood import BURST_SECONDS, LEAST, WAITED_SECONDS, seconds_per_byte
from rtp.gop import Group
from rtp.latch import QUIET_SECONDS, Latch, canonical
from rtp.loop import Handler
from rtp.mapping import EVENT, payload_map, with_noise
from rtp.noise import NAME
from rtp.outstream import Numbering
from rtp.overrun import Overrun
from rtp.packet import HEADER, HEADER_SIZE, RTCP_TYPES
from rtp.picture import PictureRequests
from rtp.ports import Pair, disconnect
from rtp.presence import Presence
from rtp.road import DATAGRAM, Travelled, travel
from rtp.route import NO_HEADS, Route, Surroundings, heads, straight
from rtp.sender import Sender, Wrap
from rtp.sequence import ticks
from rtp.source import LEAPT, SAME, Counting, Source
from rtp.special import Digits, bounded, pauses, transcoding
from rtp.strangers import Strangers
from rtp.unheard import Unheard

_time_ns: Final = time.time_ns
_unpack: Final = HEADER.unpack_from

log = structlog.get_logger("media")


class Track(Travelled, Asking, Unheard, Carried):
    """One medium of one leg."""

    # Slots, because a packet finds its track cold in the cache: each dictionary less is a microsecond less. What it looks at is in `Travelled`.
    __slots__ = (
        "_around", "_believed", "_connected", "_detector", "_dropped", "_fd", "_gaps", "_laid", "_loop", "_named",
        "_presence", "_read_at", "_routes",
        "_unheard", "ask_picture", "audience", "destination", "fed_by", "flood_stated", "flooded", "group",
        "latch", "leg", "local", "local_rtcp", "medium", "overrun", "pair", "pictures", "reader", "rejected", "remote", "sender",
        "strangers", "stream", "unauthentic",
    )  # fmt: skip
    SOURCE: ClassVar[type[Counting]] = Source
    """Whose counters; the native engine has its own."""

    def __init__(
        self, leg: str, medium: Medium, *, host: str, pair: Pair, out: Numbering, around: Surroundings
    ) -> None:
        """Begin to listen on both sockets; nothing is believed before `configure`."""
        self.leg = leg
        self.medium: Medium = medium
        self.pair = pair
        self.local: Address = (host, pair.port)
        self.local_rtcp: Address = (host, pair.port + 1)
        self.stream: Stream | None = None
        self.sender = self._make_sender(out)
        self.source = self.SOURCE()
        self.latch = Latch()
        self.remote: Address | None = None
        """Whom we believe, else where the peer said it is."""
        self.evidence: PacketWriter | None = None  # for what is received; `sender` has its own
        self.destination: Track | None = None
        self.fed_by: Track | None = None
        self.audience: Audience | None = None
        self.pictures = PictureRequests()
        self.group = Group()
        self.ask_picture: Callable[[], None]
        """Set by the owner: it knows RTCP and signalling."""
        self.rejected = self.taken = 0  # packets not believed, bytes believed
        self.strangers = Strangers()  # who else sends to this port
        self.overrun = Overrun(pair.rtp)  # what came and was never read
        self.unauthentic = 0  # packets of an encrypted peer that were not genuine, or came twice
        self.reader: Handler | None = None  # reads the RTP socket in our place (see `protection`)
        self.flooded = self.flood_stated = 0  # of the believed source, above the permitted rate (see `flood`)
        self.heard = float("-inf")  # monotonic seconds of the newest packet believed
        self._around = around
        self._loop = around.loop
        self._fd = pair.rtp.fileno()
        self._socket = pair.rtp
        self._connected = False
        self._believed: Address = ("", 0)
        self._named: Address | None = None
        self._presence = Presence()
        self._gaps = 0
        self._permitted_until = self._seconds_per_byte = 0.0
        self._read_at = float("-inf")  # when `admit` was given something, believed or not
        self._number = next(around.numbers)
        self._unheard: tuple[bytes, int, int] | None = None  # the newest packet that went to nobody
        self._detector = Detector()
        self._routes: list[Route | None] = [None] * 128
        self._laid: object = None  # what decided on them
        # If the newest packet was relayed as it is (see `road`): with which heads those like it arrive and leave, and who sends them.
        self._heads: Mapping[int, int] = NO_HEADS
        self._hearer = self.sender
        self._dropped: frozenset[str] = frozenset()
        self._loop.add(self._fd, self._read_open, f"{leg}.{medium}")

    @property
    def plain(self) -> bool:
        """What arrives is RTP as it stands, which the native engine may read and relay."""
        return self.reader is None

    def _make_sender(self, out: Numbering) -> Sender:
        return Sender(self.pair.rtp, self.local, out, audio=self.medium == "audio")

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
        expected = (canonical(named[0]), named[1]) if named else None
        self.latch.held = stream is not None and not stream.sending and self.medium == "audio"
        given_up = self.latch.configure(
            sources if stream else frozenset(), receiving=receiving, moved=moved, now=now, named=expected
        )
        if given_up and self._connected:
            self._open()
        self._named = named or self._named
        if self.latch.latched is None:
            self.remote = None if stream is not None and stream.unproven else named
        self._presence.expect(receiving=receiving, now=now)
        self.stream = stream
        self._seconds_per_byte = seconds_per_byte(stream)
        self.sender.configure(stream)
        self.aim()
        self.wire(self.destination if stream else None, now)

    def protect(self, reader: Handler | None, wrap: Wrap | None) -> None:
        """Let `reader` have the RTP socket, and `wrap` have the last hand on what is sent; None: nobody."""
        self.reader = reader
        self._listen()
        self.sender.protect(wrap)

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
        laid = (
            destination,
            self.stream,
            destination.stream if destination is not None else None,
            self.audience,
        )
        if laid == self._laid:
            return
        self._laid = laid
        self._lay(destination)
        if destination is not None and before is not destination and self.medium == "video":
            self.want_picture(now)

    def _lay(self, destination: "Track | None") -> None:
        """Lay a route for each payload type the peer may send."""
        self._routes = [None] * 128
        self._heads, self._hearer = NO_HEADS, self.sender
        receive = with_noise(self.stream.receive if self.stream else (), self.medium)
        accepted = destination.stream.send if destination is not None and destination.stream else ()
        sender = destination.sender if destination is not None else None
        missed: set[str] = set()
        bound = destination.stream.max_ptime if destination is not None and destination.stream else None
        for payload_type, mapped in payload_map(receive, accepted, self.medium, bound).items():
            route = self._routes[payload_type] = straight(mapped, sender)
            if mapped.source.name == EVENT:
                route.special = Digits(route, self._detector, self._own_number, self._digit).push
            elif mapped.source.name == NAME:
                route.special = pauses(self._routes, receive, self._own_number, self._presence.pause)
            elif mapped.transcode and route.sender is not None:
                route.special = transcoding(mapped, route.sender, self._around, self.sender)
            elif route.sender is None and accepted:
                missed.add(mapped.source.name)
            elif (
                bound is not None
                and destination is not None
                and destination.stream
                and self.medium == "audio"
            ):
                route.special = bounded(
                    route, self._own_number, destination.stream, self._around, self.sender
                )
        if self.audience is not None:
            self.audience.attend(self, self._routes, receive, self._own_number)
        if missed - self._dropped:
            log.warning("codec_not_shared", leg=self.leg, medium=self.medium, codecs=sorted(missed))
        self._dropped = frozenset(missed)
        self._watch()

    def _own_number(self) -> int:
        return self._number

    def _digit(self, digit: str) -> None:
        self._around.emit(Dtmf(self.leg, digit))

    # --- packets ---------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Have the RTP socket read by whom it is for; once it is connected, what comes is the believed source's (`road`)."""
        self._loop.replace(self._fd, self.reader or self._read_open)
        if self._connected and self.reader is None:
            self._loop.join(self._fd, self, travel)

    def _take(self, data: bytes) -> None:
        """Take one datagram of the believed source, of whatever shape."""
        now = self.heard = self._loop.now
        self.taken += len(data)
        if self.evidence is not None:
            self.evidence(_time_ns(), self._believed, self.local, data)
        route = self._routes[data[1] & 0x7F] if len(data) >= HEADER_SIZE and data[0] & 0xC0 == 0x80 else None
        if route is None:
            # RFC 3550 §5.1: "A receiver MUST ignore packets with payload types that it does not understand."
            self.rejected += 1
            return
        _, _, sequence, timestamp, ssrc = _unpack(data)
        self._route(route, data, sequence, timestamp, ssrc, now)

    def _route(  # noqa: PLR0917  # keywords cost on the packet road
        self, route: Route, data: bytes, sequence: int, timestamp: int, ssrc: int, now: float
    ) -> None:
        """Count a packet and send it where its payload type goes."""
        self._heads = NO_HEADS
        arrival = ticks(now, route.rate)
        verdict = self.source.receive(ssrc, sequence, timestamp, route.rate, arrival)
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
            self._hearer = route.sender
            self._heads = heads(data[1] & 0x7F, route.payload_type)
        elif self.medium == "audio":
            self._unheard = (data, sequence, timestamp)
        elif self.group.push(route.name, data, sequence, timestamp):
            self.want_picture(now)
        elif self.group.begun:
            self.pictures.answered()

    def _read_open(self) -> None:
        """One datagram while the socket is open to all; once it is connected all that waited, which may be anybody's."""
        while True:
            try:
                data, address = self.pair.rtp.recvfrom(DATAGRAM)
            except OSError:
                return
            self.admit(data, (canonical(address[0]), address[1]))
            if not self._connected:
                return

    def admit(self, data: bytes, source: Address) -> bool:
        """Judge a packet of an open socket, or one that `reader` found genuine. `source`: IP in canonical spelling."""
        now = self._loop.now
        self.reckon(now)
        if (
            len(data) < HEADER_SIZE
            or data[0] & 0xC0 != 0x80
            or data[1] in RTCP_TYPES
            or self._routes[data[1] & 0x7F] is None
        ):
            self.rejected += 1
            self.strangers.refused += not self.latch.trusts(source[0])
            return False
        _, _, sequence, _, ssrc = _unpack(data)
        if not self.latch.receive(source, ssrc, sequence, now):
            self.rejected += 1
            self.strangers.refused += 1
            return False
        if not self._connected or source != self.remote:
            self._believe(source)
        if self._permits(len(data), now):
            self._take(data)
        else:
            self.heard = now
            self.flooded += 1
        self.latch.heard(ssrc, sequence, now)
        return True

    def _permits(self, size: int, now: float) -> bool:
        """Whether the peer may send this much now (bar L9); it is counted then. As in `road`, behind `reckon`."""
        if self._permitted_until > now + BURST_SECONDS:
            return False
        self._permitted_until += max(size, LEAST) * self._seconds_per_byte
        return True

    def reckon(self, now: float) -> None:
        """Take note that the socket is read, by whomever: count the time since the socket was empty, if it is known when it was; else what was not sent in the last `WAITED_SECONDS`."""
        loop = self._loop
        since = loop.vacant if max(self.heard, self._read_at) < loop.looked else now - WAITED_SECONDS
        self._permitted_until = max(self._permitted_until, since)
        self._read_at = now

    def _believe(self, source: Address) -> None:
        if source != self.remote:
            log.info("media_source", leg=self.leg, medium=self.medium, source=f"{source[0]}:{source[1]}")
        self.remote = self._believed = source
        try:
            self.pair.rtp.connect(source)
        except OSError as error:  # no route to it: stay open and go on judging packet by packet
            log.warning("media_source_unreachable", leg=self.leg, source=source[0], error=str(error))
        else:
            self._connected = True
            self.strangers.shut_out(self.pair.rtp)
            self._listen()
        self.aim()
        if self._presence.began():
            self._around.emit(MediaStarted(self.leg, self.medium, _time_ns()))

    def _open(self) -> None:
        """Hear all sources again."""
        self.strangers.let_in()
        disconnect(self.pair.rtp)
        self._connected = False
        self._listen()
        if self.source.ssrc >= 0:
            self.latch.heard(self.source.ssrc, self.source.highest, self.heard)
        self.aim()

    # --- now and then ----------------------------------------------------------------------------------------------

    def calm(self, now: float, quiet: float) -> bool:
        """Whether a sweep has nothing to do here: what was heard is no older than `quiet` seconds, and nothing is amiss."""
        return (
            self._connected
            and self.reader is None
            and now - self.heard <= quiet
            and self.flooded == self.flood_stated
            and (self.medium == "audio" or (self.source.gaps == self._gaps and not self.pictures.wanted))
        )

    def sweep(self, now: float, loss_seconds: float, *, late: float = 0.0, sign: float | None = None) -> None:
        """Notice what did not happen; every 100 ms or so, or `late` seconds later, in which nothing was read. `sign`: of RTCP."""
        if self._connected and now - self.heard > QUIET_SECONDS + late:
            self._open()
        silence = self._presence.missed(self.heard, now, loss_seconds, late=late, sign=sign)
        if silence is not None:
            self._around.emit(MediaLost(self.leg, self.medium, silence))
        if self.medium == "video":
            if self.destination is not None and self.source.gaps != self._gaps:
                self.want_picture(now)
            elif self.pictures.expire(now):
                self._ask()
        self._gaps = self.source.gaps

    def end(self) -> None:
        """Part from the others; the sockets are the owner's to drain and close."""
        self.strangers.let_in()
        if self.fed_by is not None:
            self.fed_by.wire(None, self._loop.now)
        self.audience = None
        self.wire(None, self._loop.now)
        self.evidence = self.sender.evidence = None
