import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pbx.sip.errors import SipError
from pbx.sip.message import Request, Response
from pbx.sip.parser import (
    Item,
    ParseError,
    Ping,
    StreamFramer,
    parse,
)
from pbx.sip.uri import Via

CORE = b"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: x@y\r\nCSeq: 1 OPTIONS\r\n"
VIA = b"Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport\r\n"
LINE = b"OPTIONS sip:a@b SIP/2.0\r\n"


def options(
    *lines: bytes, line: bytes = LINE, via: bytes = VIA, core: bytes = CORE, body: bytes = b""
) -> bytes:
    fields = b"".join(item + b"\r\n" for item in lines)
    return line + via + core + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


def refusal(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(data)
    return caught.value


def by_stream(data: bytes) -> Item:
    (item,) = StreamFramer().feed(data)
    return item


# --- datagrams ----------------------------------------------------------------------------------------------------


def test_a_datagram() -> None:
    message = parse(options(b"Subject: x", body=b"hello") + b"junk behind the body")
    assert isinstance(message, Request)
    assert (message.method, str(message.uri), message.body) == ("OPTIONS", "sip:a@b", b"hello")


def test_without_content_length_the_body_is_the_rest() -> None:
    assert parse(LINE + VIA + CORE + b"\r\nall of it").body == b"all of it"
    assert parse(LINE + VIA + CORE + b"\r\n").body == b""


def test_crlf_before_the_start_line_is_ignored() -> None:
    assert parse(b"\r\n\r\n" + options()) == parse(options())


def test_a_response() -> None:
    message = parse(options(line=b"sip/2.0 183 Session  Progress\r\n"))
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (183, "Session  Progress")
    empty = parse(options(line=b"SIP/2.0 200\r\n"))
    assert isinstance(empty, Response)
    assert empty.reason == ""


@pytest.mark.parametrize(
    "data",
    [
        options(via=b"Via: SIP/2.0/TCP 10.0.0.1:5060\r\n"),
        options(core=CORE.replace(b"CSeq", b"Cseq")),
        options(core=CORE.replace(b"<sip:a@b>\r\n", b"urn:service:sos\r\n")),
        options(b"Contact: sip:a@10.0.0.1:5062;expires=60"),
        options(line=b"OPTIONS urn:service:sos SIP/2.0\r\n"),
        options(line=b"OPTIONS sip:a@b sip/2.0\r\n"),
        options(line=b"OPTIONS sip:a@b SIP/2.0  \r\n"),
        options(b"Call-Info: <urn:a>;purpose=x", b"Call-Info: <urn:b>;purpose=y"),
        options(b"Max-Forwards: 70", b"Max-Forwards: 70"),
        options(b"Max-Forwards: lots"),
        options(b"Expires: 1e9"),
        options(b"Date: yesterday"),
        options(b"Contact: <sip:a@b>;"),
    ],
)
def test_liberal_in_what_is_accepted(data: bytes) -> None:
    assert isinstance(parse(data), Request)
    assert isinstance(by_stream(data), Request)


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (LINE + VIA + CORE, 400, "Header section does not end"),
        (options().replace(b"\r\n", b"\n"), 400, "Header section does not end"),
        (options(line=b"OPTIONS\r\n sip:a@b SIP/2.0\r\n"), 400, "Folded start line"),
        (options(line=LINE + b" folded\r\n"), 400, "Folded start line"),
        (options(line=b"OPTIONS  sip:a@b SIP/2.0\r\n"), 400, "Malformed request line"),
        (options(line=b"OPTIONS\tsip:a@b\tSIP/2.0\r\n"), 400, "Malformed request line"),
        (options(line=b"OPT(IONS sip:a@b SIP/2.0\r\n"), 400, "Malformed request line"),
        (options(line=b"OPTIONS sip:a@b\r\n"), 400, "Malformed request line"),
        (options(line=b"OPTIONS sip:a@b HTTP/1.1\r\n"), 400, "Bad Request"),
        (options(line=b"OPTIONS sip:a@b SIP/3.0\r\n"), 505, "Version Not Supported"),
        (options(line=b"OPTIONS sip:a@b?Route=x SIP/2.0\r\n"), 400, "Headers in Request-URI"),
        (options(line=b"OPTIONS <sip:a@b> SIP/2.0\r\n"), 400, "Malformed URI"),
        (options(b"no colon"), 400, "Malformed header field"),
        (options(b"Subject: a\nb"), 400, "Bare CR or LF in a header field"),
        (options(core=CORE.replace(b"From", b"X-From")), 400, "Missing From"),
        (options(core=CORE.replace(b"To", b"X-To")), 400, "Missing To"),
        (options(core=CORE.replace(b"Call-ID", b"X-Id")), 400, "Missing Call-ID"),
        (options(core=CORE.replace(b"CSeq", b"X-Seq")), 400, "Missing CSeq"),
        (options(core=CORE.replace(b"x@y", b"x y")), 400, "Malformed Call-ID"),
        (options(core=CORE.replace(b"1 OPTIONS", b"1 INVITE")), 400, "CSeq method does not match"),
        (options(line=b"NEW sip:a@b SIP/2.0\r\n"), 501, "Not Implemented"),
        (options(via=b"Via: SIP/2.0/UDP h;branch=Z9HG4BK\r\n"), 400, "Empty Via branch"),
        (options(b"From: <sip:c@d>;tag=2"), 400, "More than one From"),
        (options(b"Call-ID: z"), 400, "More than one Call-ID"),
        (options(b"l: 7"), 400, "More than one Content-Length"),
        (options(b"Content-Type: a/b", b"c: a/c"), 400, "More than one Content-Type"),
        (options(b"Contact: *, <sip:a>"), 400, "Malformed URI"),
        (options(b"Route: <sip:a"), 400, "Malformed address"),
        (options(b"Record-Route: ,"), 400, "Malformed URI"),
    ],
)
def test_refused(data: bytes, status: int, reason: str) -> None:
    error = refusal(data)
    assert (error.status, error.reason) == (status, reason)
    if data.startswith(LINE) and b"\r\n" in data:
        assert (error.response or b"").startswith(b"SIP/2.0 %d %s\r\nVia: " % (status, reason.encode()))


