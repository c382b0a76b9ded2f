"""One subscription as its notifier sees it (RFC 6665 §4.2): a dialog, what its watcher knows, and when it may be told more.

in → out: the resource changed, the watcher refreshed, answered or vanished, time → NOTIFYs.

The first NOTIFY and each that answers a SUBSCRIBE leaves at once and says all. Changes leave one at a time, five a second at
most, and say what is new since the last one: a slow phone skips states, it never gets them late or out of order.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Self

import msgspec

from pbx.call.effects import SendRequest
from pbx.packages.table import CONTENT_TYPES, Document
from pbx.sip import grammar
from pbx.sip.dialog import Dialog, response_key
from pbx.sip.flow import Flow, restore_flow
from pbx.sip.message import Response

MIN_INTERVAL: Final = 0.2
"""Seconds between two NOTIFYs that tell of changes: a lamp that changes faster is not seen (RFC 4575 §3.9 allows 5 s)."""
ANSWER_SECONDS: Final = 34.0
"""How long an unanswered NOTIFY holds back the next: a little longer than its transaction lives (timer F, 32 s). The
transaction tells of its end earlier; this is for one that was lost in a restart."""
MAX_RETRY: Final = 300.0
"""Seconds a watcher's Retry-After may silence its subscription."""

Topic = tuple[str, str]
"""Package and resource: a desk, or an address-of-record for `reg`."""


@dataclass(slots=True)
class Subscription:
    """See the module."""

    id: str
    user: str
    """Whose digest opened it."""
    topic: Topic
    event: str
    """Value of the Event header."""
    dialog: Dialog
    flow: Flow
    """The road its SUBSCRIBE came; NOTIFYs take it back, whatever the Contact claims (bars S9)."""
    expires_at: float
    """Monotonic seconds."""
    current: Document
    """What the resource is."""
    version: int = 0
    """Of the next document."""
    known: Document | None = None
    """What the watcher was told last; None: it must be told all."""
    earliest: float = field(default=0.0)
    """When the next change may be told, monotonic seconds."""
    unanswered: int = 0
    """NOTIFYs on their way."""
    patience: float = 0.0
    """Until when they are waited for, monotonic seconds."""

    @property
    def pending(self) -> bool:
        """Whether there is something the watcher was not told."""
        return self.known is not self.current and self.known != self.current

    @property
    def next_due(self) -> float:
        """When `expire` wants to be called."""
        if not self.pending:
            return self.expires_at
        return min(self.expires_at, max(self.earliest, self.patience) if self.unanswered else self.earliest)

    def tell_all(self, now: float) -> list[SendRequest]:
        """Answer a SUBSCRIBE: the whole state, at once."""
        # RFC 6665 §4.2.1.2: after a SUBSCRIBE is accepted or refreshed, a NOTIFY with the current state follows immediately.
        self.known = None
        return [self._notify(self._active(now), now)]

    def tell(self, now: float) -> list[SendRequest]:
        """Tell of a change, unless it is too early or the last NOTIFY is still on its way."""
        if now < self.earliest or not self.pending or (self.unanswered and now < self.patience):
            return []
        self.unanswered = 0
        return [self._notify(self._active(now), now)]

    def end(self, reason: str, now: float) -> SendRequest:
        """Say the last word (RFC 6665 §4.1.3 lists the reasons), with the whole state: it answers a fetch too."""
        self.known = None
        return self._notify(f"terminated;reason={reason}", now)

    def answered(self, response: Response, now: float) -> bool:
        """Take a response to a NOTIFY; False: the subscription is over."""
        if response.status < 200:
            return True
        self.unanswered = max(0, self.unanswered - 1)
        if response.status < 300:
            if response_key(response) == self.dialog.key:
                self.dialog.refresh(response)
            return True
        # RFC 6665 §4.2.2: a NOTIFY answered with an error that has no Retry-After, or with 481, ends the subscription. One that
        # asks for credentials ends it too: we have none to give (bars S6).
        wait = _retry_after(response)
        if response.status in {401, 407, 481} or wait is None:
            return False
        self.known = None
        self.earliest = max(self.earliest, now + wait)
        return True

    def _active(self, now: float) -> str:
        return f"active;expires={max(0, int(self.expires_at - now))}"

    def _notify(self, state: str, now: float) -> SendRequest:
        if self.known is None:
            body = self.current.full(self.version, now)
        else:
            body = _difference(self.current, self.known, self.version, now)
        self.version += 1
        self.known = self.current
        self.unanswered += 1
        self.patience = now + ANSWER_SECONDS
        self.earliest = max(self.earliest, now + MIN_INTERVAL)
        request = self.dialog.request(
            "NOTIFY",
            headers=(("Event", self.event), ("Subscription-State", state)),
            body=body,
            content_type=CONTENT_TYPES[self.topic[0]],
        )
        return SendRequest(f"notify/{self.id}/{request.cseq.number}", request, self.flow)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "id": self.id,
            "user": self.user,
            "topic": list(self.topic),
            "event": self.event,
            "dialog": self.dialog.snapshot(),
            "flow": self.flow.snapshot(),
            "expires_at": self.expires_at,
            "current": msgspec.to_builtins(self.current),
            "version": self.version,
            "known": msgspec.to_builtins(self.known),
            "earliest": self.earliest,
            "unanswered": self.unanswered,
            "patience": self.patience,
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> Self:
        """Make the subscription that `snapshot` described."""
        package, resource = data["topic"]
        return cls(
            id=data["id"],
            user=data["user"],
            topic=(package, resource),
            event=data["event"],
            dialog=Dialog.restore(data["dialog"]),
            flow=restore_flow(data["flow"]),
            expires_at=data["expires_at"],
            current=msgspec.convert(data["current"], Document),
            version=data["version"],
            known=msgspec.convert(data["known"], Document | None),
            earliest=data["earliest"],
            unanswered=data["unanswered"],
            patience=data["patience"],
        )


def _difference(current: Document, known: Document, version: int, now: float) -> bytes:
    # A subscription has one topic, so both are of one kind; the pairs spell it out for the type checker.
    assert type(current) is type(known), "one topic has one kind of document"
    return current.partial(known, version, now)  # type: ignore[arg-type]


def _retry_after(response: Response) -> float | None:
    """Seconds of a Retry-After (RFC 3261 §20.33), bounded; None when there is none that can be read."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    seconds = grammar.number(value.partition(";")[0].partition("(")[0].strip(" \t"))
    return None if seconds is None else min(float(seconds), MAX_RETRY)
