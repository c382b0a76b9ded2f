"""A transaction layer without a network: messages are given to it, and what it does is read.

Times are seconds, monotonic; `PEER` is where our own requests go.
"""

from typing import Final

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.sip.transactions import (
    Effect,
    RequestArrived,
    TransactionLayer,
    Transmit,
)
from pbx.sip.uri import NameAddr, parse_name_addr, parse_uri
from tests.kit.sip import UDP

PEER: Final = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.20", 5070))


def sent(effects: list[Effect]) -> list[tuple[Request | Response, Flow]]:
    """Every message transmitted, read, and the flow it left on."""
    return [(parse(e.data), e.flow) for e in effects if isinstance(e, Transmit)]


def statuses(effects: list[Effect]) -> list[int]:
    """Statuses of the responses transmitted, in order."""
    return [m.status for m, _ in sent(effects) if isinstance(m, Response)]


def methods(effects: list[Effect]) -> list[str]:
    """Methods of the requests transmitted, in order."""
    return [m.method for m, _ in sent(effects) if isinstance(m, Request)]


def news(effects: list[Effect]) -> list[Effect]:
    """What the TU hears."""
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
