"""Which transaction a message belongs to."""

from typing import Any

import pytest

from pbx.sip.transactions import (
    AckArrived,
    Cancelled,
    TransactionLayer,
)
from tests.kit.layer import arrive, drain, news, sent, statuses
from tests.kit.sip import UDP, request


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
