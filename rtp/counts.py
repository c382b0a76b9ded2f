"""What was counted of one medium of a leg, as the control socket tells it."""

from rtp.control import StreamReport
from rtp.track import Track


def stream_report(track: Track, *, rejected_rtcp: int, round_trip: float | None) -> StreamReport:
    """Counts so far; `round_trip` in seconds."""
    return StreamReport(
        medium=track.medium,
        received=track.source.received,
        lost=track.source.lost,
        jitter_ms=round(track.source.jitter_ms, 3),
        sent=track.sender.packets,
        rejected=track.rejected + rejected_rtcp,
        flooded=track.flooded,
        round_trip_ms=None if round_trip is None else round(round_trip * 1000, 3),
        unauthentic=track.unauthentic,
    )
