import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.errors import REASONS, SipError
from pbx.sip.flow import Flow, stamp
from pbx.sip.headers import Headers
from pbx.sip.message import CSeq, Request, Response
from pbx.sip.parser import parse
from pbx.sip.uri import NameAddr, Uri, Via, parse_name_addr, parse_uri
from pbx.sip.via import with_via

CALLER = parse_name_addr('"Zhang" <sip:zhang@h>;tag=1')
POLICE = parse_name_addr("<sip:110@h>")
FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5062))
CONTACT = parse_name_addr("<sip:zhang@10.0.0.5:5062>")


def invite(**more: object) -> Request:
    request = Request.build(
        "INVITE",
        parse_uri("sip:110@h"),
        from_=CALLER,
        to=POLICE,
        call_id="c1",
        cseq=7,
        **more,  # type: ignore[arg-type]
    )
    request.headers.prepend("Via", "SIP/2.0/UDP 10.0.0.5:5062;branch=z9hG4bKa;rport")
    return request


def with_headers(*items: tuple[str, str]) -> Request:
    return Request("OPTIONS", parse_uri("sip:h"), Headers(items))


def test_build_writes_what_rfc_3261_wants() -> None:
    request = invite(
        contact=CONTACT,
        routes=[parse_name_addr("<sip:p1;lr>"), parse_name_addr("<sip:p2;lr>")],
        max_forwards=5,
        headers=[("Supported", "timer")],
        body=b"v=0\r\n",
        content_type="application/sdp",
    )
    assert request.encode() == (
        b"INVITE sip:110@h SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 10.0.0.5:5062;branch=z9hG4bKa;rport\r\n"
        b"Max-Forwards: 5\r\n"
        b"Route: <sip:p1;lr>\r\n"
        b"Route: <sip:p2;lr>\r\n"
        b'From: "Zhang" <sip:zhang@h>;tag=1\r\n'
        b"To: <sip:110@h>\r\n"
        b"Call-ID: c1\r\n"
        b"CSeq: 7 INVITE\r\n"
        b"Contact: <sip:zhang@10.0.0.5:5062>\r\n"
        b"Supported: timer\r\n"
        b"Content-Type: application/sdp\r\n"
        b"Content-Length: 5\r\n"
        b"\r\n"
        b"v=0\r\n"
    )
    again = parse(request.encode())
    assert [str(route) for route in again.routes] == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert (again.from_, again.to, again.contact) == (CALLER, POLICE, CONTACT)


def test_typed_views() -> None:
    request = invite(
        headers=[("Expires", "60"), ("Record-Route", "<sip:r1;lr>, <sip:r2;lr>")],
        content_type="Text/Plain ; a=b",
    )
    assert request.via == Via("UDP", "10.0.0.5", 5062, (("branch", "z9hG4bKa"), ("rport", None)))
    assert (request.cseq, str(request.cseq), request.call_id) == (CSeq(7, "INVITE"), "7 INVITE", "c1")
    assert (request.max_forwards, request.expires, request.content_type) == (70, 60, "text/plain")
    assert [str(route) for route in request.record_routes] == ["<sip:r1;lr>", "<sip:r2;lr>"]
    assert (request.contact, request.contacts, request.contact_star, request.routes) == (None, (), False, ())
    assert request.via is request.via
    request.headers.set("CSeq", "8 INVITE")
    assert request.cseq.number == 8


def test_absent_headers() -> None:
    message = with_headers()
    assert (message.max_forwards, message.expires, message.content_type, message.vias) == (
        None,
        None,
        None,
        (),
    )
    for name in ("via", "from_", "to", "call_id", "cseq"):
        with pytest.raises(SipError, match="400 Missing"):
            getattr(message, name)


def test_contact_star() -> None:
    message = with_headers(("Contact", "*"))
    assert (message.contact_star, message.contacts, message.contact) == (True, (), None)
    with pytest.raises(SipError):
        _ = with_headers(("Contact", "*"), ("Contact", "<sip:a>")).contacts


@pytest.mark.parametrize(
    ("value", "number"),
    [("0", 0), ("0068", 68), ("255", 255), ("256", None), ("-1", None), ("٣", None), ("", None)],
)
def test_max_forwards(value: str, number: int | None) -> None:
    assert with_headers(("Max-Forwards", value)).max_forwards == number


