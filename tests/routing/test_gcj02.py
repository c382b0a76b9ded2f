import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.gcj02 import shifted, to_gcj02, to_wgs84
from routing.shapes import distance


@given(st.floats(3, 53), st.floats(73.6, 135.0))
def test_there_and_back(latitude: float, longitude: float) -> None:
    """The issue wants less than a metre; the way back is far better."""
    place = (latitude, longitude)
    assert distance(to_wgs84(to_gcj02(place)), place) < 0.001


@given(st.floats(18, 50), st.floats(80, 130))
def test_the_shift_is_some_hundred_metres(latitude: float, longitude: float) -> None:
    place = (latitude, longitude)
    assert 30 < distance(to_gcj02(place), place) < 1_500


@pytest.mark.parametrize(
    ("wgs84", "gcj02"),
    [
        # Published pairs used by several converters as test values, to six digits.
        ((31.1774276, 121.5272106), (31.17530398364597, 121.531541859215)),
        ((22.543847, 113.912316), (22.540796131694766, 113.9171764808363)),
        ((39.911954, 116.377817), (39.91334545536069, 116.38404722455657)),
    ],
)
def test_known_places(wgs84: tuple[float, float], gcj02: tuple[float, float]) -> None:
    assert distance(to_gcj02(wgs84), gcj02) < 0.5
    assert distance(to_wgs84(gcj02), wgs84) < 0.5


@pytest.mark.parametrize("place", [(48.85, 2.35), (-33.9, 151.2), (37.5, 140.0), (60.0, 100.0)])
def test_elsewhere_maps_are_straight(place: tuple[float, float]) -> None:
    assert not shifted(place)
    assert to_gcj02(place) == place == to_wgs84(place)
