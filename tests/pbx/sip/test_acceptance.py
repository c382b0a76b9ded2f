"""What of a request can be read and obeyed."""

import gzip
import zlib

import pytest

from pbx.sip import acceptance
from pbx.sip.errors import SipError
from pbx.sip.headers import Headers
from tests.kit import sip

SDP = b"v=0\r\n"


def request(extra="", body=SDP, kind="application/sdp"):
    return sip.request(extra=f"Contact: <sip:c@192.0.2.9>\r\nContent-Type: {kind}\r\n{extra}", body=body)


def refused(check, *args):
    with pytest.raises(SipError) as caught:
        check(*args)
    return caught.value


@pytest.mark.parametrize("value", ["timer", "100rel", "Timer, 100REL", ""])
def test_extensions_we_have(value):
    acceptance.check_require(request(f"Require: {value}\r\n"))


def test_420_lists_what_we_lack_and_nothing_else():
    error = refused(acceptance.check_require, request("Require: timer, precondition\r\nRequire: fooBar\r\n"))
    assert error.status == 420
    assert error.headers == (("Unsupported", "precondition, fooBar"),)


def test_packed_body_is_415_with_what_we_take():
    error = refused(acceptance.check_body, request("Content-Encoding: gzip\r\n"))
    assert error.status == 415
    assert error.headers == (("Accept-Encoding", "identity"),)
    acceptance.check_body(request("Content-Encoding: identity\r\n"))
    acceptance.check_body(request("e: gzip\r\n", body=b""))


def multipart(*parts, kind="multipart/mixed"):
    body = b""
    for name, disposition, content in parts:
        line = b"" if disposition is None else b"Content-Disposition: " + disposition.encode() + b"\r\n"
        body += b"--b\r\nContent-Type: " + name.encode() + b"\r\n" + line + b"\r\n" + content + b"\r\n"
    return request(body=body + b"--b--\r\n", kind=f"{kind};boundary=b")


OURS = ("application/sdp", None, SDP)


@pytest.mark.parametrize(
    ("disposition", "taken"),
    [
        ("render;handling=optional", True),
        ("by-reference;handling=optional", True),
        ("render;handling=required", False),
        ('render;handling="REQUIRED"', False),
        ("session", False),  # RFC 3261 §20.11: required when it does not say
        (None, True),
        ("icon", True),
        ('render;"', True),
    ],
)
def test_unknown_part_counts_only_when_it_must_be_understood(disposition, taken):
    one = multipart(OURS, ("application/foo", disposition, b"x"))
    if taken:
        acceptance.check_body(one)
        return
    error = refused(acceptance.check_body, one)
    assert error.status == 415
    assert error.headers == (("Accept", "application/sdp"),)


def test_alternatives_need_one_and_related_its_root():
    strange = ("application/foo", "session;handling=required", b"x")
    acceptance.check_body(multipart(strange, OURS, kind="multipart/alternative"))
    acceptance.check_body(multipart(OURS, strange, kind="multipart/related"))
    refused(acceptance.check_body, multipart(strange, OURS, kind="multipart/related"))
    refused(acceptance.check_body, multipart(strange, kind="multipart/alternative"))


def test_the_root_of_related_is_the_part_that_start_names():
    """RFC 2387 §3.2."""
    body = (
        b"--b\r\nContent-Type: application/foo\r\nContent-Disposition: session\r\n\r\nx\r\n"
        b"--b\r\nContent-Type: application/sdp\r\nContent-ID: <sdp@h>\r\n\r\n" + SDP + b"\r\n--b--\r\n"
    )
    acceptance.check_body(request(body=body, kind='multipart/related;boundary=b;start="<sdp@h>"'))
    refused(acceptance.check_body, request(body=body, kind="multipart/related;boundary=b"))


def test_single_unknown_body():
    acceptance.check_body(request(kind="application/foo"))
    refused(
        acceptance.check_body,
        request("Content-Disposition: session;handling=required\r\n", kind="application/foo"),
    )


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda b: zlib.compress(b)[2:-4])],
)
def test_emergency_body_is_unpacked(coding, pack):
    one = acceptance.readable(request(f"Content-Encoding: {coding}\r\n", body=pack(SDP)))
    assert one.body == SDP
    assert one.content_type == "application/sdp"
    assert "Content-Encoding" not in one.headers


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("br", b"x"),
        ("gzip", b"no such thing"),
        ("gzip", gzip.compress(SDP, mtime=0)[:-3]),
        ("gzip", gzip.compress(bytes(2_000_000))),  # a bomb
        ("gzip, br", b"x"),
    ],
)
def test_emergency_body_that_cannot_be_unpacked_leaves_the_offer_to_us(coding, body):
    one = acceptance.readable(request(f"Content-Encoding: {coding}\r\n", body=body))
    assert one.body == b""
    assert one.content_type is None


def test_readable_leaves_the_others_alone():
    one = request()
    assert acceptance.readable(one) is one


def test_what_we_support_is_what_we_take():
    tags = {tag.strip() for tag in acceptance.SUPPORTED[1].split(",")}
    assert tags == acceptance.OPTION_TAGS
    assert Headers([acceptance.SUPPORTED, acceptance.NO_ENCODING])
