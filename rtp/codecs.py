"""Sound codecs of a call: samples ↔ RTP payloads of 20 ms, and what silence looks like in each.

samples (int16, mono) ─▶ Encoder.encode ─▶ payload ─▶ Decoder.decode ─▶ samples

G.711 is ours (tables), G.722, Opus and AMR are PyAV's; AMR-WB is heard and never spoken, for PyAV can't encode it. Not done: loss concealment, comfort noise, stereo (a stereo Opus
payload is mixed down by the decoder).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from rtp import amr, g711
from rtp.control import Codec

Samples = NDArray[np.int16]
PTIME_MS: Final = 20  # the packet time every codec here defaults to (RFC 3551 §4.2, RFC 7587 §4.2)


class CodecError(ValueError):
    """A payload that its codec can't decode, or a codec this house does not speak."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one codec is made of."""

    sampling_rate: int
    """Hz of the samples."""
    clock_rate: int
    """Hz of the RTP timestamp."""
    silence: bytes
    """20 ms that decode to silence."""


KINDS: Final[dict[str, Kind]] = {
    # G.711: the code of +0; A-law has no zero, its smallest step is 8 of 32768.
    "PCMA": Kind(8000, 8000, b"\xd5" * 160),
    "PCMU": Kind(8000, 8000, b"\xff" * 160),
    # RFC 3551 §4.5.2: "the sampling rate is 16,000 Hz … the RTP clock rate is 8,000 Hz". Of the 256 codes 0xFC and 0xFD
    # keep a fresh decoder at exactly 0; after loud sound its predictors settle within one frame on a constant (and its mirror at
    # 8 kHz) below 3/1000 of full scale, which no ear hears.
    "G722": Kind(16000, 8000, b"\xfd" * 160),
    # RFC 6716 §3.1: TOC 0xF8 = CELT, full band, 20 ms, mono, one frame; FF FE = the silence flag set.
    "OPUS": Kind(48000, 48000, b"\xf8\xff\xfe"),
    "AMR": Kind(8000, 8000, amr.pack(amr.Form(), [amr.QUIET])),
    "AMR-WB": Kind(16000, 16000, b""),
}
HEARD_ONLY: Final = frozenset({"AMR-WB"})
SPOKEN: Final = tuple(name for name in KINDS if name not in HEARD_ONLY)
"""Names of the codecs that can be encoded and decoded here."""

OPUS_BIT_RATE: Final = (
    24_000  # speech at full intelligibility (RFC 7587 §3.1.1: 16–20 kbit/s wide band, 28–40 full band)
)


def name_of(codec: Codec | str) -> str:
    """Encoding name in upper case; raises CodecError when it is none of `KINDS`. A string may be a `variant`."""
    name = (codec.partition(";")[0] if isinstance(codec, str) else codec.name).upper()
    if name not in KINDS:
        raise CodecError(f"no such sound codec here: {name}")
    return name


def kind(codec: Codec | str) -> Kind:
    """Rates and silence of a codec; raises CodecError."""
    return KINDS[name_of(codec)]


def silence(codec: Codec | str) -> bytes:
    """The payload of 20 ms of silence."""
    if name_of(codec) == "AMR":
        return amr.pack(form_of(codec), [amr.QUIET])
    return kind(codec).silence


def form_of(codec: Codec | str) -> amr.Form:
    """The form of AMR's payloads; raises CodecError."""
    fmtp = codec.partition(";")[2] if isinstance(codec, str) else codec.fmtp
    try:
        return amr.form(name_of(codec), fmtp)
    except amr.AmrError as error:
        raise CodecError(f"AMR: {error}") from error


def variant(codec: Codec | str) -> str:
    """What two streams of one codec must share for their payloads to be the same: its name, of AMR the form too.

    Whatever takes a codec's name here takes this.
    """
    name = name_of(codec)
    if name not in amr.NAMES:
        return name
    form = form_of(codec)
    said = [name, "octet-align=1"] if form.octet_aligned else [name]
    if form.modes:
        said.append(f"mode-set={','.join(map(str, form.modes))}")
    return ";".join(said)


def refit(payloads: Iterable[bytes], codec: Codec | str) -> tuple[bytes, ...] | None:
    """Payloads of a codec's plain variant as another variant of it has them; None when it can't have them."""
    if name_of(codec) != "AMR" or form_of(codec).mode != amr.Form().mode:
        return None
    shape = form_of(codec)
    return tuple(amr.pack(shape, amr.unpack(amr.Form(), payload)) for payload in payloads)


def samples_per_frame(codec: Codec | str) -> int:
    """Timestamp units of 20 ms: 160, or 960 for Opus. Samples are twice as many for G722: see `frame_samples`."""
    return kind(codec).clock_rate * PTIME_MS // 1000


