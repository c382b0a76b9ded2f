"""The transaction layer: matching, forwarding, what it answers by itself, and time."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.sip.timers import Timers
from pbx.sip.transactions import (
    AckArrived,
    Cancelled,
    Effect,
    RequestArrived,
    ResponseArrived,
    ServerTimeout,
    StrayResponse,
    Transaction,
    TransactionFailed,
    TransactionLayer,
    Transmit,
)
from pbx.sip.uri import NameAddr, parse_name_addr, parse_uri
from tests.kit.sip import TCP, UDP, cached_request, request, response

PEER = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.20", 5070))


def sent(effects: list[Effect]) -> list[tuple[Request | Response, Flow]]:
    return [(parse(e.data), e.flow) for e in effects if isinstance(e, Transmit)]


def statuses(effects: list[Effect]) -> list[int]:
    return [m.status for m, _ in sent(effects) if isinstance(m, Response)]


def methods(effects: list[Effect]) -> list[str]:
    return [m.method for m, _ in sent(effects) if isinstance(m, Request)]


def news(effects: list[Effect]) -> list[Effect]:
    return [e for e in effects if not isinstance(e, Transmit)]


def arrive(layer: TransactionLayer, message: Request, flow: Flow = UDP, now: float = 0.0) -> str:
    """Receive a new request; its transaction's name."""
    (effect,) = layer.receive(message, flow, now)
    assert isinstance(effect, RequestArrived)
    assert effect.request is message
    assert effect.flow == flow
    return effect.transaction


def ours(method: str = "INVITE", *, routes: tuple[NameAddr, ...] = ()) -> Request:
    """A request of ours, as the TU builds it."""
    return Request.build(
        method,
        parse_uri("sip:desk@192.0.2.20:5070"),
        from_=parse_name_addr("<sip:110@192.0.2.1>;tag=us"),
        to=parse_name_addr("<sip:desk@192.0.2.20>"),
        call_id="ours-1",
        cseq=7,
        contact=parse_name_addr("<sip:110@192.0.2.1:5060>"),
        routes=routes,
    )


def ask(
    layer: TransactionLayer,
    message: Request,
    flow: Flow = PEER,
    now: float = 0.0,
    ref: str = "r1",
    branch: str = "z9hG4bKours",
) -> bytes:
    """Start a client transaction; the bytes transmitted."""
    (effect,) = layer.request(message, flow, now, ref=ref, branch=branch, via_host="192.0.2.1", via_port=5060)
    assert isinstance(effect, Transmit)
    assert effect.flow == flow
    return effect.data


def drain(layer: TransactionLayer, until: float) -> list[tuple[float, Effect]]:
    """Let time pass; every effect with its moment."""
    happened = []
    while (due := layer.next_due) is not None and due <= until:
        happened += [(due, effect) for effect in layer.expire(due)]
    return happened


# --- server side ----------------------------------------------------------------------------------------------------


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


# --- matching -------------------------------------------------------------------------------------------------------


def test_what_makes_another_transaction() -> None:
    layer = TransactionLayer()
    arrive(layer, request(to_tag="t"))
    arrive(layer, request(to_tag="t", branch="z9hG4bKother", cseq=2))
    # RFC 3261 §17.2.3: the sent-by too, "because there could be accidental or malicious duplication of branch
    # parameters from different clients".
    arrive(layer, request(to_tag="t", sent_by="192.0.2.9:5099", cseq=3))
    arrive(layer, request("BYE", to_tag="t", cseq=4))
    assert len(layer) == 4


def test_sent_by_is_compared_as_a_host() -> None:
    layer = TransactionLayer()
    arrive(layer, request(sent_by="Phone.Example.NET:5060"))
    assert layer.receive(request(sent_by="phone.example.net"), UDP, 0.1) == []


@pytest.mark.parametrize("branch", [None, "1", "Z9hG4bK"[:6]])
def test_rfc_2543_requests_match_by_everything_else(branch: str | None) -> None:
    layer = TransactionLayer()
    invite = request(branch=branch)
    name = arrive(layer, invite)
    assert layer.receive(request(branch=branch), UDP, 0.1) == []
    arrive(layer, request(branch=branch, call_id="call-2"))
    arrive(layer, request(branch=branch, cseq=2))
    arrive(layer, request(branch=branch, from_tag="f2"))
    arrive(layer, request("BYE", branch=branch, to_tag="t"))
    assert len(layer) == 5
    layer.respond(name, invite.response(486, to_tag="t"), 0.2)
    # RFC 3261 §17.2.3: "The ACK request matches … the To tag … of the response sent by the server transaction."
    other = request("ACK", branch=branch, to_tag="other")
    assert layer.receive(other, UDP, 0.3) == [AckArrived(other, UDP)]
    assert statuses([e for _, e in drain(layer, 0.7)]) != []
    assert layer.receive(request("ACK", branch=branch, to_tag="t"), UDP, 0.8) == []
    assert 486 not in statuses([e for _, e in drain(layer, 3.0)])


