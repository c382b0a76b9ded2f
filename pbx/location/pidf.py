"""PIDF-LO: a location as an XML document (RFC 4119, RFC 5491, RFC 5139, RFC 7459), read.

in → out: bytes from a stranger → `Located`s, or LocationError that says what is wrong. Pure.

A document may hold several locations; each is either geodetic, civic or both. Three-dimensional shapes are read and laid
flat: the height is kept in metres, districts are flat.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Final
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from pbx.location.civic import Civic, read_civic
from routing.shapes import ArcBand, Circle, Ellipse, Place, Point, Polygon, Shape, check

MAX_BYTES: Final = 64 * 1024
"""Of a document: a polygon of 1,000 corners is 40 KiB."""
MAX_LOCATIONS: Final = 8
DEFAULT_CONFIDENCE: Final = 95.0
"""RFC 7459 §3.3 for a shape that states none (RFC 5491's 95 %)."""

_PIDF: Final = "{urn:ietf:params:xml:ns:pidf}"
_MODEL: Final = "{urn:ietf:params:xml:ns:pidf:data-model}"
_GP: Final = "{urn:ietf:params:xml:ns:pidf:geopriv10}"
_GML: Final = "{http://www.opengis.net/gml}"
_GS: Final = "{http://www.opengis.net/pidflo/1.0}"
_CONF: Final = "{urn:ietf:params:xml:ns:geopriv:conf}"
_CIVIC: Final = "{urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr}civicAddress"

_METRE: Final = frozenset({None, "urn:ogc:def:uom:EPSG::9001", "EPSG::9001", "urn:ogc:def:uom:EPSG:9001"})
_DEGREE: Final = "9102"
_RADIAN: Final = "9101"


class LocationError(ValueError):
    """A document that can't be used; the text says why, in English, for the log and `Geolocation-Error`."""


@dataclass(frozen=True, slots=True)
class Located:
    """One location of a document."""

    shape: Shape | None
    civic: Civic | None
    confidence: float | None
    """Percent that the caller is inside the shape; None when stated as unknown."""
    method: str | None
    """How it was found: GPS, Cell, 802.11, Manual … (RFC 4119's registry)."""
    timestamp: str | None
    """When, RFC 3339, as the document says."""
    entity: str | None
    """Whose location it claims to be."""
    height: float | None = None
    """Metres above the ellipsoid."""
    floor: str | None = None


def read(document: bytes) -> tuple[Located, ...]:
    """Read a PIDF-LO. Raises LocationError; never returns nothing.

    Where the phone is comes before what a presentity or a person says of itself; within one, the order of the document
    counts (RFC 5491 §3.2: the first is considered first).
    """
    return read_presence(parse(document))


def read_presence(root: Element) -> tuple[Located, ...]:
    """Read a `presence` element. Raises LocationError."""
    if root.tag != f"{_PIDF}presence":
        raise LocationError("no presence document")
    entity = root.get("entity")
    found: list[Located] = []
    trouble: list[str] = []
    for holder, geopriv in _geoprivs(root):
        try:
            found.extend(_geopriv(holder, geopriv, entity))
        except LocationError as error:
            trouble.append(str(error))
        if len(found) >= MAX_LOCATIONS:
            break
    if not found:
        raise LocationError(trouble[0] if trouble else "no location in it")
    return tuple(found[:MAX_LOCATIONS])


def parse(document: bytes) -> Element:
    """Read XML from a stranger. Raises LocationError."""
    if len(document) > MAX_BYTES:
        raise LocationError("document too long")
    # Entities are how a short document becomes a long one, or reads a file: a PIDF-LO has none. Other encodings than UTF-8
    # could hide them, and RFC 3863 §4.1 asks for UTF-8.
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LocationError("not UTF-8") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise LocationError("a document type is not taken")
    if text.startswith("<?xml"):
        text = text[text.find("?>") + 2 :]
    try:
        return ET.fromstring(text)  # noqa: S314  # what makes XML dangerous was refused above
    except ET.ParseError as error:
        raise LocationError(f"no XML: {error}") from None


def _geoprivs(root: Element) -> Iterator[tuple[Element, Element]]:
    for holder in root.iter(f"{_MODEL}device"):
        yield from ((holder, geopriv) for geopriv in holder.iter(f"{_GP}geopriv"))
    for holder in root.iter(f"{_PIDF}tuple"):
        yield from ((holder, geopriv) for geopriv in holder.iter(f"{_GP}geopriv"))
    for holder in root.iter(f"{_MODEL}person"):
        yield from ((holder, geopriv) for geopriv in holder.iter(f"{_GP}geopriv"))


def _geopriv(holder: Element, geopriv: Element, entity: str | None) -> list[Located]:
    method = _text(geopriv.find(f"{_GP}method"))
    stamp = _text(holder.find(f"{_PIDF}timestamp")) or _text(holder.find(f"{_MODEL}timestamp"))
    found: list[Located] = []
    for info in geopriv.iter(f"{_GP}location-info"):
        confidence = _confidence(info.find(f"{_CONF}confidence"))
        civics = [read_civic(element) for element in info.iter(_CIVIC)]
        shapes = [read for element in info if (read := _shape(element)) is not None]
        # RFC 5491 §3.2 rule 8: a civic address beside one shape makes it more exact: they are one location.
        for index in range(max(len(shapes), len(civics))):
            shape, height = shapes[index] if index < len(shapes) else (None, None)
            civic = civics[index] if index < len(civics) else None
            found.append(
                Located(
                    shape, civic, confidence, method, stamp, entity, height, civic.floor if civic else None
                )
            )
    return found


def _confidence(element: Element | None) -> float | None:
    """RFC 7459 §5: a percentage, or `unknown`; the default is 95."""
    if element is None:
        return DEFAULT_CONFIDENCE
    text = _text(element)
    if text is None or text == "unknown":
        return None
    value = _number(text)
    if not 0 < value <= 100:
        raise LocationError("a confidence that is none")
    return value


def _shape(element: Element) -> tuple[Shape, float | None] | None:
    """Read one shape, with its height; None when the element is none."""
    name = element.tag
    shape: Shape
    height: float | None = None
    try:
        match name:
            case _ if name == f"{_GML}Point":
                at, height = _position(element)
                shape = Point(at)
            case _ if name in {f"{_GS}Circle", f"{_GS}Sphere"}:
                at, height = _position(element)
                shape = Circle(at, _length(element, "radius"))
            case _ if name in {f"{_GS}Ellipse", f"{_GS}Ellipsoid"}:
                at, height = _position(element)
                shape = Ellipse(
                    at,
                    _length(element, "semiMajorAxis"),
                    _length(element, "semiMinorAxis"),
                    _angle(element, "orientation"),
                )
            case _ if name == f"{_GS}ArcBand":
                at, height = _position(element)
                shape = ArcBand(
                    at,
                    _length(element, "innerRadius"),
                    _length(element, "outerRadius"),
                    _angle(element, "startAngle"),
                    _angle(element, "openingAngle"),
                )
            case _ if name == f"{_GML}Polygon":
                shape, height = _polygon(element)
            case _ if name == f"{_GS}Prism":
                shape, height = _polygon(element.find(f"{_GS}base/{_GML}Polygon"))
            case _:
                return None
        check(shape)
    except LocationError:
        raise
    except ValueError as error:
        raise LocationError(str(error)) from None
    return shape, height


def polygon(element: Element) -> Polygon:
    """Read a gml:Polygon. Raises LocationError."""
    shape, _ = _polygon(element)
    try:
        check(shape)
    except ValueError as error:
        raise LocationError(str(error)) from None
    return shape


def _polygon(element: Element | None) -> tuple[Polygon, float | None]:
    ring = None if element is None else element.find(f"{_GML}exterior/{_GML}LinearRing")
    if element is None or ring is None:
        raise LocationError("a polygon without a ring")
    size = 3 if _spatial(element) == 3 else 2
    numbers: list[float] = []
    for child in ring:
        if child.tag in {f"{_GML}pos", f"{_GML}posList"}:
            numbers += [_number(word) for word in (child.text or "").split()]
    if not numbers or len(numbers) % size:
        raise LocationError("positions that don't come in pairs")
    corners: list[Place] = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), size)]
    if len(corners) > 1 and corners[0] == corners[-1]:
        corners.pop()
    return Polygon(tuple(corners)), numbers[2] if size == 3 else None


