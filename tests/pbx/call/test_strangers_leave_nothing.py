"""Whoever has no account and calls nobody for help costs no state: what they are told is told and forgotten (bars L8)."""

import pytest

from pbx.sip.message import Response
from pbx.sip.parser import parse
from tests.kit import sip
from tests.kit.stand import Stand

STRANGER = ("198.51.100.7", 5062)


@pytest.mark.parametrize("to_tag", [None, "theirs"])
@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("INVITE", "sip:8001@192.0.2.1"),
        ("REGISTER", "sip:192.0.2.1"),
        ("OPTIONS", "sip:192.0.2.1"),
        ("MESSAGE", "sip:110@192.0.2.1"),
        ("SUBSCRIBE", "sip:8001@192.0.2.1"),
        ("REFER", "sip:8001@192.0.2.1"),
        ("BYE", "sip:8001@192.0.2.1"),
        ("PUBLISH", "sip:8001@192.0.2.1"),
        ("FOO", "sip:8001@192.0.2.1"),
    ],
)
def test_a_stranger_is_answered_alike_each_time_and_leaves_nothing(method, uri, to_tag):
    stand = Stand()
    data = sip.request(method, uri=uri, to_tag=to_tag, call_id="theirs", flow=None).encode()
    told = []
    for again in range(3):
        (answer,) = [parse(sent) for sent, _ in stand.receive(data, STRANGER, float(again))]
        assert isinstance(answer, Response)
        told.append((answer.status, answer.to.tag))
        assert len(stand.layer) == 0
    assert len(set(told)) == 1
    assert told[0][1] is not None
    if method == "OPTIONS":
        assert told[0][0] == (200 if to_tag is None else 481)
