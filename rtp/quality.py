"""How well a stream can be listened to, and how wide it is: counts of two moments → what happened between them. Pure.

counts so far, now ─▶ Meter.take ─▶ bits a second, loss of the interval ┐
codec, jitter, round trip ──────────────────────────────────────────────┴▶ rating ─▶ R (0…100) ─▶ mos (1…4.5)

The rating is the E-model's (ITU-T G.107) with its defaults for everything that can't be measured here: an estimate of what a
listener would say, no judgement of the sound itself. All codecs are rated on the narrow-band scale, so wide-band ones are
better than their figure.
"""

from dataclasses import dataclass
from typing import Any, Final

BEST: Final = 93.2
"""ITU-T G.107: the rating of a call with all parameters at their default."""
PACKET_MS: Final = 20.0
"""What a packet waits for its last sample, at the packet time of all codecs here."""
BUFFER_JITTERS: Final = 2.0
"""Delay of a phone's jitter buffer, in mean deviations (RFC 3550 A.8 estimates the mean deviation)."""
LEAST_SECONDS: Final = 1.0
"""An interval shorter than this says nothing: the figures of the one before stand."""

# ITU-T G.113 Appendix I: equipment impairment Ie and robustness to random packet loss Bpl. AMR 12.2 is GSM-EFR. G.722,
# Opus and AMR-WB have no figures on this scale: those of G.711 with concealment and of AMR stand in.
_G711: Final = (0.0, 25.1)
EQUIPMENT: Final[dict[str, tuple[float, float]]] = {
    "PCMA": _G711, "PCMU": _G711, "G722": _G711, "OPUS": _G711, "AMR": (5.0, 10.0), "AMR-WB": (5.0, 10.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two looks."""

    bits_received: int = 0
    """Bits a second of RTP, without IP and UDP."""
    bits_sent: int = 0
    loss: float = 0.0
    """Part of the packets expected that did not come, 0…1."""


class Meter:
    """Looks at the growing counts of one stream."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._counts = (0, 0, 0, 0)
        self.interval = Interval()
        """The newest."""

    def take(
        self, received: int, lost: int, bytes_received: int, bytes_sent: int, now: float
    ) -> Interval:  # one row of counts
        """Look at the counts at `now` (monotonic seconds); `lost` may fall, as a late packet is found."""
        counts = (received, lost, bytes_received, bytes_sent)
        if self._at is None:
            self._at, self._counts = now, counts
            return self.interval
        seconds = now - self._at
        if seconds < LEAST_SECONDS:
            return self.interval
        came, missing, took, gave = (max(0, new - old) for new, old in zip(counts, self._counts, strict=True))
        self._at, self._counts = now, counts
        expected = came + missing
        self.interval = Interval(
            round(took * 8 / seconds), round(gave * 8 / seconds), missing / expected if expected else 0.0
        )
        return self.interval

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data."""
        one = self.interval
        return {
            "at": self._at,
            "counts": list(self._counts),
            "interval": [one.bits_received, one.bits_sent, one.loss],
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "Meter":
        """Make a meter that goes on where `snapshot` was taken."""
        meter = cls()
        meter._at = data["at"]
        received, lost, took, gave = data["counts"]
        meter._counts = (received, lost, took, gave)
        meter.interval = Interval(*data["interval"])
        return meter


def rating(codec: str, *, loss: float, jitter_ms: float, round_trip_ms: float | None) -> float | None:
    """The E-model's R of one direction, 0…93.2; None for a codec without figures.

    `loss`: 0…1, taken as random; without a round trip the way is taken to need no time.
    """
    equipment = EQUIPMENT.get(codec.upper())
    if equipment is None:
        return None
    impairment, robustness = equipment
    percent = max(0.0, min(1.0, loss)) * 100
    # ITU-T G.107 §7.5: Ie,eff = Ie + (95 − Ie) · Ppl / (Ppl / BurstR + Bpl), BurstR 1 for random loss.
    effective = impairment + (95 - impairment) * percent / (percent + robustness)
    delay = (round_trip_ms or 0.0) / 2 + BUFFER_JITTERS * jitter_ms + PACKET_MS
    # Cole and Rosenbluth (2001): Id of the E-model with perfect echo control, as two straight lines of the delay in ms.
    late = 0.024 * delay + (0.11 * (delay - 177.3) if delay > 177.3 else 0.0)
    return max(0.0, BEST - late - effective)


def mos(r: float) -> float:
    """The mean opinion score of a rating (ITU-T G.107 Annex B), 1…4.5."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
