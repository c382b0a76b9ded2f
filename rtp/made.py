"""The part of `Sender` for what is made here: silence, prompts, digits, mixed and transcoded sound, in packets as the peer wants them.

20 ms ─▶ local_frame | made | silence ─▶ [Bundle] ─▶ number ─▶ one packet or several

Where the peer wants 20 ms, or says nothing, nothing is bundled, and an engine may send by itself.
"""

from collections.abc import Callable, Sequence
from typing import Final

from rtp.activity import FILL_SECONDS
from rtp.codecs import samples_per_frame, silence
from rtp.control import Codec, Stream
from rtp.mapping import MADE, sound
from rtp.outstream import NO_FIELDS, Numbering
from rtp.overlay import Overlay, can_mix
from rtp.packet import HEADER, MARKER
from rtp.packet_time import OCTETS, USUAL, Bundle, chosen, duration
from rtp.sequence import MASK16, MASK32

SILENCE: Final = 1
"""The number of silence as a source (see `outstream`); other sources count from `sender.FIRST_SOURCE`."""
FRAME_SECONDS: Final = 0.020
_PACK: Final = HEADER.pack


class Made:
    """The part of `Sender` for what is made here."""

    __slots__ = NO_FIELDS
    _bundle: tuple[int, Codec, Bundle] | None
    """What is under way into a packet: of this source, in this codec."""
    _begun: float
    """When the first of it came."""
    _codecs: tuple[Codec, ...]
    _marker: int
    _silence: bytes
    _silence_step: int
    _silent_codec: Codec | None
    _taken_at: float
    bundles: bool
    """Some codec leaves in other packets than 20 ms."""
    codec: Codec | None
    expecting: Callable[[], None] | None
    max_ptime: int | None
    out: Numbering
    overlay: Overlay | None
    ptime: int | None
    relay_open: bool
    shut: int
    span: float
    """Seconds of sound in what left last: the newest relayed packet that was measured, or all that was made at one moment."""
    straight: bool

    def _put(self, packet: bytes) -> None:  # noqa: ARG002  # the sender's own
        raise AssertionError("a sender sends")

    def _tell(self) -> None:
        raise AssertionError("a sender tells")

    def begin_made(self) -> None:
        """Begin with nothing."""
        self._silent_codec = None  # whose silence is at hand
        self._silence = b""
        self._silence_step = 0
        self._bundle = None
        self._begun = 0.0
        self._taken_at = float("-inf")
        self.bundles = False
        self.ptime = self.max_ptime = None
        self.span = FRAME_SECONDS

    def _time(self, stream: Stream | None) -> None:
        """Take the packet times the peer wants."""
        self.ptime = stream.ptime if stream is not None else None
        self.max_ptime = stream.max_ptime if stream is not None else None
        self.bundles = bool(self._marker) and any(
            chosen(codec, self.ptime, self.max_ptime) != USUAL for codec in self._codecs if codec.name in MADE
        )
        self._bundle = None

    def _silences(self) -> frozenset[bytes]:
        """All payloads that silence may leave in."""
        found = set()
        for codec in self._codecs:
            if sound((codec,)) is None:
                continue
            quiet = silence(codec)
            found.add(quiet)
            if not self.bundles:
                continue
            if codec.name in OCTETS:
                found |= {quiet[:1] * size for size in range(80, 481, 80)}
                continue
            for count in (2, 3):
                bundle = Bundle(codec, count * USUAL)
                found |= {made for _ in range(count) for made, _ in bundle.push(quiet)}
        return frozenset(found)

    # --- what is sent ----------------------------------------------------------------------------------------------

    def made(self, source: int, codec: Codec, payload: bytes, step: int, now: float) -> None:
        """Send a payload that was mixed, or made of a peer's: relayed, but numbered here. `step`: timestamp units."""
        self.made_at_once(source, codec, (payload,), step, now)

    def made_at_once(  # as `made`
        self, source: int, codec: Codec, payloads: Sequence[bytes], step: int, now: float
    ) -> None:
        """The same for payloads that follow each other, of one packet of the peer's."""
        if not self.relay_open:
            self.shut += len(payloads)
            return
        if self.overlay is not None:
            if not can_mix(codec):
                self.shut += len(payloads)
                return
            payloads = [self.overlay.mixed(codec, payload) for payload in payloads]
        self._taken_at = now
        if self.bundles:
            self._bundled(source, codec, payloads, now)
        elif len(payloads) == 1:
            self.local_frame(source, codec, payloads[0], step, now)
        else:
            self._leave(source, codec, [(payload, step) for payload in payloads], now)
        self.out.relaying = True
        if self.expecting is not None:
            self._tell()

    def steady(self, source: int, codec: Codec, payload: bytes, step: int, now: float) -> None:  # as above
        """Send what `made` would, quicker while nothing has changed since this source's last packet."""
        out = self.out
        at = out.at
        if (
            out.source != source
            or not out.relaying
            or out.rate != codec.clock_rate
            or at is None
            or (now - at) * out.rate > 3 * step
            or not self.straight
            or self.expecting is not None
            or self.bundles
            or self.span != FRAME_SECONDS
        ):
            self.made(source, codec, payload, step, now)
            return
        out.sequence = sequence = (out.sequence + 1) & MASK16
        out.timestamp = timestamp = (out.timestamp + step) & MASK32
        out.at = now
        self._put(_PACK(0x80, codec.payload_type, sequence, timestamp, out.ssrc) + payload)

    def local_frame(self, source: int, codec: Codec, payload: bytes, step: int, now: float) -> None:
        """Send a payload made here; `step` timestamp units after the one before (0: the same timestamp)."""
        if self.bundles:
            if codec.name in MADE:
                self._bundled(source, codec, (payload,), now)
                return
            self.flush()
        if step and self.span != FRAME_SECONDS:
            step = max(step, round(self.span * codec.clock_rate))
            self.span = FRAME_SECONDS
        sequence, timestamp, first = self.out.local(source, codec.clock_rate, step, now)
        second = codec.payload_type | (MARKER if first else 0)
        self._put(_PACK(0x80, second, sequence, timestamp, self.out.ssrc) + payload)

    def silence(self, now: float) -> None:
        """Send 20 ms of codec silence."""
        codec = self.codec
        if codec is None:
            return
        if codec is not self._silent_codec:
            self._silent_codec = codec
            self._silence = silence(codec)
            self._silence_step = samples_per_frame(codec)
        self.local_frame(SILENCE, codec, self._silence, self._silence_step, now)

    def starving(self, now: float) -> bool:
        """Whether the peer should be sent silence now because nothing relayed has left lately."""
        out = self.out
        newest = self._taken_at  # of what may still wait for its packet to be full
        if out.relaying and out.at is not None and out.at > newest:
            newest = out.at
        return now - newest > FILL_SECONDS + self.span - FRAME_SECONDS

    @property
    def odd(self) -> bool:
        """Whether what is made here can't simply follow by 20 ms."""
        return self.bundles or self.span != FRAME_SECONDS

    def skip(self, packets: int, units: int) -> None:
        """Leave out numbers in the present source: packets that its own source lost."""
        self.flush()
        self.out.skip(packets, units)

    # --- packets ---------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what waits to be joined, though it is short: something else comes. Where that has left already it came too late."""
        bundle, self._bundle = self._bundle, None
        at = self.out.at
        if bundle is not None and (at is None or at <= self._begun):
            made = _units(bundle[1], bundle[2].rest())
            self._leave(bundle[0], bundle[1], made, self._begun, relaying=self.out.relaying)

    def drop(self) -> None:
        """Forget what waits to be joined."""
        self._bundle = None

    def _bundled(self, source: int, codec: Codec, payloads: Sequence[bytes], now: float) -> None:
        bundle = self._bundle
        if bundle is None or bundle[0] != source or bundle[1] is not codec:
            self.flush()
            ms = chosen(codec, self.ptime, self.max_ptime)
            bundle = self._bundle = (source, codec, Bundle(codec, ms))
        # A stretch of sound is of the moment its first 20 ms came, however late it is full: so all that follows is in step.
        if not bundle[2].waits:
            self._begun = now
        made = [one for payload in payloads for one in bundle[2].push(payload)]
        self._leave(source, codec, _units(codec, made), self._begun)
        if made:
            self._begun = now

    def _leave(
        self,
        source: int,
        codec: Codec,
        made: Sequence[tuple[bytes, int]],
        now: float,
        *,
        relaying: bool = False,
    ) -> None:
        """Send at one moment payloads that follow each other, with their timestamp units: one stretch of sound for `out`."""
        if not made:
            return
        out, rate = self.out, codec.clock_rate
        step = round(self.span * rate) if self.odd or len(made) > 1 else made[0][1]
        sequence, timestamp, first = out.local(source, rate, step, now)
        out.relaying = relaying
        second = codec.payload_type | (MARKER if first else 0)
        begun = timestamp
        for payload, units in made:
            self._put(_PACK(0x80, second, sequence, timestamp, out.ssrc) + payload)
            out.sequence = sequence
            sequence, second = (sequence + 1) & MASK16, codec.payload_type
            timestamp = (timestamp + units) & MASK32
        self.span = ((timestamp - begun) & MASK32) / rate

    def _seam(self, codec: Codec, payload: bytes) -> int:
        """Timestamp units a relayed source must begin after what left last; from now on its packet is that."""
        if not self._marker:
            return 1  # of pictures
        self.flush()
        step = round(self.span * codec.clock_rate)
        ms = duration(codec, payload)
        self.span = max(FRAME_SECONDS, (ms or 0.0) / 1000)
        return step


def _units(codec: Codec, made: Sequence[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    return [(payload, ms * codec.clock_rate // 1000) for payload, ms in made]
