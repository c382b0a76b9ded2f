"""Requests to servers: one outcome however many hops were tried (RFC 3263 §4.3)."""

import pytest

from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.locate import Ask, Locator, Question
from pbx.sip.outgoing import Outgoing, Try
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
    following = out.ended(end)
    assert following is not None
    (second,) = following
    assert isinstance(second, Try)
    assert second.hop.address == "192.0.2.8"
    assert out.ended(end) is None, "the last failure is the outcome"
    assert len(out) == 0


@pytest.mark.parametrize("status", [200, 302, 404, 486, 500, 603])
def test_an_answer_is_the_outcome(status: int) -> None:
    out, _ = started()
    assert out.ended(answer(status)) is None
    assert len(out) == 0


def test_who_is_ringing_has_it() -> None:
    out, _ = started()
    assert out.ended(answer(100)) is None
    assert out.ended(answer(180)) is None
    assert out.ended(answer(503)) is None, "another try could make two calls of one"


def test_trying_is_no_answer_yet() -> None:
    out, _ = started()
    assert out.ended(answer(100)) is None
    assert out.ended(answer(503)) is not None


def test_others_outcomes_are_others_business() -> None:
    out, _ = started()
    assert out.ended(TransactionFailed("other", "timeout")) is None
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
    following = out.ended(TransactionFailed("r", "transport"))
    assert following is not None
    assert isinstance(following[0], Try)
    assert following[0].hop.transport == "udp"


def test_cancelled_before_it_was_sent() -> None:
    out = Outgoing(Locator(lambda: 0.5))
    out.send("r", request(uri="sip:x@plain.example:5060", flow=None), 0.0)
    assert out.cancel("r") == [TransactionFailed("r", "transport")]
    assert out.answered(NONE, (), 60.0, 0.0) == []
    assert out.answered(QUESTION, TWO, 60.0, 0.0) == []


def test_cancelled_while_it_is_tried() -> None:
    out, _ = started()
    assert out.cancel("r") == []
    assert out.ended(answer(503)) is None, "no second try of what nobody wants"
    assert out.cancel("r") == []
