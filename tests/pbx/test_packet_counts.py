"""Counts of legs as metrics that only grow."""

import msgspec

from pbx.metrics import Metrics
from pbx.packet_counts import PacketCounts
from rtp.control import StreamReport


def report(received, took, gave, mos=None, medium="audio"):
    return StreamReport(medium, received, 0, 0.0, 0, 0, bytes_received=took, bytes_sent=gave, mos=mos)


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_counts_of_a_leg_are_added_once():
    metrics = Metrics()
    counts = PacketCounts(metrics)
    counts.add("a", report(10, 1720, 0, mos=4.4))
    counts.add("a", report(30, 5160, 172, mos=2.2))
    counts.add("b", report(1, 900, 0, medium="video"))
    counts.add("b", msgspec.structs.replace(report(1, 900, 0, medium="video"), unsent=3))
    assert value(metrics, "at110_media_packets_total", what="received") == 31
    assert value(metrics, "at110_media_packets_total", what="unsent") == 3
    assert value(metrics, "at110_media_bytes_total", medium="audio", direction="received") == 5160
    assert value(metrics, "at110_media_bytes_total", medium="audio", direction="sent") == 172
    assert value(metrics, "at110_media_bytes_total", medium="video", direction="received") == 900
    assert value(metrics, "at110_media_listening_mos_bucket", le="2.5") == 1
    assert value(metrics, "at110_media_listening_mos_count") == 2


def test_a_leg_that_is_forgotten_begins_anew():
    metrics = Metrics()
    counts = PacketCounts(metrics)
    counts.add("a", report(10, 1720, 0))
    counts.forget(())
    counts.add("a", report(10, 1720, 0))
    assert value(metrics, "at110_media_bytes_total", medium="audio", direction="received") == 3440
