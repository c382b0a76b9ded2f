import xml.etree.ElementTree as ET

import pytest

from pbx.location.writing import Circle, multipart, pidf_lo
from pbx.phone.location import parse_circle
from pbx.sip.body import parse_multipart

GML = "{http://www.opengis.net/gml}"
GS = "{http://www.opengis.net/pidflo/1.0}"
PIDF = "{urn:ietf:params:xml:ns:pidf}"


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        ("37.4638,121.4479,25", Circle(37.4638, 121.4479, 25)),
        ("-90,-180,0.5", Circle(-90, -180, 0.5)),
        ("90,180,100000", Circle(90, 180, 100000)),
    ],
)
def test_circles(text, circle):
    assert parse_circle(text) == circle


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2",
        "1,2,3,4",
        "91,0,1",
        "0,181,1",
        "0,0,0",
        "0,0,-1",
        "0,0,100001",
        "a,b,c",
        "1e1,0,1",
        "٣,0,1",
        "1,2,3\n",
        " 1,2,3",
    ],
)
def test_no_circles(text):
    with pytest.raises(ValueError, match=r"LAT,LON|no place"):
        parse_circle(text)


def test_document():
    document = pidf_lo(
        Circle(37.4638, 121.4479, 25), entity="pres:a@b", timestamp="2026-11-22T00:00:00+00:00"
    )
    root = ET.fromstring(document)
    circle = root.find(f".//{GS}Circle")
    assert circle is not None
    assert circle.get("srsName") == "urn:ogc:def:crs:EPSG::4326"
    # RFC 5491 §5.2.3: latitude first
    assert circle.findtext(f"{GML}pos") == "37.4638000 121.4479000"
    radius = circle.find(f"{GS}radius")
    assert radius is not None
    assert (radius.text, radius.get("uom")) == ("25.0", "urn:ogc:def:uom:EPSG::9001")
    assert root.findtext(f".//{PIDF}timestamp") == "2026-11-22T00:00:00+00:00"


def test_both_parts_come_back():
    content_type, body = multipart(b"v=0\r\n", b"<x/>", content_id="loc@h", boundary="b0undary")
    sdp, document = parse_multipart(content_type, body)
    assert (sdp.kind, sdp.body) == ("application/sdp", b"v=0\r\n")
    assert (document.kind, document.body, document.content_id) == ("application/pidf+xml", b"<x/>", "loc@h")