def test_rfc_2543_ack_to_a_2xx_goes_to_the_dialog() -> None:
    layer = TransactionLayer()
    invite = request(branch=None)
    name = arrive(layer, invite)
    layer.respond(name, invite.response(200, to_tag="t"), 0.0)
    ack = request("ACK", branch=None, to_tag="t")
    assert layer.receive(ack, UDP, 0.1) == [AckArrived(ack, UDP)]


def test_rfc_2543_cancel() -> None:
    layer = TransactionLayer()
    name = arrive(layer, request(branch=None))
    cancel = request("CANCEL", branch=None)
    effects = layer.receive(cancel, UDP, 0.1)
    assert statuses(effects) == [200]
    assert news(effects) == [Cancelled(name, cancel, UDP)]


def test_a_merged_request_is_refused() -> None:
    # RFC 3261 §8.2.2.2: two forks of one proxy reach us.
    layer = TransactionLayer()
    invite = request()
    name = arrive(layer, invite)
    fork = request(branch="z9hG4bKfork")
    effects = layer.receive(fork, UDP, 0.0)
    assert statuses(effects) == [482]
    assert news(effects) == []
    tag = sent(effects)[0][0].to.tag
    assert tag is not None
    again = layer.receive(request(branch="z9hG4bKfork"), UDP, 0.1)
    assert statuses(again) == [482]
    assert sent(again)[0][0].to.tag == tag
    assert layer.receive(request("ACK", branch="z9hG4bKfork", to_tag=tag), UDP, 0.2) == []
    assert statuses(layer.respond(name, invite.response(200, to_tag="t"), 0.3)) == [200]


@pytest.mark.parametrize(
    "other",
    [
        {"to_tag": "t"},  # §8.2.2.2: only "if the request has no tag in the To header field"
        {"from_tag": "f2"},
        {"call_id": "call-2"},
        {"cseq": 2},
        {"method": "OPTIONS"},
    ],
)
def test_what_is_not_merged(other: dict[str, Any]) -> None:
    layer = TransactionLayer()
    arrive(layer, request())
    arrive(layer, request(branch="z9hG4bKfork", **other))


def test_merging_ends_with_the_first_transaction() -> None:
    layer = TransactionLayer()
    options = request("OPTIONS")
    layer.respond(arrive(layer, options), options.response(200, to_tag="t"), 0.0)
    drain(layer, 32.0)
    arrive(layer, request("OPTIONS", branch="z9hG4bKfork"), now=33.0)


def test_cancel_is_answered_and_reported_once() -> None:
    layer = TransactionLayer()
    invite = request()
    name = arrive(layer, invite)
    layer.respond(name, invite.response(180, to_tag="t"), 0.1)
    cancel = request("CANCEL")
    effects = layer.receive(cancel, UDP, 0.2)
    assert statuses(effects) == [200]
    # RFC 3261 §9.2: "the To tag of the response to the CANCEL and the To tag in the response to the original request
    # SHOULD be the same."
    assert sent(effects)[0][0].to.tag == "t"
    assert news(effects) == [Cancelled(name, cancel, UDP)]
    again = layer.receive(request("CANCEL"), UDP, 0.3)
    assert statuses(again) == [200]
    assert news(again) == []
    assert statuses(layer.respond(name, invite.response(487, to_tag="t"), 0.4)) == [487]


def test_cancel_after_the_answer_changes_nothing() -> None:
    layer = TransactionLayer()
    invite = request()
    layer.respond(arrive(layer, invite), invite.response(200, to_tag="t"), 0.1)
    effects = layer.receive(request("CANCEL"), UDP, 0.2)
    assert statuses(effects) == [200]
    assert news(effects) == []


