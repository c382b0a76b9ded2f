"""Where a scripted caller says it is: a circle as PIDF-LO (RFC 4119, RFC 5491 §5.2.3), beside the SDP in one body."""

import re
from dataclasses import dataclass
from typing import Final

_NUMBER: Final = r"(-?[0-9]{1,6}(?:\.[0-9]{1,10})?)"
_CIRCLE: Final = re.compile(rf"{_NUMBER},{_NUMBER},{_NUMBER}")
MAX_RADIUS: Final = 100_000.0  # metres; who knows less than that does not know where they are


@dataclass(frozen=True, slots=True)
class Circle:
    """Degrees of WGS 84 (north and east positive) and metres."""

    latitude: float
    longitude: float
    radius: float


def parse_circle(text: str) -> Circle:
    """`LAT,LON,RADIUS` → Circle; ValueError when it is none."""
    match = _CIRCLE.fullmatch(text)
    if match is None:
        raise ValueError(f"not LAT,LON,RADIUS: {text!r}")
    latitude, longitude, radius = (float(number) for number in match.groups())
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180 and 0 < radius <= MAX_RADIUS):
        raise ValueError(f"no place on earth: {text!r}")
    return Circle(latitude, longitude, radius)


def pidf_lo(circle: Circle, *, entity: str, timestamp: str) -> bytes:
    """The document; `entity` is a pres: URI without characters XML treats specially, `timestamp` RFC 3339.

    RFC 5491 §5.2.3: `gs:Circle` with `gml:pos` (latitude first) and a radius in metres (EPSG 9001).
    """
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
   <gp:method>Manual</gp:method>
  </gp:geopriv></status>
  <timestamp>{timestamp}</timestamp>
 </tuple>
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