@pytest.mark.parametrize(
    "value", ["", "1", "INVITE", "x INVITE", "1 IN VITE", "4294967296 INVITE", "1INVITE", "1\x85INVITE"]
)
def test_malformed_cseq(value: str) -> None:
    with pytest.raises(SipError, match="400 Malformed CSeq"):
        _ = with_headers(("CSeq", value)).cseq


def test_cseq_with_much_space() -> None:
    assert with_headers(("CSeq", "0009  \t INVITE")).cseq == CSeq(9, "INVITE")
    assert with_headers(("CSeq", "4294967295 ACK")).cseq.number == 2**32 - 1


def test_a_foreign_or_broken_content_type() -> None:
    assert with_headers(("c", " Multipart / Mixed;boundary=x")).content_type == "multipart/mixed"
    assert with_headers(("c", "x")).content_type == "x/"


def test_response_copies_what_rfc_3261_names() -> None:
    request = invite(headers=[("Timestamp", "54"), ("Record-Route", "<sip:r1;lr>"), ("Subject", "x")])
    request.headers.add("v", "SIP/2.0/TCP p;branch=z9hG4bKb, SIP/2.0/TCP q")
    trying, ringing, refused = (
        request.response(100),
        request.response(180, to_tag="t"),
        request.response(486, to_tag="t"),
    )
    for answer in (trying, ringing, refused):
        assert answer.headers.lines("Via") == request.headers.lines("Via")
        assert (answer.from_, answer.call_id, answer.cseq) == (request.from_, request.call_id, request.cseq)
        assert "Subject" not in answer.headers
    assert (trying.headers.get("Timestamp"), ringing.headers.get("Timestamp")) == ("54", None)
    assert (trying.to.tag, ringing.to.tag) == (None, "t")
    assert [len(answer.record_routes) for answer in (trying, ringing, refused)] == [0, 1, 0]
    assert (refused.status, refused.reason) == (486, "Busy Here")


def test_response_takes_what_it_is_given() -> None:
    request = invite(headers=[("Record-Route", "<sip:r1;lr>")])
    answer = request.response(
        299,
        "Fine",
        to_tag="t",
        headers=[("Record-Route", "<sip:mine>")],
        body=b"x",
        content_type="text/plain",
    )
    assert [str(route) for route in answer.record_routes] == ["<sip:mine>"]
    assert answer.encode().endswith(b"Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx")
    assert answer.encode().startswith(b"SIP/2.0 299 Fine\r\n")
    assert request.response(299).reason == ""


@pytest.mark.parametrize(
    ("to", "echoed"),
    [
        ("<sip:110@h>;tag=old", "<sip:110@h>;tag=old"),
        ("sip:110@h", "sip:110@h;tag=new"),
        ("<sip:110@h> ; ", "<sip:110@h>;tag=new"),
        ('"A;tag=x" <sip:110@h>;x', '"A;tag=x" <sip:110@h>;x;tag=new'),
    ],
)
def test_to_tag_is_added_once_and_the_rest_echoed(to: str, echoed: str) -> None:
    request = invite()
    request.headers.set("To", to)
    answer = request.response(200, to_tag="new")
    assert answer.headers.get("To") == echoed
    assert answer.to.tag in ("old", "new")


def test_set_via_stamps_only_the_topmost() -> None:
    request = invite()
    request.headers.add("Via", "SIP/2.0/UDP other")
    request.set_via(request.via.with_param("received", "192.0.2.9").with_param("rport", "99"))
    assert (request.via.received, request.via.rport) == ("192.0.2.9", 99)
    assert request.vias[1] == Via("UDP", "other")


def test_bytes_that_are_not_utf8_pass_unchanged() -> None:
    raw = invite(headers=[("Subject", "x")]).encode().replace(b"Subject: x", b"Subject: \xff\xe4\xbd")
    request = parse(raw)
    assert request.encode() == raw
    assert request.headers.get("Subject") == "\udcff\udce4\udcbd"


