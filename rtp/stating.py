"""What was dropped of a track's packets, stated in the evidence of whoever hears it: nothing is left out in silence."""

import time
from collections.abc import Iterable

import structlog

from rtp.call_evidence import FLOOD, OVERRUN, REJECTED, CallEvidence
from rtp.track import Track

log = structlog.get_logger("media")


def state_flood(track: Track, evidence: Iterable[CallEvidence], seconds: float) -> None:
    """State what the peer itself sent too much, since the last look `seconds` ago."""
    dropped, track.flood_stated = track.flooded - track.flood_stated, track.flooded
    if not dropped:
        return
    log.warning("media_flood", leg=track.leg, medium=track.medium, dropped=dropped, all=track.flooded)
    since, until = _span(seconds)
    for one in evidence:
        one.lose(dropped, since, until, FLOOD)


def state_strangers(track: Track, evidence: Iterable[CallEvidence], seconds: float) -> None:
    """State what others sent to the port, since the last look `seconds` ago (bar S1)."""
    refused = track.strangers.look()
    if not refused:
        return
    track.strangers.stated += refused
    log.warning(
        "media_strangers", leg=track.leg, medium=track.medium, refused=refused, all=track.strangers.count
    )
    since, until = _span(seconds)
    for one in evidence:
        one.state(refused, since, until, f"{REJECTED} {track.pair.port}")


def state_overrun(track: Track, evidence: Iterable[CallEvidence], seconds: float) -> None:
    """State what the kernel dropped before we read it, since the last look `seconds` ago."""
    missing = track.overrun.look()
    if not missing:
        return
    track.overrun.stated += missing
    log.warning("media_overrun", leg=track.leg, medium=track.medium, dropped=missing, all=track.overrun.count)
    since, until = _span(seconds)
    for one in evidence:
        one.lose(missing, since, until, f"{OVERRUN} {track.pair.port}")


def _span(seconds: float) -> tuple[int, int]:
    until = time.time_ns()
    return until - int(seconds * 1e9), until
