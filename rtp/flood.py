"""How much a peer may send: twice what its codecs need; the rest is dropped and counted (bar L9). Pure.

One limit for each flow, as a time until which what came so far is permitted (the generic cell rate algorithm):

    until = max(until, since)    until − now > BURST_SECONDS: dropped      until += bytes · seconds_per_byte

`since` is a moment at which the flow's socket was empty: what is read now came later, whenever it is that we come to read it. So what
waited while this process was kept from its work, once or again and again, counts with the time in which it came and is no flood, and
of a flood no more passes than its time permits. A socket that was read in the look before is not known to have been empty: `until`
stands as it is then, back to `WAITED_SECONDS`. `Loop` tells both (`looked`, `vacant`).
"""

from typing import Any, Final

from rtp.control import Codec, Stream

FACTOR: Final = 2
"""Bar L9: "excess over 2× negotiated rate"."""
BURST_SECONDS: Final = 1.0
"""What may come at once, as seconds at the permitted rate: a key frame, or the sound a phone held back while it changed networks."""
WAITED_SECONDS: Final = 10.0
"""How far back at most it counts what a peer might have sent and did not, while its socket was seen with something to read at every
look: about as much of sound as the kernel keeps for a socket."""
LEAST: Final = 40
"""Bytes a smaller packet counts as: it costs us as much as a larger one. At 10 ms a G.711 packet has 92, a digit has 16."""
SMALLEST_PACKET_SECONDS: Final = 0.010
"""The shortest packet time phones use; 12 bytes of header for each."""
HEADER: Final = 12
RTCP_SHARE: Final = 20
"""RFC 3550 §6.2: "It is RECOMMENDED that the fraction of the session bandwidth added for RTCP be fixed at 5%"."""
RTCP_LEAST: Final = 2_000
"""Bytes a second of RTCP that are always permitted: twenty reports of the longer kind, and what a phone asks when it loses pictures."""

SOUND_BYTES: Final = {
    "PCMA": 8000,
    "PCMU": 8000,
    "G722": 8000,
    "OPUS": 32_000,
    "TELEPHONE-EVENT": 0,
    "AMR": 1600,
    "AMR-WB": 3100,
}
"""Payload bytes a second. Opus in telephony stays below 64 kbit/s; 256 kbit/s leaves room for stereo music."""
PICTURE_BYTES: Final = 500_000
"""4 Mbit/s: 1080p of a phone's hardware encoder; SDP does not bind the sender to less."""
CHECKS: Final = 5_000
"""Packets a second of a leg's own address whose authenticity is looked into: a hundred times the packets of sound, so that forged
ones in between take nothing from the phone, and at 10 µs each no more than a twentieth of a processor."""
CHECKS_OF_OTHERS: Final = 500
"""The same for all other addresses together."""

SEARCHED: Final = 1_000
"""Roll-over counts a second that are tried in all (`srtp.Opener.search`), a twentieth of a processor: after a restart 400 streams of
an hour are found in a second. Whoever only pretends to be such a stream takes nothing from those that are known."""


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


def rtcp_permitted(stream: Stream | None) -> int:
    """Give the bytes a second a peer may send as RTCP of one medium."""
    return max(RTCP_LEAST, permitted(stream) // RTCP_SHARE)


class Limit:
    """One flow's limit, where it is not in line with the packet road (`track`)."""

    __slots__ = ("_seconds_each", "_until")

    def __init__(self) -> None:
        """Permit nothing to be counted: there is no limit before `permit`."""
        self._until = 0.0
        self._seconds_each = 0.0

    def permit(self, each_second: int) -> None:
        """Set how many bytes, or packets, a second are permitted; 0: no limit."""
        self._seconds_each = 1 / each_second if each_second else 0.0

    def take(self, amount: int, now: float) -> bool:
        """Whether so many bytes, or packets, are permitted at `now` (monotonic seconds); they are counted then."""
        until = max(self._until, now)
        if until - now > BURST_SECONDS:
            return False
        self._until = until + amount * self._seconds_each
        return True

    def datagram(self, data: bytes, now: float) -> bool:
        """The same for a datagram where bytes are counted."""
        return self.take(max(LEAST, len(data)), now)

    def snapshot(self) -> dict[str, Any]:
        """Give the state as plain data."""
        return {"until": self._until, "seconds_each": self._seconds_each}

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "Limit":
        """Make a limit that goes on where `snapshot` was taken."""
        limit = cls()
        limit._until, limit._seconds_each = data["until"], data["seconds_each"]
        return limit
