"""The timers of RFC 3261 §17 (table 4 in its appendix A) and RFC 6026, by name and by length.

in → out: `Timers.length(timer, reliable=…)` gives seconds; who starts and stops them stands in the transition tables.
"""

from dataclasses import dataclass
from enum import StrEnum


class Timer(StrEnum):
    """Letters as in RFC 3261 and RFC 6026; C belongs to proxies. The last four have no letter there."""

    A = "A"
    """INVITE request retransmission, unreliable transports only."""
    B = "B"
    """INVITE client: no answer at all."""
    D = "D"
    """INVITE client takes retransmitted failures."""
    E = "E"
    """Non-INVITE request retransmission, unreliable transports only."""
    F = "F"
    """Non-INVITE client: no final answer."""
    G = "G"
    """INVITE failure retransmission, unreliable transports only."""
    H = "H"
    """INVITE server: no ACK to a failure."""
    I = "I"  # noqa: E741 — the RFC's own name
    """INVITE server takes retransmitted ACKs."""
    J = "J"
    """Non-INVITE server takes retransmitted requests."""
    K = "K"
    """Non-INVITE client takes retransmitted responses."""
    L = "L"
    """INVITE server takes retransmitted INVITEs after a 2xx (RFC 6026 §8.7)."""
    M = "M"
    """INVITE client takes retransmitted and forked 2xx (RFC 6026 §8.4)."""
    TRYING = "TRYING"
    """INVITE server answers 100 by itself (§17.2.1)."""
    CANCELLED = "CANCELLED"
    """INVITE client: no final answer after the CANCEL (§9.1)."""
    LATE = "LATE"
    """Non-INVITE server whose TU has not answered yet: the client repeats its request every T2 by now (RFC 4320)."""
    UNANSWERED = "UNANSWERED"
    """Non-INVITE server whose TU never answers: the client gave up long ago (RFC 4320), free the memory."""


@dataclass(frozen=True, slots=True)
class Timers:
    """Base values in seconds, RFC 3261 §17.1.1.1 and §17.1.2.2."""

    t1: float = 0.5
    """Estimate of the round-trip time."""
    t2: float = 4.0
    """Longest interval between retransmissions of non-INVITE requests and INVITE responses."""
    t4: float = 5.0
    """Longest time a message stays in the network."""
    d: float = 32.0
    """Timer D on unreliable transports: "a value of at least 32 seconds"."""
    trying: float = 0.2
    """RFC 3261 §17.2.1: 100 "unless it knows that the TU will generate a … response within 200 ms"."""

    @property
    def until_t2(self) -> float:
        """Seconds until the timer E of a request's client is reset to T2: after T1, 2·T1, 4·T1 … (RFC 3261 §17.1.2.2)."""
        passed, interval = 0.0, self.t1
        while interval < self.t2:
            passed += interval
            interval *= 2
        return passed

    def length(self, timer: Timer, *, reliable: bool) -> float | None:
        """Seconds until `timer` fires for the first time; 0: at once; None: the transport does not have it."""
        match timer:
            # RFC 3261 §17.1.1.2, §17.1.2.2, §17.2.1: nothing is retransmitted over reliable transports.
            case Timer.A | Timer.E | Timer.G:
                return None if reliable else self.t1
            # "…and a value of zero seconds for reliable transports"; J, below, is 64*T1 otherwise.
            case Timer.D:
                return 0.0 if reliable else self.d
            case Timer.I | Timer.K:
                return 0.0 if reliable else self.t4
            case Timer.J:
                return 0.0 if reliable else 64 * self.t1
            case Timer.TRYING:
                return self.trying
            case Timer.LATE:
                return self.until_t2
            case _:
                # B, F, H, and L, M on every transport: RFC 6026 §8.4 and §8.7.
                return 64 * self.t1
