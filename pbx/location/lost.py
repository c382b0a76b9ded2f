"""LoST: asking a server which police serves a place (RFC 5222), and keeping its answers. Pure: bytes both ways.

in → out: a place → a `findService` document; its answer → `Mapping`; `Mappings` answers again for places inside the
boundary the server stated, until the answer expires.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import shapely

from pbx.location import pidf
from pbx.location.pidf import LocationError
from routing.shapes import Place

CONTENT_TYPE: Final = "application/lost+xml"
SERVICE: Final = "urn:service:sos.police"
MAX_KEPT: Final = 1_000
"""Answers; a province has some 3,000 townships, a prefecture far fewer."""
MAX_KEPT_SECONDS: Final = 86_400.0
"""An answer is asked for again after a day, however long it says it holds."""
MIN_KEPT_SECONDS: Final = 60.0

_LOST: Final = "{urn:ietf:params:xml:ns:lost1}"
_GML: Final = "{http://www.opengis.net/gml}"


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a server says of a place."""

    uri: str
    """Whom to call, such as `sip:harbour@example.com`."""
    name: str | None
    """displayName."""
    boundary: tuple[Place, ...]
    """Corners of the area it holds for; empty when the server stated none."""
    kept: float
    """Seconds it may be kept."""

    @property
    def user(self) -> str:
        """User part of the URI: the name of a queue or district here."""
        return self.uri.partition(":")[2].partition("@")[0]


def question(place: Place, service: str = SERVICE) -> bytes:
    """Write a findService request for a point (RFC 5222 §8.3, §12.2: profile geodetic-2d)."""
    latitude, longitude = place
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<findService xmlns="urn:ietf:params:xml:ns:lost1" xmlns:gml="http://www.opengis.net/gml"'
        ' serviceBoundary="value" recursive="true"><location id="at110" profile="geodetic-2d">'
        '<gml:Point srsName="urn:ogc:def:crs:EPSG::4326">'
        f"<gml:pos>{latitude:.7f} {longitude:.7f}</gml:pos></gml:Point></location>"
        f"<service>{escape(service)}</service></findService>"
    ).encode()


def answer(body: bytes, wall: float) -> Mapping:
    """Read a findServiceResponse; `wall`: seconds since 1970. Raises LocationError."""
    root = pidf.parse(body)
    if root.tag == f"{_LOST}errors":
        said = next((str(child.tag).removeprefix(_LOST) for child in root), "error")
        raise LocationError(f"the LoST server says {said[:60]}")
    mapping = root.find(f"{_LOST}mapping") if root.tag == f"{_LOST}findServiceResponse" else None
    if mapping is None:
        raise LocationError("no findServiceResponse")
    uris = [(child.text or "").strip() for child in mapping.findall(f"{_LOST}uri")]
    uri = next((uri for uri in uris if uri.startswith(("sip:", "sips:"))), None)
    if uri is None:
        raise LocationError("the LoST server names nobody we could call")
    name = mapping.find(f"{_LOST}displayName")
    return Mapping(
        uri[:255],
        None if name is None else (name.text or "").strip()[:120] or None,
        _boundary(mapping),
        _kept(mapping.get("expires"), wall),
    )


def _boundary(mapping: Element) -> tuple[Place, ...]:
    for boundary in mapping.findall(f"{_LOST}serviceBoundary"):
        polygon = boundary.find(f"{_GML}Polygon")
        if boundary.get("profile") == "geodetic-2d" and polygon is not None:
            return pidf.polygon(polygon).corners
    return ()


def _kept(expires: str | None, wall: float) -> float:
    """RFC 5222 §5.2: a dateTime, or `NO-CACHE`, or `NO-EXPIRATION`."""
    if expires is None or expires == "NO-CACHE":
        return 0.0
    if expires == "NO-EXPIRATION":
        return MAX_KEPT_SECONDS
    try:
        at = datetime.fromisoformat(expires)
    except ValueError:
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, min(at.timestamp() - wall, MAX_KEPT_SECONDS))


class Mappings:
    """Answers that still hold, by the area they hold for."""

    def __init__(self) -> None:
        self._kept: list[tuple[shapely.Polygon, Mapping, float]] = []

    def keep(self, mapping: Mapping, now: float) -> None:
        """Remember an answer that states its area and may be kept; the oldest makes room."""
        if len(mapping.boundary) < 3 or mapping.kept < MIN_KEPT_SECONDS:
            return
        area = shapely.Polygon([(longitude, latitude) for latitude, longitude in mapping.boundary])
        if not area.is_valid:
            return
        shapely.prepare(area)
        self._kept = [one for one in self._kept if one[2] > now and one[1].boundary != mapping.boundary]
        self._kept = [*self._kept[-MAX_KEPT + 1 :], (area, mapping, now + mapping.kept)]

    def find(self, place: Place, now: float) -> Mapping | None:
        """Return an answer that holds for a place."""
        point = shapely.Point(place[1], place[0])
        return next((m for area, m, until in self._kept if until > now and area.covers(point)), None)
