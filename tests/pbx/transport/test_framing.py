"""Where bytes are cut says nothing (RFC 3261 §18.3, RFC 7118 §5): two hundred messages at every boundary (bars B11).

Every run takes each message at some of its boundaries, `make bars` at all of them: half a million variants.
"""

import json
from pathlib import Path
from typing import Final

import pytest

from pbx.sip.parser import Item, ParseError, Ping, StreamFramer, parse
from pbx.transport.frames import Event, FrameReader, Message
from tests.bench.parsing import messages
from tests.kit.size import times
from tests.live.kit.flowphone import frame

DATA: Final = Path(__file__).parents[2] / "data"
STEP: Final = times(61, 1)
"""Between two boundaries that are tried."""
MESSAGES: Final = 200


def _valid() -> list[bytes]:
    """The torture messages a stream may carry, then what phones write; each ends where it says."""
    found = []
    manifest = json.loads((DATA / "manifest.json").read_text())
    for entry in (*manifest["rfc4475"], *manifest["rfc5118"]):
        data = (DATA / entry["file"]).read_bytes()
        framer = StreamFramer()
        items = framer.feed(data)
        if len(items) == 1 and not isinstance(items[0], ParseError | Ping) and framer.awaiting == "nothing":
            found.append(data)
    torture = len(found)
    assert torture >= 30
    return [*found, *messages(0)[: MESSAGES - torture]]


VALID: Final = _valid()


def test_there_are_two_hundred() -> None:
    assert len(VALID) == MESSAGES


@pytest.mark.parametrize("part", range(10))
def test_a_message_cut_in_two_is_the_message(part: int) -> None:
    """Over TCP and TLS: both halves in reads of their own, a keep-alive before and behind."""
    for data in VALID[part::10]:
        [whole] = StreamFramer().feed(data)
        assert not isinstance(whole, ParseError)
        for at in range(1, len(data), STEP):
            framer = StreamFramer()
            items: list[Item] = [*framer.feed(b"\r\n\r\n" + data[:at]), *framer.feed(data[at:] + b"\r\n\r\n")]
            assert items == [Ping(), whole, Ping()], (data[:40], at)


@pytest.mark.parametrize("count", range(2, 51))
@pytest.mark.parametrize("between", [b"", b"\r\n", b"\r\n\r\n"])
def test_messages_that_come_together(count: int, between: bytes) -> None:
    """2 to 50 in one read, keep-alives between them."""
    chosen = [VALID[(count * 7 + number) % MESSAGES] for number in range(count)]
    items = StreamFramer().feed(between.join(chosen))
    # A single CRLF is the answer to a ping of ours, or stands before a start line (§7.5); two are a ping (RFC 5626 §3.5.1).
    assert items.count(Ping()) == (count - 1 if between == b"\r\n\r\n" else 0)
    assert [item for item in items if item != Ping()] == [StreamFramer().feed(data)[0] for data in chosen]


@pytest.mark.parametrize("opcode", [1, 2])
@pytest.mark.parametrize("part", range(10))
def test_a_websocket_message_in_fragments_is_the_message(part: int, opcode: int) -> None:
    """Text and binary, whole, in two frames with a ping between them, and a frame cut anywhere by the network."""
    for data in VALID[part::10]:
        try:
            data.decode()
        except UnicodeDecodeError:
            if opcode == 1:
                continue  # what is no UTF-8 goes in binary messages (RFC 7118 §4.2)
        expected = Message(data, opcode == 1)
        assert FrameReader().feed(frame(opcode, data)) == [expected]
        assert parse(expected.data) == StreamFramer().feed(data)[0]
        for at in range(1, len(data), STEP):
            fragments = frame(opcode, data[:at], final=False) + frame(9, b"x") + frame(0, data[at:])
            reader = FrameReader()
            events: list[Event] = [*reader.feed(fragments[: at + 3]), *reader.feed(fragments[at + 3 :])]
            assert [event for event in events if isinstance(event, Message)] == [expected], (data[:40], at)
            assert len(events) == 2, "and the ping"