@pytest.mark.parametrize("length", [b"-1", b"+5", b"5x", b"0x5", "٥".encode(), b"", b"99999999999", b"1_0"])
def test_content_length_is_a_number(length: bytes) -> None:
    data = LINE + VIA + CORE + b"Content-Length: " + length + b"\r\n\r\nhello"
    assert refusal(data).reason == "Malformed Content-Length"
    framer = StreamFramer()
    (item,) = framer.feed(data)
    assert isinstance(item, ParseError)
    assert (item.fatal, framer.fatal, framer.feed(options())) == (True, True, [])


def test_a_body_shorter_than_told() -> None:
    data = options(body=b"12345")[:-1]
    assert refusal(data).reason == "Body shorter than Content-Length"
    assert StreamFramer().feed(data) == []


# --- the stateless answer -----------------------------------------------------------------------------------------


def test_answer_is_a_sip_response_made_of_the_request() -> None:
    error = refusal(
        options(b"bad line", via=b"v: SIP/2.0/UDP h;branch=z9hG4bK1,\r\n SIP/2.0/UDP i\r\n" + VIA)
    )
    answer = parse(error.response or b"")
    assert isinstance(answer, Response)
    assert [via.host for via in answer.vias] == ["h", "i", "h"]
    assert (answer.call_id, answer.cseq.number, answer.from_.tag) == ("x@y", 1, "1")
    assert answer.to.tag
    assert error.method == "OPTIONS"
    assert (error.via or Via("", "")).branch == "z9hG4bK1"
    assert (
        error.response
        == error.response
        == refusal(
            options(b"bad line", via=b"v: SIP/2.0/UDP h;branch=z9hG4bK1,\r\n SIP/2.0/UDP i\r\n" + VIA)
        ).response
    )