@pytest.mark.parametrize(
    "other", [{"branch": "z9hG4bKnone"}, {"call_id": "call-2"}, {"sent_by": "192.0.2.8"}]
)
def test_cancel_of_nothing(other: dict[str, Any]) -> None:
    layer = TransactionLayer()
    arrive(layer, request())
    effects = layer.receive(request("CANCEL", **other), UDP, 0.2)
    assert statuses(effects) == [481]
    assert news(effects) == []


# --- client side ----------------------------------------------------------------------------------------------------


def test_our_request_gets_a_via_and_stays_as_it_was() -> None:
    layer = TransactionLayer()
    message = ours()
    data = ask(layer, message)
    assert data.split(b"\r\n")[1] == b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours;rport"
    assert "Via" not in message.headers


def test_an_ipv6_via_has_brackets() -> None:
    layer = TransactionLayer()
    flow = Flow("tcp", ("2001:db8::1", 5060), ("2001:db8::2", 5060))
    (effect,) = layer.request(
        ours(), flow, 0.0, ref="r", branch="z9hG4bK6", via_host="2001:db8::1", via_port=5060
    )
    assert isinstance(effect, Transmit)
    assert b"Via: SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bK6;rport\r\n" in effect.data


def test_a_branch_without_the_cookie_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="z9hG4bK"):
        TransactionLayer().request(
            ours(), PEER, 0.0, ref="r", branch="x", via_host="192.0.2.1", via_port=5060
        )


def test_an_invite_that_nobody_answers() -> None:
    layer = TransactionLayer()
    data = ask(layer, ours())
    happened = drain(layer, 100)
    assert [(at, e) for at, e in happened[:-1]] == [
        (at, Transmit(data, PEER)) for at in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)
    ]
    assert happened[-1] == (32.0, TransactionFailed("r1", "timeout"))
    assert len(layer) == 0


def test_answers_to_an_invite_and_the_ack_of_a_failure() -> None:
    layer = TransactionLayer()
    route = parse_name_addr("<sip:proxy.example.net;lr>")
    data = ask(layer, ours(routes=(route,)))
    ringing = response(data, 180)
    assert layer.receive(ringing, PEER, 0.1) == [ResponseArrived("r1", ringing, PEER)]
    assert drain(layer, 20.0) == []
    busy = response(data, 486)
    effects = layer.receive(busy, PEER, 20.0)
    assert news(effects) == [ResponseArrived("r1", busy, PEER)]
    (ack, flow) = sent(effects)[0]
    assert isinstance(ack, Request)
    # RFC 3261 §17.1.1.3
    assert (ack.method, str(ack.uri), flow) == ("ACK", "sip:desk@192.0.2.20:5070", PEER)
    assert [str(via) for via in ack.vias] == ["SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours;rport"]
    assert (ack.call_id, str(ack.cseq), ack.from_.tag, ack.to.tag) == ("ours-1", "7 ACK", "us", "t1")
    assert ack.routes == (route,)
    assert ack.max_forwards == 70
    again = layer.receive(busy, PEER, 21.0)
    assert methods(again) == ["ACK"]
    assert news(again) == []
    assert drain(layer, 51.9) == []
    drain(layer, 52.0)
    assert len(layer) == 0


def test_every_2xx_reaches_the_tu_until_timer_m() -> None:
    layer = TransactionLayer()
    data = ask(layer, ours())
    one, fork = response(data, 200, to_tag="a"), response(data, 200, to_tag="b")
    for answer in (one, fork, one):
        assert layer.receive(answer, PEER, 1.0) == [ResponseArrived("r1", answer, PEER)]
    assert layer.receive(response(data, 486), PEER, 2.0) == []
    drain(layer, 33.0)
    assert layer.receive(one, PEER, 34.0) == [StrayResponse(one, PEER)]


def test_one_final_answer_to_other_requests() -> None:
    layer = TransactionLayer()
    data = ask(layer, ours("BYE"))
    trying, ok = response(data, 100), response(data, 200)
    assert layer.receive(trying, PEER, 0.1) == [ResponseArrived("r1", trying, PEER)]
    assert layer.receive(ok, PEER, 0.2) == [ResponseArrived("r1", ok, PEER)]
    assert layer.receive(ok, PEER, 0.3) == []
    drain(layer, 5.2)
    assert layer.receive(ok, PEER, 5.3) == [StrayResponse(ok, PEER)]


