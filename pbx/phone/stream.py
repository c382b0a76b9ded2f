"""The two media of a scripted phone without a socket: packets out by the clock, packets in to the ear and the eye.

negotiated `Stream` ─▶ configure; make() ─▶ RTP to send; receive(packet, now) ─▶ what was heard and seen
"""

from collections.abc import Sequence

from pbx.phone.picture import PICTURES_PER_SECOND, draw
from pbx.phone.sound import Ear, Tone
from pbx.phone.video import CLOCK_RATE, PictureDecoder, PictureEncoder, packetize
from recordings.depacketize import AccessUnit, H264Depacketizer
from rtp import dtmf
from rtp.codecs import SPOKEN, CodecError, Decoder, Encoder, frame_samples, samples_per_frame, sampling_rate
from rtp.control import Codec, Stream
from rtp.packet import Packet, PacketError, parse
from rtp.sequence import MASK16, MASK32, forward16, newer16, ticks
from rtp.source import Source


class Outgoing:
    """The RTP stream we send: one SSRC from the first packet to the last."""

    def __init__(self, ssrc: int, sequence: int, timestamp: int) -> None:
        """All three are random (RFC 3550 §5.1)."""
        self.ssrc = ssrc
        self.packets = 0
        self.octets = 0
        """Of payload, as a sender report counts them (RFC 3550 §6.4.1)."""
        self.timestamp = timestamp
        self._sequence = sequence

    def packet(self, payload_type: int, payload: bytes, *, marker: bool = False) -> bytes:
        """One packet at the present timestamp."""
        made = Packet(payload_type, self._sequence, self.timestamp, self.ssrc, payload, marker).encode()
        self._sequence = (self._sequence + 1) & MASK16
        self.packets += 1
        self.octets += len(payload)
        return made

    def advance(self, units: int) -> None:
        """Let time pass, whether or not something is sent."""
        self.timestamp = (self.timestamp + units) & MASK32


