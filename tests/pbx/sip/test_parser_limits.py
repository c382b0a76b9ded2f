"""The limits of bars B7 at n and n+1, and the families of B6, by datagram and by stream."""

import contextlib
import math
import time
from collections.abc import Callable

import pytest

from pbx.sip.headers import MAX_HEADER_LINE, MAX_HEADERS
from pbx.sip.parser import (
    MAX_BODY,
    MAX_CONTACTS,
    MAX_HEAD,
    MAX_START_LINE,
    MAX_VIAS,
    Item,
    ParseError,
    StreamFramer,
    parse,
)

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


# --- limits (bars B7): n passes, n+1 is refused, by datagram and by stream ----------------------------------------


def of_length(length: int, make: Callable[[bytes], bytes]) -> bytes:
    """The message `make` gives for a filling that brings its start line to `length` characters."""
    return make(b"a" * (length - len(make(b"").partition(b"\r\n")[0])))


def long_head(length: int) -> bytes:
    data = options(*[b"X-Fill: " + b"x" * 12_000] * 5)
    head = data.index(b"\r\n\r\n")
    return options(*[b"X-Fill: " + b"x" * 12_000] * 5, b"X-Last: " + b"x" * (length - head - 10))


LIMITS: dict[str, tuple[Callable[[int], bytes], int, int]] = {
    "start line": (
        lambda n: of_length(n, lambda fill: options(line=b"OPTIONS sip:" + fill + b"@b SIP/2.0\r\n")),
        MAX_START_LINE,
        513,
    ),
    "header field": (lambda n: options(b"X-Long: " + b"x" * (n - 8)), MAX_HEADER_LINE, 513),
    "header fields": (lambda n: options(*[b"X-Many: 1"] * (n - 6)), MAX_HEADERS, 400),
    "head": (long_head, MAX_HEAD, 513),
    "body": (lambda n: options(body=b"x" * n), MAX_BODY, 413),
    "vias": (lambda n: options(*[b"Via: SIP/2.0/UDP h"] * (n - 1)), MAX_VIAS, 400),
    "vias in one field": (
        lambda n: options(via=b"Via: " + b", ".join([b"SIP/2.0/UDP h"] * n) + b"\r\n"),
        MAX_VIAS,
        400,
    ),
    "contacts": (lambda n: options(*[b"Contact: <sip:a>"] * n), MAX_CONTACTS, 400),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limit(name: str) -> None:
    make, limit, _ = LIMITS[name]
    assert parse(make(limit)) == by_stream(make(limit))


@pytest.mark.parametrize("name", LIMITS)
def test_beyond_the_limit(name: str) -> None:
    make, limit, status = LIMITS[name]
    data = make(limit + 1)
    error = refusal(data)
    assert error.status == status
    streamed = by_stream(data)
    assert isinstance(streamed, ParseError)
    assert streamed.status == status
    for refused in (error, streamed):
        assert (refused.response or b"").startswith(b"SIP/2.0 %d " % status)
    assert streamed.fatal is (name in ("head", "body"))


def test_start_of_a_head_that_never_ends() -> None:
    framer = StreamFramer()
    assert framer.feed(LINE + VIA + CORE) == []
    items: list[Item] = []
    for _ in range(100):
        items += framer.feed(b"X-Fill: " + b"x" * 1000 + b"\r\n")
    (error,) = items
    assert isinstance(error, ParseError)
    assert (error.status, error.fatal, framer.fatal, framer.buffered) == (513, True, True, 0)
    assert (error.response or b"").startswith(b"SIP/2.0 513 Message Too Large\r\nVia: SIP/2.0/UDP h")


def test_responses_may_have_many_contacts() -> None:
    lines = [b"Contact: <sip:a>"] * (MAX_CONTACTS + 1)
    assert len(parse(options(*lines, line=b"SIP/2.0 300 Multiple Choices\r\n")).contacts) == MAX_CONTACTS + 1


# --- cost (bars B6): each family at 64 KiB is taken or refused -----------------------------------------------------

SIZE = 64_000


def families(size: int) -> dict[str, bytes]:
    """Return messages of about `size` bytes, each of one kind of words that could make a reader look twice."""
    return {
        "commas": options(b"Route: " + b"," * size),
        "quotes": options(b"Contact: " + b'"' * size),
        "folds": options(b"Subject: " + b"\r\n " * (size // 3)),
        "params": options(b"Contact: <sip:a@b>" + b";a" * (size // 2)),
        "headers": options(*[b"x:"] * (size // 4)),
        "nested multipart": options(
            b"Content-Type: multipart/mixed;boundary=a", body=b"\r\n--a" * (size // 5)
        ),
        "via stack": options(*[b"v:SIP/2.0/UDP h"] * (size // 17)),
        "route": options(b"Route: " + b",".join([b"<sip:a@b;lr>"] * (size // 13))),
        "long token": options(line=b"A" * size + b" sip:a@b SIP/2.0\r\n"),
        "backslashes": options(b'Contact: "' + b"\\" * size),
        "contacts": options(b"Contact: " + b",".join([b"<sip:a>"] * (size // 8))),
        "accepts": options(*[b"Accept: a/b, c/d"] * (size // 18)),
        "spaces": options(b"Contact: <sip:a@b>;a" + b" " * size + b"x"),
        "brackets": options(b"Contact: " + b"<" * size),
        "crlf": b"\r\n" * (size // 2),
    }


FAMILIES = families(SIZE)


def cost(data: bytes) -> float:
    """Return the processor time this thread takes to read a message, the least of seven."""
    least = math.inf
    for _ in range(7):
        before = time.thread_time()
        with contextlib.suppress(ParseError):
            parse(data)
        least = min(least, time.thread_time() - before)
    return least


@pytest.mark.parametrize("name", FAMILIES)
def test_cost_grows_with_length_and_not_with_its_square(name: str) -> None:
    # Sixteen times as long: linear is 16 times the cost, quadratic 256 times. The bar between them leaves room for a
    # machine that does other things at the same time; a tenth of a millisecond is what anything may take.
    assert cost(FAMILIES[name]) <= 64 * cost(families(SIZE // 16)[name]) + 0.0001


SIZES = tuple(1024 * 2**n for n in range(7))
SLOPE = 1.15
LONGEST = 0.050
"""Seconds a message of 64 KiB may take (bars B6)."""


def slope(points: list[tuple[int, float]]) -> float:
    """Return the slope of the straight line through the points in log-log, by least squares."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    middle = [sum(values) / len(logs) for values in zip(*logs, strict=True)]
    over = sum((x - middle[0]) * (y - middle[1]) for x, y in logs)
    return over / sum((x - middle[0]) ** 2 for x, _ in logs)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_slope_from_1_to_64_kib(name: str) -> None:
    """Linear is 1, quadratic 2. A machine that is busy with others may bend the line once, not five times."""
    found = []
    for _ in range(5):
        points = [(size, cost(families(size)[name])) for size in SIZES]
        found.append(slope(points))
        if found[-1] <= SLOPE and points[-1][1] <= LONGEST:
            return
    raise AssertionError(f"{name}: slopes {found}, 64 KiB take {points[-1][1]:.4f} s of processor time")


def test_a_slope_is_one_when_it_is() -> None:
    assert slope([(size, size * 3e-6) for size in SIZES]) == pytest.approx(1.0)
    assert slope([(size, size**2 * 3e-9) for size in SIZES]) == pytest.approx(2.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_large_message_of_one_kind_is_taken_or_refused(name: str) -> None:
    if name == "nested multipart":
        assert len(parse(FAMILIES[name]).body) > SIZE - 10
        return
    error = refusal(FAMILIES[name])
    assert error.status in (400, 513)
    assert len(error.response or b"") < len(FAMILIES[name]) + 300
