"""When to ask a phone for a key frame, and in which way (RFC 4585 §6.3.1, RFC 5104 §4.3.1, RFC 5168). Pure.

joined, picture damaged, the other side asks ─▶ PictureRequests.want ─▶ "pli" | "fir" | "info" | nothing yet
"""

from typing import Any, Final, Literal

Way = Literal["pli", "fir", "info"]
"""RTCP picture loss indication; RTCP full intra request; let signalling send SIP INFO."""

INTERVAL_SECONDS: Final = 0.7
"""Between two requests to one phone: a key frame is ten times the size of another. With the sweep, the way and the phone's own
beat a picture is whole again within a second of the last loss, also if that came just after a request."""


def way(feedback: tuple[str, ...]) -> Way:
    """How a phone is asked that agreed to this `a=rtcp-fb`."""
    if "nack pli" in feedback:
        return "pli"
    return "fir" if "ccm fir" in feedback else "info"


class PictureRequests:
    """Requests to one phone. A want that comes too soon is kept and falls due when the interval is over."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self.wanted = False
        """Something is to be asked when the interval is over."""
        self._number = -1

    @property
    def next_due(self) -> float | None:
        """Monotonic seconds, None while nothing is wanted."""
        if not self.wanted:
            return None
        return 0.0 if self._asked_at is None else self._asked_at + INTERVAL_SECONDS

    def want(self, now: float) -> bool:
        """Whether to ask at once; otherwise `expire` will say when."""
        self.wanted = True
        return self.expire(now)

    def expire(self, now: float) -> bool:
        """Whether a request is due; True means it is being sent now."""
        due = self.next_due
        if due is None or now < due:
            return False
        self.wanted = False
        self._asked_at = now
        return True

    def fir_number(self) -> int:
        """The next FIR command number. RFC 5104 §4.3.1.1: increased by 1 modulo 256 for each new command."""
        self._number = (self._number + 1) & 0xFF
        return self._number

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data."""
        return {"asked_at": self._asked_at, "wanted": self.wanted, "number": self._number}

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "PictureRequests":
        """Make requests that go on where `snapshot` was taken."""
        requests = cls()
        requests._asked_at = data["asked_at"]
        requests.wanted = data["wanted"]
        requests._number = data["number"]
        return requests
