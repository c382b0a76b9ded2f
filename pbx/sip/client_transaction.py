"""The client transactions: INVITE (RFC 3261 §17.1.1, RFC 6026 §8.4) and non-INVITE (§17.1.2).

in → out: the TU's request is transmitted until something answers; responses go to the TU as `ResponseArrived`, at
most one final one except for 2xx to INVITE; silence and broken transports end as `TransactionFailed`, once.
"""

from collections.abc import Mapping
from typing import Any, Final

from pbx.sip.effects import Effect, ResponseArrived, TransactionFailed, Transmit
from pbx.sip.flow import Flow, restore_flow
from pbx.sip.headers import Headers
from pbx.sip.message import Request, Response
from pbx.sip.parser import parse
from pbx.sip.timers import Timer, Timers
from pbx.sip.transaction import Action, Input, Machine, State, Table

# fmt: off
INVITE: Final[Table] = {
    # RFC 3261 §17.1.1.2: "The initial state, "calling", MUST be entered when the TU initiates a new client transaction
    # with an INVITE request. … If an unreliable transport is being used, the client transaction MUST start timer A
    # with a value of T1. … For any transport, the client transaction MUST start timer B with a value of 64*T1".
    (State.CALLING,    Input.START):           (State.CALLING,    Action.SEND, Action.START_A, Action.START_B),
    # "When timer A fires, the client transaction MUST retransmit the request … and MUST reset the timer with a value
    # of 2*T1."
    (State.CALLING,    Input.TIMER_A):         (State.CALLING,    Action.SEND, Action.DOUBLE_A),
    # "If the client transaction is still in the "Calling" state when timer B fires, the client transaction SHOULD
    # inform the TU that a timeout has occurred. The client transaction MUST NOT generate an ACK."
    (State.CALLING,    Input.TIMER_B):         (State.TERMINATED, Action.TIMEOUT),
    # "…inform the TU that a transport failure has occurred, and the client transaction SHOULD transition directly to
    # the "Terminated" state." (§17.1.4)
    (State.CALLING,    Input.BROKEN):          (State.TERMINATED, Action.FAIL),
    # "If the client transaction receives a provisional response while in the "Calling" state, it transitions to the
    # "Proceeding" state. In the "Proceeding" state, the client transaction SHOULD NOT retransmit the request any
    # longer. Furthermore, the provisional response MUST be passed to the TU."
    (State.CALLING,    Input.PROVISIONAL):     (State.PROCEEDING, Action.DELIVER),
    # RFC 6026 §8.4 (in place of "Terminated"): a 2xx goes to the TU and leads to the Accepted state, which lives as long
    # as timer M.
    (State.CALLING,    Input.SUCCESS):         (State.ACCEPTED,   Action.DELIVER, Action.START_M),
    # RFC 3261 §17.1.1.2: "When in either the "Calling" or "Proceeding" states, reception of a response with status
    # code from 300-699 MUST cause the client transaction to transition to "Completed". The client transaction MUST
    # pass the received response up to the TU, and the client transaction MUST generate an ACK request".
    (State.CALLING,    Input.FAILURE):         (State.COMPLETED,  Action.SEND_ACK, Action.DELIVER, Action.START_D),
    (State.PROCEEDING, Input.PROVISIONAL):     (State.PROCEEDING, Action.DELIVER),
    (State.PROCEEDING, Input.SUCCESS):         (State.ACCEPTED,   Action.DELIVER, Action.START_M),
    (State.PROCEEDING, Input.FAILURE):         (State.COMPLETED,  Action.SEND_ACK, Action.DELIVER, Action.START_D),
    # §9.1: "If there is no final response for the original request in 64*T1 seconds …, the client SHOULD then consider
    # the original transaction cancelled and SHOULD destroy the client transaction handling the original request."
    (State.PROCEEDING, Input.CANCEL):          (State.PROCEEDING, Action.START_CANCELLED),
    (State.PROCEEDING, Input.TIMER_CANCELLED): (State.TERMINATED, Action.TIMEOUT),
    # "Any retransmissions of the final response that are received while in the "Completed" state MUST cause the ACK to
    # be re-passed to the transport layer for retransmission, but the newly received response MUST NOT be passed up".
    (State.COMPLETED,  Input.FAILURE):         (State.COMPLETED,  Action.SEND_ACK),
    (State.COMPLETED,  Input.TIMER_D):         (State.TERMINATED,),
    # Figure 5 also informs the TU here. We don't: it has its final response, and one request has one end.
    (State.COMPLETED,  Input.BROKEN):          (State.TERMINATED,),
    # RFC 6026 §8.4: "Any 2xx responses that match this client transaction and that are received while in the "Accepted"
    # state MUST be passed up to the TU. The client transaction MUST NOT generate an ACK to the 2xx response."
    (State.ACCEPTED,   Input.SUCCESS):         (State.ACCEPTED,   Action.DELIVER),
    (State.ACCEPTED,   Input.TIMER_M):         (State.TERMINATED,),
}

