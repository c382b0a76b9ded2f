"""What signalling knows of the pulses of others."""

import os
import time

import pytest

from pbx import liveness, pulse
from pbx.liveness import Liveness
from pbx.metrics import Metrics


class Site:
    def __init__(self, monkeypatch):
        self.pulses = pulse.make(4)
        self.metrics = Metrics()
        self.made = Liveness(self.pulses, 2, self.metrics)
        self.ahead = 0.0
        monkeypatch.setattr(liveness.time, "monotonic", lambda: time.monotonic_ns() / 1e9 + self.ahead)


@pytest.fixture
def site(monkeypatch):
    made = Site(monkeypatch)
    yield made
    os.close(made.pulses.descriptor)


def test_who_is_late_and_what_that_makes_of_media(site):
    assert site.made.late() == frozenset()
    for place in range(4):
        site.pulses.beat(place)
    assert site.made.media(connected=True) == "up"
    site.ahead = pulse.LATE_SECONDS
    site.pulses.beat(0)
    assert site.made.late() == {0, 1}, "signalling and recorder take no calls"
    assert (site.made.media(connected=True), site.made.media(connected=False)) == ("late", "down")


def test_the_metrics_say_who_hung_and_whose_beat_is_old(site):
    for place in range(4):
        site.pulses.beat(place)
    site.pulses.ended(1, hung=True)
    site.ahead = 7.0
    text = site.metrics.render().decode()
    assert 'at110_process_hangs{role="media-1"} 1.0' in text
    assert 'at110_process_hangs{role="media"} 0.0' in text
    assert 'at110_process_beat_seconds{role="signalling"} 7.' in text
    assert 'at110_process_beat_seconds{role="media-1"} 0.0' in text


def test_from_when_to_when_nobody_was_there(site):
    assert site.made.outage() == {}
    site.pulses.beat(2)
    site.pulses.ended(2, hung=True)
    assert site.made.outage() == {}, "signalling's own death is another matter"
    site.pulses.beat(1)
    site.pulses.ended(1, hung=True)
    gap = site.made.outage()
    assert gap["hung"] is True
    assert gap["from"] <= gap["to"]
    assert 0.0 <= gap["seconds"] < 60.0


def test_without_a_supervisor_everybody_goes_round():
    metrics = Metrics()
    alone = Liveness(None, 2, metrics)
    assert alone.late() == frozenset()
    assert alone.outage() == {}
    assert (alone.media(connected=True), alone.media(connected=False)) == ("up", "down")
    assert "at110_process_beat_seconds{" not in metrics.render().decode()
