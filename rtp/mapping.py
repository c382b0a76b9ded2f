"""Which payload type of one leg leaves as which of another (design §6: "payload types are mapped per leg"). Pure.

(what the source may send, what the destination takes) ─▶ payload type ─▶ the destination's codec, transcoded or not
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from rtp.control import Codec
from rtp.noise import CLOCK_RATE, NAME, PAYLOAD_TYPE

EVENT: Final = "TELEPHONE-EVENT"
TRANSCODED: Final = frozenset({"PCMA", "PCMU", "G722", "OPUS", "AMR", "AMR-WB"})
"""What `rtp.transcode` reads."""
MADE: Final = TRANSCODED - {"AMR-WB"}
"""What it writes."""
CUT: Final = frozenset({"PCMA", "PCMU", "G722"})
"""What goes into packets of any length."""
FRAME_MS: Final = 20
"""Of all others."""
AMR: Final = frozenset({"AMR", "AMR-WB"})
NOISE: Final = Codec(NAME, PAYLOAD_TYPE, CLOCK_RATE)


@dataclass(frozen=True, slots=True)
class Mapped:
    """One payload type of a source."""

    source: Codec
    destination: Codec | None
    """None: the destination can't take it."""
    transcode: bool = False


def parameter(codec: Codec, name: str) -> str | None:
    """One parameter of `a=fmtp`, its name without regard to case; None when absent."""
    for part in codec.fmtp.split(";"):
        key, _, value = part.partition("=")
        if key.strip(" \t").lower() == name:
            return value.strip(" \t")
    return None


def _packetization(codec: Codec) -> str:
    # RFC 6184 §8.1: "If no packetization-mode parameter is present, the value of packetization-mode MUST be … 0".
    return parameter(codec, "packetization-mode") or "0"


def same(first: Codec, second: Codec) -> bool:
    """Whether packets of one codec are packets of the other: name, clock, channels, and for H264 the packetization."""
    if (first.name, first.clock_rate, first.channels) != (second.name, second.clock_rate, second.channels):
        return False
    if first.name in AMR:
        return _same_amr(first, second)
    return first.name != "H264" or _packetization(first) == _packetization(second)


def _same_amr(source: Codec, destination: Codec) -> bool:
    # RFC 4867 §8.3.1: octet-align has to be used symmetrically; a mode outside the receiver's mode-set must not reach it.
    modes = parameter(destination, "mode-set")
    return (parameter(source, "octet-align") or "0") == (parameter(destination, "octet-align") or "0") and (
        modes is None or modes == parameter(source, "mode-set")
    )


def _takes(source: Codec, destination: Codec) -> bool:
    # RFC 6184 §6.3: the non-interleaved mode (1) may hold single NAL unit packets, which are all that mode 0 has.
    return (
        source.name == destination.name == "H264"
        and source.clock_rate == destination.clock_rate
        and _packetization(source) == "0"
        and _packetization(destination) == "1"
    )


def find(source: Codec, accepted: tuple[Codec, ...]) -> Codec | None:
    """The destination's codec for packets of `source`, relayed as they are; None when there is none."""
    for codec in accepted:
        if same(source, codec):
            return codec
    for codec in accepted:
        if _takes(source, codec):
            return codec
    return None


def sound(accepted: tuple[Codec, ...]) -> Codec | None:
    """The best codec that we can make sound in (prompts, silence, transcoding)."""
    return next((codec for codec in accepted if codec.name in MADE), None)


def spoken(accepted: tuple[Codec, ...], max_ptime: int | None) -> Codec | None:
    """The best of those for a peer that takes so many ms in a packet: under 20 one that can be cut anywhere, if there is one."""
    if max_ptime is not None and max_ptime < FRAME_MS:
        cut = sound(tuple(codec for codec in accepted if codec.name in CUT))
        if cut is not None:
            return cut
    return sound(accepted)


def with_noise(receive: tuple[Codec, ...], medium: str) -> tuple[Codec, ...]:
    """What a peer may send, and comfort noise: some phones send it though nobody agreed to it (RFC 3389 §4)."""
    if medium != "audio" or not receive or any(codec.payload_type == PAYLOAD_TYPE for codec in receive):
        return receive
    return (*receive, NOISE)


@lru_cache(256)  # phones of one make offer the same, call after call; SDP bounds what one entry can hold
def payload_map(
    receive: tuple[Codec, ...], send: tuple[Codec, ...], medium: str, max_ptime: int | None = None
) -> Mapping[int, Mapped]:
    """Map every payload type the source may use. `receive`: of the source's leg, `send` and `max_ptime`: of the destination's."""
    mapped = {}
    for source in receive:
        destination = find(source, send)
        transcode = False
        if destination is None and medium == "audio" and source.name in TRANSCODED:
            destination = spoken(send, max_ptime)
            transcode = destination is not None
        mapped[source.payload_type] = Mapped(source, destination, transcode)
    return MappingProxyType(mapped)
