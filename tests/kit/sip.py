"""SIP messages for tests, made of bytes so that no builder of ours is taken for granted."""

import functools

from pbx.sip.flow import Flow, stamp
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse

UDP = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5062))
TCP = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.9", 40000), 7)


def request(
    method: str = "INVITE",
    *,
    branch: str | None = "z9hG4bKone",
    sent_by: str = "192.0.2.9:5062",
    transport: str = "UDP",
    uri: str = "sip:110@192.0.2.1",
    from_tag: str | None = "f1",
    to_tag: str | None = None,
    call_id: str = "call-1",
    cseq: int = 1,
    cseq_method: str | None = None,
    rport: bool = True,
    extra: str = "Contact: <sip:caller@192.0.2.9:5062>\r\n",
    body: bytes = b"",
    flow: Flow | None = UDP,
) -> Request:
    """A parsed request, stamped as if it came on `flow` (None: not stamped)."""
    via = f"SIP/2.0/{transport} {sent_by}"
    via += ";rport" if rport else ""
    via += f";branch={branch}" if branch is not None else ""
    text = (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: {via}\r\n"
        f"Max-Forwards: 70\r\n"
        f"From: <sip:caller@example.net>{'' if from_tag is None else ';tag=' + from_tag}\r\n"
        f"To: <{uri}>{'' if to_tag is None else ';tag=' + to_tag}\r\n"
        f"Call-ID: {call_id}\r\n"
        f"CSeq: {cseq} {cseq_method or method}\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    message = parse(text.encode() + body)
    assert isinstance(message, Request)
    if flow is not None:
        stamp(message, flow.remote)
    return message


@functools.cache
def cached_request(**what: object) -> Request:
    """`request` for tests that need thousands; don't change what it gives."""
    return request(**what)  # type: ignore[arg-type]  # the caller's keywords are checked there


@functools.cache
def response(
    to: bytes, status: int, *, to_tag: str | None = "t1", extra: str = "", body: bytes = b""
) -> Response:
    """A parsed response to the request in `to` (bytes as transmitted); don't change it."""
    asked = parse(to)
    assert isinstance(asked, Request)
    tag = "" if to_tag is None or asked.to.tag is not None else f";tag={to_tag}"
    vias = "".join(f"Via: {line}\r\n" for line in asked.headers.lines("Via"))
    text = (
        f"SIP/2.0 {status} Whatever\r\n{vias}From: {asked.headers.get('From')}\r\nTo: {asked.headers.get('To')}{tag}\r\n"
        f"Call-ID: {asked.call_id}\r\nCSeq: {asked.headers.get('CSeq')}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    answer = parse(text.encode() + body)
    assert isinstance(answer, Response)
    return answer
