"""RFC 4475 and RFC 5118 at the level of the parser: every file, as a datagram and on a stream.

`tests/data/manifest.json` says what the whole exchange must answer; TABLE says what of that the parser decides. A message the
parser takes and the exchange then refuses (416, 420, 415, 406, 501 of an unknown method …) reads "accept" here.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pbx.sip.body import parse_body
from pbx.sip.message import Request, Response
from pbx.sip.parser import ParseError, StreamFramer, parse

DATA = Path(__file__).parents[2] / "data"
MANIFEST: dict[str, Any] = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
CASES: dict[str, dict[str, Any]] = {
    case["name"]: case for corpus in ("rfc4475", "rfc5118") for case in MANIFEST[corpus]
}

# name → (datagram, stream). accept: a message comes out; a number: refused with that status; drop: refused in silence;
# wait: nothing comes out yet; close: refused with 400 and the stream can't go on.
TABLE: dict[str, tuple[str | int, str | int]] = {
    "wsinv": ("accept", "accept"),
    "intmeth": ("accept", "accept"),
    "esc01": ("accept", "accept"),
    "escnull": ("accept", "accept"),
    "esc02": ("accept", "accept"),
    "lwsdisp": ("accept", "accept"),
    "longreq": ("accept", "accept"),
    "dblreq": ("accept", "accept"),
    "semiuri": ("accept", "accept"),
    "transports": ("accept", "accept"),
    "mpart01": ("accept", "accept"),
    "unreason": ("accept", "accept"),
    "noreason": ("accept", "accept"),
    "badinv01": (400, 400),
    "clerr": (400, "wait"),
    "ncl": (400, "close"),
    "scalar02": (400, 400),
    "scalarlg": ("drop", "drop"),
    "quotbal": (400, 400),
    "ltgtruri": (400, 400),
    "lwsruri": (400, 400),
    "lwsstart": (400, 400),
    "trws": ("accept", "accept"),
    "escruri": (400, 400),
    "baddate": ("accept", "accept"),
    "regbadct": (400, 400),
    "badaspec": ("accept", "accept"),
    "baddn": (400, "wait"),
    "baddn.wire": (400, 400),
    "badvers": (505, 505),
    "mismatch01": (400, 400),
    "mismatch02": (501, 501),
    "bigcode": ("drop", "drop"),
    "badbranch": (400, 400),
    "insuf": (400, 400),
    "unkscm": ("accept", "accept"),
    "novelsc": ("accept", "accept"),
    "unksm2": ("accept", "accept"),
    "bext01": ("accept", "accept"),
    "invut": ("accept", "accept"),
    "regaut01": ("accept", "accept"),
    "multi01": (400, 400),
    "mcl01": (400, "close"),
    "bcast": ("accept", "accept"),
    "zeromf": ("accept", "accept"),
    "cparam01": ("accept", "accept"),
    "cparam02": ("accept", "accept"),
    "regescrt": ("accept", "accept"),
    "sdp01": ("accept", "accept"),
    "inv2543": ("accept", "close"),
    "test": ("drop", "drop"),
    "ipv6-good": ("accept", "accept"),
    "ipv6-bad": (400, 400),
    "port-ambiguous": ("accept", "accept"),
    "port-unambiguous": ("accept", "accept"),
    "via-received-param-with-delim": ("accept", "accept"),
    "via-received-param-no-delim": ("accept", "accept"),
    "ipv6-in-sdp": ("accept", "accept"),
    "mult-ip-in-header": ("accept", "accept"),
    "mult-ip-in-sdp": ("accept", "accept"),
    "ipv4-mapped-ipv6": ("accept", "accept"),
    "ipv6-bug-abnf-3-colons": ("accept", "accept"),
    "ipv6-correct-abnf-2-colons": ("accept", "accept"),
}


def data(name: str) -> bytes:
    return (DATA / str(CASES[name]["file"])).read_bytes()


def request(name: str) -> Request:
    message = parse(data(name))
    assert isinstance(message, Request)
    return message


def refused(name: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(data(name))
    return caught.value


def verdict(error: ParseError) -> str | int:
    return "drop" if error.response is None else error.status


def test_table_is_whole() -> None:
    assert TABLE.keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_file_is_byte_exact(name: str) -> None:
    raw = data(name)
    assert len(raw) == CASES[name]["bytes"]
    assert hashlib.sha256(raw).hexdigest() == CASES[name]["sha256"]


@pytest.mark.parametrize("name", TABLE)
def test_datagram(name: str) -> None:
    wanted = TABLE[name][0]
    if wanted == "accept":
        parse(data(name))
    else:
        assert verdict(refused(name)) == wanted


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_stream(name: str, step: int) -> None:
    wanted, framer, raw = TABLE[name][1], StreamFramer(), data(name)
    items = [item for start in range(0, len(raw), step) for item in framer.feed(raw[start : start + step])]
    if wanted == "wait":
        assert items == []
        assert framer.awaiting != "nothing"
        return
    first = items[0]
    if wanted == "accept":
        assert isinstance(first, Request | Response)
        return
    assert isinstance(first, ParseError)
    assert framer.fatal is (wanted == "close" or name == "test")
    assert verdict(first) == (400 if wanted == "close" else wanted)


@pytest.mark.parametrize("name", TABLE)
def test_table_agrees_with_manifest(name: str) -> None:
    """What the parser answers itself is among what the manifest allows; what it must refuse alone it does not take."""
    case, ours = CASES[name], TABLE[name][0]
    if isinstance(ours, int):
        assert ours in case["udp"]["status"]
    elif ours == "drop":
        assert case["udp"]["verdict"] == "DROP" or name == "test"
    else:
        assert case["parser"] in ("accept", "either")


@pytest.mark.parametrize("name", [name for name, (udp, _) in TABLE.items() if udp == "accept"])
def test_accepted_messages_are_written_and_read_the_same(name: str) -> None:
    once = parse(data(name)).encode()
    assert parse(once).encode() == once


# --- the `checks` column ------------------------------------------------------------------------------------------


def test_wsinv() -> None:
    message = request("wsinv")
    assert (message.cseq.number, message.cseq.method) == (9, "INVITE")
    assert message.max_forwards == 68
    assert [(via.transport, via.host) for via in message.vias] == [
        ("UDP", "192.0.2.2"),
        ("TCP", "spindle.example.com"),
        ("UDP", "192.168.255.111"),
    ]
    assert [via.branch for via in message.vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    assert message.to.tag == "1918181833n"
    assert message.from_.display == 'J Rosenberg \\"'
    assert message.from_.tag == "98asjd8"
    (route,) = message.routes
    assert route.uri.params == (("lr", None), ("unknownwith", "value"), ("unknown-no-value", None))
    assert message.contact is not None
    assert message.contact.display == 'Quoted string ""'
    assert (message.contact.param("newparam"), message.contact.q) == ("newvalue", 0.33)
    assert message.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    answer = parse(message.response(481).encode())
    assert answer.vias == message.vias


def test_intmeth() -> None:
    message = request("intmeth")
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert str(message.to).startswith('"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual')
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.from_.param("fromParam''~+*_!.-%") == "работающий"
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"
    answer = message.response(501, to_tag="x").encode()
    assert b"NUL:\\\x00 DEL:\\\x7f" in answer


def test_esc01() -> None:
    message = request("esc01")
    assert (message.uri.user_text, message.uri.host) == ("sips:user@example.com", "example.net")
    assert message.to.uri.user_text == "user"
    assert message.to.uri.aor == "sip:user@example.com"
    assert message.from_.uri.user_text == "I have spaces"
    assert message.contact is not None
    assert message.contact.uri.param("name") == "value%41"
    assert message.contact.uri.has_param("lr")


def test_escnull() -> None:
    message = request("escnull")
    assert message.to.uri.user_text == "null-\x00-null"
    assert message.to.uri.aor == "sip:null-%00-null@example.com"
    assert [contact.uri.aor for contact in message.contacts] == [
        "sip:%00@host5.example.com",
        "sip:%00%00@host5.example.com",
    ]


def test_esc02() -> None:
    message = request("esc02")
    assert message.method == "RE%47IST%45R"
    assert len(message.contacts) == 2
    assert message.from_.display == "%Z%45"


def test_lwsdisp() -> None:
    assert request("lwsdisp").from_.display == "caller"


def test_longreq() -> None:
    message = request("longreq")
    assert len(message.vias) == len(message.headers.all("Via")) == 34
    answer = parse(message.response(100).encode())
    assert answer.vias == message.vias
    assert (answer.headers.get("To"), answer.call_id) == (message.headers.get("To"), message.call_id)
    assert len(message.from_.tag or "") > 100


def test_dblreq() -> None:
    message = request("dblreq")
    assert (message.cseq.number, message.cseq.method, message.body) == (8, "REGISTER", b"")
    first, second, noise = StreamFramer().feed(data("dblreq"))
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert (first.method, second.method, len(second.body)) == ("REGISTER", "INVITE", 150)
    assert isinstance(noise, ParseError)
    assert (noise.response, noise.fatal) == (None, False)


def test_semiuri() -> None:
    uri = request("semiuri").uri
    assert (uri.user_text, uri.params) == ("user;par=u@example.net", ())


def test_transports() -> None:
    message = request("transports")
    assert [via.transport for via in message.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    assert parse(message.response(200, to_tag="t").encode()).vias == message.vias


def test_mpart01() -> None:
    message = request("mpart01")
    assert len(message.body) == 553
    root = parse_body(message)
    assert root is not None
    text, binary = root.parts
    assert (text.kind, text.body) == ("text/plain", b"Hello")
    assert (binary.kind, len(binary.body)) == ("application/octet-stream", 342)
    assert b"\x00" in binary.body


def test_unreason() -> None:
    message = parse(data("unreason"))
    assert isinstance(message, Response)
    assert message.status == 200
    assert message.reason == "= 2**3 * 5**2 но сто девяносто девять - простое"


def test_noreason() -> None:
    message = parse(data("noreason"))
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (100, "")


def test_insuf_is_answered_from_what_is_there() -> None:
    answer = refused("insuf").response or b""
    assert answer.startswith(
        b"SIP/2.0 400 Missing From\r\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\r\nCSeq: "
    )
    assert b"Call-ID" not in answer


def test_badinv01_goes_to_the_source() -> None:
    assert refused("badinv01").via == parse_via_of(b"SIP/2.0/UDP 192.0.2.15;;")
    assert b"Via: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n" in (refused("badinv01").response or b"")


def parse_via_of(value: bytes) -> object:
    head = b"OPTIONS sip:a SIP/2.0\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nVia: "
    return parse(head + value + b"\r\n\r\n").via


def test_scalar02_tolerates_what_can_be_ignored() -> None:
    raw = data("scalar02").replace(b"CSeq: 36893488147419103232", b"CSeq: 1")
    message = parse(raw)
    assert (message.max_forwards, message.expires) == (None, 3600)
    assert message.contact is not None
    assert message.contact.expires == 3600


def test_badaspec_spaces_are_not_written() -> None:
    assert str(request("badaspec").to) == '"Watson, Thomas" <sip:t.watson@example.org>'


def test_regescrt_header_stays_in_the_uri() -> None:
    contact = request("regescrt").contact
    assert contact is not None
    assert contact.uri.header("route") == "<sip:sip.example.com>"
    assert request("regescrt").routes == ()


def test_cparam() -> None:
    outside, inside = request("cparam01").contact, request("cparam02").contact
    assert outside is not None
    assert inside is not None
    assert (outside.uri.params, outside.has_param("unknownparam")) == ((), True)
    assert (inside.uri.has_param("unknownparam"), inside.params) == (True, ())


def test_inv2543() -> None:
    message = request("inv2543")
    assert len(message.body) == 105
    assert (message.via.branch, message.from_.tag, message.max_forwards) == (None, None, None)


def test_unknown_schemes_are_told() -> None:
    assert [request(name).uri.scheme for name in ("unkscm", "novelsc")] == [
        "nobodyknowsthisscheme",
        "soap.beep",
    ]
    message = request("unksm2")
    assert (message.to.uri.scheme, message.from_.uri.scheme, message.contacts[0].uri.scheme) == (
        "isbn",
        "http",
        "name",
    )


def test_bext01_names_what_is_required() -> None:
    message = request("bext01")
    assert message.headers.all("Require") == ["nothingSupportsThis", "nothingSupportsThisEither"]


# --- RFC 5118 -----------------------------------------------------------------------------------------------------


def test_ipv6_references() -> None:
    assert request("ipv6-good").uri.host == "2001:db8::10"
    ambiguous, plain = request("port-ambiguous").uri, request("port-unambiguous").uri
    assert (ambiguous.host, ambiguous.port) == ("2001:db8::10:5070", None)
    assert (plain.host, plain.port) == ("2001:db8::10", 5070)
    assert request("ipv4-mapped-ipv6").via.host == "::ffff:192.0.2.10"
    assert request("ipv4-mapped-ipv6").via.port == 19823
    assert request("ipv6-bug-abnf-3-colons").uri.host == "2001:db8:::192.0.2.1"


def test_received_with_and_without_brackets() -> None:
    with_delim, no_delim = request("via-received-param-with-delim"), request("via-received-param-no-delim")
    assert with_delim.via.received == no_delim.via.received == "2001:db8::9:255"


@pytest.mark.parametrize("name", [case["name"] for case in MANIFEST["rfc5118"] if case["name"] != "ipv6-bad"])
def test_ipv6_literals_round_trip(name: str) -> None:
    message = request(name)
    line = data(name).partition(b"\r\n")[0].decode()
    assert line == f"{message.method} {message.uri} SIP/2.0"
    for written, via in zip(message.headers.all("Via"), message.vias, strict=True):
        assert written == str(via)
