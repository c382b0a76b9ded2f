"""The four transaction machines of RFC 3261 §17 with RFC 6026: states, inputs, actions, and what runs a table.

in → out: an `Input` gives a tuple of `Action`s, which `ClientTransaction` and `ServerTransaction` turn into effects.
The tables themselves are `client_transaction.{INVITE,NON_INVITE}` and `server_transaction.{INVITE,NON_INVITE}`:
one row per line; **a missing row means "ignore"**. A timer lives as long as the state has a row for it, so leaving a
state stops its timers.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from pbx.sip.timers import Timer, Timers


class State(StrEnum):
    """States as named in RFC 3261 figures 5 to 8; ACCEPTED is RFC 6026's."""

    CALLING = "CALLING"
    TRYING = "TRYING"
    PROCEEDING = "PROCEEDING"
    COMPLETED = "COMPLETED"
    ACCEPTED = "ACCEPTED"
    CONFIRMED = "CONFIRMED"
    TERMINATED = "TERMINATED"


class Input(StrEnum):
    """What happens to a transaction. PROVISIONAL … FAILURE arrive at a client and come from the TU at a server."""

    START = "START"
    """The request is there: from the TU (client) or from the network (server)."""
    REQUEST = "REQUEST"
    """The same request again."""
    ACK = "ACK"
    PROVISIONAL = "PROVISIONAL"
    """1xx."""
    SUCCESS = "SUCCESS"
    """2xx."""
    FAILURE = "FAILURE"
    """300 to 699."""
    CANCEL = "CANCEL"
    """Our CANCEL of this INVITE left (client), or a CANCEL for it came (server)."""
    BROKEN = "BROKEN"
    """The transport failed."""
    TIMER_A = "A"
    TIMER_B = "B"
    TIMER_D = "D"
    TIMER_E = "E"
    TIMER_F = "F"
    TIMER_G = "G"
    TIMER_H = "H"
    TIMER_I = "I"
    TIMER_J = "J"
    TIMER_K = "K"
    TIMER_L = "L"
    TIMER_M = "M"
    TIMER_TRYING = "TRYING"
    TIMER_CANCELLED = "CANCELLED"
    TIMER_LATE = "LATE"
    TIMER_UNANSWERED = "UNANSWERED"


class Action(StrEnum):
    """What a row wants done. `Machine` carries out those on timers itself."""

    SEND = "SEND"
    """Transmit the request (client), or the new response (server), and keep it."""
    RESEND = "RESEND"
    """Transmit the last response again, if there is one (server)."""
    SEND_ACK = "SEND_ACK"
    """Acknowledge a failure (client)."""
    SEND_100 = "SEND_100"
    """Answer 100 Trying without the TU (server)."""
    DELIVER = "DELIVER"
    """Give the message to the TU."""
    DELIVER_CANCEL = "DELIVER_CANCEL"
    """Tell the TU that its client cancelled (server)."""
    TIMEOUT = "TIMEOUT"
    """Tell the TU that the peer does not answer."""
    FAIL = "FAIL"
    """Tell the TU that the transport failed."""
    START_A = "START_A"
    START_B = "START_B"
    START_D = "START_D"
    START_E = "START_E"
    START_F = "START_F"
    START_G = "START_G"
    START_H = "START_H"
    START_I = "START_I"
    START_J = "START_J"
    START_K = "START_K"
    START_L = "START_L"
    START_M = "START_M"
    START_TRYING = "START_TRYING"
    START_CANCELLED = "START_CANCELLED"
    START_LATE = "START_LATE"
    START_UNANSWERED = "START_UNANSWERED"
    DOUBLE_A = "DOUBLE_A"
    """Timer A again, twice as long."""
    DOUBLE_E = "DOUBLE_E"
    """Timer E again, twice as long, T2 at most."""
    DOUBLE_G = "DOUBLE_G"
    """Timer G again, twice as long, T2 at most."""
    T2_E = "T2_E"
    """Timer E again, after T2."""


Table = Mapping[tuple[State, Input], tuple[State, *tuple[Action, ...]]]

_STARTS: Final[dict[Action, Timer]] = {Action(f"START_{timer}"): timer for timer in Timer}
_FIRED: Final[dict[Timer, Input]] = {timer: Input(timer.value) for timer in Timer}
_REPEATS: Final[dict[Action, Timer]] = {
    Action.DOUBLE_A: Timer.A,
    Action.DOUBLE_E: Timer.E,
    Action.DOUBLE_G: Timer.G,
    Action.T2_E: Timer.E,
}


class Machine:
    """One state, its running timers and the table that moves it."""

    __slots__ = ("due", "interval", "next_due", "reliable", "state", "table", "timers")

    def __init__(self, table: Table, timers: Timers, state: State, *, reliable: bool) -> None:
        """`reliable`: the transport is, so timers A, E and G do not exist and D, I, J and K are zero."""
        self.table = table
        self.timers = timers
        self.state = state
        self.reliable = reliable
        self.due: dict[Timer, float] = {}
        """When each running timer fires, seconds monotonic."""
        self.interval = timers.t1
        """The present length of timer A, E or G in seconds; a transaction has one of them."""
        self.next_due: float | None = None
        """When the first of them fires."""

    def step(self, what: Input, now: float) -> tuple[Action, ...]:
        """Apply one row; returns the row's actions (empty: ignored), of which those on timers are done already."""
        row = self.table.get((self.state, what))
        if row is None:
            return ()
        state, *actions = row
        if state is not self.state:
            self.state = state
            if self.due:
                self.due = {t: at for t, at in self.due.items() if (state, _FIRED[t]) in self.table}
        for action in actions:
            timer = _STARTS.get(action)
            if timer is not None:
                length = self.timers.length(timer, reliable=self.reliable)
                if length is not None:
                    self.due[timer] = now + length
            elif action in _REPEATS:
                self._repeat(action, now)
        self.next_due = min(self.due.values()) if self.due else None
        return row[1:]

    def _repeat(self, action: Action, now: float) -> None:
        if action is Action.DOUBLE_A:
            # RFC 3261 §17.1.1.2: "These retransmissions SHOULD only be done while the client transaction is in the
            # "calling" state", each after twice the time, without an upper bound but Timer B.
            self.interval *= 2
        elif action is Action.T2_E:
            # §17.1.2.2: "If Timer E fires while in the "Proceeding" state, … Timer E MUST be reset with a value of T2".
            self.interval = self.timers.t2
        else:
            # §17.1.2.2: "the timer is reset, but this time with a value of MIN(2*T1, T2). When the timer fires again, it
            # is reset to a MIN(4*T1, T2)." §17.2.1 says the same of timer G.
            self.interval = min(2 * self.interval, self.timers.t2)
        self.due[_REPEATS[action]] = now + self.interval

    def fire(self, now: float) -> Input | None:
        """Take the first timer due at `now` off the clock, as the input it is; None when none is due."""
        if self.next_due is None or self.next_due > now:
            return None
        timer = min(self.due, key=lambda t: (self.due[t], t))
        del self.due[timer]
        self.next_due = min(self.due.values()) if self.due else None
        return _FIRED[timer]

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `load`."""
        return {
            "state": self.state.value,
            "due": {timer.value: at for timer, at in self.due.items()},
            "interval": self.interval,
            "reliable": self.reliable,
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Take the state of a `snapshot`."""
        self.state = State(data["state"])
        self.due = {Timer(timer): float(at) for timer, at in data["due"].items()}
        self.interval = float(data["interval"])
        self.reliable = bool(data["reliable"])
        self.next_due = min(self.due.values()) if self.due else None
