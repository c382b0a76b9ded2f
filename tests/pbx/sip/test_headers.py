import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip import headers as headers_module
from pbx.sip.errors import SipError
from pbx.sip.headers import COMPACT, MAX_HEADER_LINE, MAX_HEADERS, Headers

NAME = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8)
VALUE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20).map(
    lambda text: text.strip(" \t")
)


@given(st.lists(st.tuples(NAME, VALUE), min_size=1, max_size=8))
def test_lines_round_trip(items: list[tuple[str, str]]) -> None:
    headers = Headers(items)
    assert Headers.parse(headers.encode().removesuffix("\r\n")) == headers
    assert Headers(headers) == headers == headers.copy()
    assert len(headers) == len(items)
    for name, _ in items:
        assert headers.get(name.lower()) == headers.lines(name.upper())[0]


def test_any_case_and_compact_forms() -> None:
    headers = Headers.parse(
        "v: SIP/2.0/UDP h\r\nCSEQ: 1 ACK\r\nTO: <sip:a>\r\nMaX-fOrWaRdS : 1\r\nI:x\r\nx-Foo: y"
    )
    assert [name for name, _ in headers] == ["Via", "CSeq", "To", "Max-Forwards", "Call-ID", "x-Foo"]
    assert headers.get("call-id") == headers.get("i") == headers.get("CALL-ID") == "x"
    assert headers.get("X-FOO") == "y"
    assert "V" in headers
    assert "Contact" not in headers
    assert 1 not in headers
    assert [Headers([(short, "x")]).items()[0][0] for short in COMPACT] == list(COMPACT.values())


def test_get_is_the_first_line_whole_and_all_splits_lists() -> None:
    headers = Headers(
        [
            ("Allow", "INVITE, ACK"),
            ("Subject", "a, b"),
            ("Allow", "BYE,,"),
            ("Date", "Sat, 1"),
            ("X-A", "1, 2"),
        ]
    )
    assert headers.get("allow") == "INVITE, ACK"
    assert headers.lines("Allow") == ["INVITE, ACK", "BYE,,"]
    assert headers.all("Allow") == ["INVITE", "ACK", "BYE"]
    assert headers.all("Subject") == ["a, b"]
    assert headers.all("Date") == ["Sat, 1"]
    assert headers.all("X-A") == ["1, 2"]
    assert headers.all("Via") == headers.lines("Via") == []
    assert headers.get("Via") is None
    assert headers.repeated() == [("allow", ["INVITE, ACK", "BYE,,"])]


def test_folds_are_one_space() -> None:
    headers = Headers.parse("Subject: a\r\n \t b\r\n\tc\r\nXX:\r\n y\r\nZZ: \r\n ")
    assert headers.items() == [("Subject", "a b c"), ("XX", "y"), ("ZZ", "")]


def test_lines_end_at_crlf_only() -> None:
    """What str.splitlines() takes for a line end stays inside the value."""
    assert Headers.parse("X: a\x0bb\x85c\u2028d\x1ce").get("X") == "a\x0bb\x85c\u2028d\x1ce"


def test_only_spaces_and_tabs_are_stripped() -> None:
    assert Headers.parse("X: \t\x85x\xa0\x0b ").get("X") == "\x85x\xa0\x0b"


def test_no_lines() -> None:
    assert Headers.parse("").items() == []


@pytest.mark.parametrize(
    "text",
    [
        "Foobar roobar",
        "Via",
        ": x",
        "Fo o: x",
        "Ключ: x",
        "Via\u212a: x",
        "A: b\nC: d",
        "A: b\rC: d",
        "A: b\r\r\nC: d",
        "A: b\n\r\nC: d",
        "A: b\r\n\r\nC: d",
    ],
)
def test_malformed_lines(text: str) -> None:
    with pytest.raises(SipError) as caught:
        Headers.parse(text)
    assert caught.value.status == 400


def test_limits() -> None:
    def headers_of(count: int) -> str:
        return "\r\n".join(["X: 1"] * count)

    assert len(Headers.parse(headers_of(MAX_HEADERS))) == MAX_HEADERS
    with pytest.raises(SipError, match="400 Too many header fields"):
        Headers.parse(headers_of(MAX_HEADERS + 1))
    line = "X: " + "a" * (MAX_HEADER_LINE - 3)
    assert Headers.parse(line).get("X") == line[3:]
    with pytest.raises(SipError, match="513 Header field too long"):
        Headers.parse(line + "a")


