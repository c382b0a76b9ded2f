"""The transaction layer as a server: what it answers by itself, and time."""

from dataclasses import replace

import pytest

from pbx.sip.flow import Flow
from pbx.sip.message import Response
from pbx.sip.transactions import (
    AckArrived,
    ServerTimeout,
    TransactionLayer,
    Transmit,
)
from tests.kit.layer import arrive, drain, news, ours, sent, statuses
from tests.kit.sip import TCP, UDP, request


@pytest.mark.parametrize(
    ("flow", "asks"),
    [
        (Flow("tls", ("192.0.2.1", 5061), ("192.0.2.9", 5061)), True),
        (Flow("tls", ("192.0.2.1", 5061), ("192.0.2.9", 41000), 7), False),  # theirs
        (TCP, False),
        (UDP, False),
    ],
)
def test_on_our_own_tls_connection_we_ask_to_be_called_back(flow: Flow, asks: bool) -> None:
    """RFC 5923 §5"""
    layer = TransactionLayer()
    effects = layer.request(
        ours(), flow, 0.0, ref="r", branch="z9hG4bKa", via_host="192.0.2.1", via_port=5061
    )
    effects += layer.send_ack(ours("ACK"), flow, 0.0, branch="z9hG4bKb", via_host="192.0.2.1", via_port=5061)
    assert [message.via.has_param("alias") for message, _ in sent(effects)] == [asks, asks]


def test_the_layer_answers_100_when_the_tu_takes_its_time() -> None:
    layer = TransactionLayer()
    arrive(layer, request())
    # RFC 3261 §17.2.1: "The server transaction MUST generate a 100 (Trying) response unless it knows that the TU will
    # generate a provisional or final response within 200 ms".
    assert layer.next_due == 0.2
    assert layer.expire(0.199) == []
    effects = layer.expire(0.2)
    assert statuses(effects) == [100]
    assert sent(effects)[0][1] == UDP
    assert sent(effects)[0][0].to.tag is None
    assert layer.next_due is None


def test_no_100_after_the_tu_has_spoken() -> None:
    layer = TransactionLayer()
    invite = request()
    name = arrive(layer, invite)
    assert statuses(layer.respond(name, invite.response(180, to_tag="t"), 0.1)) == [180]
    assert layer.expire(0.2) == []
    layer = TransactionLayer()
    name = arrive(layer, invite)
    layer.respond(name, invite.response(200, to_tag="t"), 0.1)
    assert layer.next_due == pytest.approx(32.1)


def test_a_repeated_invite_gets_the_last_provisional_answer() -> None:
    layer = TransactionLayer()
    invite = request()
    name = arrive(layer, invite)
    assert layer.receive(request(), UDP, 0.1) == []  # nothing to say yet
    layer.respond(name, invite.response(180, to_tag="t"), 0.2)
    layer.respond(name, invite.response(183, to_tag="t"), 0.3)
    # RFC 3261 §17.2.1: "the most recent provisional response that was received from the TU MUST be passed to the
    # transport layer for retransmission."
    effects = layer.receive(request(), UDP, 0.5)
    assert statuses(effects) == [183]
    assert news(effects) == []


def test_a_failure_is_repeated_until_the_ack_and_only_once_reported() -> None:
    layer = TransactionLayer()
    invite = request()
    name = arrive(layer, invite)
    assert statuses(layer.respond(name, invite.response(486, to_tag="t"), 0.0)) == [486]
    assert statuses(layer.receive(request(), UDP, 0.2)) == [486]
    assert statuses([e for _, e in drain(layer, 0.5)]) == [486]
    assert layer.respond(name, invite.response(200, to_tag="t"), 0.6) == []
    ack = request("ACK", to_tag="t")
    assert layer.receive(ack, UDP, 1.0) == []
    assert layer.receive(ack, UDP, 1.1) == []  # absorbed until Timer I
    assert layer.receive(request(), UDP, 1.2) == []
    assert drain(layer, 5.99) == []
    assert len(layer) == 1
    drain(layer, 6.0)
    assert len(layer) == 0