NON_INVITE: Final[Table] = {
    # RFC 3261 §17.1.2.2: "…the client transaction SHOULD set timer F to fire in 64*T1 seconds. … If an unreliable
    # transport is in use, the client transaction MUST set timer E to fire in T1 seconds."
    (State.TRYING,     Input.START):           (State.TRYING,     Action.SEND, Action.START_E, Action.START_F),
    (State.TRYING,     Input.TIMER_E):         (State.TRYING,     Action.SEND, Action.DOUBLE_E),
    # "If Timer F fires while the client transaction is still in the "Trying" state, the client transaction SHOULD
    # inform the TU about the timeout, and then it SHOULD enter the "Terminated" state."
    (State.TRYING,     Input.TIMER_F):         (State.TERMINATED, Action.TIMEOUT),
    (State.TRYING,     Input.BROKEN):          (State.TERMINATED, Action.FAIL),
    (State.TRYING,     Input.PROVISIONAL):     (State.PROCEEDING, Action.DELIVER),
    (State.TRYING,     Input.SUCCESS):         (State.COMPLETED,  Action.DELIVER, Action.START_K),
    (State.TRYING,     Input.FAILURE):         (State.COMPLETED,  Action.DELIVER, Action.START_K),
    # "If Timer E fires while in the "Proceeding" state, the request MUST be passed to the transport layer for
    # retransmission, and Timer E MUST be reset with a value of T2 seconds."
    (State.PROCEEDING, Input.TIMER_E):         (State.PROCEEDING, Action.SEND, Action.T2_E),
    (State.PROCEEDING, Input.TIMER_F):         (State.TERMINATED, Action.TIMEOUT),
    (State.PROCEEDING, Input.BROKEN):          (State.TERMINATED, Action.FAIL),
    (State.PROCEEDING, Input.PROVISIONAL):     (State.PROCEEDING, Action.DELIVER),
    # "If a final response (status codes 200-699) is received while in the "Proceeding" state, the response MUST be
    # passed to the TU, and the client transaction MUST transition to the "Completed" state."
    (State.PROCEEDING, Input.SUCCESS):         (State.COMPLETED,  Action.DELIVER, Action.START_K),
    (State.PROCEEDING, Input.FAILURE):         (State.COMPLETED,  Action.DELIVER, Action.START_K),
    # "Once the client transaction enters the "Completed" state, it MUST set Timer K …" to absorb retransmissions.
    (State.COMPLETED,  Input.TIMER_K):         (State.TERMINATED,),
}
# fmt: on


def client_key(branch: str, method: str) -> str:
    """RFC 3261 §17.1.3: a response matches by the branch of its top Via and the method of its CSeq."""
    return f"{branch} {method}"


