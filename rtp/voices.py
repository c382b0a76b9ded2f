"""The two ends of a mix: a voice (packets of a leg → 20 ms of samples) and an ear (20 ms of samples → packets to a leg).

packet ─▶ Voice.entrance ─▶ JitterBuffer ┄┄▶ Voice.take: decode, rate ─▶ samples;   samples ─▶ rate, encode ─▶ Ear.send

G.711 at 8000 Hz goes through as bytes: all of it is decoded and encoded in one go by whoever mixes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtp.codecs import CodecError, Decoder, Encoder, samples_per_frame, sampling_rate, variant
from rtp.control import Codec
from rtp.jitter import PULL_MS, Buffer, Gap, JitterBuffer
from rtp.mapping import TRANSCODED
from rtp.mixer import FRAMES_A_SECOND
from rtp.noise import NAME as COMFORT_NOISE
from rtp.noise import level_of, noise
from rtp.packet import HEADER_SIZE, PacketError, payload_of
from rtp.resample import Resampler
from rtp.sender import Sender

Samples = NDArray[np.int16]
Entry = tuple[str, bytes]
"""Name of the codec, payload."""

G711: Final = frozenset({"PCMA", "PCMU"})
WIDE: Final = frozenset({"G722", "OPUS"})
"""Codecs with more than 4 kHz of sound."""
PLAIN: Final = 0x80
"""First octet of a packet without padding, extension and contributing sources."""
SOUNDLESS: Final[Entry] = ("", b"")
"""Stands in the buffer for a packet of the stream that is no sound (a digit), so that it is not missed."""
WAITING_BEATS: Final = 3
"""Beats an ear waits for the first packet of its voices: 60 ms, then it is sent silence as any other leg."""


class Voice:
    """One leg's sound on its way into the mixes."""

    __slots__ = (
        "_decoders", "_frame", "_noise", "_noises", "_plain", "_resamplers", "_silence", "_waiting", "buffer",
        "leg", "undecodable",
    )  # fmt: skip

    def __init__(self, leg: str, rate: int, buffer: Buffer[Entry] | None = None) -> None:
        """`rate`: Hz of the samples wanted; `buffer`: an empty one, of the engine that runs."""
        self.leg = leg
        self.buffer: Buffer[Entry] = buffer if buffer is not None else JitterBuffer()
        self.undecodable = 0
        """Payloads their decoder refused; concealed."""
        self._decoders: dict[str, Decoder] = {}
        self._noise: int | None = None
        self._noises = 0
        self.tune(rate)

    def tune(self, rate: int) -> None:
        """Give samples at another rate from now on."""
        self._frame = rate // FRAMES_A_SECOND
        self._plain = rate == 8000
        self._silence = np.zeros(self._frame, np.int16)
        self._waiting = self._silence[:0]
        self._resamplers: dict[str, Resampler] = {}

    @property
    def rate(self) -> int:
        """Hz of the samples given."""
        return self._frame * FRAMES_A_SECOND

    @property
    def plain(self) -> bool:
        """Whether the next packet, if it is G.711 of 20 ms, may go through as it is."""
        return self._plain and not len(self._waiting)

    def resume(self) -> None:
        """Take note that a packet went through as it is, which ends a pause of comfort noise."""
        self._noise = None

    def entrance(self, codec: Codec) -> "Entrance":
        """What takes the packets of one payload type: sound, comfort noise, or what only has a number."""
        name = codec.name
        if name in TRANSCODED:
            name = variant(codec)
        elif name != COMFORT_NOISE:
            name = ""
        return Entrance(self, name)

    def take(self) -> Samples | Entry | None:
        """The next 20 ms: samples, a G.711 payload of just this length, or None where sound is missing."""
        if len(self._waiting):
            return self._assembled(None)
        buffer = self.buffer
        entry = buffer.pull()
        if (
            isinstance(entry, tuple)
            and self._plain
            and not buffer.hurry
            and len(entry[1]) == self._frame
            and entry[0] in G711
        ):
            self._noise = None
            buffer.span = PULL_MS
            return entry
        return self._assembled(entry)

    def ahead(self) -> Samples | None:
        """What `take` would give next, without taking it; None unless it is G.711 at 8000 Hz and there."""
        following = self.buffer.following()
        if following is None or not self._plain or following[0] not in G711:
            return None
        samples = Decoder(following[0]).decode(following[1])
        return samples if len(samples) == self._frame else None

    def _assembled(self, entry: Entry | Gap | None) -> Samples | None:
        """Put 20 ms together from what waits, from this entry and from those after it."""
        frame = self._frame
        while len(self._waiting) < frame:
            following = self.buffer.pull() if entry is None else entry
            entry = None
            if isinstance(following, Gap):
                return self._nothing()
            self._append(following)
            if self._noise is not None:
                return self._nothing()
        if self.buffer.hurry:
            self._merge()
        given, self._waiting = self._waiting[:frame], self._waiting[frame:]
        return given

    def _nothing(self) -> Samples | None:
        if not self.buffer.begun:
            return self._silence
        if self._noise is None:
            return None
        self._noises += 1
        return noise(self._noise, self._frame, self._noises)

    def _append(self, entry: Entry) -> None:
        name, payload = entry
        if name == COMFORT_NOISE:
            self._noise = level_of(payload)
            return
        if name.partition(";")[0] not in TRANSCODED:
            return
        self._noise = None
        decoder = self._decoders.get(name)
        if decoder is None:
            decoder = self._decoders[name] = Decoder(name)
        resampler = self._resamplers.get(name)
        if resampler is None:
            resampler = self._resamplers[name] = Resampler(decoder.sampling_rate, self.rate)
        try:
            decoded = decoder.decode(payload)
        except CodecError:
            self.undecodable += 1
            return
        self.buffer.span = max(1, round(len(decoded) * 1000 / decoder.sampling_rate))
        samples = resampler.push(decoded)
        self._waiting = np.concatenate([self._waiting, samples]) if len(self._waiting) else samples

    def _merge(self) -> None:
        """20 ms pass into what follows them, or as much of that as is here: the delay was longer than needed."""
        frame = self._frame
        if len(self._waiting) < 2 * frame:
            second = self.buffer.pull()
            if isinstance(second, Gap):
                self.buffer.merged()
                return
            self._append(second)
        self.buffer.merged()
        waiting = self._waiting
        if over := min(frame, len(waiting) - frame):
            both = crossfaded(waiting[:over], waiting[over : 2 * over])
            self._waiting = np.concatenate([both, waiting[2 * over :]])


