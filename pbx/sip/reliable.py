"""Reliable provisional responses (RFC 3262): the server's side sends one until PRACK comes, the client's side puts them in order.

in → out: a provisional response and a number → the same with RSeq, its repetitions, whether a PRACK is for it; responses
of the peer → the RAck to send, or nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pbx.sip import grammar
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.sip.session_timer import tags
from pbx.sip.timers import Timers

TAG: Final = "100rel"

MAX_FIRST_RSEQ: Final = 2**31 - 1
"""RFC 3262 §3: the first RSeq of a transaction lies between 1 and 2**31 - 1."""

_RACK: Final = re.compile(r"([0-9]{1,10})[ \t]+([0-9]{1,10})[ \t]+(\S+)")


def rack(message: Request) -> tuple[int, int, str] | None:
    """Read RAck: RSeq, CSeq number and method; None when it is missing or malformed."""
    found = _RACK.fullmatch(message.headers.get("RAck") or "")
    return None if found is None else (int(found[1]), int(found[2]), found[3])


def is_reliable(response: Response) -> bool:
    """Tell whether a response wants a PRACK (§4)."""
    return 101 <= response.status <= 199 and TAG in tags(response, "Require")


@dataclass(slots=True)
class Reliable:
    """A provisional response of ours that waits for its PRACK."""

    transaction: str
    response: Response
    rseq: int
    interval: float
    """Seconds until the next retransmission after the coming one."""
    next_at: float
    deadline: float
    """64·T1 after the first."""
    confirmed: bool = False
    """Its PRACK has come."""

    @classmethod
    def start(cls, transaction: str, response: Response, now: float, timers: Timers, *, number: int) -> Self:
        """Begin when `response` (101 to 199) is first sent; it is changed into a reliable one.

        `number`: a random one, for the first RSeq.
        """
        rseq = number % MAX_FIRST_RSEQ + 1
        response.headers.add("Require", TAG)
        response.headers.add("RSeq", str(rseq))
        return cls(transaction, response, rseq, timers.t1, now + timers.t1, now + 64 * timers.t1)

    def prack(self, request: Request) -> bool:
        """Take a PRACK; False when it is not for this response (§3: answered 481 then)."""
        invite = self.response.cseq
        if rack(request) != (self.rseq, invite.number, invite.method):
            return False
        self.confirmed = True
        return True

    def settle(self) -> None:
        """Stop repeating because the final response is out (§3); a PRACK may still come, and is answered."""
        self.confirmed = True

    @property
    def next_due(self) -> float | None:
        """When to look at it again."""
        return None if self.confirmed else min(self.next_at, self.deadline)

    def repeat(self, now: float) -> bool:
        """Say whether to send it again now. The interval doubles without a cap, unlike that of a 2xx (§3)."""
        if self.confirmed or now < self.next_at:
            return False
        self.interval *= 2
        self.next_at = now + self.interval
        return True

    def given_up(self, now: float) -> bool:
        """Say whether no PRACK came for 64·T1; the INVITE is refused with a 5xx then (§3)."""
        return not self.confirmed and now >= self.deadline

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "transaction": self.transaction,
            "response": self.response.encode(),
            "rseq": self.rseq,
            "interval": self.interval,
            "next_at": self.next_at,
            "deadline": self.deadline,
            "confirmed": self.confirmed,
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any]) -> Self:
        """Undo `snapshot`."""
        response = parse(data["response"])
        assert isinstance(response, Response), "a snapshot holds what encode() wrote"
        return cls(**{**data, "response": response})


def in_order(last: int | None, response: Response) -> int | None:
    """Return the RSeq of a reliable response if it is the next one, None when it is to be ignored.

    `last`: the RSeq taken last in the same dialog, None before the first. §4: only the one that is higher by one is
    acknowledged and looked into; any other comes again.
    """
    number = grammar.number(response.headers.get("RSeq") or "")
    if number is None or number == 0:
        return None
    return number if last is None or number == last + 1 else None


def rack_header(rseq: int, response: Response) -> tuple[str, str]:
    """The RAck of the PRACK for `response` (§7.2)."""
    return ("RAck", f"{rseq} {response.cseq.number} {response.cseq.method}")