def test_answer_keeps_a_to_tag() -> None:
    error = refusal(options(b"bad line", core=CORE.replace(b"To: <sip:a@b>", b"To: <sip:a@b> ; Tag = t")))
    assert b"To: <sip:a@b> ; Tag = t\r\n" in (error.response or b"")


@pytest.mark.parametrize(
    ("via", "received", "rport", "stamped"),
    [
        (b"SIP/2.0/UDP h;rport", "10.0.0.9", 4000, b"SIP/2.0/UDP h;rport=4000;received=10.0.0.9"),
        (b"SIP/2.0/UDP h", "10.0.0.9", 4000, b"SIP/2.0/UDP h;received=10.0.0.9"),
        (b"SIP/2.0/UDP 10.0.0.9:5070", "10.0.0.9", 4000, b"SIP/2.0/UDP 10.0.0.9:5070"),
        (
            b"SIP/2.0/UDP h, SIP/2.0/UDP i",
            "10.0.0.9",
            None,
            b"SIP/2.0/UDP h;received=10.0.0.9, SIP/2.0/UDP i",
        ),
        (b"SIP/2.0/UDP h;;,;,,", "10.0.0.9", 4000, b"SIP/2.0/UDP h;received=10.0.0.9, ;, , "),
        (b"nonsense", "10.0.0.9", 4000, b"nonsense"),
        (b"SIP/2.0/UDP h", None, None, b"SIP/2.0/UDP h"),
    ],
)
def test_answer_says_where_the_request_came_from(
    via: bytes, received: str | None, rport: int | None, stamped: bytes
) -> None:
    answer = refusal(options(b"bad line", via=b"Via: " + via + b"\r\n")).answer(received, rport) or b""
    assert answer.split(b"\r\n")[1] == b"Via: " + stamped


@pytest.mark.parametrize(
    "data",
    [
        options(b"bad line", line=b"ACK sip:a@b SIP/2.0\r\n"),
        options(b"bad line", line=b"SIP/2.0 200 OK\r\n"),
        options(b"bad line", via=b""),
        options(line=b"SIP/2.0 99 OK\r\n"),
        options(line=b"SIP/2.0 4294967301 OK\r\n"),
        options(line=b"SIP/2.0 700 OK\r\n"),
        options(line="SIP/2.0 ٢٠٠ OK\r\n".encode()),
        options(line=b"SIP/2.0 200 OK\rX\r\n"),
        options(line=b"SIP/2.0 200 OK\r\n", via=b""),
        b"",
        b"\r\n",
        b"\x00\x00\x00\x00",
        b"\r\n\r\n\r\n",
    ],
)
def test_dropped_in_silence(data: bytes) -> None:
    assert refusal(data).response is None


def test_answer_never_carries_a_bare_line_break() -> None:
    answer = (
        refusal(options(b"To: a\nInjected: yes", core=CORE.replace(b"To: <sip:a@b>\r\n", b""))).response
        or b""
    )
    assert answer
    assert b"\nInjected" not in answer


# --- streams ------------------------------------------------------------------------------------------------------

PIPELINE = [options(b"Subject: %d" % i, body=b"\r\n\r\nx" * i) for i in range(5)]


@given(st.lists(st.integers(0, sum(map(len, PIPELINE))), max_size=12).map(sorted))
def test_cutting_a_stream_anywhere_changes_nothing(cuts: list[int]) -> None:
    stream = b"".join(PIPELINE)
    framer, items = StreamFramer(), list[Item]()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        items += framer.feed(stream[start:end])
    assert items == [parse(data) for data in PIPELINE]
    assert (framer.buffered, framer.awaiting, framer.fatal) == (0, "nothing", False)


def test_one_byte_at_a_time() -> None:
    framer, items = StreamFramer(), list[Item]()
    for byte in b"\r\n\r\n".join(PIPELINE):
        items += framer.feed(bytes([byte]))
    assert [item for item in items if not isinstance(item, Ping)] == [parse(data) for data in PIPELINE]
    assert items.count(Ping()) == len(PIPELINE) - 1