class Entrance:
    """The way of one payload type into a voice; of packets with `PLAIN` the native engine may take it by itself."""

    __slots__ = ("_push", "name", "voice")

    def __init__(self, voice: Voice, name: str) -> None:
        """`name`: the codec's; empty for what is no sound and only has a number."""
        self.voice = voice
        self.name = name
        self._push = voice.buffer.push

    def __call__(self, data: bytes, sequence: int, _timestamp: int, _now: float) -> None:
        """Take one packet."""
        if not self.name:
            self._push(sequence, SOUNDLESS)
        elif data[0] == PLAIN:
            self._push(sequence, (self.name, data[HEADER_SIZE:]))
        else:
            try:
                self._push(sequence, (self.name, payload_of(data)))
            except PacketError:
                self._push(sequence, SOUNDLESS)


class Ear:
    """One leg that is sent a mix."""

    __slots__ = (
        "_encoder",
        "_frame",
        "_left",
        "_name",
        "_resampler",
        "begun",
        "codec",
        "leg",
        "number",
        "rate",
        "sender",
        "step",
        "voices",
    )

    def __init__(self, leg: str, sender: Sender, number: int, rate: int, voices: tuple[Voice, ...]) -> None:
        """`number`: the mix as a source of the sender; `rate`: Hz of the samples that will be given."""
        self.leg = leg
        self.sender = sender
        self.number = number
        self.rate = rate
        self.voices = voices
        self.begun = False
        """Whether there is something to send yet."""
        self._left = WAITING_BEATS
        self.codec: Codec | None = None
        """What was sent last is in it."""
        self.step = 0
        """Timestamp units of 20 ms of that."""
        self._name = ""
        self._frame = np.zeros(0, np.int16)

    def wants(self) -> Codec | None:
        """The codec for this beat; None while nothing is to be sent."""
        if not self.begun and not self._begins():
            return None
        sender = self.sender
        return sender.codec if sender.relay_open else None

    def _begins(self) -> bool:
        # A leg that was relayed to must not hear a hole of silence before its voices come in by this way.
        self._left -= 1
        self.begun = self._left < 0 or any(voice.buffer.begun for voice in self.voices)
        return self.begun

    def encoded(self, codec: Codec, samples: Samples) -> bytes | None:
        """20 ms of samples as a payload of this codec; None while its frame is not full."""
        if (name := variant(codec)) != self._name:
            self._name = name
            self._encoder = Encoder(codec)
            self._resampler = Resampler(self.rate, sampling_rate(codec))
        made = self._resampler.push(samples)
        wanted = sampling_rate(codec) // FRAMES_A_SECOND
        if len(self._frame):
            made = np.concatenate([self._frame, made])
        self._frame = made[wanted:]
        return self._encoder.encode(made[:wanted]) if len(made) >= wanted else None

    def send(self, codec: Codec, payload: bytes, now: float) -> None:
        """Send one payload; the stream goes on where relayed packets left it."""
        if codec is not self.codec:
            self.codec = codec
            self.step = samples_per_frame(codec)
        self.sender.steady(self.number, codec, payload, self.step, now)


def crossfaded(first: Samples, second: Samples) -> Samples:
    """One passing into the other over their common length."""
    weight = (np.arange(len(first)) + 0.5) / len(first)
    mixed: Samples = np.rint(first * (1 - weight) + second * weight).astype(np.int16)
    return mixed
