"""The transaction layer as a client: our requests, their repetitions and CANCELs."""

import pytest

from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.transactions import (
    ResponseArrived,
    StrayResponse,
    TransactionFailed,
    TransactionLayer,
    Transmit,
)
from pbx.sip.uri import parse_name_addr
from tests.kit.layer import PEER, ask, drain, methods, news, ours, sent
from tests.kit.sip import response


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
