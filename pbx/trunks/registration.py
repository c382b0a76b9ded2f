"""Our registration with another exchange, so that it knows where to send calls (RFC 3261 §10.2).

in → out: time, what came of each REGISTER → when to send the next one and to which peer.

    OFF ─start─▶ TRYING ─200─▶ REGISTERED ─refresh is due─▶ TRYING
                    └─refused, silent─▶ WAITING ─back-off is over─▶ TRYING
    any ─stop─▶ OFF, after a REGISTER that ends it
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pbx.sip import grammar
from pbx.sip.message import Response

BASE_SECONDS: Final = 30.0
MAX_SECONDS: Final = 1800.0
"""The defaults of RFC 5626 §4.5 for base-time (if all failed) and max-time."""
REFRESH_SHARE: Final = (0.8, 0.9)
"""Of the interval granted; drawn between these, so that many trunks don't refresh together. What is left is
longer than a REGISTER takes with all its repetitions."""
MIN_GRANTED: Final = 20.0
"""Seconds; a registrar that grants less is asked again no sooner."""
ANSWER_SECONDS: Final = 10.0
"""A REGISTER that has no answer by then has none."""


class State(StrEnum):
    """What a registration is."""

    OFF = "off"
    TRYING = "trying"
    REGISTERED = "registered"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Register:
    """Send a REGISTER that asks for `seconds` (0: end it), numbered `number`."""

    number: int
    seconds: int


class Registration:
    """See the module."""

    def __init__(self, seconds: int) -> None:
        """`seconds`: how long a registration is asked for."""
        self.state = State.OFF
        self.failures = 0
        """In a row."""
        self.until: float | None = None
        """When the present registration ends at the registrar, if it has one."""
        self.status: int | None = None
        """Of the last refusal; 408 for silence."""
        self.next_due: float | None = None
        self._seconds = seconds
        self._number = 0

    @property
    def registered(self) -> bool:
        """Whether a registration stands, be it that a refresh of it is under way or failed once."""
        return self.until is not None

    def start(self, now: float) -> None:
        """Begin as soon as time goes on."""
        if self.state is State.OFF:
            self.state, self.next_due, self.failures = State.WAITING, now, 0

    def stop(self) -> list[Register]:
        """End it."""
        stood = self.registered
        self.state, self.next_due, self.until = State.OFF, None, None
        if not stood:
            return []
        self._number += 1
        return [Register(self._number, 0)]

    def expire(self, now: float, draw: Callable[[], float]) -> list[Register]:
        """Do what is due. `draw`: 0…1 at random."""
        if self.until is not None and now >= self.until:
            self.until = None
        if self.next_due is None or now < self.next_due:
            return []
        if self.state is State.TRYING:
            return self._failed(now, draw, 408)
        self.state, self.next_due = State.TRYING, now + ANSWER_SECONDS
        self._number += 1
        return [Register(self._number, self._seconds)]

    def answered(
        self, number: int, response: Response, contact: str, now: float, draw: Callable[[], float]
    ) -> list[Register]:
        """Take the final response to REGISTER `number`. `contact`: user part of the contact we gave."""
        if number != self._number or self.state is not State.TRYING:
            return []
        if response.status == 423:
            # RFC 3261 §10.2.8: "If a UA receives a 423 (Interval Too Brief) response, it MAY retry the registration after
            # making the expiration interval of all contact addresses in the REGISTER request equal to or greater than the
            # expiration interval within the Min-Expires header field of the 423 (Interval Too Brief) response."
            least = grammar.number(response.headers.get("Min-Expires") or "", 86_400)
            if least is not None and least > self._seconds:
                self._seconds = least
                self._number += 1
                return [Register(self._number, least)]
        if response.status >= 300:
            return self._failed(now, draw, response.status)
        granted = max(MIN_GRANTED, _granted(response, contact, self._seconds))
        low, high = REFRESH_SHARE
        self.state, self.failures, self.status = State.REGISTERED, 0, None
        self.until = now + granted
        self.next_due = now + granted * (low + (high - low) * draw())
        return []

    def unanswered(self, number: int, now: float, draw: Callable[[], float]) -> None:
        """Hear that REGISTER `number` could not be sent, or was never answered."""
        if number == self._number and self.state is State.TRYING:
            self._failed(now, draw, 408)

    def _failed(self, now: float, draw: Callable[[], float], status: int) -> list[Register]:
        # RFC 5626 §4.5: the wait is drawn from 50 to 100 % of min(max-time, base-time · 2^consecutive-failures).
        longest = min(MAX_SECONDS, BASE_SECONDS * 2.0 ** min(self.failures, 16))
        self.failures += 1
        self.status = status
        self.state = State.WAITING
        self.next_due = now + longest * (0.5 + 0.5 * draw())
        return []

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "state": str(self.state),
            "failures": self.failures,
            "until": self.until,
            "status": self.status,
            "next_due": self.next_due,
            "seconds": self._seconds,
            "number": self._number,
        }

    def resume(self, data: dict[str, Any]) -> None:
        """Undo `snapshot`."""
        self.state, self.failures = State(data["state"]), data["failures"]
        self.until, self.status, self.next_due = data["until"], data["status"], data["next_due"]
        self._seconds, self._number = data["seconds"], data["number"]


def _granted(response: Response, contact: str, asked: int) -> int:
    """Return the seconds granted to our contact: its own parameter, else Expires, else what was asked (RFC 3261 §10.2.4)."""
    for found in response.contacts:
        if found.uri.user == contact and (value := found.expires) is not None:
            return value
    stated = response.expires
    return asked if stated is None else stated
