"""How much sound one packet holds: what a peer wishes and can take, and 20 ms payloads joined or cut to that. Pure.

payloads of 20 ms ─▶ Bundle ─▶ payloads of 10, 20, 30, 40 or 60 ms        payload of any length ─▶ Recut ─▶ payloads of 20 ms

Codecs with so many octets a millisecond (G.711, G.722) are cut anywhere; of AMR and Opus frames are joined, never cut. What is
joined or cut is the same octets in the same order: no sound is made anew.
"""

from collections.abc import Sequence
from typing import Final

from rtp import amr
from rtp.codecs import CodecError, form_of, name_of
from rtp.control import Codec
from rtp.mapping import CUT

USUAL: Final = 20
"""ms, preferred when nothing is said (RFC 3551 §4.2, RFC 7587 §4.2, RFC 4867 §3.1)."""
OCTETS: Final = CUT
"""8 octets a millisecond."""
PER_MS: Final = 8
_ANYWHERE: Final = (10, 20, 30, 40, 60)
_FRAMES: Final = (20, 40, 60)
LONGEST: Final = {"PCMA": 200, "PCMU": 200, "G722": 200, "OPUS": 120, "AMR": 240, "AMR-WB": 240}
"""ms of the longest packets there are (RFC 3551 §4.2, RFC 7587 §4.2, RFC 4867 §8.1): a bound from there on binds nobody."""


def chosen(codec: Codec | str, wish: int | None, bound: int | None) -> int:
    """Give the packet time to send in, ms: the nearest to the peer's `ptime` that meets its `maxptime`; the shorter of two.

    The shortest there is where no other meets the bound: G.711 and G.722 10 ms, Opus and AMR 20 ms.
    """
    times = _ANYWHERE if name_of(codec) in OCTETS else _FRAMES
    borne = [ms for ms in times if bound is None or ms <= bound] or times[:1]
    return min(borne, key=lambda ms: (abs(ms - (wish or USUAL)), ms))


def duration(codec: Codec | str, payload: bytes) -> float | None:
    """Give the ms of sound in a payload; None where they can't be told."""
    try:
        name = name_of(codec)
        if name in OCTETS:
            return len(payload) / PER_MS
        if name == "OPUS":
            return _opus_ms(payload)
        return USUAL * len(amr.unpack(form_of(codec), payload))
    except (CodecError, amr.AmrError):
        return None


class Bundle:
    """Payloads of 20 ms that follow each other, on their way into packets of another length."""

    def __init__(self, codec: Codec | str, ms: int) -> None:
        """`ms`: of `chosen`."""
        self.ms = ms
        self._form = form_of(codec) if name_of(codec) in amr.NAMES else None
        self._octets = name_of(codec) in OCTETS
        self._waiting: list[bytes] = []

    @property
    def waits(self) -> bool:
        """Whether something is under way."""
        return bool(self._waiting)

    def push(self, payload: bytes) -> list[tuple[bytes, int]]:
        """Take 20 ms; give the payloads that are full now and the ms of each, which are fewer where frames can't be joined."""
        if self._octets:
            return self._cut(payload)
        made = []
        if self._waiting and not self._joins(payload):
            made = self.rest()
        self._waiting.append(payload)
        if len(self._waiting) * USUAL >= self.ms:
            made += self.rest()
        return made

    def rest(self) -> list[tuple[bytes, int]]:
        """Give what waits, though it is not full."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        if self._octets:
            whole = b"".join(waiting)
            return [(whole, len(whole) // PER_MS)]
        return [(self._joined(waiting), USUAL * len(waiting))]

    def _cut(self, payload: bytes) -> list[tuple[bytes, int]]:
        whole = b"".join((*self._waiting, payload))
        size = self.ms * PER_MS
        end = len(whole) - len(whole) % size
        self._waiting = [whole[end:]] if end < len(whole) else []
        return [(whole[at : at + size], self.ms) for at in range(0, end, size)]

    def _joins(self, payload: bytes) -> bool:
        # RFC 6716 §3.2: the frames of one packet have one configuration; of ours each packet has one frame (code 0).
        first = self._waiting[0]
        return self._form is not None or bool(payload and payload[0] == first[0] and not payload[0] & 3)

    def _joined(self, payloads: Sequence[bytes]) -> bytes:
        if len(payloads) == 1:
            return payloads[0]
        if self._form is not None:
            return amr.pack(self._form, [frame for one in payloads for frame in amr.unpack(self._form, one)])
        return join_opus([payload[1:] for payload in payloads], payloads[0][0])


class Recut:
    """Payloads of any length on their way into 20 ms ones of the same codec: as `rtp.transcode.Transcoder`, but octet by octet."""

    def __init__(self, codec: Codec | str) -> None:
        """`codec`: G.711, G.722 or AMR."""
        self._octets = Bundle(codec, USUAL) if name_of(codec) in OCTETS else None
        self._form = form_of(codec) if self._octets is None else amr.Form()

    def ask(self, mode: int) -> None:
        """Leave AMR as it was spoken: its speaker hears the wish for a mode by itself."""

    def push(self, payload: bytes) -> list[bytes]:
        """Give the payloads of 20 ms that are full now."""
        if self._octets is not None:
            return [made for made, _ in self._octets.push(payload)]
        try:
            frames = amr.unpack(self._form, payload)
        except amr.AmrError:
            return []
        packed = [amr.pack(self._form, [frame]) for frame in frames]
        # RFC 4867 §4.3.1: what the speaker asks for stands in the first four bits of either form.
        return [bytes((payload[0] & 0xF0 | one[0] & 0x0F,)) + one[1:] for one in packed]

    def rest(self) -> list[bytes]:
        """Give what waits, though it is shorter."""
        return [] if self._octets is None else [made for made, _ in self._octets.rest()]


def join_opus(frames: Sequence[bytes], toc: int) -> bytes:
    """Make one packet of two or more frames of the same configuration (RFC 6716 §3.2); `toc`: of a packet of one."""
    equal = len({len(frame) for frame in frames}) == 1
    whole = b"".join(frames)
    if len(frames) == 2:
        return (
            bytes((toc | 1,)) + whole if equal else bytes((toc | 2,)) + _opus_length(len(frames[0])) + whole
        )
    if equal:
        return bytes((toc | 3, len(frames))) + whole
    lengths = b"".join(_opus_length(len(frame)) for frame in frames[:-1])
    return bytes((toc | 3, 0x80 | len(frames))) + lengths + whole


def _opus_length(size: int) -> bytes:
    # RFC 6716 §3.2.1: 0…251 as they are; above, 252…255 and a second octet that counts fours.
    return bytes((size,)) if size < 252 else bytes((252 + (size & 3), (size - 252 - (size & 3)) >> 2))


def _opus_ms(payload: bytes) -> float | None:
    if not payload:
        return None
    toc = payload[0]
    configuration, code = toc >> 3, toc & 3
    if configuration < 12:  # SILK: 10, 20, 40, 60
        ms = (10.0, 20.0, 40.0, 60.0)[configuration & 3]
    elif configuration < 16:  # both: 10, 20
        ms = (10.0, 20.0)[configuration & 1]
    else:  # CELT: 2.5, 5, 10, 20
        ms = (2.5, 5.0, 10.0, 20.0)[configuration & 3]
    if code == 3:
        return ms * (payload[1] & 0x3F) if len(payload) > 1 else None
    return ms * (2 if code else 1)
