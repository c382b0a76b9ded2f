"""A TCP connection on a virtual socket and a clock of its own."""

import asyncio
import weakref

import pytest

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import ParseError
from pbx.transport.link import AT_ONCE, Link, StreamLimits
from pbx.transport.stream import SLICE, Connection
from pbx.transport.turns import Turns
from tests.kit.clock import Clock
from tests.kit.sip import request
from tests.kit.transports import StreamTransport

REMOTE = ("192.0.2.9", 40000)
OPTIONS = request("OPTIONS", transport="TCP", flow=None).encode()
LIMITS = StreamLimits(first_message=10, message=30, idle=100, unread=10, max_unsent=1000)


class Owner:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def connected(self, link: Link) -> None:
        self.heard.append("connected")

    def arrived(self, link: Link, item: Request | Response | ParseError) -> None:
        self.heard.append(item)
        if isinstance(item, ParseError):
            link.send(b"answer")

    def lost(self, link: Link, *, failed: bool) -> None:
        self.heard.append(("lost", failed))


def made(*, ours: bool = False) -> tuple[Connection, StreamTransport, Owner, Clock]:
    clock, owner, transport = Clock(), Owner(), StreamTransport(REMOTE)
    connection = Connection(3, owner, LIMITS, clock, ours=ours)
    connection.connection_made(transport)
    assert owner.heard == ["connected"]
    owner.heard.clear()
    return connection, transport, owner, clock


def test_the_flow_names_the_connection() -> None:
    connection, _, _, _ = made()
    assert connection.flow == Flow("tcp", ("192.0.2.1", 5060), REMOTE, 3)


def test_a_connection_that_is_gone_before_it_stands() -> None:
    owner, transport = Owner(), StreamTransport(REMOTE)
    transport._extra = {}  # type: ignore[attr-defined]  # what getpeername gives then
    connection = Connection(3, owner, LIMITS, Clock(), ours=False)
    connection.connection_made(transport)
    assert transport.closed == "aborted"
    assert owner.heard == []


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_messages_come_whole_however_they_are_cut(size: int) -> None:
    connection, _, owner, _ = made()
    stream = b"\r\n" + OPTIONS * 3
    for start in range(0, len(stream), size):
        connection.data_received(stream[start : start + size])
    assert [item.encode() for item in owner.heard if isinstance(item, Request)] == [OPTIONS] * 3


def test_a_ping_gets_a_pong() -> None:
    connection, transport, owner, _ = made()
    connection.data_received(b"\r\n\r\n")
    assert transport.written == [b"\r\n"]
    assert owner.heard == []
    assert not connection.proven


def test_a_framing_error_is_answered_then_the_connection_closed() -> None:
    connection, transport, owner, _ = made()
    connection.data_received(OPTIONS.replace(b"Content-Length: 0\r\n", b"") + OPTIONS)
    assert [type(item) for item in owner.heard] == [ParseError]
    assert transport.written == [b"answer"]
    assert transport.closed == "closed"
    assert not connection.proven


def test_a_malformed_message_with_a_length_leaves_the_connection() -> None:
    connection, transport, owner, _ = made()
    connection.data_received(OPTIONS.replace(b"CSeq: 1", b"CSeq: x") + OPTIONS)
    assert [type(item) for item in owner.heard] == [ParseError, Request]
    assert transport.closed is None
    assert connection.proven


# --- limits of time, each at n and n+1 ------------------------------------------------------------------------------


def test_a_stranger_must_speak() -> None:
    connection, _, _, clock = made()
    connection.data_received(b"\r\n\r\n")
    assert not connection.overdue(clock.now + 9.9)
    assert connection.overdue(clock.now + 10)
    connection.data_received(OPTIONS)
    assert not connection.overdue(clock.now + 10)


def test_we_need_not_hear_from_whom_we_called() -> None:
    connection, _, _, clock = made(ours=True)
    assert not connection.overdue(clock.now + 99)


def test_a_message_in_small_pieces_gets_no_more_time() -> None:
    connection, _, _, clock = made()
    connection.data_received(OPTIONS)
    for piece in range(6):
        connection.data_received(OPTIONS[piece : piece + 1])
        assert not connection.overdue(clock.now)
        clock.advance(5)
    assert connection.overdue(clock.now)


def test_each_message_has_its_own_time() -> None:
    connection, _, _, clock = made()
    connection.data_received(OPTIONS + OPTIONS[:50])
    clock.advance(29)
    connection.data_received(OPTIONS[50:] + OPTIONS[:50])
    clock.advance(29)
    assert not connection.overdue(clock.now)
    connection.data_received(OPTIONS[50:])
    assert not connection.overdue(clock.now + 50)


def test_silence_has_an_end() -> None:
    connection, _, _, clock = made()
    connection.data_received(OPTIONS)
    assert not connection.overdue(clock.now + 99.9)
    assert connection.overdue(clock.now + 100)


def test_who_does_not_read_is_not_read_and_then_closed() -> None:
    connection, transport, _, clock = made()
    connection.data_received(OPTIONS)
    connection.pause_writing()
    assert not transport.is_reading()
    assert not connection.overdue(clock.now + 9.9)
    assert connection.overdue(clock.now + 10)
    connection.resume_writing()
    assert transport.is_reading()
    assert not connection.overdue(clock.now + 10)


