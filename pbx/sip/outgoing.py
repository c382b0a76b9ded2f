"""Requests to servers that nobody registered from: found by RFC 3263, and tried one after the other.

in → out: a request, what DNS said, how each try ended, time → the next try, or the end of it. The user of this sees one
request with one outcome under one `ref`, as of any other.

A hop that says nothing is not waited for until its transaction ends: with `patience` the next one is tried meanwhile. The
old transaction lives on, so each try after the first has a name of its own (`REF~1`, `REF~2` …): what still comes of one
that was given up is told under its name, where nobody takes it for the outcome.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from msgspec import structs

from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.locate import Ask, Hop, Located, Locator, Question, Records
from pbx.sip.locate import Effect as Look
from pbx.sip.message import Request
from pbx.sip.uri import Uri

MAX_DATAGRAM: Final = 1300
"""Bytes of a request that may go over UDP (RFC 3261 §18.1.1)."""
VIA_BYTES: Final = 150
"""What our Via adds to it, at most."""
DEAF_SECONDS: Final = 600.0
"""How long a server that took no TCP is sent long requests over UDP at once."""
MAX_KEPT: Final = 1024
"""Servers that took no TCP, and requests that went on from a silent hop, which are remembered."""

_NUMBERED: Final = re.compile(r"(.*)~([0-9]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Try:
    """Send `request` to `hop`, as a transaction of its own named `name`."""

    ref: str
    request: Request
    hop: Hop
    name: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Cancel the try `name`: another hop is tried."""

    name: str


Effect = Ask | Try | GiveUp | TransactionFailed


@dataclass(slots=True)
class _Sending:
    request: Request
    patience: float | None = None
    """Seconds a hop may say nothing while there is another."""
    hops: tuple[Hop, ...] = ()
    """Still to be tried."""
    hop: Hop | None = None
    """Being tried."""
    due: float | None = None
    """When that one has been silent for too long."""


