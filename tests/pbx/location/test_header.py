import pytest

from pbx.location import held
from pbx.location.header import MAX_VALUES, error, geolocation
from pbx.location.pidf import LocationError
from pbx.sip.message import Request
from routing.shapes import Circle
from tests.kit import places

PLACE = places.document()


def invite(*headers: str, documents: int = 1) -> Request:
    return places.request(*headers, place=PLACE if documents else None)


def test_by_value() -> None:
    found = geolocation(
        invite("Geolocation: <cid:place@phone>;loc-src=net.example", "Geolocation-Routing: yes")
    )
    (said,) = found.said
    assert (said.uri, said.source, said.fault) == ("cid:place@phone", "net.example", None)
    assert said.found[0].shape == Circle((37.5, 121.4), 25)
    assert found.routing
    assert not found.faulty


def test_a_document_nobody_names_is_read_too() -> None:
    (said,) = geolocation(invite()).said
    assert said.uri is None
    assert said.found


def test_by_reference_and_by_value_in_their_order() -> None:
    found = geolocation(
        invite('Geolocation: <https://lis.example/a,b?c>;loc-src="lis.example", <cid:place@phone>', "Geolocation: <sip:x@y>")
    )  # fmt: skip
    assert [said.uri for said in found.said] == ["https://lis.example/a,b?c", "cid:place@phone", "sip:x@y"]
    assert found.said[0].source == "lis.example"
    assert not found.said[0].found


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("Geolocation: <cid:other@phone>", "no such body part"),
        ("Geolocation: cid:place@phone", "malformed Geolocation"),
        ("Geolocation: <>", "malformed Geolocation"),
        ("Geolocation: <cid:place@phone>;=", "malformed Geolocation"),
        ("Geolocation: <https://x/" + "a" * 2000 + ">", "malformed Geolocation"),
        ("Geolocation: <https://x/\u3000>", "malformed Geolocation"),
    ],
)
def test_a_bad_value_is_a_fault_and_nothing_more(header: str, fault: str) -> None:
    found = geolocation(invite(header))
    assert found.said[0].fault == fault
    assert found.faulty


def test_a_bad_document_is_a_fault() -> None:
    request = invite("Geolocation: <cid:place@phone>")
    broken = Request(request.method, request.uri, request.headers, request.body.replace(b"37.5", b"97.5"))
    assert geolocation(broken).said[0].fault == "no place on earth: 97.5, 121.4"


def test_without_any() -> None:
    assert geolocation(invite(documents=0)).said == ()


def test_no_more_than_some() -> None:
    assert len(geolocation(invite("Geolocation: " + ", ".join(["<sip:x@y>"] * 50))).said) == MAX_VALUES


def test_error_header() -> None:
    assert error("dereference") == ("Geolocation-Error", '300;code="Dereference Failure"')


def test_what_a_location_server_answers() -> None:
    inner = PLACE[PLACE.index(b"<presence") :]
    whole = b'<locationResponse xmlns="urn:ietf:params:xml:ns:geopriv:held">' + inner + b"</locationResponse>"
    assert held.answer(whole)[0].shape == held.answer(PLACE)[0].shape == Circle((37.5, 121.4), 25)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'<error xmlns="urn:ietf:params:xml:ns:geopriv:held" code="locationUnknown"/>', "locationUnknown"),
        (b'<locationResponse xmlns="urn:ietf:params:xml:ns:geopriv:held"/>', "gives no location"),
        (b"<html/>", "no presence"),
        (b"", "no XML"),
    ],
)
def test_what_is_no_answer(body: bytes, why: str) -> None:
    with pytest.raises(LocationError, match=why):
        held.answer(body)