async def test_a_crowd_of_messages_takes_turns() -> None:
    """L10: neither parsing nor answering what one connection sent keeps the loop from others for longer than a few messages."""
    connection, transport, owner, _ = made()
    count = 2 * SLICE // len(OPTIONS) + 3
    connection.data_received(OPTIONS * count + OPTIONS[:9])
    assert (len(owner.heard), transport.is_reading()) == (AT_ONCE, False)
    turns = 0
    while len(owner.heard) < count:
        before = len(owner.heard)
        await asyncio.sleep(0)
        turns += 1
        assert len(owner.heard) - before <= AT_ONCE
    assert turns >= (count - 1) // AT_ONCE
    assert transport.is_reading()
    connection.data_received(OPTIONS[9:])
    assert len(owner.heard) == count + 1
    assert all(isinstance(message, Request) for message in owner.heard)


async def test_who_does_not_read_is_answered_no_further() -> None:
    """What it sent waits too: its answers would only fill our memory."""
    connection, transport, owner, _ = made()
    connection.data_received(OPTIONS * 40)
    connection.pause_writing()
    for _ in range(9):
        await asyncio.sleep(0)
    assert len(owner.heard) <= 2 * AT_ONCE
    connection.resume_writing()
    for _ in range(40):
        await asyncio.sleep(0)
    assert (len(owner.heard), transport.is_reading()) == (40, True)


async def test_what_was_read_dies_with_the_connection() -> None:
    connection, _, owner, _ = made()
    connection.data_received(OPTIONS * 40)
    connection.connection_lost(None)
    for _ in range(9):
        await asyncio.sleep(0)
    assert len(owner.heard) == AT_ONCE + 1
    assert owner.heard[-1] == ("lost", False)


def crowded() -> tuple[Connection, StreamTransport, Owner]:
    """A connection beside others, who have had all of this pass."""
    clock, owner, transport = Clock(), Owner(), StreamTransport(REMOTE)
    turns = Turns(clock=lambda: clock.now)
    connection = Connection(3, owner, LIMITS, clock, ours=False, turns=turns)
    connection.connection_made(transport)
    owner.heard.clear()
    assert turns.free()
    clock.now += 1.0
    return connection, transport, owner


async def test_who_comes_in_a_crowd_waits_and_is_not_read_meanwhile() -> None:
    connection, transport, owner = crowded()
    connection.data_received(OPTIONS[:100])
    assert (owner.heard, transport.is_reading()) == ([], False)
    connection.stuck(yes=True)
    connection.stuck(yes=False)
    assert transport.is_reading(), "whoever else stops and starts the reading knows nothing of that"
    connection.data_received(OPTIONS[100:])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [item.encode() for item in owner.heard if isinstance(item, Request)] == [OPTIONS], "in order"
    assert transport.is_reading()


async def test_who_does_not_read_is_not_read_after_its_turn_either() -> None:
    connection, transport, owner = crowded()
    connection.data_received(OPTIONS)
    connection.pause_writing()
    await asyncio.sleep(0)
    assert len(owner.heard) == 1
    assert not transport.is_reading()


async def test_a_fault_of_ours_ends_the_connection_in_its_turn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, transport, _ = crowded()
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def fail(_: bytes) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(connection, "fed", fail)
    connection.data_received(OPTIONS)
    await asyncio.sleep(0)
    assert transport.closed == "aborted"
    assert [type(fault) for fault in faults] == [ValueError]


@pytest.mark.parametrize("how", ["closed", "lost"])
async def test_what_waits_for_its_turn_dies_with_the_connection(how: str) -> None:
    connection, _, owner = crowded()
    connection.data_received(OPTIONS)
    if how == "closed":
        connection.close()
    else:
        connection.connection_lost(None)
    owner.heard.clear()
    await asyncio.sleep(0)
    assert owner.heard == []


async def test_what_a_lost_connection_kept_is_given_back_in_its_turn() -> None:
    """A thousand connections lost at once are told of at once; to free what TLS keeps for them takes turns."""
    connection, _, owner = crowded()
    kept = weakref.ref(connection)
    connection.connection_lost(ConnectionResetError())
    assert owner.heard == [("lost", True)]
    del connection
    assert kept() is not None
    await asyncio.sleep(0)
    assert kept() is None


async def test_who_is_gone_is_closed_in_its_turn() -> None:
    connection, transport, _ = crowded()
    assert connection.eof_received(), "the loop leaves it open"
    assert transport.closed is None
    await asyncio.sleep(0)
    assert transport.closed == "closed"


def test_who_is_gone_is_closed_at_once_where_nobody_waits() -> None:
    connection, _, _, _ = made()
    assert not connection.eof_received()


def test_the_write_queue_is_bounded() -> None:
    connection, transport, owner, _ = made()
    transport.unread = 1000
    assert connection.send(b"x")
    transport.unread = 1001
    assert not connection.send(b"x")
    assert transport.closed == "aborted"
    assert not connection.send(b"x")
    connection.connection_lost(None)
    assert owner.heard == [("lost", True)]


@pytest.mark.parametrize(("error", "failed"), [(None, False), (ConnectionResetError(), True)])
def test_what_the_owner_hears_at_the_end(error: Exception | None, failed: bool) -> None:
    connection, _, owner, _ = made()
    connection.connection_lost(error)
    assert owner.heard == [("lost", failed)]
    assert not connection.send(b"x")
    connection.close()
    connection.abort()
    connection.pause_writing()
    connection.resume_writing()