def test_a_failure_without_ack_ends_with_timer_h() -> None:
    layer = TransactionLayer()
    invite = request()
    name = arrive(layer, invite)
    layer.respond(name, invite.response(486, to_tag="t"), 0.0)
    happened = drain(layer, 100)
    assert [at for at, e in happened if isinstance(e, Transmit)] == [
        0.5,
        1.5,
        3.5,
        7.5,
        11.5,
        15.5,
        19.5,
        23.5,
        27.5,
        31.5,
    ]
    assert happened[-1] == (32.0, ServerTimeout(name))
    assert len(layer) == 0


def test_a_2xx_is_given_to_the_tu_to_repeat() -> None:
    layer = TransactionLayer()
    invite = request()
    name = arrive(layer, invite)
    answer = invite.response(200, to_tag="t")
    assert statuses(layer.respond(name, answer, 0.0)) == [200]
    # RFC 6026 §7.1: "While in the "Accepted" state, any retransmissions of the INVITE received will match this transaction
    # state machine and will be absorbed by the machine without changing its state."
    assert layer.receive(request(), UDP, 0.3) == []
    assert statuses(layer.respond(name, answer, 0.5)) == [200]
    ack = request("ACK", branch="z9hG4bKtwo", to_tag="t")
    assert layer.receive(ack, UDP, 0.6) == [AckArrived(ack, UDP)]
    drain(layer, 32.0)
    assert len(layer) == 0
    assert layer.respond(name, answer, 33.0) == []


def test_a_request_is_given_to_the_tu_once() -> None:
    layer = TransactionLayer()
    bye = request("BYE", to_tag="t")
    name = arrive(layer, bye)
    assert layer.receive(request("BYE", to_tag="t"), UDP, 0.1) == []
    assert statuses(layer.respond(name, bye.response(200), 0.2)) == [200]
    assert layer.respond(name, bye.response(500), 0.3) == []
    effects = layer.receive(request("BYE", to_tag="t"), UDP, 0.4)
    assert statuses(effects) == [200]
    assert news(effects) == []
    drain(layer, 32.2)
    assert len(layer) == 0


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_a_late_answer_is_announced_when_the_client_repeats_every_t2(flow: Flow) -> None:
    layer = TransactionLayer()
    asked = request("MESSAGE", flow=flow)
    name = arrive(layer, asked, flow)
    # RFC 4320 §4.1: "MUST NOT respond to a non-INVITE request with a Status-Code of 100 over any unreliable transport,
    # such as UDP, before the amount of time it takes a client transaction's Timer E to be reset to T2"; §17.1.2.2: that
    # is after T1 + 2·T1 + 4·T1.
    assert layer.expire(3.49) == []
    assert statuses(layer.expire(3.5)) == [100]
    assert statuses(layer.receive(asked, flow, 4.0)) == [100]
    assert statuses(layer.respond(name, asked.response(200, to_tag="t"), 5.0)) == [200]
    assert statuses(layer.receive(asked, flow, 5.0)) == ([200] if flow is UDP else [])


def test_nothing_but_100_is_provisional_to_other_requests_than_invite() -> None:
    layer = TransactionLayer()
    asked = request("MESSAGE")
    name = arrive(layer, asked)
    # RFC 4320 §4.1: "MUST NOT send any provisional response with a Status-Code other than 100 to a non-INVITE request."
    assert layer.respond(name, asked.response(183, to_tag="t"), 0.1) == []
    assert statuses(layer.respond(name, asked.response(200, to_tag="t"), 0.2)) == [200]


def test_a_request_the_tu_never_answers_is_forgotten() -> None:
    layer = TransactionLayer()
    arrive(layer, request("OPTIONS"))
    assert [statuses([effect]) for _, effect in drain(layer, 100)] == [[100]]
    assert len(layer) == 0


