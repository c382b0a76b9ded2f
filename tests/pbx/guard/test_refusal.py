"""The 503 made of bytes is what the parser's way would have given, and costs the peer's bytes, not ours."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.guard.refusal import MAX_ECHO, refuse
from pbx.sip.message import Response
from pbx.sip.parser import parse
from tests.kit import sip

FROM_HERE = ("192.0.2.9", 5062)


def refusal(data, *, retry_after=7, share=0.25, sequence=1000.5, remote=FROM_HERE):
    found = refuse(data, remote, retry_after=retry_after, share=share, sequence=sequence)
    if found is None:
        return None
    message = parse(found[0])
    assert isinstance(message, Response)
    return message


def test_it_is_the_response_the_whole_stack_would_make():
    asked = sip.request("OPTIONS", extra="Route: <sip:a;lr>\r\nVia: SIP/2.0/UDP second;branch=z9hG4bK2\r\n")
    answer = refusal(
        sip.request("OPTIONS", extra="Via: SIP/2.0/UDP second;branch=z9hG4bK2\r\n", flow=None).encode()
    )
    wanted = asked.response(503, to_tag=answer.to.tag, headers=[("Retry-After", "7")])
    assert answer.status == 503
    for name in ("Via", "From", "To", "Call-ID", "CSeq", "Retry-After"):
        assert answer.headers.all(name) == wanted.headers.all(name), name


def test_the_same_request_gets_the_same_tag():
    data = sip.request("MESSAGE").encode()
    assert refusal(data).to.tag == refusal(data).to.tag
    assert refusal(data).to.tag != refusal(sip.request("MESSAGE", call_id="other").encode()).to.tag


def test_a_tag_of_theirs_stays():
    assert refusal(sip.request("BYE", to_tag="ours").encode()).to.tag == "ours"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n\r\n", b"rubbish", b"SIP/2.0 200 OK\r\n\r\n", sip.request("ACK").encode(),
        b"OPTIONS sip:a SIP/2.0\r\nFrom: a\r\nTo: b\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nVia: bad\r\nFrom: a\r\nTo: b\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: b\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
        sip.request("OPTIONS", extra="X: " + "x" * MAX_ECHO + "\r\n").encode(),
        sip.request("OPTIONS").encode().partition(b"CSeq")[0],
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_not(data):
    assert refuse(data, FROM_HERE, retry_after=1, share=0.0, sequence=0.0) is None


def test_compact_and_folded_headers():
    data = (
        b"OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP\r\n h;branch=z9hG4bK1\r\nf : <sip:a@b>;tag=1\r\n"
        b"t:\r\n\t<sip:c@d>\r\ni: x\r\nCSEQ: 9 OPTIONS\r\nl: 0\r\n\r\n"
    )
    answer = refusal(data)
    assert (answer.via.host, answer.via.received, answer.call_id) == ("h", "192.0.2.9", "x")
    assert (answer.to.uri.user, answer.cseq.number) == ("c", 9)


def test_reports_instead_of_retry_after_for_who_asks():
    data = sip.request("OPTIONS", flow=None).encode().replace(b";rport", b';rport;oc;oc-algo="loss,rate"')
    answer = refusal(data)
    assert "Retry-After" not in answer.headers
    via = answer.via
    assert (via.param("oc"), via.param("oc-algo"), via.param("oc-validity")) == ("25", "loss", "500")
    assert via.param("oc-seq") == "1000.500"
    assert (via.received, via.rport, via.branch) == ("192.0.2.9", 5062, "z9hG4bKone")


def test_it_is_no_amplifier():
    data = (
        b"OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP h;branch=z9hG4bK1\r\nf:<sip:a>;tag=1\r\nt:<sip:a>\r\n"
        b"i:x\r\nCSeq:1 OPTIONS\r\nMax-Forwards:70\r\nContact:<sip:aaaaaaaaaaaa@bbbbbbbbbbbbbb>\r\n\r\n"
    )
    found = refuse(data, FROM_HERE, retry_after=10, share=0.0, sequence=0.0)
    assert found is not None
    assert len(found[0]) <= 1.5 * len(data)  # bars L8


VALUE = st.text(st.characters(codec="latin-1"), max_size=30)


@given(st.tuples(VALUE, VALUE, VALUE, VALUE))
def test_nothing_a_peer_writes_makes_a_header_of_its_own(values):
    from_, to, call, cseq = (value.encode("latin-1") for value in values)
    data = (
        b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: " + from_ + b"\r\nTo: " + to
        + b"\r\nCall-ID: " + call + b"\r\nCSeq: " + cseq + b"\r\n\r\n"
    )  # fmt: skip
    found = refuse(data, FROM_HERE, retry_after=3, share=0.0, sequence=0.0)
    if found is None:
        return
    lines = found[0].split(b"\r\n")
    names = [line.partition(b":")[0] for line in lines[1:-2]]
    assert names == [b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Retry-After", b"Content-Length"]
    assert re.fullmatch(rb"Retry-After: 3", lines[6])
