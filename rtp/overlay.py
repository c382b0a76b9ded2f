"""A tone laid over a peer's sound: both are heard, and the peer's first words need not wait until the tone is over. Pure.

payload of the peer ─▶ samples + the next samples of the tone ─▶ payload of the same codec and length

G.711 only: its samples stand alone, so sound can be mixed into the middle of a stream. Codecs with a memory (G.722, Opus)
are not mixed; there the tone goes first.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtp import g711
from rtp.control import Codec
from rtp.packet import PacketError, payload_of

Samples = NDArray[np.int16]
RATE: Final = 8000
"""Hz of the tone's samples."""


def can_mix(codec: Codec | None) -> bool:
    """Whether sound can be laid over packets of this codec."""
    return codec is not None and codec.name in {"PCMA", "PCMU"} and codec.channels == 1


class Overlay:
    """What is left of one tone."""

    def __init__(self, tone: Samples) -> None:
        """`tone`: int16 at `RATE`, shape (n,)."""
        self._tone = tone
        self.used = 0
        """Samples that were heard."""
        self.before: Callable[[], object] = lambda: None
        """Called before it is laid over a packet: whoever plays it in the place of sound says so first how far it has come."""

    @property
    def ended(self) -> bool:
        """Whether all of it was heard."""
        return self.used >= len(self._tone)

    def skip(self, samples: int) -> None:
        """Leave out what was heard in another way."""
        self.used += samples

    def under(self, codec: Codec, packet: bytes) -> bytes | None:
        """Give the payload of a relayed packet with the next part of the tone; None when it can't be mixed."""
        if not can_mix(codec):
            return None
        try:
            payload = payload_of(packet)
        except PacketError:
            return None
        return self.mixed(codec, payload)

    def mixed(self, codec: Codec, payload: bytes) -> bytes:
        """Give a payload of a codec that `can_mix` with the next part of the tone; it is as long as before."""
        self.before()
        part = self._tone[self.used : self.used + len(payload)]
        self.used += len(payload)
        if not len(part):
            return payload
        alaw = codec.name == "PCMA"
        sound = (g711.decode_alaw(payload) if alaw else g711.decode_ulaw(payload)).astype(np.int32)
        sound[: len(part)] += part
        whole = np.clip(sound, -32768, 32767).astype(np.int16)
        return g711.encode_alaw(whole) if alaw else g711.encode_ulaw(whole)
