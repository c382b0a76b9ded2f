import math

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from routing.shapes import (
    EARTH,
    MAX_CORNERS,
    MAX_REACH,
    ArcBand,
    Circle,
    Ellipse,
    Point,
    Polygon,
    Shape,
    centre,
    check,
    distance,
    moved,
    outline,
    reach,
)

HERE = (37.5, 121.4)
latitudes = st.floats(-70, 70)
longitudes = st.floats(-170, 170)
metres = st.floats(1, 50_000)


def area(shape: Shape) -> float:
    """Square metres, on the plane that touches the earth at HERE."""
    scale = math.radians(1) * EARTH
    flat = [(lon * scale * math.cos(math.radians(HERE[0])), lat * scale) for lat, lon in outline(shape)]
    return float(shapely.Polygon(flat).area)


@pytest.mark.parametrize(
    ("shape", "square_metres"),
    [
        (Circle(HERE, 500), math.pi * 500**2),
        (Ellipse(HERE, 800, 200, 30), math.pi * 800 * 200),
        (ArcBand(HERE, 1000, 3000, 30, 120), math.pi * (3000**2 - 1000**2) / 3),
        (ArcBand(HERE, 0, 2000, 350, 60), math.pi * 2000**2 / 6),
    ],
)
def test_area_of_an_outline(shape: Shape, square_metres: float) -> None:
    check(shape)
    assert area(shape) == pytest.approx(square_metres, rel=0.005)


def test_ellipse_is_turned_clockwise_from_north() -> None:
    east = Ellipse(HERE, 1000, 10, 90)
    lats = [lat for lat, _ in outline(east)]
    lons = [lon for _, lon in outline(east)]
    assert distance((HERE[0], min(lons)), (HERE[0], max(lons))) == pytest.approx(2000, rel=0.01)
    assert distance((min(lats), HERE[1]), (max(lats), HERE[1])) == pytest.approx(20, rel=0.01)
    # Turned by 45° the far end lies north-east, not north-west.
    corner = max(outline(Ellipse(HERE, 1000, 10, 45)), key=lambda place: place[0])
    assert corner[1] > HERE[1]


def test_arc_band_lies_in_its_direction() -> None:
    """A mast's sector to the east has its middle there, between its radii."""
    band = ArcBand(HERE, 1000, 3000, 60, 60)
    middle = centre(band)
    assert middle[1] > HERE[1]
    assert middle[0] == pytest.approx(HERE[0], abs=1e-6)
    assert distance(HERE, middle) == pytest.approx(2000, rel=0.01)
    assert centre(ArcBand(HERE, 10, 20, 0, 360)) == HERE


@given(latitudes, longitudes, st.floats(-math.pi, math.pi), metres)
def test_moving_goes_as_far_as_said(lat: float, lon: float, bearing: float, length: float) -> None:
    there = moved((lat, lon), length * math.cos(bearing), length * math.sin(bearing))
    assert distance((lat, lon), there) == pytest.approx(length, rel=0.02)


@given(latitudes, longitudes, metres, metres, st.floats(-360, 360))
def test_outline_stays_within_reach(lat: float, lon: float, one: float, other: float, turn: float) -> None:
    shape = Ellipse((lat, lon), max(one, other), min(one, other), turn)
    assert all(distance(centre(shape), corner) <= reach(shape) * 1.02 for corner in outline(shape))


def test_a_point_reaches_nowhere() -> None:
    assert reach(Point(HERE)) == 0
    assert outline(Point(HERE)) == (HERE,)


@pytest.mark.parametrize(
    "shape",
    [
        Point((91, 0)),
        Point((0, 181)),
        Point((math.nan, 0)),
        Circle(HERE, 0),
        Circle(HERE, -1),
        Circle(HERE, math.inf),
        Circle(HERE, MAX_REACH + 1),
        Ellipse(HERE, 10, 10, math.nan),
        ArcBand(HERE, 100, 100, 0, 60),
        ArcBand(HERE, 0, 100, 0, 0),
        ArcBand(HERE, 0, 100, 0, 361),
        Polygon((HERE, HERE)),
        Polygon(tuple((37 + i / 10_000, 121.0) for i in range(MAX_CORNERS + 1))),
        Polygon(((37, 121), (37, 140), (50, 121))),
    ],
)
def test_no_place_on_earth(shape: Shape) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        check(shape)
