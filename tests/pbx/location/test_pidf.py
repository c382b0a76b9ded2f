import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.location import writing as phone
from pbx.location.pidf import MAX_BYTES, MAX_LOCATIONS, Located, LocationError, read
from routing.shapes import ArcBand, Circle, Ellipse, Point, Polygon, Shape

FLAT = 'srsName="urn:ogc:def:crs:EPSG::4326"'
HIGH = 'srsName="urn:ogc:def:crs:EPSG::4979"'
M = 'uom="urn:ogc:def:uom:EPSG::9001"'
D = 'uom="urn:ogc:def:uom:EPSG::9102"'


def document(*infos: str, holder: str = "tuple", before: str = "") -> bytes:
    """A presence document with one holder per location-info."""
    prefix = "" if holder == "tuple" else "dm:"
    geopriv = "<gp:geopriv><gp:location-info>{}</gp:location-info><gp:usage-rules/><gp:method>GPS</gp:method></gp:geopriv>"
    status = ("<status>", "</status>") if holder == "tuple" else ("", "")
    holders = "".join(
        f'<{prefix}{holder} id="a{i}">{status[0]}{geopriv.format(info)}{status[1]}'
        f"<{prefix}timestamp>2026-11-22T08:00:00Z</{prefix}timestamp></{prefix}{holder}>"
        for i, info in enumerate(infos)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
 xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" xmlns:gml="http://www.opengis.net/gml"
 xmlns:gs="http://www.opengis.net/pidflo/1.0" xmlns:con="urn:ietf:params:xml:ns:geopriv:conf"
 xmlns:ca="urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr"
 xmlns:cae="urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr:ext" entity="pres:wang@example.com">{before}{holders}</presence>""".encode()


def circle(radius: float = 100) -> str:
    return f"<gs:Circle {FLAT}><gml:pos>37.5 121.4</gml:pos><gs:radius {M}>{radius}</gs:radius></gs:Circle>"


POINT = f"<gml:Point {FLAT}><gml:pos>37.5 121.4</gml:pos></gml:Point>"
RING = "<gml:exterior><gml:LinearRing>{}</gml:LinearRing></gml:exterior>"
CORNERS = ((37.5, 121.4), (37.5, 121.5), (37.6, 121.5))


@pytest.mark.parametrize(
    ("xml", "shape", "height"),
    [
        (POINT, Point((37.5, 121.4)), None),
        (f"<gml:Point {HIGH}><gml:pos>37.5 121.4 12.5</gml:pos></gml:Point>", Point((37.5, 121.4)), 12.5),
        (circle(), Circle((37.5, 121.4), 100), None),
        (
            f"<gs:Sphere {HIGH}><gml:pos>37.5 121.4 30</gml:pos><gs:radius {M}>850.24</gs:radius></gs:Sphere>",
            Circle((37.5, 121.4), 850.24),
            30,
        ),
        (
            (
                f"<gs:Ellipse {FLAT}><gml:pos>37.5 121.4</gml:pos><gs:semiMajorAxis {M}>77.5</gs:semiMajorAxis>"
                f"<gs:semiMinorAxis {M}>30</gs:semiMinorAxis><gs:orientation {D}>15</gs:orientation></gs:Ellipse>"
            ),
            Ellipse((37.5, 121.4), 77.5, 30, 15),
            None,
        ),
        (
            (
                f"<gs:Ellipsoid {HIGH}><gml:pos>37.5 121.4 26.3</gml:pos><gs:semiMajorAxis {M}>7.7</gs:semiMajorAxis>"
                f"<gs:semiMinorAxis {M}>3.31</gs:semiMinorAxis><gs:verticalAxis {M}>28.7</gs:verticalAxis>"
                f"<gs:orientation {D}>90</gs:orientation></gs:Ellipsoid>"
            ),
            Ellipse((37.5, 121.4), 7.7, 3.31, 90),
            26.3,
        ),
        (
            (
                f"<gs:ArcBand {FLAT}><gml:pos>37.5 121.4</gml:pos><gs:innerRadius {M}>3594</gs:innerRadius>"
                f"<gs:outerRadius {M}>4148</gs:outerRadius><gs:startAngle {D}>20</gs:startAngle>"
                f"<gs:openingAngle {D}>20</gs:openingAngle></gs:ArcBand>"
            ),
            ArcBand((37.5, 121.4), 3594, 4148, 20, 20),
            None,
        ),
        (
            f"<gml:Polygon {FLAT}>"
            + RING.format("".join(f"<gml:pos>{a} {b}</gml:pos>" for a, b in (*CORNERS, CORNERS[0])))
            + "</gml:Polygon>",
            Polygon(CORNERS),
            None,
        ),
        (
            f"<gml:Polygon {FLAT}>"
            + RING.format("<gml:posList>37.5 121.4\n 37.5 121.5 37.6 121.5 37.5 121.4</gml:posList>")
            + "</gml:Polygon>",
            Polygon(CORNERS),
            None,
        ),
        (
            f"<gs:Prism {HIGH}><gs:base><gml:Polygon {HIGH}>"
            + RING.format(
                "<gml:posList>37.5 121.4 36.6 37.5 121.5 36.6 37.6 121.5 36.6 37.5 121.4 36.6</gml:posList>"
            )
            + f"</gml:Polygon></gs:base><gs:height {M}>2.4</gs:height></gs:Prism>",
            Polygon(CORNERS),
            36.6,
        ),
    ],
)
@pytest.mark.parametrize("holder", ["tuple", "device", "person"])
def test_every_shape(xml: str, shape: Shape, height: float | None, holder: str) -> None:
    (found,) = read(document(xml, holder=holder))
    assert found.shape == shape
    assert found.height == height
    assert (found.confidence, found.method, found.entity) == (95.0, "GPS", "pres:wang@example.com")
    assert found.timestamp == "2026-11-22T08:00:00Z"


def test_radians_are_turned_into_degrees() -> None:
    xml = (
        f"<gs:ArcBand {FLAT}><gml:pos>37.5 121.4</gml:pos><gs:innerRadius>0</gs:innerRadius><gs:outerRadius>100</gs:outerRadius>"
        '<gs:startAngle uom="urn:ogc:def:uom:EPSG::9101">3.14159265</gs:startAngle>'
        f"<gs:openingAngle {D}>20</gs:openingAngle></gs:ArcBand>"
    )
    shape = read(document(xml))[0].shape
    assert isinstance(shape, ArcBand)
    assert shape.start == pytest.approx(180)


@pytest.mark.parametrize(
    ("confidence", "value"),
    [
        ("", 95.0),
        ("<con:confidence>67</con:confidence>", 67.0),
        ('<con:confidence pdf="normal">99.5</con:confidence>', 99.5),
        ("<con:confidence>unknown</con:confidence>", None),
    ],
)
def test_confidence(confidence: str, value: float | None) -> None:
    assert read(document(circle() + confidence))[0].confidence == value


CHINESE = (
    '<ca:civicAddress xml:lang="zh"><ca:country>CN</ca:country><ca:A1>山东省</ca:A1><ca:A2>烟台市</ca:A2><ca:A3>芝罘区</ca:A3>'
    "<ca:RD>南大街</ca:RD><ca:HNO>11</ca:HNO><ca:FLR>3</ca:FLR><ca:ROOM>301</ca:ROOM><cae:PN>K110</cae:PN></ca:civicAddress>"
)


def test_a_chinese_address() -> None:
    (found,) = read(document(CHINESE))
    assert found.shape is None
    assert found.civic is not None
    assert found.civic.text("zh") == "山东省烟台市芝罘区南大街11号3层301室K110"
    assert found.civic.text("en") == "301 3, 11 南大街, 芝罘区, 烟台市, 山东省, CN"
    assert found.civic.language == "zh"
    assert found.floor == "3"


def test_address_and_shape_of_one_place() -> None:
    """RFC 5491 §3.2: both in one location-info describe one place."""
    (found,) = read(document(circle() + CHINESE))
    assert found.shape == Circle((37.5, 121.4), 100)
    assert found.civic is not None


def test_device_before_tuple_before_person() -> None:
    device = document(circle(1), holder="device").decode()
    inner = device[device.index("<dm:device") : device.index("</presence>")]
    both = document(circle(2)).decode().replace("</presence>", inner + "</presence>").encode()
    assert [found.shape.radius for found in read(both) if isinstance(found.shape, Circle)] == [1, 2]


def test_one_bad_location_spoils_no_other() -> None:
    found = read(document(circle(-5), circle(7)))
    assert [one.shape for one in found] == [Circle((37.5, 121.4), 7)]


def test_no_more_than_some() -> None:
    assert len(read(document(*[circle(i + 1) for i in range(30)]))) == MAX_LOCATIONS


def test_what_our_own_phone_writes() -> None:
    wrote = phone.pidf_lo(
        phone.Circle(37.5, 121.4, 25), entity="pres:anna@example.com", timestamp="2026-11-22T08:00:00Z"
    )
    (found,) = read(wrote)
    assert found == Located(
        Circle((37.5, 121.4), 25), None, 95.0, "Manual", "2026-11-22T08:00:00Z", "pres:anna@example.com"
    )


LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (b"", "no XML"),
        (b"<presence", "no XML"),
        (b"\xff\xfe<\x00", "UTF-8"),
        (LAUGHS.encode() + document(circle()), "document type"),
        (document(circle()).replace(b"?>", b"?>" + LAUGHS.encode(), 1), "document type"),
        (document(circle()).decode().encode("utf-16"), "UTF-8"),
        (b"x" * (MAX_BYTES + 1), "too long"),
        (b"<presence/>", "no presence"),
        (document(), "no location"),
        (document("<gs:Blob/>"), "no location"),
        (document(circle(0)), "length"),
        (document(circle().replace("37.5", "97.5")), "no place on earth"),
        (document(circle().replace("37.5 121.4", "37.5")), "latitude and longitude"),
        (document(circle().replace("37.5 121.4", "37,5 121,4")), "number"),
        (document(circle().replace("37.5", "٣٧")), "number"),
        (document(circle().replace("37.5", "3_7")), "number"),
        (document(circle().replace("37.5", "nan")), "number"),
        (document(circle().replace("4326", "4490")), "WGS 84"),
        (document(circle().replace("9001", "9002")), "metres"),
        (document(circle() + "<con:confidence>0</con:confidence>"), "confidence"),
        (document(f"<gml:Polygon {FLAT}></gml:Polygon>"), "ring"),
        (document(f"<gml:Polygon {FLAT}>" + RING.format("<gml:posList>1 2 3</gml:posList>") + "</gml:Polygon>"), "pairs"),
        (document("<gs:Prism><gs:base/></gs:Prism>"), "ring"),
    ],
)  # fmt: skip
def test_what_is_no_location_says_why(xml: bytes, why: str) -> None:
    with pytest.raises(LocationError, match=why):
        read(xml)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    try:
        found = read(data)
    except LocationError:
        return
    assert found


@given(st.data())
def test_a_document_broken_anywhere(data: st.DataObject) -> None:
    whole = document(circle() + CHINESE)
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + data.draw(st.integers(0, 8)) :]
    try:
        assert read(broken)
    except LocationError:
        pass
