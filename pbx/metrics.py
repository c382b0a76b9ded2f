"""Counters and gauges of one process, in Prometheus' text format.

in → out: whoever knows a number sets it on `Metrics`; `/metrics` gives `render()`.
"""

import asyncio
import itertools
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "Metrics", "watch_loop"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
LAG_PERIOD: Final = (
    0.01  # seconds between two probes, as the bar has it (GI3); they take three thousandths of a core
)
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SETUP_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
MOS_BUCKETS: Final = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.2, 4.5)
WAIT_BUCKETS: Final = (1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Lateness(Collector):
    """A histogram that is told something a hundred times a second: prometheus_client's own takes seven times as long."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self._counts = [0] * (len(LAG_BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Take one value. For one thread."""
        self._counts[bisect_left(LAG_BUCKETS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterable[Metric]:
        """See `Collector`; a scrape, in the same thread."""
        bounds = [*map(str, LAG_BUCKETS), "+Inf"]
        buckets = list(zip(bounds, itertools.accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)


class Metrics:
    """All metrics, on a registry of their own so that tests and processes never share one."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        self.calls = Gauge("at110_live_calls", "Calls now, by state", ["state"], registry=r)
        """state: waiting | active."""
        self.calls_total = Counter(
            "at110_calls_total", "Calls since start, by how they ended", ["result"], registry=r
        )
        """result: answered | abandoned | refused | failed."""
        self.setup_seconds = Histogram(
            "at110_setup_seconds", "INVITE received to 200 sent", buckets=SETUP_BUCKETS, registry=r
        )
        self.wait_seconds = Histogram(
            "at110_wait_seconds", "Answered to attached to a desk", buckets=WAIT_BUCKETS, registry=r
        )
        self.registrations = Gauge("at110_registrations", "Phones registered now", registry=r)
        self.desks = Gauge("at110_desks", "Desks now, by state", ["state"], registry=r)
        """state: signed_out | calling | free | busy | wrap_up | paused | visiting."""
        self.waiting = Gauge("at110_queue_waiting", "Callers waiting now, by queue", ["queue"], registry=r)
        self.reconciled = Counter(
            "at110_reconciled_total",
            "Seats, rooms and calls that did not fit and were mended",
            ["what"],
            registry=r,
        )
        self.not_recorded = Counter(
            "at110_not_recorded_total", "Times a call's evidence could not be written", ["reason"], registry=r
        )
        """reason: disk | capture_not_opened | evidence."""
        self.put_away = Counter(
            "at110_desks_put_away_total", "Desks that had a caller and sent no sound", registry=r
        )
        self.sip_messages = Gauge("at110_sip_messages", "SIP messages since the start", ["what"], registry=r)
        """what: received | malformed | sent | unsendable | refused | overdue | faults | guarded, as the endpoint counts them."""
        self.guarded = Counter(
            "at110_guard_refused_total", "SIP messages not let in, by reason", ["reason"], registry=r
        )
        """reason: flow | host | known | emergency (limits) | shed_other | shed_register | shed_owner (overload)."""
        self.to_begin = Gauge(
            "at110_calls_to_begin", "Calls for help that heard 100 and have not begun", registry=r
        )
        self.may_wait = Gauge(
            "at110_calls_may_wait", "Calls for help that begin in time at the present pace", registry=r
        )
        self.shed_pressure = Gauge("at110_shed_pressure", "Overload 0…3: how many ranks are shed", registry=r)
        self.packets = Counter(
            "at110_media_packets_total", "Media packets, by what happened", ["what"], registry=r
        )
        """what: received | sent | lost | rejected | unsent."""
        self.media_bytes = Counter(
            "at110_media_bytes_total", "Bytes of RTP", ["medium", "direction"], registry=r
        )
        """medium: audio | video; direction: received | sent. Its rate is the bandwidth."""
        self.listening = Histogram(
            "at110_media_listening_mos",
            "Estimated listening quality of what phones send, every 5 s (E-model)",
            buckets=MOS_BUCKETS,
            registry=r,
        )
        self.sound_seconds = Counter(
            "at110_media_sound_seconds_total", "Processor time for sound", ["what"], registry=r
        )
        """what: mixing | transcoding."""
        self.sound_frames = Counter(
            "at110_media_sound_frames_total", "Frames of 20 ms of sound made", ["what"], registry=r
        )
        """what: mixed | transcoded | concealed."""
        self.voices = Gauge("at110_media_voices", "Voices that are mixed now", registry=r)
        self.evidence_bytes = Counter("at110_evidence_bytes_total", "Bytes of evidence written", registry=r)
        self.database_up = Gauge("at110_database_up", "1 while PostgreSQL answers", registry=r)
        self.outbox_pending = Gauge("at110_outbox_pending", "Rows waiting for PostgreSQL", registry=r)
        self.outbox_refused = Gauge("at110_outbox_refused", "Rows PostgreSQL refused, set aside", registry=r)
        self.scribe_waiting = Gauge(
            "at110_scribe_waiting", "Events and log lines that wait for the disk", registry=r
        )
        self.scribe_lost = Gauge(
            "at110_scribe_lost",
            "Events and log lines dropped since the start, the disk being stuck",
            registry=r,
        )
        self.live_fault = Gauge(
            "at110_live_journal_failed", "1 while live calls are kept for no restart", registry=r
        )
        self.live_bytes = Gauge("at110_live_journal_bytes", "Size of the journal of live state", registry=r)
        self.live_restored = Counter(
            "at110_live_calls_restored_total", "Calls taken up again by this process", registry=r
        )
        self.live_dropped = Counter(
            "at110_live_records_dropped_total", "Records of live state that were not taken up", registry=r
        )
        self.http_requests = Counter("at110_http_requests_total", "API requests", ["status"], registry=r)
        self.logins_failed = Counter("at110_logins_failed_total", "Failed API logins", registry=r)
        self.feed_readers = Gauge("at110_feed_readers", "Open event feeds", registry=r)
        self.feed_dropped = Counter(
            "at110_feed_dropped_total", "Feeds closed for reading too slowly", registry=r
        )
        self.loop_lag = Gauge("at110_loop_lag_seconds", "Last lateness of the event loop", registry=r)
        self.loop_lag_seconds = Lateness("at110_loop_lag_histogram_seconds", "Lateness of the event loop")
        self.loop_turn_seconds = Lateness(
            "at110_loop_turn_histogram_seconds",
            "Processor time of the event loop's thread in which a probe of it was late",
        )
        r.register(self.loop_lag_seconds)
        r.register(self.loop_turn_seconds)
        self.evidence_there = Gauge(
            "at110_evidence_there", "1 while the evidence folder is the one that was set up", registry=r
        )
        self.process_beat = Gauge(
            "at110_process_beat_seconds", "Age of the last beat of a process's loop", ["role"], registry=r
        )
        self.process_hangs = Gauge(
            "at110_process_hangs",
            "Processes that hung and were killed, since the start",
            ["role"],
            registry=r,
        )
        """role: media | media-1 … | signalling | recorder."""
        self.trunk_calls = Gauge("at110_trunk_live_calls", "Calls over a trunk now", ["trunk"], registry=r)
        self.trunk_counts = Gauge(
            "at110_trunk_calls_since_start",
            "Calls over a trunk since the start",
            ["trunk", "what"],
            registry=r,
        )
        """what: incoming | outgoing | failed (nobody took it) | failovers (gone on to the next peer)."""
        self.trunk_peer_up = Gauge(
            "at110_trunk_peer_up", "1 while a trunk's peer answers", ["trunk", "peer"], registry=r
        )
        self.trunk_registered = Gauge(
            "at110_trunk_registered", "1 while we are registered with a trunk", ["trunk"], registry=r
        )
        for state in ("waiting", "active"):
            self.calls.labels(state).set(0)

    def render(self) -> bytes:
        """Give the text for a scrape."""
        return generate_latest(self.registry)

    def note_lag(self, seconds: float, worked: float) -> None:
        """Take one probe of how late the loop was; `worked`: processor time its thread has had since the one before.

        What it was late by and did not work is the machine's: others had the processor.
        """
        late = max(0.0, seconds)
        self.loop_lag.set(late)
        self.loop_lag_seconds.observe(late)
        self.loop_turn_seconds.observe(min(late, worked))


async def watch_loop(
    metrics: Metrics,
    clock: Callable[[], float] | None = None,
    worked: Callable[[], float] = time.thread_time,
) -> None:
    """Probe the event loop for ever; spawn it through `Tasks`."""
    now = clock or asyncio.get_running_loop().time
    while True:
        before, had = now(), worked()
        await asyncio.sleep(LAG_PERIOD)
        metrics.note_lag(now() - before - LAG_PERIOD, worked() - had)
