"""What is kept of a request whose transaction is over but for its timers."""

import pytest

from pbx.live.frames import packed, unpacked
from pbx.sip.asked import known_of, restore_asked
from pbx.sip.flow import fallback_flow, response_flow
from tests.kit.sip import TCP, UDP, request


@pytest.mark.parametrize("flow", [UDP, TCP])
@pytest.mark.parametrize("rport", [True, False])
@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_its_answers_go_where_they_went(flow, rport, method):
    whole = request(method, flow=flow, rport=rport, transport=flow.transport.upper())
    kept = restore_asked(unpacked(packed(known_of(whole).snapshot())))
    assert kept == known_of(whole)
    assert response_flow(kept, flow) == response_flow(whole, flow)
    assert fallback_flow(kept, flow) == fallback_flow(whole, flow)


def test_what_makes_it_the_same():
    first, other = known_of(request(call_id="a", cseq=3)), known_of(request(call_id="a", cseq=4))
    assert first.sameness != other.sameness
    assert first.sameness == known_of(request(call_id="a", cseq=3, branch="z9hG4bKother")).sameness
    assert (first.opens, known_of(request(to_tag="t")).opens) == (True, False)


@pytest.mark.parametrize(
    "data", [None, [], ["INVITE"], ["INVITE", "c", "t", "x", True, ["UDP", "h", None, True]]]
)
def test_what_is_none_raises(data):
    with pytest.raises((TypeError, ValueError)):
        restore_asked(data)