@pytest.mark.parametrize(
    "message",
    [
        Request("IN VITE", parse_uri("sip:a"), Headers()),
        Request("INVITE\r\nX:", parse_uri("sip:a"), Headers()),
        Request("INVITE", Uri("sip", "a b", None, "h"), Headers()),
        Request("INVITE", Uri("sip", "a\r\nVia: x\r\n", None, "h"), Headers()),
        Request("INVITE", Uri("tel", None, None, "1\n2"), Headers()),
        Response(200, "OK\r\nVia: x", Headers()),
        Response(200, "O\nK", Headers()),
    ],
    ids=str,
)
def test_nothing_is_injected_by_the_start_line(message: Request | Response) -> None:
    with pytest.raises(ValueError, match=r"start line|request line"):
        message.encode()


TEXT = st.text(max_size=20)


@given(TEXT, TEXT, TEXT, TEXT)
def test_header_injection_is_impossible(display: str, value: str, user: str, tag: str) -> None:
    """Whatever text gets into a message, it re-parses to exactly the headers that were meant, or is refused when written."""
    try:
        request = invite(
            contact=NameAddr(display or None, Uri("sip", "x", None, "h")).with_param("x", tag),
            headers=[("Subject", value)],
        )
        request.uri = Uri("sip", user or None, None, "h")
        raw = request.encode()
    except ValueError:
        return
    try:
        again = parse(raw)
    except SipError:
        assert user, "only a user that is none can make it unreadable"
        return
    wanted = ["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Subject", "Content-Length"]
    assert [name for name, _ in again.headers] == wanted
    assert again.headers.get("Subject") == value.strip(" \t")
    assert again.contact == request.contact
    assert again.body == b""


@given(TEXT)
def test_reason_injection_is_impossible(reason: str) -> None:
    try:
        raw = invite().response(400, reason).encode()
    except ValueError:
        return
    again = parse(raw)
    assert isinstance(again, Response)
    assert again.reason == reason


@pytest.mark.parametrize("status", [0, 99, 700, -1, 4294967301])
def test_no_such_status(status: int) -> None:
    with pytest.raises(ValueError, match="not a status"):
        invite().response(status)


def test_copies_are_apart() -> None:
    request = invite()
    twin = request.copy()
    assert twin == request
    twin.headers.set("Subject", "x")
    assert twin != request
    assert request != "INVITE"
    answer = request.response(200)
    other = answer.copy()
    assert other == answer
    other.headers.remove("To")
    assert other != answer
    assert answer != request
    for message in (request, answer):
        with pytest.raises(TypeError):
            hash(message)
    assert repr(request) == "<Request INVITE sip:110@h c1>"
    assert repr(answer) == "<Response 200 'OK' 7 INVITE c1>"


def test_errors_know_their_verdict() -> None:
    error = SipError(420, headers=[("Unsupported", "100rel")])
    assert (error.status, error.reason, error.headers, str(error)) == (
        420,
        REASONS[420],
        (("Unsupported", "100rel"),),
        "420 Bad Extension",
    )
    assert SipError(499).reason == "Error"
    assert SipError(400, "Malformed Via").reason == "Malformed Via"


@pytest.mark.parametrize(
    "to", ["<sip:110@h>;tag=old", "sip:110@h", '"A;tag=x" <sip:110@h>;x', "<sip:110@h> ; "]
)
def test_what_a_message_of_ours_knows_is_what_its_reader_reads(to: str) -> None:
    built = Request.build(
        "INVITE", parse_uri("sip:110@h"), from_=CALLER, to=parse_name_addr(to), call_id="c1", cseq=7
    )
    assert built.vias == ()
    sent = with_via(built, FLOW, branch="z9hG4bKx", host="192.0.2.1", port=5060)
    came = parse(sent.encode())
    assert isinstance(came, Request)
    stamp(came, ("192.0.2.9", 5062))
    again = with_via(came, FLOW, branch="z9hG4bKy", host="192.0.2.1", port=5060)
    for made in (sent, came, again, came.response(200, to_tag="new"), came.response(100)):
        read = parse(made.encode())
        for view in ("vias", "from_", "to", "cseq", "call_id"):
            assert getattr(made, view) == getattr(read, view), view
