import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.errors import SipError
from pbx.sip.uri import (
    NameAddr,
    Uri,
    Via,
    delta_seconds,
    parse_name_addr,
    parse_name_addr_list,
    parse_uri,
    parse_via,
    parse_via_list,
)

PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=10)
USER = st.text("abcXYZ019-_.!~*'()&=+$,;?/#äö中", min_size=1, max_size=12)
HOST = st.one_of(
    st.from_regex(r"[a-z0-9_-]{1,10}(\.[a-z0-9-]{1,10}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
PORT = st.none() | st.integers(0, 65535)
PARAMS = st.lists(st.tuples(TOKEN, st.none() | TOKEN), max_size=4).map(tuple)
URI = st.builds(
    Uri,
    st.sampled_from(["sip", "sips"]),
    USER,
    st.none() | st.text("abc019&=+$,", max_size=5),
    HOST,
    PORT,
    PARAMS,
    st.lists(st.tuples(TOKEN, TOKEN), max_size=3).map(tuple),
)


def status_of(parse: object, text: str) -> int:
    assert callable(parse)
    with pytest.raises(SipError) as caught:
        parse(text)
    return caught.value.status


@given(URI)
def test_uri_round_trip(uri: Uri) -> None:
    assert parse_uri(str(uri)) == uri


@given(PRINTABLE)
def test_whatever_parses_is_written_and_read_the_same(text: str) -> None:
    for parse in (parse_uri, parse_name_addr, parse_via):
        try:
            value, status = parse(text), 200
        except SipError as error:
            value, status = None, error.status
        assert status in (200, 400)
        assert value is None or parse(str(value)) == value


@given(
    st.none() | st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1),
    URI,
    st.lists(st.tuples(TOKEN, st.none() | st.text('abc 019;,<>\\"=', max_size=8)), max_size=3),
)
def test_name_addr_round_trip(display: str | None, uri: Uri, params: list[tuple[str, str | None]]) -> None:
    address = NameAddr(display, uri)
    for name, value in params:
        address = address.with_param(name, value)
    again = parse_name_addr(str(address))
    assert again == address
    for name, value in {name.lower(): value for name, value in params}.items():
        assert again.param(name) == value
    assert parse_name_addr_list(f"{address}, {address}") == (address, address)


@given(st.builds(Via, TOKEN, HOST, PORT, PARAMS))
def test_via_round_trip(via: Via) -> None:
    assert parse_via(str(via)) == via
    assert parse_via_list([f"{via},{via}", str(via)]) == (via, via, via)


def test_parts_of_a_uri() -> None:
    uri = parse_uri(
        "SIPS:alice:secret@[2001:db8::1]:5061;Transport=tcp;lr;x=%41?Subject=a%20b&Priority=urgent"
    )
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == (
        "sips",
        "alice",
        "secret",
        "2001:db8::1",
        5061,
    )
    assert uri.is_sip
    assert (uri.param("transport"), uri.param("lr"), uri.param("x"), uri.param("y")) == (
        "tcp",
        None,
        "A",
        None,
    )
    assert uri.has_param("lr")
    assert not uri.has_param("maddr")
    assert (uri.header("subject"), uri.header("Route")) == ("a b", None)
    assert str(uri.bare()) == "sips:alice:secret@[2001:db8::1]:5061"
    assert str(uri.with_params(transport="udp", ob=None).bare().with_params(lr=None)).endswith("5061;lr")


@pytest.mark.parametrize(
    ("text", "aor"),
    [
        ("sip:Alice:pw@Example.COM:5070;transport=tcp?a=b", "sip:Alice@example.com"),
        ("sips:%75ser@h", "sip:user@h"),
        ("sip:a%20b@h", "sip:a%20b@h"),
        ("sip:a%2fb%3a@h", "sip:a/b%3A@h"),
        ("sip:%e4@h", "sip:%E4@h"),
        ("sip:h", "sip:h"),
        ("sip:[2001:DB8::1]", "sip:[2001:db8::1]"),
        ("tel:110", "tel:110"),
        ("URN:service:sos.police", "urn:service:sos.police"),
    ],
)
def test_aor(text: str, aor: str) -> None:
    assert parse_uri(text).aor == aor


def test_aor_keeps_the_kelvin_sign_apart() -> None:
    host = Uri("sip", "a", None, "\u212a.example")
    assert host.aor == "sip:a@\u212a.example"


@pytest.mark.parametrize(
    ("text", "host", "params"),
    [
        ("tel:+86-535-110;phone-context=+86", "+86-535-110", (("phone-context", "+86"),)),
        ("urn:service:sos;mode=silent", "service:sos", (("mode", "silent"),)),
        ("http://a/b;c?d=e", "//a/b;c?d=e", ()),
    ],
)
def test_other_schemes(text: str, host: str, params: object) -> None:
    uri = parse_uri(text)
    assert (uri.host, uri.params, uri.user, str(uri)) == (host, params, None, text)
    assert not uri.is_sip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice@example.com",
        "sip:",
        "sip:@host",
        "sip:a b@host",
        "sip:a@host ",
        "sip:a@b@c",
        "sip:a@host:",
        "sip:a@host:65536",
        "sip:a@host:123456",
        "sip:a@host:٣",
        "sip:2001:db8::10",
        "sip:[2001:db8::10",
        "sip:[abcd]",
        "sip:a@host;x y",
        "sip:a@host\r\nVia: x",
        "sip:a@ho\x85st",
        "sip:a@<host>",
        "<sip:a@host>",
        "tel:",
        "urn:;x",
        "urn:a b",
        "1sip:a@b",
    ],
)
def test_malformed_uri(text: str) -> None:
    assert status_of(parse_uri, text) == 400


