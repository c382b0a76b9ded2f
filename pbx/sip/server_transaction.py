"""The server transactions: INVITE (RFC 3261 §17.2.1, RFC 6026 §8.7) and non-INVITE (§17.2.2), and their matching.

in → out: a request is given to the TU once, as `RequestArrived`; its repetitions are answered with the last response;
what the TU answers is transmitted to `response_flow`. The first final response counts, later ones are ignored, except
that a 2xx to INVITE may be given again to be transmitted again (§13.3.1.4). Once that is said the request is forgotten, and of
a 2xx to an INVITE over UDP the bytes too: nobody transmits them again but the TU.
"""

from collections.abc import Mapping
from typing import Any, Final

from pbx.sip.asked import Asked, known_of, restore_asked
from pbx.sip.client_transaction import classify
from pbx.sip.effects import AckArrived, Cancelled, Effect, RequestArrived, ServerTimeout, Transmit
from pbx.sip.flow import DEFAULT_PORT, Flow, fallback_flow, response_flow, restore_flow
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.sip.timers import Timer, Timers
from pbx.sip.transaction import Action, Input, Machine, State, Table

# fmt: off
INVITE: Final[Table] = {
    # RFC 3261 §17.2.1: "The server transaction MUST generate a 100 (Trying) response unless it knows that the TU will
    # generate a provisional or final response within 200 ms".
    (State.PROCEEDING, Input.START):        (State.PROCEEDING, Action.DELIVER, Action.START_TRYING),
    (State.PROCEEDING, Input.TIMER_TRYING): (State.PROCEEDING, Action.SEND_100),
    # "If a request retransmission is received while in the "Proceeding" state, the most recent provisional response
    # that was received from the TU MUST be passed to the transport layer for retransmission."
    (State.PROCEEDING, Input.REQUEST):      (State.PROCEEDING, Action.RESEND),
    (State.PROCEEDING, Input.CANCEL):       (State.PROCEEDING, Action.DELIVER_CANCEL),
    (State.PROCEEDING, Input.PROVISIONAL):  (State.PROCEEDING, Action.SEND),
    # RFC 6026 §8.7 (in place of "Terminated"): a 2xx is transmitted and leads to the Accepted state, which lives as long
    # as timer L.
    (State.PROCEEDING, Input.SUCCESS):      (State.ACCEPTED,   Action.SEND, Action.START_L),
    # RFC 3261 §17.2.1: "…the response MUST be passed to the transport layer for transmission, and the state machine
    # MUST enter the "Completed" state. For unreliable transports, timer G is set to fire in T1 seconds … When the
    # "Completed" state is entered, timer H MUST be set to fire in 64*T1 seconds for all transports."
    (State.PROCEEDING, Input.FAILURE):      (State.COMPLETED,  Action.SEND, Action.START_G, Action.START_H),
    (State.COMPLETED,  Input.REQUEST):      (State.COMPLETED,  Action.RESEND),
    (State.COMPLETED,  Input.TIMER_G):      (State.COMPLETED,  Action.RESEND, Action.DOUBLE_G),
    # "If an ACK is received while the server transaction is in the "Completed" state, the server transaction MUST
    # transition to the "Confirmed" state. … any retransmissions of the response will cease."
    (State.COMPLETED,  Input.ACK):          (State.CONFIRMED,  Action.START_I),
    # "If timer H fires while in the "Completed" state, it implies that the ACK was never received. In this case, the
    # server transaction MUST transition to the "Terminated" state, and MUST indicate to the TU that a transaction
    # failure has occurred."
    (State.COMPLETED,  Input.TIMER_H):      (State.TERMINATED, Action.TIMEOUT),
    (State.CONFIRMED,  Input.TIMER_I):      (State.TERMINATED,),
    # RFC 6026 §7.1: "While in the "Accepted" state, any retransmissions of the INVITE received will match this
    # transaction state machine and will be absorbed by the machine without changing its state. These retransmissions are
    # not passed onto the TU." (no row)
    # §8.7: "If an ACK is received while the INVITE server transaction is in the "Accepted" state, then the ACK must be
    # passed up to the TU." (an ACK with the INVITE's branch: RFC 2543 peers)
    (State.ACCEPTED,   Input.ACK):          (State.ACCEPTED,   Action.DELIVER),
    # "While in the "Accepted" state, if the TU passes a 2xx response, the server transaction MUST pass the response to
    # the transport layer for transmission."
    (State.ACCEPTED,   Input.SUCCESS):      (State.ACCEPTED,   Action.SEND),
    (State.ACCEPTED,   Input.TIMER_L):      (State.TERMINATED,),
}

