import re
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip import body, digest, grammar, headers, message, parser, uri
from pbx.sip.errors import SipError

sre: Any = import_module("re._constants")  # how a pattern was understood is not public
sre_parser: Any = import_module("re._parser")

MODULES = (grammar, uri, headers, message, parser, body, digest)
TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))


def patterns() -> list[Any]:
    found = [
        pytest.param(value, id=f"{module.__name__}.{name}")
        for module in MODULES
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern)
    ]
    assert len(found) > 15
    return found


def repeats_that_may_back_track(tree: Any) -> list[str]:
    """Every unbounded repeat that is not possessive, anywhere in a parsed pattern."""
    found: list[str] = []
    if isinstance(tree, sre_parser.SubPattern | list | tuple):
        if len(tree) == 2 and tree[0] in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            found += [str(tree)] if tree[1][1] is sre.MAXREPEAT else []
        for branch in tree:
            found += repeats_that_may_back_track(branch)
    return found


@pytest.mark.parametrize("pattern", patterns())
def test_no_pattern_tries_twice(pattern: re.Pattern[str]) -> None:
    """Linear time: an unbounded repeat never gives back what it took."""
    assert repeats_that_may_back_track(sre_parser.parse(pattern.pattern)) == []


def test_the_check_of_patterns_finds_a_greedy_repeat() -> None:
    assert repeats_that_may_back_track(sre_parser.parse(r"(?:a+)*b"))
    assert not repeats_that_may_back_track(sre_parser.parse(r"(?:a++)*+b{1,3}"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_pure(module: ModuleType) -> None:
    for name in ("time", "random", "secrets", "asyncio", "socket", "logging", "structlog"):
        assert name not in vars(module)


@pytest.mark.parametrize("text", ["٣", " 1", "1 ", "1_0", "+1", "-1", "", "1.0", "12345678901", "0x1", "１"])
def test_number_refuses_what_int_takes(text: str) -> None:
    assert grammar.number(text) is None


def test_number_limits() -> None:
    assert grammar.number("0009") == 9
    assert grammar.number("4294967295") == 2**32 - 1
    assert grammar.number("4294967296") is None
    assert (grammar.number("70", 70), grammar.number("71", 70)) == (70, None)


def test_lower_is_ascii_only() -> None:
    assert grammar.lower("VIA") == "via"
    assert grammar.lower("\u212aA\u0130") == "\u212aa\u0130"


@given(TEXT)
def test_quote_and_unquote(text: str) -> None:
    quoted = grammar.quote(text)
    assert grammar.unquote(quoted) == text
    assert grammar.quoted_end(quoted, 0) == len(quoted)
    assert grammar.split_list(quoted + ",b") == [quoted, "b"]


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nVia: x"])
def test_quote_refuses_line_breaks(text: str) -> None:
    with pytest.raises(ValueError, match="CR or LF"):
        grammar.quote(text)


def test_unquote_leaves_other_text() -> None:
    assert [grammar.unquote(text) for text in ("a", '"', '"a', "")] == ["a", '"', '"a', ""]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a", ["a"]),
        ("a, b ,\tc", ["a", "b", "c"]),
        ('"x, y" <sip:a,b@h>;p="1,2", <sip:c>', ['"x, y" <sip:a,b@h>;p="1,2"', "<sip:c>"]),
        ('a, "open, b', ["a", '"open, b']),
        ("a, <open, b", ["a", "<open, b"]),
        ('"a\\", b", c', ['"a\\", b"', "c"]),
        ("a>, b", ["a>", "b"]),
        ("a>, <b>", ["a>", "<b>"]),
        (",,", ["", "", ""]),
    ],
)
def test_split_list(text: str, pieces: list[str]) -> None:
    assert grammar.split_list(text) == pieces


def test_split_quoted_knows_no_brackets() -> None:
    assert grammar.split_quoted('a="<", b=",", c') == ['a="<"', 'b=","', "c"]
    assert grammar.split_quoted('a=1, b="x, c') == ["a=1", 'b="x, c']


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", ()),
        (";a", (("a", None),)),
        (" ; a = b ;c", (("a", "b"), ("c", None))),
        (';a="x;\\"y" ; b', (("a", '"x;\\"y"'), ("b", None))),
        (";a=[2001:db8::1]:5060", (("a", "[2001:db8::1]:5060"),)),
        (";;a;", (("a", None),)),
        (";a=  ", (("a", ""),)),
        ("  ", ()),
    ],
)
def test_params(text: str, params: grammar.Params) -> None:
    assert grammar.parse_params(text, 0, "x") == params


@pytest.mark.parametrize(
    "text", ["a", ";a b", ';a="x', ";a,b", ";a=b c", ";<a>", ';a="x"y', ";ä=1", ";a=\x00"]
)
def test_malformed_params(text: str) -> None:
    with pytest.raises(SipError) as caught:
        grammar.parse_params(text, 0, "Via")
    assert (caught.value.status, caught.value.reason) == (400, "Malformed Via parameter")


def test_find_and_put_param() -> None:
    params: grammar.Params = (("Tag", "x"), ("lr", None))
    assert grammar.find_param(params, "tag") == ("Tag", "x")
    assert grammar.find_param(params, "lr") == ("lr", None)
    assert grammar.find_param(params, "q") is None
    assert grammar.put_param(params, "tag", "y") == (("tag", "y"), ("lr", None))
    assert grammar.put_param(params, "q", "1") == (*params, ("q", "1"))
    assert grammar.write_params((*params, ("q", "1"))) == ";Tag=x;lr;q=1"
    assert [grammar.param_text(text) for text in ("abc", "a b", "[::1]", "")] == [
        "abc",
        '"a b"',
        "[::1]",
        '""',
    ]