class Outgoing:
    """All requests under way to servers."""

    def __init__(self, locator: Locator) -> None:
        self._locator = locator
        self._sending: dict[str, _Sending] = {}
        self._tries: dict[str, int] = {}
        """ref → number of the present try, of those that went on from a silent hop."""
        self._deaf: dict[tuple[str, int], float] = {}
        """Servers that took no TCP → until when that is believed."""

    def __len__(self) -> int:
        return len(self._sending)

    def send(
        self,
        ref: str,
        request: Request,
        now: float,
        target: Uri | None = None,
        *,
        patience: float | None = None,
    ) -> list[Effect]:
        """Send a request to where `target`, else its first Route, or its Request-URI, leads (RFC 3261 §8.1.2).

        `patience`: seconds after which a hop that has said nothing is left for the next; None: its transaction decides.
        """
        self._sending[ref] = _Sending(request, patience)
        routes = request.routes
        uri = target or (routes[0].uri if routes else request.uri)
        return self._found(self._locator.locate(ref, uri, now), now)

    def cancel(self, ref: str) -> list[Effect]:
        """Give up a request: no further hop is tried. One that has not been sent yet fails."""
        sending = self._sending.get(ref)
        if sending is None:
            return []
        self._locator.forget(ref)
        sending.hops, sending.due = (), None
        if sending.hop is not None:
            return []
        del self._sending[ref]
        return [TransactionFailed(ref, "transport")]

    def answered(self, question: Question, records: Records, ttl: float, now: float) -> list[Effect]:
        """Hear what DNS said (`Locator.answered`)."""
        return self._found(self._locator.answered(question, records, ttl, now), now)

    def unanswered(self, question: Question, now: float) -> list[Effect]:
        """Hear that DNS gave no answer (`Locator.failed`)."""
        return self._found(self._locator.failed(question, now), now)

    # --- names of tries ---------------------------------------------------------------------------------------------

    def name(self, ref: str) -> str:
        """Return the name of the present try of a request."""
        number = self._tries.get(ref, 0)
        return f"{ref}~{number}" if number else ref

    def heard(self, event: ResponseArrived | TransactionFailed) -> ResponseArrived | TransactionFailed:
        """Return what came of a try under the `ref` of its request; of one that was given up, under its own name."""
        found = _NUMBERED.fullmatch(event.ref)
        ref, number = (event.ref, 0) if found is None else (found[1], int(found[2]))
        present = self._tries.get(ref, number)  # after a restart: nobody knows of another
        told = ref if number == present else f"{ref}~{number}"
        return event if told == event.ref else structs.replace(event, ref=told)

    # --- time -------------------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called."""
        return min(
            (sending.due for sending in self._sending.values() if sending.due is not None), default=None
        )

    def expire(self, now: float) -> list[Effect]:
        """Go on from hops that have said nothing."""
        out: list[Effect] = []
        for ref, sending in list(self._sending.items()):
            if sending.due is None or sending.due > now:
                continue
            self._no_tcp(sending, now)
            out.append(GiveUp(self.name(ref)))
            self._tries[ref] = self._tries.pop(ref, 0) + 1
            while len(self._tries) > MAX_KEPT:
                del self._tries[next(iter(self._tries))]
            out += self._next(ref, sending, now)
        return out

    def ended(self, event: ResponseArrived | TransactionFailed, now: float) -> list[Effect] | None:
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
            sending.due = None
            if status < 200:
                if status > 100:
                    sending.hops = ()  # somebody has it: trying another now could make two calls of one
                return None
            failed = status == 503
        else:
            failed = True
            if event.why == "transport":
                self._no_tcp(sending, now)
        if not failed or not sending.hops:
            del self._sending[event.ref]
            return None
        return self._next(event.ref, sending, now)

    def _no_tcp(self, sending: _Sending, now: float) -> None:
        """Remember a server that takes no TCP, if UDP is tried there next."""
        hop, following = sending.hop, next(iter(sending.hops), None)
        if hop is None or following is None or hop.transport != "tcp" or following.transport != "udp":
            return
        where = (hop.address, hop.port)
        if where == (following.address, following.port):
            self._deaf.pop(where, None)
            self._deaf[where] = now + DEAF_SECONDS
            while len(self._deaf) > MAX_KEPT:
                del self._deaf[next(iter(self._deaf))]

    def _found(self, looked: list[Look], now: float) -> list[Effect]:
        out: list[Effect] = []
        for effect in looked:
            match effect:
                case Ask():
                    out.append(effect)
                case Located(ref, hops) if ref in self._sending:
                    sending = self._sending[ref]
                    sending.hops = tuple(self._fitting(hops, sending.request, now))
                    out += self._next(ref, sending, now)
        return out

    def _next(self, ref: str, sending: _Sending, now: float) -> list[Effect]:
        if not sending.hops:
            del self._sending[ref]
            return [TransactionFailed(ref, "transport")]
        sending.hop, *rest = sending.hops
        sending.hops = tuple(rest)
        sending.due = now + sending.patience if rest and sending.patience is not None else None
        return [Try(ref, sending.request, sending.hop, self.name(ref))]

    def _fitting(self, hops: tuple[Hop, ...], request: Request, now: float) -> list[Hop]:
        """Put TCP before UDP for a long request, but where it was tried in vain lately.

        RFC 3261 §18.1.1: "If a request is … larger than 1300 bytes and the path MTU is unknown, the request MUST be sent
        using an RFC 2914 congestion controlled transport protocol, such as TCP. … If … the attempt … results in an ICMP
        Protocol Not Supported, or results in a TCP reset, the element SHOULD retry the request, using UDP."
        """
        if len(request.encode()) + VIA_BYTES <= MAX_DATAGRAM:
            return list(hops)
        out = []
        for hop in hops:
            if hop.transport == "udp" and self._deaf.get((hop.address, hop.port), 0.0) <= now:
                out.append(replace(hop, transport="tcp"))
            out.append(hop)
        return out