NON_INVITE: Final[Table] = {
    # RFC 3261 §17.2.2: "The state machine is initialized in the "Trying" state and is passed a request other than
    # INVITE or ACK when initialized. This request is passed up to the TU. Once in the "Trying" state, any further
    # request retransmissions are discarded." (no row)
    (State.TRYING,     Input.START):            (State.TRYING,     Action.DELIVER, Action.START_UNANSWERED, Action.START_LATE),
    # RFC 4320 §4.1: "…an SIP element MUST respond to a non-INVITE request with a Status-Code of 100 if it has not
    # otherwise responded after the amount of time it takes a client transaction's Timer E to be reset to T2."
    (State.TRYING,     Input.TIMER_LATE):       (State.PROCEEDING, Action.SEND_100),
    # "An SIP element MUST NOT send any provisional response with a Status-Code other than 100 to a non-INVITE request."
    # (no row for what the TU might send)
    # After 64*T1 the client's timer F has fired and nobody listens any more, and RFC 4320 §4.2 forbids to send a 408
    # then. The RFC has no row here, our memory needs one.
    (State.TRYING,     Input.TIMER_UNANSWERED): (State.TERMINATED,),
    # "If the TU passes a final response (status codes 200-699) to the server while in the "Trying" state, the response
    # MUST be passed to the transport layer … and … enter the "Completed" state."
    (State.TRYING,     Input.SUCCESS):          (State.COMPLETED,  Action.SEND, Action.START_J),
    (State.TRYING,     Input.FAILURE):          (State.COMPLETED,  Action.SEND, Action.START_J),
    # "If a retransmission of the request is received while in the "Proceeding" state, the most recently sent
    # provisional response MUST be passed to the transport layer for retransmission."
    (State.PROCEEDING, Input.REQUEST):          (State.PROCEEDING, Action.RESEND),
    (State.PROCEEDING, Input.TIMER_UNANSWERED): (State.TERMINATED,),
    (State.PROCEEDING, Input.SUCCESS):          (State.COMPLETED,  Action.SEND, Action.START_J),
    (State.PROCEEDING, Input.FAILURE):          (State.COMPLETED,  Action.SEND, Action.START_J),
    # "While in the "Completed" state, the server transaction MUST pass the final response to the transport layer for
    # retransmission whenever a retransmission of the request is received. Any other final responses passed by the TU
    # to the server transaction MUST be discarded while in the "Completed" state."
    (State.COMPLETED,  Input.REQUEST):          (State.COMPLETED,  Action.RESEND),
    (State.COMPLETED,  Input.TIMER_J):          (State.TERMINATED,),
}
# fmt: on

MAGIC_COOKIE: Final = "z9hG4bK"
"""RFC 3261 §8.1.1.7: branches that begin so were made by peers that follow RFC 3261."""


