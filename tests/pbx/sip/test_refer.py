"""What REFER and Replaces say is read as the RFCs write it, and what can't be read is refused."""

import pytest

from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.parser import parse
from pbx.sip.refer import Replaces, read, replaces, replaces_of


def request(*headers: str, method: str = "REFER") -> Request:
    lines = [
        f"{method} sip:room-d1@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.77:5000;branch=z9hG4bKrefer",
        "From: <sip:d1@at110>;tag=a",
        "To: <sip:room-d1@at110>;tag=b",
        "Call-ID: refer",
        f"CSeq: 7 {method}",
        *headers,
        "Content-Length: 0",
    ]
    message = parse(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert isinstance(message, Request)
    return message


def status(*headers: str) -> int:
    with pytest.raises(SipError) as caught:
        read(request(*headers))
    return caught.value.status


def test_a_plain_refer() -> None:
    found = read(request("Refer-To: <sip:d2@192.0.2.1>", "Referred-By: <sip:d1@at110>"))
    assert (str(found.uri), found.method, found.replaces, found.silent) == (
        "sip:d2@192.0.2.1",
        "INVITE",
        None,
        False,
    )
    assert found.by == "<sip:d1@at110>"


def test_the_compact_form_and_a_bare_uri() -> None:
    # RFC 3515 §2.1: the compact form is "r"; RFC 3892 §8: that of Referred-By is "b".
    found = read(request("r: sip:d2@192.0.2.1", "b: <sip:x@y>"))
    assert found.uri.user == "d2"
    assert found.by == "<sip:x@y>"


def test_method_and_replaces_stand_in_the_uri() -> None:
    assert read(request("Refer-To: <sip:d2@192.0.2.1;method=BYE>")).method == "BYE"
    text = "Refer-To: <sip:d2@192.0.2.1?Replaces=12345%40192.0.2.9%3Bto-tag%3D12345%3Bfrom-tag%3D5FFE-3994>"
    # RFC 3515 §3.1 has this very example.
    assert read(request(text)).replaces == Replaces("12345@192.0.2.9", "12345", "5FFE-3994")


@pytest.mark.parametrize(
    ("value", "silent"), [("false", True), ("FALSE ;x=1", True), ("true", False), ("", False)]
)
def test_refer_sub(value: str, silent: bool) -> None:
    assert read(request("Refer-To: <sip:d2@x>", f"Refer-Sub: {value}")).silent is silent


def test_what_is_refused() -> None:
    assert status() == 400
    assert status("Refer-To: <sip:a@x>", "Refer-To: <sip:b@x>") == 400
    assert status("Refer-To: <sip:a@x>, <sip:b@x>") == 400
    assert status("Refer-To: nonsense") == 400
    assert status("Refer-To: <https://x.example/>") == 416
    assert status("Refer-To: <sip:a@x;method=REGISTER>") == 400
    assert status("Refer-To: <sip:a@x?Replaces=only>") == 400


@pytest.mark.parametrize(
    "text", ["", "x", "x;to-tag=a", "x;from-tag=a", ";to-tag=a;from-tag=b", "x;to-tag=a;to-tag"]
)
def test_replaces_that_can_not_be_matched(text: str) -> None:
    with pytest.raises(SipError) as caught:
        replaces(text)
    assert caught.value.status == 400


def test_one_replaces_at_most() -> None:
    one, other = "Replaces: a;to-tag=b;from-tag=c", "Replaces: d;to-tag=e;from-tag=f"
    assert replaces_of(request(one, method="INVITE")) == Replaces("a", "b", "c")
    assert replaces_of(request(method="INVITE")) is None
    with pytest.raises(SipError) as caught:
        replaces_of(request(one, other, method="INVITE"))
    assert caught.value.status == 400
