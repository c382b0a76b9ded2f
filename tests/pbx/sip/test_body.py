import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.body import (
    MAX_DEPTH,
    MAX_PART_HEAD,
    MAX_PARTS,
    MediaType,
    Part,
    find_part,
    parse_body,
    parse_media_type,
    parse_multipart,
    write_multipart,
)
from pbx.sip.errors import SipError
from pbx.sip.headers import Headers
from pbx.sip.message import Request
from pbx.sip.uri import parse_uri

MIXED = 'multipart/mixed;boundary="b1"'
SDP = b"v=0\r\no=- 1 1 IN IP4 h\r\n"
PIDF = b"<presence/>"


def message(content_type: str | None, body: bytes, *more: tuple[str, str]) -> Request:
    headers = [] if content_type is None else [("Content-Type", content_type)]
    return Request("INVITE", parse_uri("sip:110@h"), Headers([*headers, *more]), body)


def status_of(content_type: str, body: bytes) -> tuple[int, str]:
    with pytest.raises(SipError) as caught:
        parse_multipart(content_type, body)
    return caught.value.status, caught.value.reason


EMERGENCY = (
    b"preamble, ignored\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n"
    b"--b1  \r\nContent-Type: application/pidf+xml\r\nContent-ID: <loc1@handset.example>\r\n"
    b"Content-Disposition: Render;handling=optional\r\n\r\n" + PIDF + b"\r\n--b1--\r\nepilogue --b1\r\n"
)


def test_an_emergency_invite() -> None:
    sdp, pidf = parse_multipart(MIXED, EMERGENCY)
    assert (sdp.kind, sdp.body, sdp.content_id, sdp.disposition) == ("application/sdp", SDP, None, None)
    assert (pidf.kind, pidf.body, pidf.content_id) == ("application/pidf+xml", PIDF, "loc1@handset.example")
    assert pidf.disposition == "render"
    request = message(MIXED, EMERGENCY)
    assert find_part(request, "application/sdp") == SDP
    assert find_part(request, "application/pidf+xml") == PIDF
    assert find_part(request, "text/plain") is None


@pytest.mark.parametrize("first", [True, False])
def test_an_early_session_is_not_the_session(first: bool) -> None:
    """RFC 3959 §4: both may stand in one INVITE."""
    early = b"--b1\r\nContent-Type: application/sdp\r\nContent-Disposition: Early-Session\r\n\r\nv=early\r\n"
    ours = b"--b1\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n"
    body = (early + ours if first else ours + early) + b"--b1--\r\n"
    assert find_part(message(MIXED, body), "application/sdp") == SDP
    assert find_part(message(MIXED, early + b"--b1--\r\n"), "application/sdp") is None
    alone = message("application/sdp", SDP, ("Content-Disposition", "early-session;handling=optional"))
    assert find_part(alone, "application/sdp") is None


def test_a_session_with_an_odd_purpose_is_taken_where_nothing_better_is() -> None:
    odd = b"--b1\r\nContent-Type: application/sdp\r\nContent-Disposition: preview\r\n\r\nv=odd\r\n"
    ours = b"--b1\r\nContent-Type: application/sdp\r\nContent-Disposition: session\r\n\r\n" + SDP + b"\r\n"
    assert find_part(message(MIXED, odd + ours + b"--b1--\r\n"), "application/sdp") == SDP
    assert find_part(message(MIXED, odd + b"--b1--\r\n"), "application/sdp") == b"v=odd"


def test_the_root_of_related_parts() -> None:
    parts = b"".join(
        b"--b\r\nContent-Type: text/plain\r\nContent-ID: <" + name + b"@h>\r\n\r\n" + name + b"\r\n"
        for name in (b"one", b"two")
    )
    for start, root in (("", b"one"), (';start="<two@h>"', b"two"), (';start="<three@h>"', b"one")):
        part = parse_body(message(f"multipart/related;boundary=b{start}", parts + b"--b--\r\n"))
        assert part is not None
        assert part.root is not None
        assert part.root.body == root
    plain = parse_body(message("text/plain", b"x"))
    assert plain is not None
    assert plain.root is None


