"""Requests to servers: one outcome however many hops were tried (RFC 3263 §4.3)."""

import pytest

from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.locate import Ask, Locator, Question
from pbx.sip.outgoing import GiveUp, Outgoing, Try
from tests.kit.sip import UDP, request

TWO = ("192.0.2.7", "192.0.2.8")
QUESTION: Question = ("plain.example", "A")
NONE: Question = ("plain.example", "AAAA")


def started(*, body: bytes = b"", addresses: tuple[str, ...] = TWO) -> tuple[Outgoing, Try]:
    out = Outgoing(Locator(lambda: 0.5))
    asked = out.send("r", request(uri="sip:x@plain.example:5060", flow=None, body=body), 0.0)
    assert [effect.question for effect in asked if isinstance(effect, Ask)] == [NONE, QUESTION]
    assert out.answered(NONE, (), 60.0, 0.0) == []
    (first,) = out.answered(QUESTION, addresses, 60.0, 0.0)
    assert isinstance(first, Try)
    return out, first


def answer(status: int) -> ResponseArrived:
    return ResponseArrived("r", request(flow=None).response(status, to_tag="t"), UDP)


def test_the_first_hop_is_tried_first() -> None:
    _, first = started()
    assert (first.ref, first.hop.transport, first.hop.address) == ("r", "udp", "192.0.2.7")


@pytest.mark.parametrize(
    "end", [TransactionFailed("r", "timeout"), TransactionFailed("r", "transport"), answer(503)]
)
def test_a_failure_leads_to_the_next(end: ResponseArrived | TransactionFailed) -> None:
    out, _ = started()
    following = out.ended(end, 0.0)
    assert following is not None
    (second,) = following
    assert isinstance(second, Try)
    assert second.hop.address == "192.0.2.8"
    assert out.ended(end, 0.0) is None, "the last failure is the outcome"
    assert len(out) == 0


@pytest.mark.parametrize("status", [200, 302, 404, 486, 500, 603])
def test_an_answer_is_the_outcome(status: int) -> None:
    out, _ = started()
    assert out.ended(answer(status), 0.0) is None
    assert len(out) == 0


def test_who_is_ringing_has_it() -> None:
    out, _ = started()
    assert out.ended(answer(100), 0.0) is None
    assert out.ended(answer(180), 0.0) is None
    assert out.ended(answer(503), 0.0) is None, "another try could make two calls of one"


def test_trying_is_no_answer_yet() -> None:
    out, _ = started()
    assert out.ended(answer(100), 0.0) is None
    assert out.ended(answer(503), 0.0) is not None


def test_others_outcomes_are_others_business() -> None:
    out, _ = started()
    assert out.ended(TransactionFailed("other", "timeout"), 0.0) is None
    assert len(out) == 1


def test_a_uri_that_leads_nowhere_fails() -> None:
    out = Outgoing(Locator(lambda: 0.5))
    out.send("r", request(uri="sip:x@plain.example:5060", flow=None), 0.0)
    out.unanswered(NONE, 0.0)
    assert out.unanswered(QUESTION, 0.0) == [TransactionFailed("r", "transport")]


def test_a_route_goes_before_the_request_uri() -> None:
    out = Outgoing(Locator(lambda: 0.5))
    routed = request(uri="sip:x@plain.example", flow=None, extra="Route: <sip:192.0.2.99:5070;lr>\r\n")
    (only,) = out.send("r", routed, 0.0)
    assert isinstance(only, Try)
    assert (only.hop.address, only.hop.port) == ("192.0.2.99", 5070)


def test_a_long_request_goes_by_tcp_and_falls_back() -> None:
    """RFC 3261 §18.1.1."""
    out, first = started(body=b"x" * 1200, addresses=("192.0.2.7",))
    assert (first.hop.transport, first.hop.address) == ("tcp", "192.0.2.7")
    following = out.ended(TransactionFailed("r", "transport"), 0.0)
    assert following is not None
    assert isinstance(following[0], Try)
    assert following[0].hop.transport == "udp"


def silent(addresses: tuple[str, ...] = TWO, *, body: bytes = b"") -> Outgoing:
    """A request whose hops may be silent for 4 s."""
    out = Outgoing(Locator(lambda: 0.5))
    out.send("r", request(uri="sip:x@plain.example:5060", flow=None, body=body), 0.0, patience=4.0)
    out.answered(NONE, (), 60.0, 0.0)
    out.answered(QUESTION, addresses, 60.0, 1.0)
    return out


