"""What was counted of one medium of a leg, as the control socket tells it."""

from rtp.control import StreamReport
from rtp.mapping import EVENT
from rtp.packet import HEADER_SIZE
from rtp.quality import mos, rating
from rtp.reports import Reports
from rtp.track import Track


def stream_report(track: Track, reports: Reports, now: float) -> StreamReport:
    """Counts so far, and how well it can be listened to; `now`: monotonic seconds."""
    source, sender = track.source, track.sender
    sent = sender.octets + sender.packets * HEADER_SIZE
    interval = reports.meter.take(source.received, source.lost, track.taken, sent, now)
    codec = _codec(track)
    trip = None if reports.round_trip is None else round(reports.round_trip * 1000, 3)
    heard = track.medium == "audio" and source.received > 0
    ours = (
        rating(codec, loss=interval.loss, jitter_ms=source.jitter_ms, round_trip_ms=trip) if heard else None
    )
    far = reports.far
    theirs = None
    if far is not None and track.medium == "audio" and sender.codec is not None:
        theirs = rating(sender.codec.name, loss=far.loss, jitter_ms=far.jitter_ms, round_trip_ms=trip)
    signs = [at for at in (track.heard if source.received else None, reports.heard) if at is not None]
    return StreamReport(
        medium=track.medium,
        received=source.received,
        lost=source.lost,
        jitter_ms=round(source.jitter_ms, 3),
        sent=sender.packets,
        rejected=track.rejected + track.strangers.kernel + reports.rejected,
        flooded=track.flooded,
        unsent=sender.failed,
        strangers=track.strangers.count,
        round_trip_ms=trip,
        unauthentic=track.unauthentic,
        bytes_received=track.taken,
        bytes_sent=sent,
        bits_received=interval.bits_received,
        bits_sent=interval.bits_sent,
        loss_percent=round(interval.loss * 100, 2),
        codec=codec,
        rating=None if ours is None else round(ours, 1),
        mos=None if ours is None else round(mos(ours), 2),
        far_loss_percent=None if far is None else round(far.loss * 100, 2),
        far_jitter_ms=None if far is None else round(far.jitter_ms, 3),
        far_rating=None if theirs is None else round(theirs, 1),
        far_mos=None if theirs is None else round(mos(theirs), 2),
        ended=reports.ended,
        quiet_ms=round((now - max(signs)) * 1000, 1) if signs else None,
    )


def _codec(track: Track) -> str:
    """The codec of what arrives: the first agreed one whose clock it has; before the first packet the first."""
    agreed = [codec for codec in (track.stream.receive if track.stream else ()) if codec.name != EVENT]
    fitting = (codec.name for codec in agreed if codec.clock_rate == track.source.rate)
    return next(fitting, agreed[0].name if agreed else "")