@pytest.mark.parametrize("value", ["a\r\nVia: x", "a\nb", "a\rb", "\r\n\r\nINVITE"])
@pytest.mark.parametrize("method", ["add", "prepend", "set", "replace_first"])
def test_no_line_break_gets_in(method: str, value: str) -> None:
    headers = Headers([("Via", "x")])
    for name in ("Via", "Subject"):
        with pytest.raises(ValueError, match="CR or LF"):
            getattr(headers, method)(name, value)
    with pytest.raises(ValueError, match="CR or LF"):
        Headers([("Subject", value)])
    assert headers.items() == [("Via", "x")]


@pytest.mark.parametrize("name", ["", "a b", "a:", "Via\r\nX", "é", "a\x00"])
def test_no_bad_name_gets_in(name: str) -> None:
    with pytest.raises(ValueError, match="not a header name"):
        Headers().add(name, "x")


def test_changes() -> None:
    headers = Headers([("A", "1"), ("Via", "x, y"), ("B", "2"), ("v", "z")])
    headers.prepend("Via", "w")
    assert headers.all("Via") == ["w", "x", "y", "z"]
    headers.remove("A")
    headers.replace_first("via", "W")
    assert headers.items()[0] == ("Via", "W")
    headers.remove("b")
    headers.set("VIA", "only")
    assert headers.items() == [("Via", "only")]
    headers.add("CC", "3")
    headers.set("DD", "4")
    headers.set("CC", "5")
    assert headers.items() == [("Via", "only"), ("CC", "5"), ("DD", "4")]
    assert headers.encode() == "Via: only\r\nCC: 5\r\nDD: 4\r\n"


def test_replace_first_of_a_list_line_leaves_the_rest() -> None:
    headers = Headers([("Via", "a, b"), ("Via", "c"), ("Subject", "x, y")])
    headers.replace_first("Via", "A")
    headers.replace_first("Subject", "z")
    headers.replace_first("New", "n")
    assert headers.items() == [("Via", "A, b"), ("Via", "c"), ("Subject", "z"), ("New", "n")]


def test_content_length_has_one_spelling() -> None:
    assert Headers([("content-Length", "1"), ("CONTENT-length", "2"), ("L", "3")]).lines(
        "Content-Length"
    ) == ["1", "2", "3"]
    assert {name for name, _ in Headers([("content-Length", "1"), ("l", "2")])} == {"Content-Length"}


def test_parsed_values_live_until_a_change() -> None:
    headers, calls = Headers([("X", "1"), ("X", "2")]), []

    def parse(lines: list[str]) -> int:
        calls.append(lines)
        return len(lines)

    assert [headers.parsed("X", parse) for _ in range(3)] == [2, 2, 2]
    assert calls == [["1", "2"]]
    headers.add("X", "3")
    assert headers.parsed("X", parse) == 3
    assert headers.copy().parsed("X", parse) == 3
    assert Headers().parsed("X", parse) == 0


def test_copy_is_apart() -> None:
    headers = Headers([("A", "1")])
    twin = headers.copy()
    twin.set("A", "2")
    assert (headers.get("A"), twin.get("A")) == ("1", "2")
    assert headers != twin
    assert headers != "A: 1"
    assert Headers([("Call-id", "x")]) == Headers([("i", "x")])
    assert "A" in repr(headers)
    with pytest.raises(TypeError):
        hash(headers)


def test_what_is_remembered_of_a_line_is_no_messages_own() -> None:
    text = "Allow: INVITE\r\nSubject: one\r\nSubject: two"
    first, second = Headers.parse(text), Headers.parse(text)
    first.add("Allow", "ACK")
    first.set("Subject", "three")
    assert second.lines("Allow") == ["INVITE"]
    assert second.lines("Subject") == ["one", "two"]
    assert Headers.parse(text) == second