def response(name: str, status: int) -> ResponseArrived:
    return ResponseArrived(name, request(flow=None).response(status, to_tag="t"), UDP)


def due(out: Outgoing) -> float | None:
    """Asked again each time, which a checker of types does not expect of an attribute."""
    return out.next_due


def test_a_silent_hop_is_left_for_the_next() -> None:
    """RFC 3263 §4.3: the next server is tried; whoever calls for help has no 32 s for timer B."""
    out = silent()
    assert due(out) == 5.0
    assert out.expire(4.9) == []
    given_up, second = out.expire(5.0)
    assert given_up == GiveUp("r")
    assert isinstance(second, Try)
    assert (second.ref, second.name, second.hop.address) == ("r", "r~1", "192.0.2.8")
    assert out.name("r") == "r~1", "that is what a CANCEL is for"
    assert due(out) is None, "the last one has as long as its transaction"
    assert out.expire(100.0) == []
    assert out.heard(TransactionFailed("r~1", "timeout")) == TransactionFailed("r", "timeout")
    assert out.ended(TransactionFailed("r", "timeout"), 40.0) is None


def test_what_comes_late_of_a_hop_that_was_given_up_is_no_outcome() -> None:
    out = silent()
    out.expire(5.0)
    for event in (TransactionFailed("r", "timeout"), response("r", 200)):
        late = out.heard(event)
        assert late.ref == "r~0"
        assert out.ended(late, 6.0) is None
    assert len(out) == 1, "the other hop is still tried"
    ringing = out.heard(response("r~1", 180))
    assert ringing.ref == "r"
    assert out.ended(ringing, 7.0) is None
    assert out.ended(out.heard(response("r~1", 200)), 8.0) is None
    assert out.heard(response("r~1", 200)).ref == "r", "a repeated 2xx, when all is over"
    assert len(out) == 0


def test_whoever_said_something_is_waited_for() -> None:
    out = silent()
    assert out.ended(out.heard(response("r", 100)), 2.0) is None
    assert out.next_due is None


def test_after_a_restart_a_number_means_nothing() -> None:
    out = Outgoing(Locator(lambda: 0.5))
    assert out.heard(response("leg-1/invite/2~3", 200)).ref == "leg-1/invite/2"
    assert out.heard(response("trunk/a~b/register/1", 200)).ref == "trunk/a~b/register/1"


@pytest.mark.parametrize("how", ["silent", "refused"])
def test_a_server_that_takes_no_tcp_is_sent_long_requests_over_udp_for_a_while(how: str) -> None:
    long = b"x" * 1200
    out = silent(("192.0.2.7",), body=long)
    if how == "silent":
        _, udp = out.expire(5.0)
    else:
        following = out.ended(TransactionFailed("r", "transport"), 5.0)
        assert following is not None
        (udp,) = following
    assert isinstance(udp, Try)
    assert udp.hop.transport == "udp"
    for now, transport in ((30.0, "udp"), (604.9, "udp"), (605.1, "tcp")):
        again = request(uri="sip:x@192.0.2.7:5060", flow=None, body=long)
        (tried,) = out.send(f"again{now}", again, now)
        assert isinstance(tried, Try)
        assert tried.hop.transport == transport


def test_a_tcp_hop_that_said_503_takes_tcp() -> None:
    out = silent(("192.0.2.7",), body=b"x" * 1200)
    assert out.ended(answer(503), 2.0) is not None
    (tried,) = out.send("s", request(uri="sip:x@192.0.2.7:5060", flow=None, body=b"x" * 1200), 3.0)
    assert isinstance(tried, Try)
    assert tried.hop.transport == "tcp"


def test_cancelled_before_it_was_sent() -> None:
    out = Outgoing(Locator(lambda: 0.5))
    out.send("r", request(uri="sip:x@plain.example:5060", flow=None), 0.0)
    assert out.cancel("r") == [TransactionFailed("r", "transport")]
    assert out.answered(NONE, (), 60.0, 0.0) == []
    assert out.answered(QUESTION, TWO, 60.0, 0.0) == []


def test_cancelled_while_it_is_tried() -> None:
    out, _ = started()
    assert out.cancel("r") == []
    assert out.ended(answer(503), 0.0) is None, "no second try of what nobody wants"
    assert out.cancel("r") == []