def test_a_stranger_is_refused_without_state() -> None:
    layer = TransactionLayer()
    name = arrive(layer, request())
    effects = layer.answer_once(name, 401, 0.0, reason="Who", headers=[("WWW-Authenticate", "Digest x")])
    ((answer, flow),) = sent(effects)
    assert isinstance(answer, Response)
    assert (answer.status, answer.reason, flow) == (401, "Who", UDP)
    assert answer.headers.get("WWW-Authenticate") == "Digest x"
    assert len(layer) == 0
    assert layer.next_due is None
    # RFC 3261 §8.2.7: "A stateless UAS MUST ignore ACK requests" and answers a retransmission as it did the first.
    again = layer.answer_once(arrive(layer, request(), now=0.5), 401, 0.5)
    assert sent(again)[0][0].to.tag == answer.to.tag is not None
    # The same request on another road is no merged one, for nothing is ongoing.
    arrive(layer, request(branch="z9hG4bKfork"), now=0.6)
    assert layer.answer_once("nobody", 401, 0.7) == []


def test_who_has_been_answered_is_refused_with_state() -> None:
    layer = TransactionLayer()
    name = arrive(layer, request())
    layer.expire(0.2)  # the layer's 100
    assert statuses(layer.answer_once(name, 404, 0.3)) == [404]
    assert statuses([e for _, e in drain(layer, 0.8)]) == [404]
    assert len(layer) == 1


def test_over_tcp_nothing_waits_and_nothing_is_repeated() -> None:
    layer = TransactionLayer()
    options = request("OPTIONS", transport="TCP", flow=TCP)
    name = arrive(layer, options, TCP)
    effects = layer.respond(name, options.response(200, to_tag="t"), 0.0)
    assert sent(effects)[0][1] == TCP
    assert len(layer) == 0  # Timer J is zero
    invite = request(transport="TCP", flow=TCP)
    name = arrive(layer, invite, TCP)
    layer.respond(name, invite.response(486, to_tag="t"), 0.0)
    assert drain(layer, 31.9) == []
    assert layer.receive(request("ACK", transport="TCP", to_tag="t", flow=TCP), TCP, 31.9) == []
    assert len(layer) == 0  # Timer I is zero


def test_responses_follow_the_newest_way_to_the_peer() -> None:
    # Its NAT chose another port: the retransmission tells.
    layer = TransactionLayer()
    invite = request()
    name = arrive(layer, invite)
    moved = replace(UDP, remote=("192.0.2.9", 61000))
    layer.receive(request(flow=moved), moved, 0.5)
    assert sent(layer.respond(name, invite.response(200, to_tag="t"), 0.6))[0][1] == moved


@pytest.mark.parametrize(
    ("sent_by", "rport", "remote"),
    [
        # RFC 3581 §4: the port the request came from.
        ("192.0.2.9:5070", True, ("192.0.2.9", 5062)),
        ("phone.example.net", True, ("192.0.2.9", 5062)),
        # RFC 3261 §18.2.2: the address it came from, the port of sent-by, 5060 without one.
        ("192.0.2.9:5070", False, ("192.0.2.9", 5070)),
        ("192.0.2.9", False, ("192.0.2.9", 5060)),
        ("phone.example.net:5071", False, ("192.0.2.9", 5071)),
        ("phone.example.net", False, ("192.0.2.9", 5060)),
        # An address that is not the sender's: behind a NAT.
        ("10.0.0.4:5060", False, ("192.0.2.9", 5062)),
        ("[2001:db8::9]:5060", False, ("192.0.2.9", 5062)),
    ],
)
def test_where_responses_go(sent_by: str, rport: bool, remote: tuple[str, int]) -> None:
    layer = TransactionLayer()
    invite = request(sent_by=sent_by, rport=rport)
    name = arrive(layer, invite)
    assert sent(layer.respond(name, invite.response(200, to_tag="t"), 0.0))[0][1] == replace(
        UDP, remote=remote
    )


def test_maddr_is_not_followed() -> None:
    layer = TransactionLayer()
    invite = request(branch="z9hG4bKx;maddr=169.254.169.254", rport=False)
    name = arrive(layer, invite)
    assert sent(layer.respond(name, invite.response(200, to_tag="t"), 0.0))[0][1].remote == (
        "192.0.2.9",
        5062,
    )