def frame_samples(codec: Codec | str) -> int:
    """Samples in 20 ms at the codec's sampling rate: 160, 320 (G722) or 960 (Opus)."""
    return kind(codec).sampling_rate * PTIME_MS // 1000


def sampling_rate(codec: Codec | str) -> int:
    """Hz of the samples `Encoder` takes and `Decoder` gives."""
    return kind(codec).sampling_rate


def _context(
    library_name: str, mode: Literal["r", "w"], rate: int, options: dict[str, str]
) -> AudioCodecContext:
    context = cast("AudioCodecContext", av.CodecContext.create(library_name, mode))
    context.sample_rate = rate
    context.layout = "mono"
    context.options = options
    if mode == "w":
        context.format = "s16"
    return context


class Encoder:
    """Samples of one stream → payloads. Holds state: one per stream."""

    def __init__(self, codec: Codec | str) -> None:
        """Raises CodecError for a codec that is none of `SPOKEN`."""
        self.name = name_of(codec)
        if self.name in HEARD_ONLY:
            raise CodecError(f"{self.name} can't be encoded here")
        self.sampling_rate = KINDS[self.name].sampling_rate
        self._context: AudioCodecContext | None = None
        self._amr: amr.Form | None = None
        if self.name == "G722":
            self._context = _context("g722", "w", self.sampling_rate, {})
        elif self.name == "AMR":
            self._amr = form_of(codec)
            self._context = _context("libopencore_amrnb", "w", self.sampling_rate, {})
            self._context.bit_rate = amr.RATES[self._amr.mode]
        elif self.name == "OPUS":
            # fec off: nothing downstream asks for it, and it costs a quarter of the bits.
            options = {"application": "voip", "frame_duration": "20", "fec": "0", "packet_loss": "0"}
            self._context = _context("libopus", "w", self.sampling_rate, options)
            self._context.bit_rate = OPUS_BIT_RATE

    def ask(self, mode: int) -> None:
        """Keep to a mode of AMR that its hearer asks for, or to the best below it; nothing in other codecs."""
        if self._amr is not None and self._context is not None:
            # ffmpeg's encoder looks at the bit rate anew with each frame.
            self._context.bit_rate = amr.RATES[self._amr.mode_under(mode)]

    def encode(self, pcm: Samples) -> bytes:
        """Exactly 20 ms of int16 samples at `sampling_rate`, shape (n,) → one payload; ValueError for another length."""
        if pcm.shape != (self.sampling_rate * PTIME_MS // 1000,):
            raise ValueError(f"{self.name}: 20 ms wanted, {pcm.shape} given")
        if self._context is None:
            return g711.encode_alaw(pcm) if self.name == "PCMA" else g711.encode_ulaw(pcm)
        frame = av.AudioFrame.from_ndarray(pcm.astype(np.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self.sampling_rate
        packets = [bytes(packet) for packet in self._context.encode(frame)]
        return b"".join(packets) if self._amr is None else amr.pack(self._amr, packets)


class Decoder:
    """Payloads of one stream → samples. Holds state: one per stream, payloads in order."""

    def __init__(self, codec: Codec | str) -> None:
        """Raises CodecError for a codec that is none of `KINDS`."""
        self.name = name_of(codec)
        self.sampling_rate = KINDS[self.name].sampling_rate
        self._context: AudioCodecContext | None = None
        self._amr: amr.Form | None = None
        if self.name in amr.NAMES:
            self._amr = form_of(codec)
            # Of the decoders at hand those that understand comfort noise.
            library = "libopencore_amrwb" if self._amr.wide else "libopencore_amrnb"
            self._context = _context(library, "r", self.sampling_rate, {})
        elif self.name == "G722":
            self._context = _context("g722", "r", self.sampling_rate, {})
        elif self.name == "OPUS":
            self._context = _context("libopus", "r", self.sampling_rate, {})

    def decode(self, payload: bytes) -> Samples:
        """One payload of any packet time → int16 samples at `sampling_rate`, shape (n,). Raises CodecError."""
        if not payload:
            return np.zeros(0, np.int16)
        if self._context is None:
            return g711.decode_alaw(payload) if self.name == "PCMA" else g711.decode_ulaw(payload)
        try:
            packets = [payload] if self._amr is None else amr.unpack(self._amr, payload)
            frames = [frame for packet in packets for frame in self._context.decode(av.Packet(packet))]
        except (av.FFmpegError, ValueError) as error:
            raise CodecError(f"{self.name}: {error}") from error
        return np.concatenate([_mono(frame.to_ndarray()) for frame in frames] or [np.zeros(0, np.int16)])


def _mono(samples: NDArray[np.generic]) -> Samples:
    # Decoders of both libraries give s16 in one row (shape (1, n)) for a mono context; a float row is scaled.
    row = samples[0]
    if row.dtype == np.int16:
        return cast("Samples", row)
    scaled: Samples = (np.clip(row.astype(np.float64), -1, 1) * 32767).astype(np.int16)
    return scaled
