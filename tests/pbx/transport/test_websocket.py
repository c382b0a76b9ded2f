"""SIP over one WebSocket on a virtual connection (RFC 7118); the handshake is in tests/live/test_websocket.py."""

import asyncio
from typing import Any

import pytest

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import ParseError
from pbx.transport.link import AT_ONCE, Item, Link, StreamLimits
from pbx.transport.websocket import MAX_PINGS, WebLink
from tests.kit.clock import Clock
from tests.kit.sip import request
from tests.kit.transports import StreamTransport
from tests.live.kit.flowphone import frame as theirs

REMOTE = ("192.0.2.9", 40000)
OPTIONS = request("OPTIONS", transport="WS", flow=None).encode()
LIMITS = StreamLimits(first_message=10, message=30, idle=100, unread=10, high_water=500, max_unsent=1000)


class Owner:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def connected(self, link: Link) -> None:
        raise AssertionError("the handshake tells that")

    def arrived(self, link: Link, item: Item) -> None:
        self.heard.append(item)

    def lost(self, link: Link, *, failed: bool) -> None:
        self.heard.append(("lost", failed))


def made() -> tuple[WebLink, StreamTransport, Owner, Clock]:
    clock, owner, transport = Clock(), Owner(), StreamTransport(REMOTE)
    return WebLink(3, owner, LIMITS, clock, transport), transport, owner, clock


def texts(owner: Owner) -> list[bytes]:
    return [item.encode() for item in owner.heard if isinstance(item, Request | Response)]


def test_the_flow() -> None:
    link, transport, _, _ = made()
    assert link.flow == Flow("ws", ("192.0.2.1", 5060), REMOTE, 3)
    transport._extra["ssl_object"] = object()  # type: ignore[attr-defined]  # what TLS adds
    assert WebLink(4, Owner(), LIMITS, Clock(), transport).flow.transport == "wss"


@pytest.mark.parametrize("opcode", [1, 2])
def test_one_message_per_message(opcode: int) -> None:
    link, transport, owner, _ = made()
    link.feed_data(theirs(opcode, OPTIONS) * 3)
    assert texts(owner) == [OPTIONS] * 3
    assert link.proven
    assert link.send(b"SIP/2.0 200 OK\r\n\r\n")
    assert transport.written == [bytes([0x80 | opcode, 18]) + b"SIP/2.0 200 OK\r\n\r\n"]


def test_a_second_message_inside_one_is_no_message() -> None:
    """RFC 7118 §4.2: one SIP message per WebSocket message; what follows its body is thrown away."""
    link, _, owner, _ = made()
    link.feed_data(theirs(1, OPTIONS + OPTIONS.replace(b"call-1", b"call-2")))
    assert texts(owner) == [OPTIONS]


def test_a_body_needs_no_length() -> None:
    link, _, owner, _ = made()
    link.feed_data(theirs(1, OPTIONS.replace(b"Content-Length: 0\r\n", b"") + b"hello"))
    (item,) = owner.heard
    assert isinstance(item, Request)
    assert item.body == b"hello"


def test_what_is_no_sip_goes_up_and_proves_nothing() -> None:
    link, _, owner, _ = made()
    link.feed_data(theirs(1, OPTIONS.replace(b"CSeq: 1", b"CSeq: x")))
    assert isinstance(owner.heard[0], ParseError)
    assert not link.proven


def test_what_is_no_text_leaves_as_binary() -> None:
    link, transport, _, _ = made()
    link.feed_data(theirs(1, OPTIONS))
    link.send(b"\xff")
    assert transport.written == [b"\x82\x01\xff"]


def test_keep_alives_of_both_kinds() -> None:
    link, transport, owner, _ = made()
    link.feed_data(theirs(1, b"\r\n\r\n") + theirs(9, b"hi") + theirs(10, b""))
    assert sorted(transport.written) == sorted([b"\x81\x02\r\n", b"\x8a\x02hi"])
    assert owner.heard == []


