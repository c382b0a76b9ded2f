"""How much a peer may send: twice what its codecs need; the rest is dropped and counted (bar L9). Pure.

One limit for each flow, as a time until which what came so far is permitted (the generic cell rate algorithm):

    until = max(until, now)      until − now > BURST_SECONDS: dropped      until += bytes · seconds_per_byte
"""

from typing import Final

from rtp.control import Codec, Stream

FACTOR: Final = 2
"""Bar L9: "excess over 2× negotiated rate"."""
BURST_SECONDS: Final = 1.0
"""What may come at once, as seconds at the permitted rate: a key frame, or the sound a phone held back while it changed networks."""
LEAST: Final = 40
"""Bytes a smaller packet counts as: it costs us as much as a larger one. At 10 ms a G.711 packet has 92, a digit has 16."""
SMALLEST_PACKET_SECONDS: Final = 0.010
"""The shortest packet time phones use; 12 bytes of header for each."""
HEADER: Final = 12

SOUND_BYTES: Final = {"PCMA": 8000, "PCMU": 8000, "G722": 8000, "OPUS": 32_000, "TELEPHONE-EVENT": 0}
"""Payload bytes a second. Opus in telephony stays below 64 kbit/s; 256 kbit/s leaves room for stereo music."""
PICTURE_BYTES: Final = 500_000
"""4 Mbit/s: 1080p of a phone's hardware encoder; SDP does not bind the sender to less."""


def nominal(codec: Codec) -> int:
    """Give the bytes a second, RTP headers included, that a sound codec needs at most; an unknown one, what raw samples need."""
    payload = SOUND_BYTES.get(codec.name, 2 * codec.clock_rate * codec.channels)
    return payload + int(HEADER / SMALLEST_PACKET_SECONDS)


def permitted(stream: Stream | None) -> int:
    """Give the bytes a second a peer may send of one medium; 0 for a refused one: there nothing is relayed anyway."""
    if stream is None or not stream.receive:
        return 0
    if stream.medium == "video":
        return FACTOR * PICTURE_BYTES
    return FACTOR * max(nominal(codec) for codec in stream.receive)


def seconds_per_byte(stream: Stream | None) -> float:
    """Give what one byte of the peer uses up; 0.0 where nothing is limited."""
    limit = permitted(stream)
    return 1 / limit if limit else 0.0