def server_key(request: Request, method: str) -> str:
    """Name of the server transaction that `request` belongs to if that began with `method`.

    An ACK is looked up as "INVITE", a CANCEL as "INVITE" too when the cancelled request is wanted.
    """
    via = request.via
    branch = via.branch
    # RFC 3261 §17.2.3: "If the branch parameter … begins with the magic cookie …: 1. the branch parameter … is the
    # same …, 2. the sent-by value in the top Via of the request is equal …, and 3. the method of the request matches
    # …, except for ACK". The cookie alone (RFC 4475 §3.2.1)
    # tells no two calls apart, so it counts as none.
    if branch is not None and len(branch) > len(MAGIC_COOKIE) and branch.startswith(MAGIC_COOKIE):
        return f"{method} {branch} {via.host.lower()}:{via.port or DEFAULT_PORT}"
    # "…the following procedure handles RFC 2543 compliant elements": Request-URI, To tag, From tag, Call-ID, CSeq
    # number and top Via are equal. The To tag is left to `ServerTransaction.receive`, for an ACK has the response's.
    tag = request.from_.tag or ""
    return f"{method} {request.uri} {tag} {request.call_id} {request.cseq.number} {via}"


class ServerTransaction:
    """One request of a peer and what we answer."""

    __slots__ = (
        "asked",
        "fallback",
        "flow",
        "key",
        "last",
        "machine",
        "order",
        "request",
        "scheduled",
        "source",
        "to_tag",
    )

    def __init__(self, request: Request | Asked, flow: Flow, *, key: str, order: int, timers: Timers) -> None:
        """`request` has its top Via stamped with the source (`pbx.transport` does); `flow` is what it came on; `key` is
        its `server_key`.
        """
        self.request = None if isinstance(request, Asked) else request
        """None once it has its final response."""
        self.asked = request if isinstance(request, Asked) else known_of(request)
        """What is known of it to the end."""
        self.source = flow
        """What the request came on last."""
        self.flow = response_flow(request, flow)
        self.fallback = fallback_flow(request, flow)
        """Second way for responses when the connection has broken; None once tried."""
        self.order = order
        """Place among the transactions of the layer, the tie-break between equal times."""
        self.scheduled: float | None = None
        """Earliest wake-up the layer has noted for it."""
        self.last: bytes | None = None
        """The most recent response as sent."""
        self.to_tag: str | None = None
        """Our tag, once a response had one."""
        self.key = key
        invite = self.asked.method == "INVITE"
        table, state = (INVITE, State.PROCEEDING) if invite else (NON_INVITE, State.TRYING)
        self.machine = Machine(table, timers, state, reliable=flow.reliable)

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called, seconds monotonic."""
        return self.machine.next_due

    @property
    def terminated(self) -> bool:
        """Whether the layer may forget it."""
        return self.machine.state is State.TERMINATED

    @property
    def by_branch(self) -> bool:
        """Whether the branch alone tells the transaction (a peer that follows RFC 3261)."""
        return self.key.startswith(f"{self.asked.method} {MAGIC_COOKIE}")

    def start(self, flow: Flow, now: float) -> list[Effect]:
        """Give the request to the TU; `flow` is what it came on."""
        assert self.request is not None, "it is new"
        self.machine.step(Input.START, now)
        return [RequestArrived(self.key, self.request, flow)]

    def receive(self, request: Request, flow: Flow, now: float) -> list[Effect]:
        """Take the same request again, or the ACK that `server_key` led here."""
        if request.method == "ACK":
            # §17.2.3, RFC 2543 peers: the ACK's To tag is that of the response, else it is another dialog's.
            if not self.by_branch and self.to_tag is not None and request.to.tag != self.to_tag:
                return [AckArrived(request, flow)]
            actions = self.machine.step(Input.ACK, now)
            return [AckArrived(request, flow)] if Action.DELIVER in actions else []
        # The newest way to the peer is the one that works: its NAT may have chosen another port, or it reconnected.
        self.source = flow
        self.flow, self.fallback = response_flow(request, flow), fallback_flow(request, flow)
        return self._resend(self.machine.step(Input.REQUEST, now))

    def respond(self, response: Response, now: float) -> list[Effect]:
        """Answer; ignored where the table says so."""
        data = response.encode()  # first, for it may refuse
        if Action.SEND not in self.machine.step(classify(response.status), now):
            return []
        self.last = data
        self.to_tag = response.to.tag or self.to_tag
        if response.status >= 200:
            self.request = None
            if self.machine.state is State.ACCEPTED and not self.source.reliable:
                self.last = None
        return [Transmit(data, self.flow)]

    def cancel(self, request: Request, flow: Flow, now: float) -> list[Effect]:
        """Take a CANCEL for this INVITE; the layer answers it.

        RFC 3261 §9.2 on an INVITE that has its final response: "the CANCEL request has no effect on the processing of
        the original request, no effect on any session state, and no effect on the responses generated".
        """
        actions = self.machine.step(Input.CANCEL, now)
        return [Cancelled(self.key, request, flow)] if Action.DELIVER_CANCEL in actions else []

    def broken(self) -> list[Effect]:
        """The transport could not deliver; try the second way once. RFC 6026 §7.1: the state does not change."""
        if self.fallback is None:
            return []
        self.flow, self.fallback = self.fallback, None
        return [] if self.last is None else [Transmit(self.last, self.flow)]

    def moved(self, flow: Flow) -> list[Effect]:
        """The peer is reached over `flow` now; what was said last may have been lost on the way."""
        self.source = flow
        self.flow, self.fallback = response_flow(self.asked, flow), fallback_flow(self.asked, flow)
        return [] if self.last is None else [Transmit(self.last, self.flow)]

    def abandon(self) -> None:
        """End at once, whatever the state."""
        self.machine.state = State.TERMINATED
        self.machine.due = {}
        self.machine.next_due = None

    def expire(self, now: float) -> list[Effect]:
        """Fire what is due."""
        effects: list[Effect] = []
        while (fired := self.machine.fire(now)) is not None:
            effects += self._fired(self.machine.step(fired, now))
        return effects

    def trying(self, now: float) -> list[Effect]:
        """Answer 100 now instead of after 200 ms: the TU has said that it will take its time."""
        if self.machine.due.pop(Timer.TRYING, None) is None:
            return []
        return self._fired(self.machine.step(Input.TIMER_TRYING, now))

    def _fired(self, actions: tuple[Action, ...]) -> list[Effect]:
        effects = self._resend(actions)
        if Action.TIMEOUT in actions:
            effects.append(ServerTimeout(self.key))
        if Action.SEND_100 in actions and self.last is None and self.request is not None:
            self.last = self.request.response(100).encode()
            effects.append(Transmit(self.last, self.flow))
        return effects

    def _resend(self, actions: tuple[Action, ...]) -> list[Effect]:
        return [Transmit(self.last, self.flow)] if Action.RESEND in actions and self.last is not None else []

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `restore`."""
        return {"request": None if self.request is None else self.request.encode(), **self.state()}

    def state(self) -> dict[str, Any]:
        """What of `snapshot` changes in its life."""
        return {
            "flow": self.flow.snapshot(),
            "fallback": None if self.fallback is None else self.fallback.snapshot(),
            "order": self.order,
            "last": self.last,
            "to_tag": self.to_tag,
            "machine": self.machine.snapshot(),
            "asked": self.asked.snapshot() if self.request is None else None,
            "key": self.key if self.request is None else None,
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any], timers: Timers) -> "ServerTransaction":
        """Undo `snapshot`."""
        flow = restore_flow(data["flow"])
        if data.get("asked") is None:
            request = parse(data["request"])
            assert isinstance(request, Request), "a server transaction keeps a request"
            key = server_key(request, request.method)
            self = cls(request, flow, key=key, order=data["order"], timers=timers)
        else:
            known = restore_asked(data["asked"])
            self = cls(known, flow, key=str(data["key"]), order=data["order"], timers=timers)
        self.flow = flow
        self.fallback = None if data["fallback"] is None else restore_flow(data["fallback"])
        self.last = data["last"]
        self.to_tag = data["to_tag"]
        self.machine.load(data["machine"])
        return self
