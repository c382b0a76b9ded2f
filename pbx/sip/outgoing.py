"""Requests to servers that nobody registered from: found by RFC 3263, and tried one after the other.

in → out: a request, what DNS said, how each try ended → the next try, or the end of it. The user of this sees one
request with one outcome under one `ref`, as of any other.
"""

from dataclasses import dataclass, replace
from typing import Final

from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.locate import Ask, Hop, Located, Locator, Question, Records
from pbx.sip.locate import Effect as Look
from pbx.sip.message import Request
from pbx.sip.uri import Uri

MAX_DATAGRAM: Final = 1300
"""Bytes of a request that may go over UDP (RFC 3261 §18.1.1)."""
VIA_BYTES: Final = 150
"""What our Via adds to it, at most."""


@dataclass(frozen=True, slots=True)
class Try:
    """Send `request` to `hop`, as a transaction of its own under the same `ref`."""

    ref: str
    request: Request
    hop: Hop


Effect = Ask | Try | TransactionFailed


@dataclass(slots=True)
class _Sending:
    request: Request
    hops: tuple[Hop, ...] = ()
    """Still to be tried."""
    sent: bool = False


class Outgoing:
    """All requests under way to servers."""

    def __init__(self, locator: Locator) -> None:
        self._locator = locator
        self._sending: dict[str, _Sending] = {}

    def __len__(self) -> int:
        return len(self._sending)

    def send(self, ref: str, request: Request, now: float, target: Uri | None = None) -> list[Effect]:
        """Send a request to where `target`, else its first Route, or its Request-URI, leads (RFC 3261 §8.1.2)."""
        self._sending[ref] = _Sending(request)
        routes = request.routes
        uri = target or (routes[0].uri if routes else request.uri)
        return self._found(self._locator.locate(ref, uri, now))

    def cancel(self, ref: str) -> list[Effect]:
        """Give up a request: no further hop is tried. One that has not been sent yet fails."""
        sending = self._sending.get(ref)
        if sending is None:
            return []
        self._locator.forget(ref)
        sending.hops = ()
        if sending.sent:
            return []
        del self._sending[ref]
        return [TransactionFailed(ref, "transport")]

    def answered(self, question: Question, records: Records, ttl: float, now: float) -> list[Effect]:
        """Hear what DNS said (`Locator.answered`)."""
        return self._found(self._locator.answered(question, records, ttl, now))

    def unanswered(self, question: Question, now: float) -> list[Effect]:
        """Hear that DNS gave no answer (`Locator.failed`)."""
        return self._found(self._locator.failed(question, now))

    def ended(self, event: ResponseArrived | TransactionFailed) -> list[Effect] | None:
        """Judge how a try ended. None: that is the outcome, which goes to the user; else the next try.

        RFC 3263 §4.3: "…a failure occurs if the transaction layer reports a 503 error response or a transport failure
        of some sort (generally, due to fatal ICMP errors in UDP or connection failures in TCP). Failure also occurs if
        the transaction layer times out without ever having received any response".
        """
        sending = self._sending.get(event.ref)
        if sending is None:
            return None
        if isinstance(event, ResponseArrived):
            status = event.response.status
            if status < 200:
                if status > 100:
                    sending.hops = ()  # somebody has it: trying another now could make two calls of one
                return None
            failed = status == 503
        else:
            failed = True
        if not failed or not sending.hops:
            del self._sending[event.ref]
            return None
        return self._next(event.ref, sending)

    def _found(self, looked: list[Look]) -> list[Effect]:
        out: list[Effect] = []
        for effect in looked:
            match effect:
                case Ask():
                    out.append(effect)
                case Located(ref, hops) if ref in self._sending:
                    sending = self._sending[ref]
                    sending.hops = tuple(_fitting(hops, sending.request))
                    out += self._next(ref, sending)
        return out

    def _next(self, ref: str, sending: _Sending) -> list[Effect]:
        if not sending.hops:
            del self._sending[ref]
            return [TransactionFailed(ref, "transport")]
        hop, *rest = sending.hops
        sending.hops, sending.sent = tuple(rest), True
        return [Try(ref, sending.request, hop)]


def _fitting(hops: tuple[Hop, ...], request: Request) -> list[Hop]:
    """Put TCP before UDP for a long request.

    RFC 3261 §18.1.1: "If a request is … larger than 1300 bytes and the path MTU is unknown, the request MUST be sent
    using an RFC 2914 congestion controlled transport protocol, such as TCP. … If … the attempt … results in an ICMP
    Protocol Not Supported, or results in a TCP reset, the element SHOULD retry the request, using UDP."
    """
    if len(request.encode()) + VIA_BYTES <= MAX_DATAGRAM:
        return list(hops)
    out = []
    for hop in hops:
        if hop.transport == "udp":
            out.append(replace(hop, transport="tcp"))
        out.append(hop)
    return out