class Medium:
    """What sound and picture share: the negotiated stream, what we send, statistics of what comes."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.source = Source()
        self.stream: Stream | None = None
        self.malformed = 0
        """Datagrams that are no RTP of this stream."""
        self.first_packet: float | None = None
        """Monotonic seconds."""

    def configure(self, stream: Stream | None) -> None:
        """Take what was negotiated; None: the peer refused this medium."""
        self.stream = stream

    @property
    def sending(self) -> bool:
        """Whether we may send now and know where to."""
        return self.stream is not None and self.stream.sending and self.stream.remote is not None

    def _arrived(self, data: bytes, now: float) -> tuple[Packet, Codec] | None:
        try:
            packet = parse(data)
        except PacketError:
            self.malformed += 1
            return None
        known = () if self.stream is None else self.stream.receive
        codec = next((c for c in known if c.payload_type == packet.payload_type), None)
        if codec is None:
            self.malformed += 1
            return None
        if self.first_packet is None:
            self.first_packet = now
        arrival = ticks(now, codec.clock_rate)
        self.source.receive(packet.ssrc, packet.sequence, packet.timestamp, codec.clock_rate, arrival)
        return packet, codec


class Sound(Medium):
    """A tone out, an ear in."""

    def __init__(self, hz: float, outgoing: Outgoing) -> None:
        super().__init__(outgoing)
        self.ear = Ear()
        self.digits = ""
        """Heard as RTP events."""
        self._hz = hz
        self._codec: Codec | None = None
        self._encoder: Encoder | None = None
        self._tone: Tone | None = None
        self._decoder: Decoder | None = None
        self._detector = dtmf.Detector()
        self._talking = False

    def configure(self, stream: Stream | None) -> None:
        super().configure(stream)
        chosen = _first_spoken(() if stream is None else stream.send)
        if chosen is None:
            self._codec = self._encoder = self._tone = None
        elif self._codec is None or chosen.name != self._codec.name:
            self._encoder = Encoder(chosen)
            self._tone = Tone(self._hz, sampling_rate(chosen))
        self._codec = chosen

    def make(self) -> bytes | None:
        """The packet of the next 20 ms; None while nothing may be sent."""
        if self._codec is None or self._encoder is None or self._tone is None:
            return None
        payload = self._encoder.encode(self._tone.take(frame_samples(self._codec)))
        made = None
        if self.sending:
            # RFC 3551 §4.1: the marker bit is set on the first packet after silence.
            made = self.outgoing.packet(self._codec.payload_type, payload, marker=not self._talking)
        self._talking = made is not None
        self.outgoing.advance(samples_per_frame(self._codec))
        return made

    def receive(self, data: bytes, now: float) -> None:
        """Take one datagram, arrived at `now` (monotonic seconds)."""
        arrived = self._arrived(data, now)
        if arrived is None:
            return
        packet, codec = arrived
        if codec.name == "TELEPHONE-EVENT":
            self.digits += self._detector.push(packet.payload, packet.timestamp) or ""
            return
        if codec.name not in SPOKEN:
            return
        if self._decoder is None or self._decoder.name != codec.name:
            self._decoder = Decoder(codec)
        try:
            self.ear.hear(self._decoder.decode(packet.payload), self._decoder.sampling_rate)
        except CodecError:
            self.malformed += 1


def _first_spoken(codecs: Sequence[Codec]) -> Codec | None:
    return next((codec for codec in codecs if codec.name in SPOKEN), None)


class Picture(Medium):
    """The test card out, an eye in."""

    def __init__(self, role: str, outgoing: Outgoing) -> None:
        super().__init__(outgoing)
        self.eye = PictureDecoder()
        self.key_frame_wanted = False
        """The peer should make a key frame: we can't decode what comes."""
        self.first_decoded: float | None = None
        """Monotonic seconds of the first picture that could be decoded."""
        self._role = role
        self._codec: Codec | None = None
        self._encoder: PictureEncoder | None = None
        self._number = 0
        self._depacketizer = H264Depacketizer()
        self._highest: int | None = None
        self._waits_for_key = True

    def configure(self, stream: Stream | None) -> None:
        super().configure(stream)
        chosen = next((c for c in (() if stream is None else stream.send) if c.name == "H264"), None)
        if chosen is not None and (self._codec is None or chosen.fmtp != self._codec.fmtp):
            # RFC 6184 §8.1: without the parameter packetization-mode is 0.
            self._encoder = PictureEncoder(single_nal="packetization-mode=1" not in chosen.fmtp)
        self._codec = chosen

    @property
    def key_frames(self) -> int:
        """How many key frames we made."""
        return 0 if self._encoder is None else self._encoder.key_frames

    def send_key_frame(self) -> None:
        """The peer asked for a key frame: the next picture is one."""
        if self._encoder is not None:
            self._encoder.want_key_frame()

    def make(self, milliseconds: int) -> list[bytes]:
        """The packets of the next picture, showing `milliseconds` since midnight; none while nothing may be sent."""
        packets: list[bytes] = []
        codec, encoder = self._codec, self._encoder
        if codec is None or encoder is None:
            return packets
        if self.sending:
            picture = draw(self._role, milliseconds, self._number)
            unit = encoder.encode(picture, self._number * (CLOCK_RATE // PICTURES_PER_SECOND))
            packets = [
                self.outgoing.packet(codec.payload_type, payload, marker=marker)
                for payload, marker in packetize(unit)
            ]
        else:
            encoder.want_key_frame()  # whoever resumes starts with a picture that stands alone
        self._number += 1
        self.outgoing.advance(CLOCK_RATE // PICTURES_PER_SECOND)
        return packets

    def receive(self, data: bytes, now: float) -> None:
        """Take one datagram, arrived at `now` (monotonic seconds)."""
        arrived = self._arrived(data, now)
        if arrived is None or arrived[1].name != "H264":
            return
        packet = arrived[0]
        if self._highest is not None and packet.sequence != (self._highest + 1) & MASK16:
            if (
                not newer16(packet.sequence, self._highest)
                and forward16(packet.sequence, self._highest) < 100
            ):
                return  # late or repeated: its picture is past
            self._depacketizer.lost()
        self._highest = packet.sequence
        for unit in self._depacketizer.push(packet.payload, packet.marker, packet.timestamp):
            self._see(unit, now)

    def _see(self, unit: AccessUnit, now: float) -> None:
        if not unit.complete:
            self._waits_for_key = True
        elif unit.key:
            self._waits_for_key = False
        if self._waits_for_key:
            self.key_frame_wanted = True
            return
        self.key_frame_wanted = False
        if self.eye.push(unit.data) and self.first_decoded is None:
            self.first_decoded = now