def test_real_phones_are_understood() -> None:
    assert parse_uri("sip:*11#@pbx_1.local").user == "*11#"
    assert parse_uri("sip:张三@example.com").user_text == "张三"
    assert parse_uri("sip:a@[fe80::1%25eth0]:5060").host == "fe80::1%25eth0"
    assert parse_uri("sip:a@host;").params == ()
    assert parse_uri("sip:a@host?").headers == ()
    assert parse_uri("sip:100%@host").user_text == "100%"


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        ("urn:service:sos", None, "urn:service:sos", ()),
        ("sip:a@b;tag=1", None, "sip:a@b", (("tag", "1"),)),
        ("tel:110;phone-context=x;tag=1", None, "tel:110", (("phone-context", "x"), ("tag", "1"))),
        ('sip:a@b;+sip.instance="<urn:uuid:1>"', None, "sip:a@b", (("+sip.instance", '"<urn:uuid:1>"'),)),
        ("  <sip:a@b;lr>  ", None, "sip:a@b;lr", ()),
        ("Alice Smith <sip:a@b>", "Alice Smith", "sip:a@b", ()),
        ("张三<sip:a@b>", "张三", "sip:a@b", ()),
        ('"A \\"B\\" <x>, C"<sip:a@b> ; tag = 1', 'A "B" <x>, C', "sip:a@b", (("tag", "1"),)),
        ('"" <sip:a@b>', None, "sip:a@b", ()),
        ("< sip:a@b >", None, "sip:a@b", ()),
        ("<sip:a@b?Replaces=x%3Bto-tag%3Dy>", None, "sip:a@b?Replaces=x%3Bto-tag%3Dy", ()),
    ],
)
def test_name_addr(text: str, display: str | None, uri: str, params: object) -> None:
    address = parse_name_addr(text)
    assert (address.display, str(address.uri), address.params) == (display, uri, params)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        '"Mr. J. User <sip:j.user@example.com>',
        '"A" sip:a@b',
        '"A" x <sip:a@b>',
        "Bell, Alexander <sip:a.g.bell@example.com>",
        "<sip:a@b",
        "sip:a@b?Route=x",
        "sip:a,b@c",
        "<sip:a@b> tag=1",
        "<sip:a@b>;tag=1 2",
        "A;b <sip:a@b>",
        "<>",
    ],
)
def test_malformed_name_addr(text: str) -> None:
    assert status_of(parse_name_addr, text) == 400


def test_empty_list_element_is_refused() -> None:
    assert status_of(parse_name_addr_list, "<sip:a@b>,,<sip:c@d>") == 400
    assert status_of(parse_via_list, ["SIP/2.0/UDP h,"]) == 400  # type: ignore[arg-type]


def test_name_addr_parameters() -> None:
    address = parse_name_addr('<sip:a@b>;TAG=x;expires=60;q=0.5;+sip.instance="<urn:uuid:1>";ob')
    assert (address.tag, address.expires, address.q) == ("x", 60, 0.5)
    assert address.param("+sip.instance") == "<urn:uuid:1>"
    assert (address.has_param("OB"), address.param("ob"), address.has_param("gr")) == (True, None, False)
    assert address.with_tag("y").tag == "y"
    plain = address.without_params()
    assert (plain.tag, plain.expires, plain.q) == (None, None, 1.0)
    assert str(plain.with_param("x", "a b")) == '<sip:a@b>;x="a b"'


@pytest.mark.parametrize(
    ("text", "q"), [("1", 1.0), ("0.333", 0.333), ("1.5", 1.0), ("٣", 1.0), ("0.3333", 1.0)]
)
def test_q(text: str, q: float) -> None:
    assert NameAddr(None, Uri("sip", None, None, "h"), (("q", text),)).q == q


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("4294967295", 2**32 - 1), ("4294967296", 3600), ("x", 3600), ("", 3600), ("-1", 3600)],
)
def test_delta_seconds(text: str, seconds: int) -> None:
    assert delta_seconds(text) == seconds


def test_via_parameters() -> None:
    via = parse_via("sip / 2.0 /\ttcp  [2001:db8::1] : 5061 ;branch=z9hG4bK1;rport ; received=[2001:db8::2]")
    assert (via.transport, via.host, via.port, via.branch) == ("tcp", "2001:db8::1", 5061, "z9hG4bK1")
    assert (via.wants_rport, via.rport, via.received) == (True, None, "2001:db8::2")
    stamped = via.with_param("rport", "4000").with_param("received", "10.0.0.1")
    assert (stamped.rport, stamped.received) == (4000, "10.0.0.1")
    assert str(stamped).startswith(
        "SIP/2.0/tcp [2001:db8::1]:5061;branch=z9hG4bK1;rport=4000;received=10.0.0.1"
    )
    assert stamped.with_param("oc-algo", None).has_param("oc-algo")
    plain = parse_via("SIP/2.0/TCP 10.0.0.1:5060")
    assert (plain.branch, plain.received, plain.rport, plain.wants_rport) == (None, None, None, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/3.0/UDP h",
        "SIP/2.0 h",
        "SIP/2.0/UDP h:70000",
        "SIP/2.0/UDP h x",
        "SIP/2.0/UDP 2001:db8::1",
    ],
)
def test_malformed_via(text: str) -> None:
    assert status_of(parse_via, text) == 400


@pytest.mark.parametrize("hole", ["\r", "\n", "\r\n"])
def test_a_display_name_has_no_line_break(hole: str) -> None:
    """No header has one; what was unescaped out of a URI may."""
    with pytest.raises(SipError) as caught:
        parse_name_addr(f'"a{hole}b" <sip:x@y>')
    assert caught.value.status == 400
