"""One stream of sound from one codec into another: payload in ─▶ decode ─▶ rate ─▶ 20 ms frames ─▶ encode ─▶ payloads out."""

import numpy as np

from rtp.codecs import CodecError, Decoder, Encoder, frame_samples
from rtp.control import Codec
from rtp.resample import Resampler


class Transcoder:
    """Payloads of `source`, in order and of any packet time, become 20 ms payloads of `destination`."""

    def __init__(self, source: Codec | str, destination: Codec | str) -> None:
        """Raises CodecError when one of them is not spoken here."""
        self._decoder = Decoder(source)
        self._encoder = Encoder(destination)
        self._resampler = Resampler(self._decoder.sampling_rate, self._encoder.sampling_rate)
        self._frame = frame_samples(destination)
        self._waiting = np.zeros(0, np.int16)
        self.undecodable = 0
        """Payloads that the source's decoder refused; each is skipped."""

    def ask(self, mode: int) -> None:
        """Keep to a mode of AMR that the hearer asks for; nothing where it hears another codec."""
        self._encoder.ask(mode)

    def push(self, payload: bytes) -> list[bytes]:
        """One payload → the destination frames that are now complete: none, one or several, 20 ms each."""
        try:
            samples = self._decoder.decode(payload)
        except CodecError:
            self.undecodable += 1
            return []
        self._waiting = np.concatenate([self._waiting, self._resampler.push(samples)])
        frames = []
        while len(self._waiting) >= self._frame:
            frames.append(self._encoder.encode(self._waiting[: self._frame]))
            self._waiting = self._waiting[self._frame :]
        return frames

    def close(self) -> list[bytes]:
        """Give what is left, filled up with silence to one frame; the transcoder takes nothing after this."""
        left, self._waiting = self._waiting, np.zeros(0, np.int16)
        if not len(left):
            return []
        return [self._encoder.encode(np.concatenate([left, np.zeros(self._frame - len(left), np.int16)]))]
