"""A place written as PIDF-LO (RFC 4119, RFC 5491 §5.2.3), and put beside an SDP in one body. Pure.

in → out: a circle, or an entry of a caller's trail → the document; SDP and document → a multipart body.
"""

from dataclasses import dataclass
from typing import Final

from pbx.location.trail import Entry
from routing.shapes import centre, reach

CONTENT_ID: Final = "caller@place.at110"
"""Of the document beside the SDP of a call we pass on."""
SMALLEST: Final = 1.0
"""Metres of a circle that stands for a point: a radius of 0 is none (RFC 5491 §5.2.3)."""
NOBODY: Final = "pres:caller@anonymous.invalid"
"""RFC 3693: a location tells where, and not who, unless somebody decided that."""
METHODS: Final = frozenset(
    {"GPS", "A-GPS", "Manual", "DHCP", "Triangulation", "Cell", "802.11", "Derived", "Device-Assisted"}
)
"""Of RFC 4119's registry: what a stranger wrote there is passed on only if it is one of these."""


@dataclass(frozen=True, slots=True)
class Circle:
    """Degrees of WGS 84 (north and east positive) and metres."""

    latitude: float
    longitude: float
    radius: float


def passed_on(entry: Entry) -> bytes | None:
    """Write a place of a caller for somebody else: the circle around it, and how it was found. None without a shape."""
    located = entry.located
    if located.shape is None:
        return None
    latitude, longitude = centre(located.shape)
    circle = Circle(latitude, longitude, max(SMALLEST, reach(located.shape)))
    stamp = located.timestamp or ""
    good = len(stamp) <= 40 and all(c.isascii() and (c.isalnum() or c in "+-:.") for c in stamp)
    method = located.method if located.method in METHODS else "Derived"
    return pidf_lo(circle, entity=NOBODY, timestamp=stamp if good else "", method=method)


def pidf_lo(circle: Circle, *, entity: str, timestamp: str, method: str = "Manual") -> bytes:
    """The document; `entity` is a pres: URI without characters XML treats specially, `timestamp` RFC 3339 or empty.

    RFC 5491 §5.2.3: `gs:Circle` with `gml:pos` (latitude first) and a radius in metres (EPSG 9001).
    """
    stamp = f"  <timestamp>{timestamp}</timestamp>\n" if timestamp else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10"
 xmlns:gml="http://www.opengis.net/gml" xmlns:gs="http://www.opengis.net/pidflo/1.0" entity="{entity}">
 <tuple id="at110">
  <status><gp:geopriv>
   <gp:location-info>
    <gs:Circle srsName="urn:ogc:def:crs:EPSG::4326">
     <gml:pos>{circle.latitude:.7f} {circle.longitude:.7f}</gml:pos>
     <gs:radius uom="urn:ogc:def:uom:EPSG::9001">{circle.radius:.1f}</gs:radius>
    </gs:Circle>
   </gp:location-info>
   <gp:usage-rules/>
   <gp:method>{method}</gp:method>
  </gp:geopriv></status>
{stamp} </tuple>
</presence>
""".encode()


def multipart(sdp: bytes, document: bytes, *, content_id: str, boundary: str) -> tuple[str, bytes]:
    """SDP and location in one body: (Content-Type, body) (RFC 2046 §5.1, RFC 6442 §4.1)."""
    line = f"--{boundary}\r\n".encode()
    body = b"".join(
        (
            line,
            b"Content-Type: application/sdp\r\n\r\n",
            sdp,
            b"\r\n",
            line,
            b"Content-Type: application/pidf+xml\r\n",
            f"Content-ID: <{content_id}>\r\n\r\n".encode(),
            document,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )
    return f"multipart/mixed;boundary={boundary}", body
