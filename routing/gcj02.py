"""WGS 84 and GCJ-02, the shifted coordinates of Chinese maps, both ways.

in → out: degrees → degrees. What is kept and routed by is WGS 84; GCJ-02 is made for maps only. The shift is a published
approximation of an unpublished one: constants are those of the Krasovsky 1940 ellipsoid and of the series in common use.
"""

from math import cos, pi, radians, sin, sqrt
from typing import Final

from routing.shapes import Place

AXIS: Final = 6_378_245.0
"""Half the longer axis of Krasovsky's ellipsoid in metres."""
ECCENTRICITY: Final = 0.006_693_421_622_965_943
"""Of the same, squared."""
ROUNDS: Final = 6
"""Of the way back: each makes the error some hundred times smaller."""

# A rectangle around the mainland: outside it Chinese maps are not shifted either.
_SOUTH, _NORTH, _WEST, _EAST = 0.8293, 55.8271, 72.004, 137.8347


def shifted(place: Place) -> bool:
    """Whether GCJ-02 differs from WGS 84 there."""
    return _SOUTH <= place[0] <= _NORTH and _WEST <= place[1] <= _EAST


def to_gcj02(place: Place) -> Place:
    """Make a WGS 84 place fit a Chinese map."""
    if not shifted(place):
        return place
    latitude, longitude = place
    north, east = _shift(latitude, longitude)
    return latitude + north, longitude + east


def to_wgs84(place: Place) -> Place:
    """Undo `to_gcj02`, to well under a millimetre."""
    if not shifted(place):
        return place
    latitude, longitude = place
    for _ in range(ROUNDS):
        north, east = _shift(latitude, longitude)
        latitude, longitude = place[0] - north, place[1] - east
    return latitude, longitude


def _shift(latitude: float, longitude: float) -> Place:
    """How far GCJ-02 lies north and east, in degrees."""
    x, y = longitude - 105.0, latitude - 35.0
    ripple = (20.0 * sin(6.0 * x * pi) + 20.0 * sin(2.0 * x * pi)) * 2.0 / 3.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x)) + ripple
    north += (20.0 * sin(y * pi) + 40.0 * sin(y / 3.0 * pi)) * 2.0 / 3.0
    north += (160.0 * sin(y / 12.0 * pi) + 320.0 * sin(y * pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x)) + ripple
    east += (20.0 * sin(x * pi) + 40.0 * sin(x / 3.0 * pi)) * 2.0 / 3.0
    east += (150.0 * sin(x / 12.0 * pi) + 300.0 * sin(x / 30.0 * pi)) * 2.0 / 3.0
    slope = 1 - ECCENTRICITY * sin(radians(latitude)) ** 2
    meridian = AXIS * (1 - ECCENTRICITY) / (slope * sqrt(slope))
    parallel = AXIS / sqrt(slope) * cos(radians(latitude))
    return north * 180.0 / (meridian * pi), east * 180.0 / (parallel * pi)
