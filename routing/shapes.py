"""Where somebody may be: the shapes of RFC 5491 on the earth's surface, and their outlines.

in → out: a shape in degrees (WGS 84) and metres → its outline, its centre, how far it reaches. Pure.

Distances are reckoned on a plane that touches the earth at the shape's centre: within 100 km the error stays under 1 %, and
what phones tell is never that exact.
"""

from dataclasses import dataclass
from math import cos, degrees, hypot, isfinite, pi, radians, sin
from typing import Final

EARTH: Final = 6_371_008.8
"""Mean radius of the earth in metres (IUGG)."""
STEPS: Final = 64
"""Corners of a circle's outline: its area is 0.2 % short of the circle's."""
MAX_REACH: Final = 500_000.0
"""Metres; a place less certain than this says nothing about a district."""
MAX_CORNERS: Final = 1_000
"""Of a polygon a caller sends."""

Place = tuple[float, float]
"""Latitude and longitude in degrees, north and east positive."""


@dataclass(frozen=True, slots=True)
class Point:
    """RFC 5491 §5.2.1: a place without a stated uncertainty."""

    at: Place


@dataclass(frozen=True, slots=True)
class Circle:
    """RFC 5491 §5.2.3; `radius` in metres."""

    at: Place
    radius: float


@dataclass(frozen=True, slots=True)
class Ellipse:
    """RFC 5491 §5.2.4; half axes in metres, `orientation` of the longer in degrees clockwise from north."""

    at: Place
    major: float
    minor: float
    orientation: float


@dataclass(frozen=True, slots=True)
class ArcBand:
    """RFC 5491 §5.2.5: what one mast of a mobile network knows; radii in metres, angles in degrees clockwise from north."""

    at: Place
    inner: float
    outer: float
    start: float
    opening: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """RFC 5491 §5.2.2; corners in order, the first not repeated at the end."""

    corners: tuple[Place, ...]


Shape = Point | Circle | Ellipse | ArcBand | Polygon


def check(shape: Shape) -> None:
    """Raise ValueError when a shape is no place on earth."""
    places = shape.corners if isinstance(shape, Polygon) else (shape.at,)
    for latitude, longitude in places:
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
            raise ValueError(f"no place on earth: {latitude}, {longitude}")
    match shape:
        case Circle(radius=radius):
            _lengths(radius)
        case Ellipse(major=major, minor=minor, orientation=orientation):
            _lengths(major, minor)
            _angles(orientation)
        case ArcBand(inner=inner, outer=outer, start=start, opening=opening):
            _lengths(inner, outer)
            _angles(start, opening)
            if inner >= outer or not 0 < opening <= 360:
                raise ValueError("an arc band without an area")
        case Polygon(corners=corners):
            if not 3 <= len(corners) <= MAX_CORNERS:
                raise ValueError(f"a polygon of {len(corners)} corners")
            if reach(shape) > MAX_REACH:
                raise ValueError("a polygon wider than any district")


def _lengths(*metres: float) -> None:
    if not all(isfinite(length) and 0 <= length <= MAX_REACH for length in metres) or max(metres) <= 0:
        raise ValueError("a length that is none")


def _angles(*angles: float) -> None:
    if not all(isfinite(angle) and -360 <= angle <= 360 for angle in angles):
        raise ValueError("an angle that is none")


def moved(start: Place, north: float, east: float) -> Place:
    """Go `north` and `east` metres from a place."""
    latitude, longitude = start
    # Near the poles a metre east is many degrees; no district is there.
    parallel = max(cos(radians(latitude)), 0.01)
    return latitude + degrees(north / EARTH), longitude + degrees(east / EARTH / parallel)


def distance(one: Place, other: Place) -> float:
    """Metres between two places."""
    middle = radians((one[0] + other[0]) / 2)
    return EARTH * hypot(radians(other[0] - one[0]), radians(other[1] - one[1]) * cos(middle))


def centre(shape: Shape) -> Place:
    """Return where to put the pin on a map."""
    match shape:
        case Polygon(corners=corners):
            return sum(c[0] for c in corners) / len(corners), sum(c[1] for c in corners) / len(corners)
        case ArcBand(at=at, inner=inner, outer=outer, start=start, opening=opening):
            if opening >= 360:
                return at
            return _around(at, (inner + outer) / 2, start + opening / 2)
    return shape.at


def reach(shape: Shape) -> float:
    """Metres from the centre to the farthest point: the radius shown on a map; 0 for a point."""
    match shape:
        case Point():
            return 0.0
        case Circle(radius=radius):
            return radius
        case Ellipse(major=major, minor=minor):
            return max(major, minor)
    middle = centre(shape)
    return max(distance(middle, corner) for corner in outline(shape))


def outline(shape: Shape) -> tuple[Place, ...]:
    """Return the corners of the area, the first not repeated; a point has one."""
    match shape:
        case Point(at=at):
            return (at,)
        case Polygon(corners=corners):
            return corners
        case Circle(at=at, radius=radius):
            return tuple(_around(at, radius, 360 * step / STEPS) for step in range(STEPS))
        case Ellipse(at=at, major=major, minor=minor, orientation=orientation):
            turn = radians(orientation)
            round_ = [2 * pi * step / STEPS for step in range(STEPS)]
            along = [(major * cos(angle), minor * sin(angle)) for angle in round_]
            return tuple(
                moved(at, a * cos(turn) - b * sin(turn), a * sin(turn) + b * cos(turn)) for a, b in along
            )
        case ArcBand(at=at, inner=inner, outer=outer, start=start, opening=opening):
            steps = max(2, round(STEPS * opening / 360))
            arc = [start + opening * step / steps for step in range(steps + 1)]
            far = [_around(at, outer, angle) for angle in arc]
            near = [_around(at, inner, angle) for angle in reversed(arc)] if inner > 0 else [at]
            return (*far, *near)


def _around(middle: Place, metres: float, bearing: float) -> Place:
    """Go `metres` in the direction `bearing`, degrees clockwise from north."""
    return moved(middle, metres * cos(radians(bearing)), metres * sin(radians(bearing)))