def classify(status: int) -> Input:
    """The input a response with `status` is."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE


class ClientTransaction:
    """One request of ours and what comes back."""

    __slots__ = (
        "cancel_headers",
        "cancelling",
        "data",
        "flow",
        "key",
        "machine",
        "order",
        "ref",
        "request",
        "scheduled",
    )

    def __init__(self, request: Request, flow: Flow, *, ref: str | None, order: int, timers: Timers) -> None:
        """`request` carries our Via; `ref` is the TU's name for it, None when the layer itself asked (CANCEL)."""
        self.request = request
        self.flow = flow
        self.ref = ref
        self.order = order
        """Place among the transactions of the layer, the tie-break between equal times."""
        self.scheduled: float | None = None
        """Earliest wake-up the layer has noted for it."""
        self.cancelling = False
        """The TU cancelled; the CANCEL leaves with the first provisional response."""
        self.cancel_headers: tuple[tuple[str, str], ...] = ()
        """What the CANCEL says besides: its Reason (RFC 3326)."""
        self.data = request.encode()
        self.key = client_key(request.via.branch or "", request.method)
        invite = request.method == "INVITE"
        table, state = (INVITE, State.CALLING) if invite else (NON_INVITE, State.TRYING)
        self.machine = Machine(table, timers, state, reliable=flow.reliable)

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called, seconds monotonic."""
        return self.machine.next_due

    @property
    def terminated(self) -> bool:
        """Whether the layer may forget it."""
        return self.machine.state is State.TERMINATED

    def start(self, now: float) -> list[Effect]:
        """Transmit the request for the first time."""
        return self._run(Input.START, now)

    def receive(self, response: Response, flow: Flow, now: float) -> list[Effect]:
        """Take a response that `client_key` led here."""
        effects: list[Effect] = []
        for action in self.machine.step(classify(response.status), now):
            if action is Action.DELIVER and self.ref is not None:
                effects.append(ResponseArrived(self.ref, response, flow))
            elif action is Action.SEND_ACK:
                effects.append(Transmit(self._ack(response).encode(), self.flow))
        return effects

    def cancel(self, now: float) -> Request | None:
        """Ask for a CANCEL; returns it when it may leave now, else this is asked again after each response.

        RFC 3261 §9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent; rather, the
        client MUST wait for the arrival of a provisional response before sending the request."
        """
        self.cancelling = self.machine.state is State.CALLING
        if self.machine.state is not State.PROCEEDING or Timer.CANCELLED in self.machine.due:
            return None
        self.machine.step(Input.CANCEL, now)
        # §9.1: "The Request-URI, Call-ID, To, the numeric part of CSeq, and From header fields in the CANCEL request
        # MUST be identical to those in the request being cancelled, including tags. A CANCEL constructed by a client
        # MUST have only a single Via header field value matching the top Via value in the request being cancelled."
        cancel = self._hop_by_hop("CANCEL", self.request.headers)
        for name, value in self.cancel_headers:
            cancel.headers.add(name, value)
        return cancel

    def broken(self, now: float) -> list[Effect]:
        """The transport could not deliver to `flow`."""
        return self._run(Input.BROKEN, now)

    def expire(self, now: float) -> list[Effect]:
        """Fire what is due."""
        effects: list[Effect] = []
        while (fired := self.machine.fire(now)) is not None:
            effects += self._run(fired, now)
        return effects

    def _run(self, what: Input, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for action in self.machine.step(what, now):
            if action is Action.SEND:
                effects.append(Transmit(self.data, self.flow))
            elif action is Action.TIMEOUT and self.ref is not None:
                effects.append(TransactionFailed(self.ref, "timeout"))
            elif action is Action.FAIL and self.ref is not None:
                effects.append(TransactionFailed(self.ref, "transport"))
        return effects

    def _ack(self, response: Response) -> Request:
        # RFC 3261 §17.1.1.3: "The To header field in the ACK MUST equal the To header field in the response being
        # acknowledged, and therefore will usually differ from the To header field in the original request".
        return self._hop_by_hop("ACK", response.headers)

    def _hop_by_hop(self, method: str, to: Headers) -> Request:
        ours = self.request.headers
        # §17.1.1.3 and §9.1: "If the INVITE request whose response is being acknowledged had Route header fields,
        # those header fields MUST appear in the ACK."
        copied = [("From", ours), ("To", to), ("Call-ID", ours)]
        headers = Headers(
            [
                ("Via", ours.get("Via") or ""),
                *[("Route", route) for route in ours.lines("Route")],
                ("Max-Forwards", "70"),
                *[(name, source.get(name) or "") for name, source in copied],
                ("CSeq", f"{self.request.cseq.number} {method}"),
            ]
        )
        return Request(method, self.request.uri, headers, b"")

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `restore`."""
        return {"request": self.data, **self.state()}

    def state(self) -> dict[str, Any]:
        """What of `snapshot` changes in its life."""
        return {
            "flow": self.flow.snapshot(),
            "ref": self.ref,
            "order": self.order,
            "cancelling": self.cancelling,
            "cancel_headers": [list(header) for header in self.cancel_headers],
            "machine": self.machine.snapshot(),
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any], timers: Timers) -> "ClientTransaction":
        """Undo `snapshot`."""
        request = parse(data["request"])
        assert isinstance(request, Request), "a client transaction keeps a request"
        self = cls(request, restore_flow(data["flow"]), ref=data["ref"], order=data["order"], timers=timers)
        self.data = data["request"]
        self.cancelling = data["cancelling"]
        self.cancel_headers = tuple((name, value) for name, value in data["cancel_headers"])
        self.machine.load(data["machine"])
        return self