def _position(element: Element) -> tuple[Place, float | None]:
    pos = element.find(f"{_GML}pos")
    numbers = [_number(word) for word in ((pos.text if pos is not None else None) or "").split()]
    if len(numbers) not in {2, 3}:
        raise LocationError("a position needs latitude and longitude")
    _spatial(element)
    return (numbers[0], numbers[1]), numbers[2] if len(numbers) == 3 else None


def _spatial(element: Element) -> int:
    """Return the number of dimensions; only WGS 84 is understood (RFC 5491 §5.1: EPSG 4326 and 4979)."""
    name = element.get("srsName")
    if name is None or name.endswith(":4326"):
        return 2
    if name.endswith(":4979"):
        return 3
    raise LocationError("a coordinate system other than WGS 84")


def _length(element: Element, name: str) -> float:
    child = element.find(f"{_GS}{name}")
    if child is None:
        raise LocationError(f"no {name}")
    if child.get("uom") not in _METRE:
        raise LocationError(f"{name} is not in metres")
    return _number(_text(child) or "")


def _angle(element: Element, name: str) -> float:
    child = element.find(f"{_GS}{name}")
    if child is None:
        raise LocationError(f"no {name}")
    value = _number(_text(child) or "")
    unit = child.get("uom") or _DEGREE
    if unit.endswith(_RADIAN):
        return value * 57.295_779_513_082_32
    if not unit.endswith(_DEGREE):
        raise LocationError(f"{name} is in no angle's unit")
    return value


def _number(word: str) -> float:
    """A number as XML Schema writes a double, in ASCII, and finite."""
    if not word.isascii() or len(word) > 40 or "_" in word:
        raise LocationError("a number that is none")
    try:
        value = float(word)
    except ValueError:
        raise LocationError("a number that is none") from None
    if not isfinite(value):
        raise LocationError("a number that is none")
    return value


def _text(element: Element | None) -> str | None:
    if element is None or element.text is None:
        return None
    return element.text.strip(" \t\r\n")[:200] or None