def test_pings() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n") == []
    assert (framer.awaiting, framer.buffered) == ("nothing", 0)
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n") == [Ping()]
    assert framer.feed(b"\r\n" + options()) == [parse(options())]
    assert framer.feed(b"\r\n\r\n\r\n\r\n") == [Ping(), Ping()]


def test_what_a_stream_waits_for() -> None:
    framer, data = StreamFramer(), options(body=b"12345")
    assert framer.feed(data[:10]) == []
    assert (framer.awaiting, framer.buffered) == ("head", 10)
    assert framer.feed(data[10:-2]) == []
    assert (framer.awaiting, framer.buffered) == ("body", 3)
    assert framer.feed(data[-2:]) == [parse(data)]


def test_after_a_refused_message_the_next_is_read() -> None:
    bad, good = options(b"bad line", body=b"x" * 100), options()
    framer = StreamFramer()
    (error,) = framer.feed(bad[:-50])
    assert isinstance(error, ParseError)
    assert not error.fatal
    assert framer.awaiting == "body"
    assert framer.feed(bad[-50:] + good) == [parse(good)]


def test_a_stream_needs_content_length() -> None:
    framer = StreamFramer()
    (error,) = framer.feed(LINE + VIA + CORE + b"\r\n")
    assert isinstance(error, ParseError)
    assert (error.status, error.reason, error.fatal) == (400, "Missing Content-Length", True)
    assert error.response


def test_strangers_are_shown_the_door() -> None:
    """What is no SIP and can't be answered ends the stream."""
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", options(b"bad line", via=b"")):
        framer = StreamFramer()
        (error,) = framer.feed(data)
        assert isinstance(error, ParseError)
        assert (error.response, framer.fatal) == (None, True)


# --- anything at all ----------------------------------------------------------------------------------------------

# fmt: off
PIECES = st.sampled_from([
    b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b";", b",", b'"', b"<", b">", b"\\", b"%", b"@", b"=", b"\x00", b"\xff",
    b"[::1]", b"SIP/2.0", b"OPTIONS", b"sip:", b"Via: SIP/2.0/UDP h", b"Content-Length: 3", b"branch=z9hG4bK", LINE, VIA, CORE,
])
# fmt: on


@given(st.lists(PIECES | st.binary(max_size=4), max_size=30).map(b"".join))
@example(options())
@example(options(b"Contact: sip:a@b;", line=b"OPTIONS SIP:a@b;; SIP/2.0\r\n"))
def test_arbitrary_bytes(data: bytes) -> None:
    """Only ParseError comes out, its answer reads back, and what is taken is a fixpoint of writing and reading."""
    for item in (*StreamFramer().feed(data), *datagram(data)):
        if isinstance(item, ParseError):
            assert isinstance(item, SipError)
            assert item.response is None or item.response.startswith(b"SIP/2.0 ")
        elif not isinstance(item, Ping):
            once = item.encode()
            assert parse(once).encode() == once
            assert parse(once).body == item.body


def datagram(data: bytes) -> list[Item]:
    try:
        return [parse(data)]
    except ParseError as error:
        return [error]


@given(st.data())
def test_mutated_messages(data: st.DataObject) -> None:
    """One to four bytes of a good message changed: both roads agree on the verdict as long as the framing is told."""
    raw = bytearray(options(b"Contact: <sip:a@b>;q=0.5", b"Route: <sip:p;lr>", body=b"abc"))
    end = raw.index(b"Content-Length")
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    (one,) = datagram(bytes(raw))
    many = StreamFramer().feed(bytes(raw))
    if isinstance(one, Request | Response) and many and isinstance(many[0], Request | Response):
        assert many == [one]
    if isinstance(one, ParseError) and many and isinstance(many[0], ParseError):
        assert one.status == many[0].status or bytes(raw).count(b"\r\n\r\n") > 1
