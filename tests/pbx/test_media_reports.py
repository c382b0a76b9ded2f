"""Reports of media processes find their counters; what is no report changes nothing."""

from pbx.media_reports import MediaReports
from pbx.metrics import Metrics
from rtp.control import LegOpened, LegReport, SoundLoad, StreamReport


def test_reports_are_counted_and_told_on() -> None:
    metrics, told = Metrics(), list[str]()
    reports = MediaReports(metrics, told.append)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    stream = StreamReport("audio", 30, 0, 0.0, 0, 0, bytes_received=5160, bytes_sent=172)
    reports.take(LegReport("a", (stream,)))
    reports.take(SoundLoad(1.0, 0.5, 100, 50, 10, voices=3))
    reports.take(LegOpened("b", ()))
    assert told == ["a"]
    assert value("at110_media_packets_total", what="received") == 30
    assert value("at110_media_voices") == 3
    reports.forget({"a"})
    reports.take(LegReport("a", (stream,)))
    assert value("at110_media_packets_total", what="received") == 30  # known still
    reports.forget(())
    reports.take(LegReport("a", (stream,)))
    assert value("at110_media_packets_total", what="received") == 60