def test_a_flood_of_pings_is_cut_off() -> None:
    link, transport, _, clock = made()
    for _ in range(3):
        link.feed_data(theirs(9, b"") * MAX_PINGS)
        link.overdue(clock.now)
    assert transport.closed is None
    link.feed_data(theirs(9, b"") * (MAX_PINGS + 1))
    assert transport.closed == "aborted"


def test_the_close_is_answered() -> None:
    link, transport, owner, _ = made()
    link.feed_data(theirs(1, OPTIONS) + theirs(8, b"\x03\xe8") + theirs(1, OPTIONS))
    assert texts(owner) == [OPTIONS]
    assert transport.written == [b"\x88\x02\x03\xe8"]
    assert transport.closed == "closed"
    assert not link.send(b"x")
    link.feed_eof()
    link.feed_eof()
    assert owner.heard[1:] == [("lost", False)]
    assert link.over.is_set()


def test_who_breaks_the_protocol_may_read_why() -> None:
    link, transport, owner, clock = made()
    link.feed_data(theirs(1, OPTIONS, masked=False))
    link.feed_data(theirs(1, OPTIONS))
    assert (transport.written, transport.closed, owner.heard) == ([b"\x88\x02\x03\xea"], None, [])
    assert not link.send(b"x")
    assert not link.overdue(clock.advance(0.9))
    assert link.overdue(clock.advance(0.1))


def test_our_own_close() -> None:
    link, transport, _, _ = made()
    link.close()
    link.close()
    assert (transport.written, transport.closed) == ([b"\x88\x02\x03\xe9"], "closed")


def test_patience_with_a_message_in_pieces() -> None:
    link, _, _, clock = made()
    link.feed_data(theirs(1, OPTIONS))
    link.feed_data(theirs(1, b"x", final=False))
    clock.advance(29)
    link.feed_data(theirs(0, b"x", final=False))
    assert not link.overdue(clock.now)
    assert link.overdue(clock.advance(1))


@pytest.mark.parametrize("seconds", [9.9, 10.0])
def test_patience_with_silence(seconds: float) -> None:
    link, _, _, clock = made()
    link.feed_data(theirs(9, b"still here"))
    assert link.overdue(clock.advance(seconds)) is (seconds >= 10)


def test_who_does_not_read_is_not_read_and_then_closed() -> None:
    link, transport, _, clock = made()
    link.feed_data(theirs(1, OPTIONS))
    transport.unread = LIMITS.high_water + 1
    assert link.send(b"x")
    assert not transport.is_reading()
    assert not link.overdue(clock.advance(9.9))
    assert link.overdue(clock.advance(0.1))
    transport.unread = 0
    assert not link.overdue(clock.now)
    reading: bool = transport.is_reading()
    assert reading
    transport.unread = LIMITS.max_unsent + 1
    assert not link.send(b"x")
    assert transport.closed == "aborted"
    link.feed_eof()


async def test_many_messages_at_once_take_turns() -> None:
    """One connection's crowd does not keep the loop from the others (bars GI3, L10)."""
    link, transport, owner, _ = made()
    link.feed_data(theirs(1, OPTIONS) * 10)
    assert (len(owner.heard), transport.reading) == (AT_ONCE, False)
    await asyncio.sleep(0)
    assert len(owner.heard) == 2 * AT_ONCE
    await asyncio.sleep(0)
    assert (len(owner.heard), transport.reading) == (10, True)


async def test_what_waits_for_its_turn_dies_with_the_connection() -> None:
    link, _, owner, _ = made()
    link.feed_data(theirs(1, OPTIONS) * 40)
    link.feed_eof()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(owner.heard) == AT_ONCE + 1


def test_no_address_any_more() -> None:
    transport: Any = StreamTransport(REMOTE)
    transport._extra = {}
    assert WebLink(3, Owner(), LIMITS, Clock(), transport).flow.remote == ("", 0)
