"""When to ask a phone for a key frame, and in which way (RFC 4585 §6.3.1, RFC 5104 §4.3.1, RFC 5168). Pure.

joined, picture damaged, the other side asks ─▶ PictureRequests.want ─▶ "pli" | "fir" | "info" | nothing yet
key frame seen ─▶ answered                       none seen ─▶ the same again, a few times
"""

from typing import Any, Final, Literal

Way = Literal["pli", "fir", "info"]
"""RTCP picture loss indication; RTCP full intra request; let signalling send SIP INFO."""

INTERVAL_SECONDS: Final = 0.5
"""Between two requests to one phone that has answered the first: a key frame is ten times the size of another. With the sweep, the
way and the phone's own beat a picture is whole again within a second of the last loss, also if that came just after a request."""

PATIENCE_SECONDS: Final = 0.25
"""From a request to the same once more while no key frame has come, beside the round trip: it or its answer may be lost. An
encoder takes one beat, 67 ms at 15 pictures a second; whoever asks sooner gets two key frames."""

TIMES: Final = 5
"""How often a request is repeated: of six one arrives where half of all is lost, and a phone that makes no key frame is left alone."""


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
        """Something is to be asked, or asked again, when its time has come."""
        self._left = 0  # repetitions of the request that is not answered
        self._repeated = False
        self.patience = PATIENCE_SECONDS
        """From a request to the same once more, seconds."""
        self._number = -1

    @property
    def next_due(self) -> float | None:
        """Monotonic seconds, None while nothing is wanted."""
        if not self.wanted:
            return None
        if self._asked_at is None:
            return 0.0
        return self._asked_at + (self.patience if self._left else INTERVAL_SECONDS)

    @property
    def awaiting(self) -> bool:
        """Whether the last request will be repeated unless a key frame comes."""
        return self._left > 0

    def want(self, now: float) -> bool:
        """Whether to ask at once; otherwise `expire` will say when."""
        self.wanted = True
        return self.expire(now)

    def expire(self, now: float) -> bool:
        """Whether a request is due; True means it is being sent now."""
        due = self.next_due
        if due is None or now < due:
            return False
        self._repeated = self.awaiting
        self._left = self._left - 1 if self._repeated else TIMES
        self.wanted = self.awaiting
        self._asked_at = now
        return True

    def answered(self) -> None:
        """Hear that a key frame begins, or that nobody would see one: the last request is not repeated."""
        if self._left:
            self._left = 0
            self.wanted = False

    def fir_number(self) -> int:
        """The FIR command number. RFC 5104 §4.3.1.1: increased by 1 modulo 256 for each new command, not for a repetition."""
        if not self._repeated or self._number < 0:
            self._number = (self._number + 1) & 0xFF
        return self._number

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data."""
        return {
            "asked_at": self._asked_at,
            "wanted": self.wanted,
            "left": self._left,
            "repeated": self._repeated,
            "patience": self.patience,
            "number": self._number,
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> "PictureRequests":
        """Make requests that go on where `snapshot` was taken."""
        requests = cls()
        requests._asked_at = data["asked_at"]
        requests.wanted = data["wanted"]
        requests._left, requests._repeated = data["left"], data["repeated"]
        requests.patience = data["patience"]
        requests._number = data["number"]
        return requests