def test_a_response_to_another_method_or_branch_is_a_stray() -> None:
    layer = TransactionLayer()
    data = ask(layer, ours("BYE"))
    for stranger in (
        data.replace(b"z9hG4bKours", b"z9hG4bKguess"),
        data.replace(b" BYE", b" INFO").replace(b"BYE ", b"INFO "),
    ):
        answer = response(stranger, 200)
        assert layer.receive(answer, PEER, 0.1) == [StrayResponse(answer, PEER)]


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_response_with_another_via_below_ours_is_discarded(method: str) -> None:
    """RFC 3261 §8.1.3.3."""
    layer = TransactionLayer()
    data = ask(layer, ours(method))
    answer = response(data, 200).copy()
    answer.headers.add("Via", "SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKbelow")
    assert layer.receive(answer, PEER, 0.1) == []
    right = response(data, 200)
    assert layer.receive(right, PEER, 0.2) == [ResponseArrived("r1", right, PEER)]


def test_cancel_waits_for_a_provisional_answer() -> None:
    layer = TransactionLayer()
    route = parse_name_addr("<sip:proxy.example.net;lr>")
    data = ask(layer, ours(routes=(route,)))
    # RFC 3261 §9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent".
    assert layer.cancel("r1", 0.1) == []
    ringing = response(data, 180)
    effects = layer.receive(ringing, PEER, 0.3)
    assert effects[0] == ResponseArrived("r1", ringing, PEER)
    (cancel, flow) = sent(effects)[0]
    assert isinstance(cancel, Request)
    assert (cancel.method, str(cancel.uri), flow) == ("CANCEL", "sip:desk@192.0.2.20:5070", PEER)
    assert [str(via) for via in cancel.vias] == ["SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours;rport"]
    assert (cancel.call_id, str(cancel.cseq), cancel.from_.tag, cancel.to.tag) == (
        "ours-1",
        "7 CANCEL",
        "us",
        None,
    )
    assert cancel.routes == (route,)
    assert layer.cancel("r1", 0.4) == []  # once is enough
    assert [at for at, e in drain(layer, 2.0)] == [0.8, 1.8]  # it is a transaction of its own
    (ok,) = (response(cancel.encode(), 200),)
    assert layer.receive(ok, PEER, 2.1) == []
    gone = response(data, 487)
    assert news(layer.receive(gone, PEER, 2.2)) == [ResponseArrived("r1", gone, PEER)]


def test_a_cancelled_invite_ends_even_if_the_peer_is_silent() -> None:
    layer = TransactionLayer()
    data = ask(layer, ours())
    layer.receive(response(data, 180), PEER, 0.5)
    assert methods(layer.cancel("r1", 10.0)) == ["CANCEL"]
    happened = drain(layer, 100.0)
    # RFC 3261 §9.1: "If there is no final response for the original request in 64*T1 seconds …, the client SHOULD then
    # consider the original transaction cancelled".
    assert (42.0, TransactionFailed("r1", "timeout")) in happened
    assert [e for _, e in happened if not isinstance(e, Transmit)] == [TransactionFailed("r1", "timeout")]
    assert len(layer) == 0


def test_cancel_of_what_is_answered_or_unknown() -> None:
    layer = TransactionLayer()
    data = ask(layer, ours())
    layer.receive(response(data, 200), PEER, 0.5)
    assert layer.cancel("r1", 1.0) == []
    assert layer.receive(response(data, 180), PEER, 1.1) == []
    assert layer.cancel("nobody", 1.0) == []


def test_ack_to_a_2xx_has_no_transaction() -> None:
    layer = TransactionLayer()
    (effect,) = layer.send_ack(
        ours("ACK"), PEER, 0.0, branch="z9hG4bKack", via_host="192.0.2.1", via_port=5060
    )
    assert isinstance(effect, Transmit)
    assert effect.data.startswith(
        b"ACK sip:desk@192.0.2.20:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKack"
    )
    assert len(layer) == 0


# --- transport failures ---------------------------------------------------------------------------------------------


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


# --- across a restart -----------------------------------------------------------------------------------------------

Step = Callable[[TransactionLayer, float], list[Effect]]


