import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.quality import EQUIPMENT, Interval, Meter, mos, rating


def test_a_clean_call_has_the_models_best_rating_but_for_its_delay():
    clean = rating("PCMA", loss=0.0, jitter_ms=0.0, round_trip_ms=0.0)
    assert clean == pytest.approx(93.2 - 0.024 * 20)
    # ITU-T G.107 Annex B: R 93.2 is a score of 4.41.
    assert mos(93.2) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(
    ("percent", "effective"),
    [(1, 95 * 1 / 26.1), (5, 95 * 5 / 30.1), (20, 95 * 20 / 45.1)],  # ITU-T G.107 §7.5, Ie 0, Bpl 25.1
)
def test_loss_costs_what_the_model_says(percent, effective):
    found = rating("pcmu", loss=percent / 100, jitter_ms=0.0, round_trip_ms=None)
    assert found == pytest.approx(93.2 - 0.48 - effective)


def test_delay_hurts_more_beyond_177_ms():
    near = rating("PCMA", loss=0.0, jitter_ms=0.0, round_trip_ms=2 * (177.3 - 20))
    far = rating("PCMA", loss=0.0, jitter_ms=0.0, round_trip_ms=2 * (277.3 - 20))
    assert near - far == pytest.approx(0.024 * 100 + 0.11 * 100)


def test_an_unknown_codec_is_not_rated():
    assert rating("GSM", loss=0.0, jitter_ms=0.0, round_trip_ms=None) is None


@given(
    st.sampled_from(sorted(EQUIPMENT)),
    st.floats(0, 1),
    st.floats(0, 5000),
    st.none() | st.floats(0, 60_000),
)
def test_every_rating_is_on_the_scale_and_worse_by_loss(codec, loss, jitter, trip):
    found = rating(codec, loss=loss, jitter_ms=jitter, round_trip_ms=trip)
    assert 0 <= found <= 93.2
    assert found <= rating(codec, loss=0.0, jitter_ms=jitter, round_trip_ms=trip)
    assert 1 <= mos(found) <= 4.5


def test_scores_at_the_ends_of_the_scale():
    assert (mos(-1), mos(0), mos(100), mos(120)) == (1.0, 1.0, 4.5, 4.5)


def test_a_meter_tells_what_happened_since_its_last_look():
    meter = Meter()
    assert meter.take(0, 0, 0, 0, 10.0) == Interval()
    assert meter.take(250, 0, 43_000, 21_500, 15.0) == Interval(68_800, 34_400, 0.0)
    assert meter.take(250, 0, 43_000, 21_500, 15.5) == Interval(68_800, 34_400, 0.0), "too soon to say"
    assert meter.take(490, 10, 86_000, 21_500, 20.0) == Interval(68_800, 0, 0.04)
    assert meter.take(490, 9, 86_000, 21_500, 25.0) == Interval(0, 0, 0.0), "a late packet was found"


def test_a_restored_meter_goes_on():
    meter = Meter()
    meter.take(0, 0, 0, 0, 10.0)
    meter.take(100, 100, 8_000, 0, 11.0)
    again = Meter.restore(meter.snapshot())
    assert again.interval == meter.interval == Interval(64_000, 0, 0.5)
    assert again.take(200, 100, 16_000, 0, 12.0) == meter.take(200, 100, 16_000, 0, 12.0)