@pytest.mark.parametrize(
    "line", ["Subject: a\rb", "Subject: a\nb", "\rSubject: a", "Subject: a\r", "Sub ject: a", ": a"]
)
def test_a_line_that_was_refused_is_refused_again(line: str) -> None:
    for _ in range(2):
        with pytest.raises(SipError):
            Headers.parse(f"Allow: INVITE\r\n{line}\r\nTo: <sip:a@b>")


def test_long_messages_push_nothing_out_of_memory() -> None:
    before = headers_module._remembered.cache_info().currsize
    Headers.parse("\r\n".join(f"X-{number}: {'y' * 100}" for number in range(100)))
    assert headers_module._remembered.cache_info().currsize == before
    for number in range(headers_module.REMEMBERED + 10):
        Headers.parse(f"X-Own: {number}")
    assert headers_module._remembered.cache_info().currsize == headers_module.REMEMBERED


def test_names_are_found_among_many_in_any_spelling():
    headers = Headers([("P-Asserted-Identity", "<sip:a@b>"), ("X-Odd", "1"), ("b", "<sip:c@d>")])
    asked = frozenset({"p-asserted-identity", "x-odd", "referred-by", "diversion"})
    assert headers.among(asked) == {"p-asserted-identity", "x-odd", "referred-by"}
    assert Headers().among(asked) == frozenset()


def test_a_first_value_replaced_is_seen_by_all_and_leaves_the_others_read():
    headers = Headers.parse("Via: SIP/2.0/UDP a\r\nTo: <sip:a@b>\r\nv: SIP/2.0/UDP b, SIP/2.0/UDP c")
    read = []
    assert headers.parsed("To", lambda lines: read.append(lines) or "read") == "read"
    assert headers.parsed("Via", tuple) == ("SIP/2.0/UDP a", "SIP/2.0/UDP b, SIP/2.0/UDP c")
    headers.replace_first("Via", "SIP/2.0/UDP a;received=1")
    assert headers.parsed("Via", tuple) == ("SIP/2.0/UDP a;received=1", "SIP/2.0/UDP b, SIP/2.0/UDP c")
    assert headers.lines("v") == ["SIP/2.0/UDP a;received=1", "SIP/2.0/UDP b, SIP/2.0/UDP c"]
    assert headers.parsed("To", lambda lines: read.append(lines) or "again") == "read"
    assert len(read) == 1


def test_what_is_kept_is_not_read_again_until_it_changes():
    headers = Headers([("To", "<sip:a@b>"), ("CSeq", "1 INVITE")])
    headers.keep("To", "kept")
    headers.keep("CSeq", "one")
    assert [headers.parsed(name, list) for name in ("To", "t", "to")] == ["kept"] * 3
    headers.set("t", "<sip:c@d>")
    assert headers.parsed("To", list) == ["<sip:c@d>"]
    assert headers.parsed("CSeq", list) == "one", "another header"
    headers.add("Contact", "<sip:e@f>")
    headers.remove("cseq")
    assert headers.parsed("CSeq", list) == []
    twin = headers.copy()
    twin.prepend("To", "<sip:g@h>")
    assert (twin.parsed("To", len), headers.parsed("To", list)) == (2, ["<sip:c@d>"])


def test_fields_put_first_hold_no_line_break():
    headers = Headers([("Contact", "<sip:a@b>")])
    assert headers.parsed("Via", list) == []
    headers.put_first([("Via", "x"), ("To", "y")])
    assert headers.items() == [("Via", "x"), ("To", "y"), ("Contact", "<sip:a@b>")]
    assert headers.parsed("Via", list) == ["x"]
    for value in ("a\r\nVia: z", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="CR or LF"):
            headers.put_first([("Via", "x"), ("To", value)])
    assert len(headers) == 3


def test_what_was_forgotten_is_read_again():
    headers = Headers.parse("Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTo: <sip:b@c>\r\nVia: SIP/2.0/UDP d")
    headers.set("To", "<sip:b@e>")
    before = (headers.lines("via"), headers.get("To"), headers.encode(), headers.parsed("To", str))
    headers.forget()
    assert (headers.lines("via"), headers.get("To"), headers.encode(), headers.parsed("To", str)) == before
    headers.add("To", "<sip:f@g>")
    assert headers.lines("To") == ["<sip:b@e>", "<sip:f@g>"]
