import pytest

from pbx.location.lost import MAX_KEPT, MAX_KEPT_SECONDS, Mapping, Mappings, answer, question
from pbx.location.pidf import LocationError, parse

NOW = 1_795_336_000.0  # 2026-11-22T08:26:40Z
RING = ((36.0, 120.0), (36.0, 121.0), (37.0, 121.0), (37.0, 120.0))


def response(expires: str = "2026-11-22T09:26:40Z", uri: str = "sip:harbour@example.com") -> bytes:
    corners = " ".join(f"{a} {b}" for a, b in (*RING, RING[0]))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<findServiceResponse xmlns="urn:ietf:params:xml:ns:lost1" xmlns:gml="http://www.opengis.net/gml">
<mapping expires="{expires}" lastUpdated="2026-11-01T01:00:00Z" source="lost.example" sourceId="7e3f">
<displayName xml:lang="en">Harbour Police</displayName><service>urn:service:sos.police</service>
<serviceBoundary profile="geodetic-2d"><gml:Polygon srsName="urn:ogc:def:crs:EPSG::4326"><gml:exterior><gml:LinearRing>
<gml:posList>{corners}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></serviceBoundary>
<uri>tel:110</uri><uri>{uri}</uri><serviceNumber>110</serviceNumber></mapping>
<path><via source="lost.example"/></path></findServiceResponse>""".encode()


def test_question() -> None:
    root = parse(question((37.5, 121.4)))
    (pos,) = root.iter("{http://www.opengis.net/gml}pos")
    (service,) = root.iter("{urn:ietf:params:xml:ns:lost1}service")
    assert (pos.text, service.text) == ("37.5000000 121.4000000", "urn:service:sos.police")


def test_answer() -> None:
    mapping = answer(response(), NOW)
    assert mapping == Mapping("sip:harbour@example.com", "Harbour Police", RING, 3600.0)
    assert mapping.user == "harbour"


@pytest.mark.parametrize(
    ("expires", "kept"),
    [
        ("NO-CACHE", 0.0),
        ("NO-EXPIRATION", MAX_KEPT_SECONDS),
        ("2026-11-22T16:26:40+08:00", 0.0),
        ("2026-11-22T08:27:40", 60.0),
        ("2036-11-22T08:26:40Z", MAX_KEPT_SECONDS),
        ("yesterday", 0.0),
    ],
)
def test_how_long_it_holds(expires: str, kept: float) -> None:
    assert answer(response(expires), NOW).kept == kept


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'<errors xmlns="urn:ietf:params:xml:ns:lost1"><notFound message="x"/></errors>', "notFound"),
        (b'<errors xmlns="urn:ietf:params:xml:ns:lost1"/>', "says error"),
        (b'<findServiceResponse xmlns="urn:ietf:params:xml:ns:lost1"/>', "no findServiceResponse"),
        (b"<html/>", "no findServiceResponse"),
        (response(uri="mailto:x@y"), "nobody we could call"),
        (response().replace(b"37.0 ", b"97.0 "), "no place on earth"),
        (b"", "no XML"),
    ],
)
def test_what_is_no_answer(body: bytes, why: str) -> None:
    with pytest.raises(LocationError, match=why):
        answer(body, NOW)


def test_an_answer_holds_for_its_area_and_its_time() -> None:
    kept = Mappings()
    mapping = answer(response(), NOW)
    kept.keep(mapping, 10.0)
    assert kept.find((36.5, 120.5), 11.0) is mapping
    assert kept.find((36.5, 121.5), 11.0) is None
    assert kept.find((36.5, 120.5), 10.0 + 3600.0) is None


def test_an_answer_that_may_not_be_kept_is_not() -> None:
    kept = Mappings()
    kept.keep(answer(response("NO-CACHE"), NOW), 10.0)
    kept.keep(Mapping("sip:x@y", None, (), 3600.0), 10.0)
    kept.keep(Mapping("sip:x@y", None, ((36, 120), (37, 121), (37, 120), (36, 121)), 3600.0), 10.0)
    assert kept.find((36.5, 120.5), 11.0) is None


def test_a_newer_answer_takes_the_place_of_the_older_and_room_is_bounded() -> None:
    kept = Mappings()
    first, second = (Mapping(f"sip:{name}@y", None, RING, 3600.0) for name in "ab")
    kept.keep(first, 10.0)
    kept.keep(second, 11.0)
    assert kept.find((36.5, 120.5), 12.0) is second
    for i in range(MAX_KEPT):
        step = i / 1000
        ring = ((0.0, 10.0 + step), (0.0, 10.0005 + step), (1.0, 10.0 + step))
        kept.keep(Mapping("sip:c@y", None, ring, 3600.0), 12.0)
    assert kept.find((36.5, 120.5), 13.0) is None