def test_a_plain_body_is_one_part() -> None:
    request = message("Application/SDP", SDP, ("Content-Disposition", "session"), ("Subject", "x"))
    part = parse_body(request)
    assert part is not None
    assert (part.kind, part.body, part.parts, part.disposition) == ("application/sdp", SDP, (), "session")
    assert "Subject" not in part.headers
    assert list(part.walk()) == [part]
    assert find_part(request, "application/sdp") == SDP
    assert find_part(request, "application/pidf+xml") is None


def test_no_body() -> None:
    for request in (message(None, b"x"), message(MIXED, b""), message("application/sdp", b"")):
        assert parse_body(request) is None
        assert find_part(request, "application/sdp") is None


def nested(depth: int) -> tuple[str, bytes]:
    """A body of `depth` multiparts around one text."""
    kind, body = "text/plain", b"inside"
    for level in range(depth):
        boundary = f"b{level}"
        body = write_multipart([(Headers([("Content-Type", kind)]), body)], boundary)
        kind = f"multipart/related;boundary={boundary}"
    return kind, body


def test_depth() -> None:
    kind, body = nested(MAX_DEPTH)
    request = message(kind, body)
    assert find_part(request, "text/plain") == b"inside"
    root = parse_body(request)
    assert root is not None
    assert len(list(root.walk())) == MAX_DEPTH + 1
    assert status_of(*nested(MAX_DEPTH + 1)) == (400, "Multipart too deep")


def test_parts() -> None:
    def body(count: int) -> bytes:
        return write_multipart([(Headers(), b"x")] * count, "b1")

    assert len(parse_multipart(MIXED, body(MAX_PARTS))) == MAX_PARTS
    assert status_of(MIXED, body(MAX_PARTS + 1)) == (400, "Too many body parts")
    assert status_of(MIXED, body(MAX_PARTS + 1).removesuffix(b"--b1--\r\n")) == (400, "Too many body parts")
    assert status_of(MIXED, body(10_000))[0] == 400


def test_parts_are_counted_at_all_depths() -> None:
    def body(inner_count: int) -> bytes:
        inner = write_multipart([(Headers(), b"x")] * inner_count, "in")
        return write_multipart([(Headers([("Content-Type", "multipart/mixed;boundary=in")]), inner)], "b1")

    assert len(list(parse_multipart(MIXED, body(MAX_PARTS - 1))[0].walk())) == MAX_PARTS
    assert status_of(MIXED, body(MAX_PARTS)) == (400, "Too many body parts")


def test_part_head_limit() -> None:
    def body(length: int) -> bytes:
        line = b"X-Fill: " + b"x" * (8192 - 8) + b"\r\n"
        return b"--b1\r\n" + line + b"Y: " + b"y" * (length - len(line) - 3) + b"\r\n\r\nbody\r\n--b1--"

    (part,) = parse_multipart(MIXED, body(MAX_PART_HEAD))
    assert part.body == b"body"
    assert status_of(MIXED, body(MAX_PART_HEAD + 1)) == (400, "Body part's headers too long")


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"--b1\r\n\r\nx\r\n--b1--", [b"x"]),
        (b"--b1\r\n\r\n\r\n--b1--", [b""]),
        (b"--b1\r\nContent-Type: a/b\r\n\r\n--b1--", [b""]),
        (b"--b1\r\nContent-Type: a/b\r\n--b1--", [b""]),
        (b"--b1\r\n\r\n\r\nx\r\n\r\n--b1--", [b"\r\nx\r\n"]),
        (b"--b1\r\n\r\nx--b1\n--b1\r\n--b1--", [b"x--b1\n--b1"]),
        (b"--b1\r\n\r\nx\r\n--b11\r\n--b1--", [b"x\r\n--b11"]),
        (b"--b1\r\n\r\nno closing delimiter", [b"no closing delimiter"]),
        (b"--b1\r\n\r\nx\r\n--b1--\r\n--b1\r\n\r\nepilogue", [b"x"]),
        (b"--b1\r\n\r\n\x00\xff\r\n--b1\r\n\r\n\x00\r\n--b1--", [b"\x00\xff", b"\x00"]),
    ],
)
def test_where_parts_end(body: bytes, parts: list[bytes]) -> None:
    assert [part.body for part in parse_multipart(MIXED, body)] == parts