class Script:
    """Random steps: whatever peers and the TU may do, sensible or not."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.names: list[str] = []
        self.asked: list[bytes] = []
        self.count = 0

    def watch(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case RequestArrived(transaction=name):
                    self.names.append(name)
                case Transmit(data=data) if not data.startswith((b"SIP/2.0", b"ACK")):
                    self.asked.append(data)
                case _:
                    pass

    def next(self, layer: TransactionLayer) -> Step:
        pick = self.chance
        self.now += pick.choice((0.0, 0.01, 0.4, 3.0, 20.0))
        kind = pick.randrange(12)
        flow = pick.choice((UDP, TCP))
        if kind < 4:
            message = cached_request(
                method=pick.choice(("INVITE", "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS")),
                branch=pick.choice((None, "z9hG4bKa", "z9hG4bKb", "z9hG4bKc")),
                to_tag=pick.choice((None, "t")),
                call_id=pick.choice(("c1", "c2")),
                cseq=pick.randrange(1, 4),
                rport=pick.random() < 0.5,
                transport=flow.transport.upper(),
                flow=flow,
            )
            return lambda layer, now: layer.receive(message, flow, now)
        if kind < 6 and self.names:
            name, status = pick.choice(self.names[-6:]), pick.choice((100, 180, 200, 200, 404, 487))
            server = layer._servers.get(name)
            answer = ((server and server.request) or request()).response(status, to_tag="t")
            return lambda layer, now: layer.respond(name, answer, now)
        if kind == 6:
            self.count += 1
            message, ref, branch = (
                ours(pick.choice(("INVITE", "BYE"))),
                f"r{self.count % 5}",
                f"z9hG4bKo{self.count}",
            )
            return lambda layer, now: layer.request(
                message, flow, now, ref=ref, branch=branch, via_host="192.0.2.1", via_port=5060
            )
        if kind < 9 and self.asked:
            reply = response(pick.choice(self.asked[-6:]), pick.choice((100, 180, 200, 486)))
            return lambda layer, now: layer.receive(reply, flow, now)
        if kind == 9:
            ref = f"r{pick.randrange(5)}"
            return lambda layer, now: layer.cancel(ref, now)
        if kind == 10 and pick.random() < 0.3:
            return lambda layer, now: layer.transport_failed(flow, now)
        return lambda layer, now: layer.expire(now)


def reborn(layer: TransactionLayer) -> TransactionLayer:
    data = msgspec.msgpack.decode(msgspec.msgpack.encode(layer.snapshot()))
    return TransactionLayer.restore(data)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 300))
def test_a_restored_layer_behaves_the_same(seed: int, age: int) -> None:
    script, layer = Script(seed), TransactionLayer()
    for _ in range(age):
        script.watch(script.next(layer)(layer, script.now))
    twin = reborn(layer)
    for _ in range(1000):
        step = script.next(layer)
        effects = step(layer, script.now)
        assert step(twin, script.now) == effects
        assert twin.next_due == layer.next_due
        script.watch(effects)
    assert twin.snapshot() == layer.snapshot()
    drain(layer, script.now + 1000)
    left = [
        t for t in layer._clients.values() if t.request.method != "INVITE" or t.machine.state != "PROCEEDING"
    ]
    assert left == []  # only INVITEs that ring wait for ever, and those the TU has not answered
    assert {t.machine.state for t in layer._servers.values()} <= {"PROCEEDING"}
    waiting: list[Transaction] = [
        *layer._clients.values(),
        *(t for t in layer._servers.values() if t.fallback is not None),
    ]
    assert layer._by_flow._to.keys() == {(t.flow.transport, *t.flow.remote) for t in waiting}
    assert set(layer._first.values()) <= set(layer._servers)


def test_a_transaction_that_cannot_be_read_back_is_dropped_alone() -> None:
    layer = TransactionLayer()
    arrive(layer, request())
    name = arrive(layer, request("OPTIONS", branch="z9hG4bK2"))
    data = layer.snapshot()
    data["servers"][0]["request"] = b"nonsense"
    twin = TransactionLayer.restore(data)
    assert len(twin) == 1
    assert statuses(twin.respond(name, request("OPTIONS").response(200, to_tag="t"), 0.1)) == [200]


def test_ten_thousand_transactions() -> None:
    layer = TransactionLayer(Timers())
    plain = request("OPTIONS")
    for i in range(10_000):
        options = plain.copy()
        options.headers.set("Via", f"SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK{i};rport=5062")
        options.headers.set("Call-ID", f"call-{i}")
        name = arrive(layer, options, now=i / 1000)
        if i % 10 == 0:
            layer.respond(name, options.response(200, to_tag="t"), i / 1000)
    assert len(layer) == 10_000
    assert len(layer._wakeups) == 10_000
    drain(layer, 42.0)
    assert (len(layer), len(layer._wakeups)) == (0, 0)
    assert (layer._first, layer._by_flow._to, layer._by_flow._from) == ({}, {}, {})
