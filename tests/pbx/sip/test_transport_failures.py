"""What becomes of transactions whose connection breaks, closes or moves."""

from dataclasses import replace

import pytest

from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.transactions import (
    TransactionFailed,
    TransactionLayer,
    Transmit,
)
from tests.kit.layer import PEER, arrive, ask, drain, ours, sent
from tests.kit.sip import TCP, request, response


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_broken_transport_ends_requests(method: str) -> None:
    layer = TransactionLayer()
    ask(layer, ours(method))
    elsewhere = replace(PEER, remote=("192.0.2.21", 5070))
    assert layer.transport_failed(elsewhere, 0.1) == []
    assert layer.transport_failed(PEER, 0.1) == [TransactionFailed("r1", "transport")]
    assert len(layer) == 0
    assert layer.transport_failed(PEER, 0.2) == []


def test_the_tu_hears_one_end_only() -> None:
    layer = TransactionLayer()
    data = ask(layer, ours())
    layer.receive(response(data, 486), PEER, 0.1)
    assert layer.transport_failed(PEER, 0.2) == []
    assert len(layer) == 0


def test_only_the_broken_connection_fails() -> None:
    layer = TransactionLayer()
    one, two = replace(TCP, id=1), replace(TCP, id=2)
    ask(layer, ours(), one, ref="one", branch="z9hG4bK1")
    ask(layer, ours(), two, ref="two", branch="z9hG4bK2")
    ask(layer, ours(), replace(TCP, id=0), ref="any", branch="z9hG4bK0")
    assert layer.transport_failed(two, 0.1) == [
        TransactionFailed("two", "transport"),
        TransactionFailed("any", "transport"),
    ]
    assert layer.transport_failed(one, 0.2) == [TransactionFailed("one", "transport")]


def test_a_response_tries_a_new_connection_once() -> None:
    layer = TransactionLayer()
    invite = request(transport="TCP", sent_by="192.0.2.9:5066", flow=TCP)
    name = arrive(layer, invite, TCP)
    answer = invite.response(200, to_tag="t")
    data = answer.encode()
    assert layer.respond(name, answer, 0.0) == [Transmit(data, TCP)]
    # RFC 3261 §18.2.2: "the server SHOULD open a connection to the IP address in the "received" parameter, if present,
    # using the port in the "sent-by" value".
    second = Flow("tcp", TCP.local, ("192.0.2.9", 5066))
    assert layer.transport_failed(TCP, 0.1) == [Transmit(data, second)]
    assert layer.respond(name, answer, 0.5) == [Transmit(data, second)]
    assert layer.transport_failed(second, 0.6) == []
    assert layer.respond(name, answer, 1.5) == [
        Transmit(data, second)
    ]  # RFC 6026 §7.1: the state is the same


@pytest.mark.parametrize("broken", [False, True])
def test_answers_follow_a_phone_to_its_new_connection(broken: bool) -> None:
    """RFC 5626: also when the second way of the old connection was tried in vain before the phone returned."""
    layer = TransactionLayer()
    invite = request(transport="TLS", sent_by="q7.invalid")
    old = Flow("tls", ("192.0.2.1", 5061), ("192.0.2.9", 40000), 3)
    new = replace(old, remote=("192.0.2.9", 40001), id=4)
    name = arrive(layer, invite, old)
    answer = invite.response(200, to_tag="t")
    data = answer.encode()
    assert layer.respond(name, answer, 0.0) == [Transmit(data, old)]
    if broken:
        (second,) = layer.transport_failed(old, 0.1)
        assert isinstance(second, Transmit)
        assert layer.transport_failed(second.flow, 0.2) == []
    assert layer.moved(old, new) == [Transmit(data, new)]
    assert layer.respond(name, answer, 0.5) == [Transmit(data, new)]
    assert layer.moved(old, new) == []
    drain(layer, 100.0)
    assert (layer._by_flow._to, layer._by_flow._from) == ({}, {})


def test_what_was_not_answered_yet_is_answered_on_the_new_connection() -> None:
    layer = TransactionLayer()
    invite = request(transport="WSS", sent_by="q7.invalid")
    old = Flow("wss", ("192.0.2.1", 443), ("192.0.2.9", 40000), 3)
    new = replace(old, remote=("192.0.2.9", 40001), id=4)
    name = arrive(layer, invite, old)
    assert layer.transport_failed(old, 0.1) == [], "nobody can be called behind a WebSocket"
    assert layer.moved(old, new) == []
    assert [flow for _, flow in sent(layer.respond(name, invite.response(200, to_tag="t"), 0.5))] == [new]


def test_a_ringing_phone_is_cancelled_on_its_new_connection() -> None:
    layer = TransactionLayer()
    old = replace(PEER, transport="tls", id=3)
    new = replace(old, remote=("192.0.2.20", 5071), id=4)
    data = ask(layer, ours(), old)
    layer.receive(response(data, 180), old, 0.1)
    assert layer.transport_failed(old, 0.2) == []
    assert layer.moved(old, new) == []
    ((cancel, flow),) = sent(layer.cancel("r1", 0.3))
    assert isinstance(cancel, Request)
    assert (cancel.method, flow) == ("CANCEL", new)


def test_a_connection_closed_in_order_fails_requests_only() -> None:
    layer = TransactionLayer()
    invite = request(transport="TCP", sent_by="192.0.2.9:5066", flow=TCP)
    name = arrive(layer, invite, TCP)
    layer.respond(name, invite.response(200, to_tag="t"), 0.0)
    ask(layer, ours("OPTIONS"), TCP)
    assert layer.closed(TCP, 0.1) == [TransactionFailed("r1", "transport")]