@pytest.mark.parametrize("body", [b"", b"x", b"--b1--", b"--b11\r\n\r\nx\r\n--b11--", b"x--b1\r\n\r\ny"])
def test_no_part(body: bytes) -> None:
    assert status_of(MIXED, body) == (400, "Multipart body without parts")


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        ("multipart/mixed", "Malformed multipart boundary"),
        ('multipart/mixed;boundary=""', "Malformed multipart boundary"),
        ('multipart/mixed;boundary="a b"', "Malformed multipart boundary"),
        ("multipart/mixed;boundary=" + "a" * 71, "Malformed multipart boundary"),
        ("multipart/mixed;boundary=a b", "Malformed Content-Type parameter"),
        ("multipart", "Malformed Content-Type"),
        ("/mixed", "Malformed Content-Type"),
        ("text/plain", "Not a multipart body"),
    ],
)
def test_malformed_types(content_type: str, reason: str) -> None:
    assert status_of(content_type, b"--b1\r\n\r\nx\r\n--b1--") == (400, reason)


def test_a_boundary_of_seventy() -> None:
    boundary = "a'()+_,-./:=?" + "b" * 57
    (part,) = parse_multipart(
        f'multipart/mixed;boundary="{boundary}"', write_multipart([(Headers(), b"x")], boundary)
    )
    assert part.body == b"x"


def test_malformed_parts() -> None:
    assert status_of(MIXED, b"--b1\r\nno colon\r\n\r\nx\r\n--b1--") == (400, "Malformed header field")
    assert status_of(MIXED, b"--b1\r\nContent-Type: x\r\n\r\nx\r\n--b1--") == (400, "Malformed Content-Type")


def test_types_of_parts_that_name_none() -> None:
    body = b"--b1\r\n\r\nx\r\n--b1--"
    assert parse_multipart(MIXED, body)[0].kind == "text/plain"
    assert parse_multipart("multipart/digest;boundary=b1", body)[0].kind == "message/rfc822"


def test_media_type() -> None:
    media_type = parse_media_type(' Text / Plain ; Charset="utf-8";x')
    assert media_type == MediaType("text/plain", (("Charset", '"utf-8"'), ("x", None)))
    assert (media_type.param("charset"), media_type.param("x"), media_type.param("y")) == (
        "utf-8",
        None,
        None,
    )
    assert not media_type.is_multipart


@pytest.mark.parametrize(
    ("boundary", "headers", "body"),
    [
        ("a b", Headers(), b""),
        ("", Headers(), b""),
        ("a", Headers(), b"x\r\n--a"),
        ("a", Headers([("Subject", "--a")]), b""),
    ],
)
def test_a_boundary_that_does_not_bound(boundary: str, headers: Headers, body: bytes) -> None:
    with pytest.raises(ValueError, match="boundary"):
        write_multipart([(headers, body)], boundary)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_written_parts_are_read_back(bodies: list[bytes]) -> None:
    headers = Headers([("Content-Type", "application/octet-stream"), ("Content-ID", "<x@y>")])
    parts = parse_multipart(
        "multipart/mixed;boundary=zzz", write_multipart([(headers, body) for body in bodies], "zzz")
    )
    assert [part.body for part in parts] == bodies
    assert all(part.headers == headers for part in parts)


PIECES = st.sampled_from(
    [
        b"\r\n",
        b"--b1",
        b"--b2",
        b"--",
        b"\r\n\r\n",
        b" ",
        b"Content-Type: multipart/mixed;boundary=b2",
        b"x",
        b":",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=3), max_size=25).map(b"".join))
def test_arbitrary_bytes(body: bytes) -> None:
    parts: tuple[Part, ...] = ()
    status = 200
    try:
        parts = parse_multipart(MIXED, body)
    except SipError as error:
        status = error.status
    assert (status == 200) is bool(parts)
    assert status in (200, 400)
    assert sum(len(part.body) for part in parts) <= len(body)
