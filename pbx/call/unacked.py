"""A 2xx to an INVITE that waits for its ACK.

The transaction user retransmits it, not the transaction (RFC 3261 §13.3.1.4): "the 2xx response is passed to the
transport with an interval that starts at T1 seconds and doubles for each retransmission until it reaches T2 seconds".
"""

from dataclasses import dataclass
from typing import Any, Final, Self

from pbx.sip.message import Response
from pbx.sip.parser import parse
from pbx.sip.timers import Timers

NOTICE_AFTER: Final = 16
"""T1s after which people are told: four repetitions went unheard, and there is time left to call back."""


@dataclass(slots=True)
class Unacked:
    """One such response."""

    transaction: str
    response: Response
    cseq: int
    interval: float
    """Seconds until the next retransmission after the coming one."""
    next_at: float
    deadline: float
    """64·T1 after the first: then the peer is taken for gone."""
    awaits_answer: bool
    """Our 2xx carried the offer, so the ACK carries the answer."""
    notice_at: float | None = None
    """When people are told that the ACK is missing."""
    heard: bool = False
    """The peer's media has come since: it has our answer, for it knows our port."""

    @classmethod
    def start(
        cls, transaction: str, response: Response, now: float, timers: Timers, *, awaits_answer: bool
    ) -> Self:
        """Begin when the response is first sent."""
        return cls(
            transaction,
            response,
            response.cseq.number,
            timers.t1,
            now + timers.t1,
            now + 64 * timers.t1,
            awaits_answer,
            now + NOTICE_AFTER * timers.t1,
        )

    @property
    def next_due(self) -> float:
        """When to look at it again."""
        return min(self.next_at, self.deadline, self.notice_at or self.deadline)

    def notice(self, now: float) -> bool:
        """Say, once, that people must be told now."""
        if self.notice_at is None or now < self.notice_at:
            return False
        self.notice_at = None
        return True

    def repeat(self, now: float, timers: Timers) -> bool:
        """Say whether to send it again now."""
        if now < self.next_at:
            return False
        self.interval = min(self.interval * 2, timers.t2)
        self.next_at = now + self.interval
        return True

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "transaction": self.transaction,
            "response": self.response.encode(),
            "cseq": self.cseq,
            "interval": self.interval,
            "next_at": self.next_at,
            "deadline": self.deadline,
            "awaits_answer": self.awaits_answer,
            "notice_at": self.notice_at,
            "heard": self.heard,
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Make what `snapshot` described."""
        response = parse(data["response"])
        assert isinstance(response, Response), "a snapshot holds what encode() wrote"
        return cls(**{**data, "response": response})
