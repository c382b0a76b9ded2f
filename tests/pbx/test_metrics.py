"""Numbers that can be scraped."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pbx.metrics import LAG_PERIOD, Metrics, watch_loop


def test_a_scrape_can_be_parsed_and_every_metric_is_ours():
    metrics = Metrics()
    metrics.calls.labels("waiting").set(3)
    metrics.packets.labels("relayed").inc(5)
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert all(family.name.startswith("at110_") for family in families)
    assert all(family.documentation for family in families)
    assert metrics.registry.get_sample_value("at110_media_packets_total", {"what": "relayed"}) == 5


def test_two_exchanges_share_nothing():
    first, second = Metrics(), Metrics()
    first.registrations.set(7)
    assert second.registry.get_sample_value("at110_registrations") == 0


def test_lateness_is_never_negative():
    metrics = Metrics()
    metrics.note_lag(-0.5, 0.1)
    metrics.note_lag(0.3, 0.1)
    assert metrics.registry.get_sample_value("at110_loop_lag_seconds") == 0.3
    assert metrics.registry.get_sample_value("at110_loop_lag_histogram_seconds_sum") == 0.3
    assert metrics.registry.get_sample_value("at110_loop_turn_histogram_seconds_sum") == 0.1


def test_a_turn_takes_no_longer_than_what_it_made_the_probe_late_by():
    metrics = Metrics()
    metrics.note_lag(0.02, 0.5)
    assert metrics.registry.get_sample_value("at110_loop_turn_histogram_seconds_sum") == 0.02


async def test_a_late_loop_is_noticed(monkeypatch):
    metrics = Metrics()
    moments = iter([10.0, 10.0 + LAG_PERIOD + 0.25])

    async def at_once(_seconds: float) -> None:
        return

    def clock() -> float:
        try:
            return next(moments)
        except StopIteration:
            raise asyncio.CancelledError from None

    monkeypatch.setattr("asyncio.sleep", at_once)
    worked = iter([1.0, 1.2])
    try:
        await watch_loop(metrics, clock, lambda: next(worked, 0.0))
    except asyncio.CancelledError:
        pass
    took = metrics.registry.get_sample_value("at110_loop_turn_histogram_seconds_sum")
    assert took == pytest.approx(0.2), "the rest of it others had the processor"
    assert abs((metrics.registry.get_sample_value("at110_loop_lag_seconds") or 0) - 0.25) < 1e-9
