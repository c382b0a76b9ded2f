"""Digits as RTP events: RFC 4733 payloads out, digits in.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |     event     |E|R| volume    |          duration             |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Pure: no clock, no socket. Not done: events other than 0…15, several events in one payload.
"""

from typing import Final

DIGITS: Final = "0123456789*#ABCD"  # RFC 4733 §3.2 table 3: event codes 0…15
END: Final = 0x80
MAX_DURATION: Final = 0xFFFF  # the field is 16 bits: 8.19 s at 8000 Hz
PACKET_MS: Final = 20
END_REPEATS: Final = 3  # RFC 4733 §2.5.1.4: the final packet is sent three times in all


def events(
    digit: str, duration_ms: int, volume: int = 10, clock_rate: int = 8000
) -> list[tuple[bytes, bool, int]]:
    """Packets of one digit, to be sent 20 ms apart: (payload, marker, timestamp − timestamp of the event's start).

    `volume` is 0…63, the level in −dBm0. The last three are the end packet. The offset is 0 but for an event longer
    than 65535 clock units, whose further segments start there (RFC 4733 §2.5.1.3). Raises ValueError for no digit.
    """
    code = DIGITS.find(digit.upper()) if len(digit) == 1 and digit.isascii() else -1
    if code < 0 or duration_ms < 1 or not 0 <= volume <= 63:
        raise ValueError(f"no such event: {digit!r}, {duration_ms} ms, volume {volume}")
    total = duration_ms * clock_rate // 1000
    step = PACKET_MS * clock_rate // 1000
    packets: list[tuple[bytes, bool, int]] = []
    start = 0
    elapsed = 0
    while elapsed < total:
        elapsed = min(elapsed + step, total)
        while elapsed - start > MAX_DURATION:
            packets.append((_payload(code, False, volume, MAX_DURATION), not packets, start))
            start += MAX_DURATION
        packets.append((_payload(code, elapsed == total, volume, elapsed - start), not packets, start))
    payload, _, offset = packets[-1]
    packets.extend([(payload, False, offset)] * (END_REPEATS - 1))
    return packets


def _payload(code: int, end: bool, volume: int, duration: int) -> bytes:
    return bytes((code, (END if end else 0) | volume)) + duration.to_bytes(2, "big")


class Detector:
    """Event packets of one source → digits, one for each event, told by the first packet that arrives of it.

    An event is known by its timestamp: RFC 4733 §2.2.1 gives all its packets the same one, so repeated, reordered
    and lost packets change nothing as long as one arrives.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        self._timestamp = 0
        self._ended = False

    def push(self, payload: bytes, timestamp: int) -> str | None:
        """One payload with its RTP timestamp (0…2^32−1) → the digit when it begins a new event, else None."""
        if len(payload) < 4 or payload[0] >= len(DIGITS):
            return None
        code, ended = payload[0], bool(payload[1] & END)
        if self._code is not None:
            ahead = (timestamp - self._timestamp) % (1 << 32)
            if ahead >= 1 << 31:
                return None  # a late packet of an event before this one
            if ahead == 0 and code == self._code:
                self._ended = self._ended or ended
                return None
            # RFC 4733 §2.5.1.3: a long event goes on in a segment that starts where the full one ended.
            if code == self._code and not self._ended and ahead % MAX_DURATION == 0:
                self._timestamp, self._ended = timestamp, ended
                return None
        self._code, self._timestamp, self._ended = code, timestamp, ended
        return DIGITS[code]

    def reset(self) -> None:
        """Forget the last event: the source changed (another SSRC) and counts its timestamps anew."""
        self._code = None
