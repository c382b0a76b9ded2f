"""RTCP of one track: our reports out, the peer's reports and wishes in (RFC 3550 §6, RFC 4585, RFC 5104).

The port is open to all; an address is believed by the latch of the RTP port beside it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rtp.control import Address
from rtp.flood import Limit
from rtp.latch import canonical
from rtp.quality import Meter
from rtp.road import DATAGRAM
from rtp.rtcp import (
    Bye,
    Description,
    FullIntra,
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    encode,
    ntp_middle,
    ntp_time,
    parse,
)
from rtp.track import Track

CARRIED: Final = ("_last_sr", "_last_sr_at", "_learned", "_left", "heard", "rejected", "round_trip")
_time_ns: Final = time.time_ns


@dataclass(frozen=True, slots=True)
class Far:
    """What the peer says of what it is sent."""

    loss: float
    """Since its report before, 0…1."""
    jitter_ms: float


class Reports:
    """Sends and reads the RTCP of one track."""

    def __init__(self, track: Track, cname: str, on_picture_wanted: Callable[[float], None]) -> None:
        """`on_picture_wanted(now)`: the peer can't show the picture it is sent."""
        self._track = track
        self._socket = track.pair.rtcp
        self._cname = cname
        self._on_picture_wanted = on_picture_wanted
        self._reader: Callable[[], None] | None = None
        self._seal: Callable[[bytes], bytes | None] | None = None
        self._mux = False
        self._learned: Address | None = None
        self._last_sr = 0
        self._last_sr_at = 0.0
        self.rejected = 0
        """Packets from a wrong source or of no RTCP shape."""
        self.limit = Limit()
        """What the peer may send; its rate is set by whoever configures the track."""
        self.heard: float | None = None
        """When the peer's last RTCP came."""
        self.round_trip: float | None = None
        """Seconds, from the newest report of the peer about us."""
        self.far: Far | None = None
        self.meter = Meter()
        self._left: tuple[int, int] | None = None  # SSRC that said BYE, and how much of it had come

    def read(self, now: float) -> None:
        """Read one datagram."""
        if self._reader is not None:
            self._reader()
            return
        try:
            data, address = self._socket.recvfrom(DATAGRAM)
        except OSError:
            return
        self.admit(data, (canonical(address[0]), address[1]), now)

    def protect(
        self, reader: Callable[[], None] | None, seal: Callable[[bytes], bytes | None] | None, *, mux: bool
    ) -> None:
        """Let `reader` have the RTCP socket and `seal` encrypt what is sent; None: nobody. `mux`: over the RTP port."""
        self._reader = reader
        self._seal = seal
        self._mux = mux

    def admit(self, data: bytes, source: Address, now: float) -> None:
        """Take one datagram; `source` with its IP in canonical spelling."""
        if not self._track.latch.trusts(source[0]):
            self.rejected += 1
            self._track.strangers.refused += 1
            return
        if not self.limit.datagram(data, now):
            self._track.flooded += 1
            return
        evidence = self._track.evidence
        if evidence is not None:
            evidence(_time_ns(), source, self._local, data)
        try:
            packets = parse(data)
        except RtcpError:
            self.rejected += 1
            return
        self._learned = source
        self.heard = now
        for packet in packets:
            self._receive(packet, now)

    def _receive(self, packet: RtcpPacket, now: float) -> None:
        match packet:
            case SenderReport(ssrc=ssrc, ntp=ntp, blocks=blocks):
                if ssrc == self._track.source.ssrc:
                    self._last_sr = ntp_middle(ntp)
                    self._last_sr_at = now
                self._read_blocks(blocks)
            case ReceiverReport(blocks=blocks):
                self._read_blocks(blocks)
            case Bye(ssrcs) if self._track.source.ssrc in ssrcs:
                self._left = (self._track.source.ssrc, self._track.source.count)
            case PictureLoss() | FullIntra():
                self._on_picture_wanted(now)
            case Nack(media=media, sequences=sequences) if self._track.medium == "video":
                if media == self._track.sender.out.ssrc:
                    self._track.sender.repeat(sequences, now)
            case _:
                pass

    def _read_blocks(self, blocks: tuple[ReportBlock, ...]) -> None:
        for block in blocks:
            if block.ssrc != self._track.sender.out.ssrc:
                continue
            rate = self._track.sender.out.rate
            self.far = Far(block.fraction_lost / 256, block.jitter * 1000 / rate if rate else 0.0)
            if block.last_sr:
                # RFC 3550 §6.4.1: round trip = A − LSR − DLSR, in 1/65536 s.
                arrived = ntp_middle(ntp_time(_time_ns()))
                trip = (arrived - block.last_sr - block.delay) & 0xFFFF_FFFF
                if trip < 1 << 31:  # below zero: two clocks that disagree by more than the trip
                    self.round_trip = trip / 65536

    @property
    def ended(self) -> bool:
        """The peer has said BYE to the stream we last heard, and sent nothing of it since (RFC 3550 §6.6)."""
        source = self._track.source
        return self._left is not None and self._left == (source.ssrc, source.count)

    def carry(self) -> dict[str, Any]:
        """Give what another process needs to go on, as plain data."""
        far = None if self.far is None else [self.far.loss, self.far.jitter_ms]
        return {**{name: getattr(self, name) for name in CARRIED}, "far": far, "meter": self.meter.snapshot()}

    def resume(self, data: dict[str, Any]) -> None:
        """Go on where `carry` was called."""
        for name in CARRIED:
            setattr(self, name, data[name])
        self._learned = tuple(data["_learned"]) if data["_learned"] else None
        self._left = tuple(data["_left"]) if data["_left"] else None
        self.far = Far(*data["far"]) if data["far"] else None
        self.meter = Meter.restore(data["meter"])

    # --- out -------------------------------------------------------------------------------------------------------

    def send(self, now: float) -> None:
        """Send a report: SR once something was sent, RR before."""
        self._send(self._report(now))

    def request_picture(self, now: float, *, way: str) -> None:
        """Ask the peer for a key frame by RTCP: `way` is "pli" or "fir"."""
        media = self._track.source.ssrc
        ours = self._track.sender.out.ssrc
        number = self._track.pictures.fir_number() if way == "fir" else 0
        wish = FullIntra(ours, ((media, number),)) if way == "fir" else PictureLoss(ours, media)
        self._send((*self._report(now), wish))

    def bye(self, now: float) -> None:
        """Say that our stream ends."""
        self._send((*self._report(now), Bye((self._track.sender.out.ssrc,))))

    def _report(self, now: float) -> tuple[RtcpPacket, ...]:
        track = self._track
        ours = track.sender.out.ssrc
        delay = min(0xFFFF_FFFF, int((now - self._last_sr_at) * 65536)) if self._last_sr else 0
        # RFC 3550 §6.4.1: a report has a block for each source heard since the last one; who said goodbye is none.
        block = None if self.ended else track.source.report(self._last_sr, delay)
        blocks = (block,) if block is not None else ()
        report: RtcpPacket
        if track.sender.packets:
            ntp = ntp_time(_time_ns())
            rtp = track.sender.out.timestamp_at(now)
            report = SenderReport(ours, ntp, rtp, track.sender.packets, track.sender.octets, blocks)
        else:
            report = ReceiverReport(ours, blocks)
        return report, Description(((ours, self._cname),))

    def _address(self) -> Address | None:
        """Where the peer takes RTCP: where it sends it from, where it said, or beside its latched RTP port."""
        track = self._track
        if track.stream is not None and track.stream.asymmetric:
            return track.stream.remote_rtcp
        if self._mux:
            return track.remote
        if self._learned is not None and track.latch.trusts(self._learned[0]):
            return self._learned
        named = track.stream.remote_rtcp if track.stream else None
        latched = track.latch.latched
        if latched is None and track.stream is not None and track.stream.unproven:
            return None
        if latched is None or (named is not None and named[0] == latched[0]):
            return named
        return (latched[0], latched[1] + 1) if latched[1] < 65535 else None

    @property
    def _local(self) -> Address:
        return self._track.local if self._mux else self._track.local_rtcp

    def _send(self, packets: tuple[RtcpPacket, ...]) -> None:
        address = self._address()
        if address is None or self._track.stream is None:
            return
        data = encode(packets)
        sealed = data if self._seal is None else self._seal(data)
        if sealed is None:
            return  # no key yet
        try:
            (self._track.pair.rtp if self._mux else self._socket).sendto(sealed, address)
        except OSError:
            self._track.sender.failed += 1
            return
        evidence = self._track.sender.evidence
        if evidence is not None:
            evidence(_time_ns(), self._local, address, data)
