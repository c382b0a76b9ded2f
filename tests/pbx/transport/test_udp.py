"""The UDP protocol on a virtual socket."""

import errno

import pytest

from pbx.sip.flow import Flow
from pbx.transport.udp import MAX_UNSENT, Datagrams
from tests.kit.transports import DatagramTransport

REMOTE = ("192.0.2.9", 5062)


HERE = ("192.0.2.1", 5060)


def made() -> tuple[Datagrams, DatagramTransport, list[tuple[bytes, Flow]]]:
    got: list[tuple[bytes, Flow]] = []
    protocol = Datagrams(lambda data, flow: got.append((data, flow)), lambda: HERE)
    transport = DatagramTransport(protocol)
    protocol.connection_made(transport)
    return protocol, transport, got


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\r\n", b"\x00\x00\x00\x00", b"\x00\r\n"])
def test_keep_alives_are_no_messages(data: bytes) -> None:
    protocol, transport, got = made()
    protocol.datagram_received(data, REMOTE)
    assert got == []
    assert transport.sent == []


def test_datagrams_come_with_their_flow() -> None:
    protocol, _, got = made()
    protocol.datagram_received(b"\r\nx", ("::ffff:192.0.2.9", 5062, 0, 0))
    protocol.datagram_received(b"y", ("192.0.2.9", 5062))
    protocol.datagram_received(b"z", ("192.0.2.9", 5063))
    flow = Flow("udp", HERE, REMOTE)
    assert got == [(b"\r\nx", flow), (b"y", flow), (b"z", Flow("udp", HERE, ("192.0.2.9", 5063)))]


def test_send_says_whether_it_could() -> None:
    protocol, transport, _ = made()
    assert protocol.send(b"x", REMOTE)
    assert transport.sent == [(b"x", REMOTE)]
    assert not protocol.send(b"x", ("phone.example.net", 5060))
    transport.refusal = OSError(errno.EMSGSIZE, "too long")
    assert not protocol.send(b"x", REMOTE)
    transport.refusal = None
    assert protocol.send(b"y", REMOTE)


def test_an_error_of_the_past_does_not_fail_the_next_datagram() -> None:
    protocol, _, _ = made()
    protocol.error_received(ConnectionRefusedError())
    assert protocol.send(b"x", REMOTE)


def test_a_full_socket_loses_datagrams_and_takes_no_memory() -> None:
    protocol, transport, _ = made()
    transport.unsent = MAX_UNSENT
    assert protocol.send(b"x", REMOTE)
    transport.unsent = MAX_UNSENT + 1
    assert protocol.send(b"y", REMOTE)
    assert transport.sent == [(b"x", REMOTE)]


def test_nothing_is_sent_before_and_after() -> None:
    protocol = Datagrams(lambda data, flow: None, lambda: HERE)
    assert not protocol.send(b"x", REMOTE)
    protocol, transport, _ = made()
    protocol.close()
    assert transport.closed
    protocol.connection_lost(None)
    assert not protocol.send(b"x", REMOTE)
    protocol.close()
