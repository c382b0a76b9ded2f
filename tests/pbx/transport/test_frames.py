"""WebSocket frames of clients (RFC 6455 §5), honest and hostile."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.transport.frames import (
    MAX_FRAGMENTS,
    MAX_MESSAGE,
    Close,
    Closing,
    Event,
    FrameReader,
    Message,
    Opcode,
    WebPing,
    frame,
)
from tests.live.kit.flowphone import frame as theirs


def read(data: bytes) -> list[Event]:
    return FrameReader().feed(data)


def code(data: bytes) -> int:
    (event,) = read(data)
    assert isinstance(event, Closing)
    assert event.reply == b"\x88\x02" + struct.pack(">H", event.code)
    return event.code


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, MAX_MESSAGE])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_messages_of_all_lengths(size: int, opcode: Opcode) -> None:
    data = (b"abcdefghij" * (size // 10 + 1))[:size]
    assert read(theirs(opcode, data)) == [Message(data, opcode is Opcode.TEXT)]


def test_what_is_too_long_is_refused_before_it_is_sent() -> None:
    """S12: the length alone decides; 16 MiB are never waited for."""
    for size in (MAX_MESSAGE + 1, 16 * 1024 * 1024, 2**63 - 1):
        assert code(bytes([0x82, 0xFF]) + size.to_bytes(8)) == Close.TOO_BIG
    half = b"x" * (MAX_MESSAGE // 2 + 1)
    reader = FrameReader()
    assert reader.feed(theirs(2, half, final=False)) == []
    assert reader.feed(theirs(0, half)) == [Closing(Close.TOO_BIG, b"\x88\x02\x03\xf1")]
    assert reader.closed
    assert reader.feed(theirs(1, b"more")) == []


def test_crumbs_are_counted() -> None:
    crumbs = theirs(2, b"x", final=False) + theirs(0, b"x", final=False) * (MAX_FRAGMENTS - 2)
    assert read(crumbs + theirs(0, b"x")) == [Message(b"x" * MAX_FRAGMENTS, text=False)]
    assert code(crumbs + theirs(0, b"x", final=False)) == Close.TOO_BIG


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (theirs(1, b"x", masked=False), Close.PROTOCOL_ERROR),
        (bytes([0xC1, 0x80]) + bytes(4), Close.PROTOCOL_ERROR),  # compressed, which nobody agreed to
        (bytes([0xA1, 0x80]) + bytes(4), Close.PROTOCOL_ERROR),
        (theirs(3, b"x"), Close.PROTOCOL_ERROR),
        (theirs(11, b"x"), Close.PROTOCOL_ERROR),
        (theirs(9, b"x", final=False), Close.PROTOCOL_ERROR),
        (theirs(9, b"x" * 126), Close.PROTOCOL_ERROR),
        (theirs(0, b"x"), Close.PROTOCOL_ERROR),
        (theirs(1, b"x", final=False) + theirs(1, b"y"), Close.PROTOCOL_ERROR),
        (theirs(1, b"\xff"), Close.INVALID_TEXT),
        (theirs(1, "é".encode()[:1], final=False) + theirs(0, b"x"), Close.INVALID_TEXT),
        (theirs(8, b""), Close.NORMAL),
        (theirs(8, b"\x03\xe9bye"), Close.GOING_AWAY),
        (theirs(8, b"\x03\xed"), Close.PROTOCOL_ERROR),  # 1005 may not be sent
        (theirs(8, b"\x00\x01"), Close.PROTOCOL_ERROR),
        (theirs(8, b"\x0f\xa0"), 4000),
    ],
    ids=range(16),  # the masks are drawn anew each time
)
def test_how_it_ends(data: bytes, expected: int) -> None:
    assert code(data) == expected


def test_pings_come_between_fragments() -> None:
    reader = FrameReader()
    data = theirs(1, b"SIP", final=False) + theirs(9, b"hi") + theirs(10, b"") + theirs(0, b"/2.0")
    assert reader.feed(data) == [WebPing(b"hi"), Message(b"SIP/2.0", text=True)]
    assert not reader.unfinished


def test_a_character_may_be_cut_by_fragments() -> None:
    data = "警".encode()
    assert read(theirs(1, data[:1], final=False) + theirs(0, data[1:])) == [Message(data, text=True)]


def test_whether_something_is_awaited() -> None:
    reader, whole = FrameReader(), theirs(1, b"x")
    awaited = [reader.unfinished]
    for data in (whole[:3], whole[3:], theirs(1, b"x", final=False), theirs(8, b"")):
        reader.feed(data)
        awaited.append(reader.unfinished)
    assert awaited == [False, True, False, True, False]


@given(
    st.lists(
        st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.text(max_size=300), st.integers(1, 5)),
        max_size=6,
    ),
    st.lists(st.integers(1, 50), min_size=1, max_size=50),
)
def test_however_it_is_cut(messages: list[tuple[Opcode, str, int]], cuts: list[int]) -> None:
    """B11: the same messages come out of whole frames, fragments, and bytes in any portions."""
    stream, expected = b"", []
    for opcode, text, pieces in messages:
        data = text.encode()
        expected.append(Message(data, opcode is Opcode.TEXT))
        size = len(data) // pieces + 1
        parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        for number, part in enumerate(parts):
            stream += theirs(opcode if not number else 0, part, final=number == len(parts) - 1)
    reader, got = FrameReader(), []
    portions = itertools.cycle(cuts)
    while stream:
        size = next(portions)
        got += reader.feed(stream[:size])
        stream = stream[size:]
    assert got == expected


@given(st.binary(max_size=200))
def test_rubbish_never_raises(data: bytes) -> None:
    FrameReader().feed(data)


def test_what_we_write() -> None:
    assert frame(Opcode.TEXT, b"hi") == b"\x81\x02hi"
    assert frame(Opcode.BINARY, b"x" * 126)[:4] == b"\x82\x7e\x00\x7e"
    assert frame(Opcode.BINARY, b"x" * 65_536)[:10] == b"\x82\x7f" + (65_536).to_bytes(8)
