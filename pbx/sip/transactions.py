"""The transaction layer: finds the transaction a message belongs to and forwards; the machines decide.

in → out: messages from the transport and wishes of the TU (the calls) give `Effect`s: bytes to transmit, and news for
the TU. What the layer answers without the TU: CANCEL (200 or 481), merged requests (482), and 100 Trying after 200 ms.
We don't do this: forking, resolving names (RFC 3263), choosing TCP for long requests (§18.1.1): who
calls `request` chooses the flow.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2s
from typing import Any, Final, TypeVar

from pbx.sip.asked import Sameness
from pbx.sip.by_flow import ByFlow
from pbx.sip.client_transaction import ClientTransaction, client_key
from pbx.sip.effects import (
    AckArrived,
    Cancelled,
    Effect,
    RequestArrived,
    ResponseArrived,
    ServerTimeout,
    StrayResponse,
    TransactionFailed,
    Transmit,
)
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.grammar import Params
from pbx.sip.message import Request, Response
from pbx.sip.server_transaction import ServerTransaction, server_key
from pbx.sip.timers import Timers
from pbx.sip.via import with_via
from pbx.sip.wakeups import Wakeups

__all__ = [
    "AckArrived",
    "Cancelled",
    "Effect",
    "RequestArrived",
    "ResponseArrived",
    "ServerTimeout",
    "StrayResponse",
    "Transaction",
    "TransactionFailed",
    "TransactionLayer",
    "Transmit",
]

Transaction = ClientTransaction | ServerTransaction
T = TypeVar("T")

_DEFAULT_TIMERS: Final = Timers()


class TransactionLayer:
    """All transactions of one place. Times are seconds monotonic; flows are the peers' real addresses."""

    def __init__(self, timers: Timers = _DEFAULT_TIMERS) -> None:
        self._timers = timers
        self._clients: dict[str, ClientTransaction] = {}
        self._servers: dict[str, ServerTransaction] = {}
        self._invites: dict[str, str] = {}
        """TU's ref → key of the INVITE client transaction it may cancel."""
        self._first: dict[Sameness, str] = {}
        """What makes requests the same → server transaction that took it first (§8.2.2.2)."""
        self._by_flow = ByFlow()
        self._wakeups: Wakeups[Transaction] = Wakeups()
        self._count = 0

    def __len__(self) -> int:
        """How many transactions live."""
        return len(self._clients) + len(self._servers)

    # --- from the network -------------------------------------------------------------------------------------------

    def receive(self, message: Request | Response, flow: Flow, now: float) -> list[Effect]:
        """Take a message that came on `flow`, its top Via stamped with `received` and `rport`."""
        if isinstance(message, Response):
            return self._receive_response(message, flow, now)
        if message.method == "ACK":
            return self._receive_ack(message, flow, now)
        key = server_key(message, message.method)
        known = self._servers.get(key)
        if known is not None:
            self._by_flow.leave(known)
            effects = known.receive(message, flow, now)
            self._by_flow.enter(known)
            return effects + self._settle(known, now)
        if message.method == "CANCEL":
            return self._receive_cancel(message, flow, now, key=key)
        transaction = self._serve(message, flow, key=key)
        # RFC 3261 §8.2.2.2: "If the request has no tag in the To header field, the UAS core MUST check the request against
        # ongoing transactions. If the From tag, Call-ID, and CSeq exactly match those associated with an ongoing
        # transaction, but the request does not match that transaction (based on the matching rules in Section 17.2.3),
        # the UAS core SHOULD generate a 482 (Loop Detected) response".
        if (
            message.to.tag is None
            and self._first.setdefault(transaction.asked.sameness, transaction.key) != transaction.key
        ):
            return self._answer(transaction, 482, flow, now)
        effects = transaction.start(flow, now)
        return effects + self._settle(transaction, now)

    def _receive_response(self, response: Response, flow: Flow, now: float) -> list[Effect]:
        # RFC 3261 §8.1.3.3: "If more than one Via header field value is present in a response, the UAC SHOULD discard the
        # message": it was misrouted, or meant for a proxy.
        if len(response.vias) > 1:
            return []
        transaction = self._clients.get(client_key(response.via.branch or "", response.cseq.method))
        if transaction is None:
            return [StrayResponse(response, flow)]
        effects = transaction.receive(response, flow, now)
        if transaction.cancelling:
            effects += self._cancel(transaction, now)
        return effects + self._settle(transaction, now)

    def _receive_ack(self, ack: Request, flow: Flow, now: float) -> list[Effect]:
        transaction = self._servers.get(server_key(ack, "INVITE"))
        if transaction is None:
            return [AckArrived(ack, flow)]
        return transaction.receive(ack, flow, now) + self._settle(transaction, now)

    def _receive_cancel(self, cancel: Request, flow: Flow, now: float, *, key: str) -> list[Effect]:
        invite = self._servers.get(server_key(cancel, "INVITE"))
        transaction = self._serve(cancel, flow, key=key)
        if invite is None or invite.asked.call_id != cancel.call_id:
            # RFC 3261 §9.2: "If the UAS did not find a matching transaction for the CANCEL according to the procedure
            # above, it SHOULD respond to the CANCEL with a 481 (Call Leg/Transaction Does Not Exist)."
            return self._answer(transaction, 481, flow, now)
        # "…the UAS answers the CANCEL request itself with a 200 (OK) response. … the To tag of the response to the
        # CANCEL and the To tag in the response to the original request SHOULD be the same."
        effects = self._answer(transaction, 200, flow, now, to_tag=invite.to_tag)
        return effects + invite.cancel(cancel, flow, now)

    def _serve(self, request: Request, flow: Flow, *, key: str) -> ServerTransaction:
        self._count += 1
        transaction = ServerTransaction(request, flow, key=key, order=self._count, timers=self._timers)
        self._servers[transaction.key] = transaction
        self._by_flow.enter(transaction)
        return transaction

    def _answer(
        self,
        transaction: ServerTransaction,
        status: int,
        flow: Flow,
        now: float,
        *,
        to_tag: str | None = None,
    ) -> list[Effect]:
        assert transaction.request is not None, "nobody has answered it"
        transaction.start(flow, now)
        tag = to_tag or _tag(transaction.key)
        effects = transaction.respond(transaction.request.response(status, to_tag=tag), now)
        return effects + self._settle(transaction, now)

    # --- from the TU ------------------------------------------------------------------------------------------------

    def request(
        self,
        request: Request,
        flow: Flow,
        now: float,
        *,
        ref: str,
        branch: str,
        via_host: str,
        via_port: int,
        via_params: Params = (),
    ) -> list[Effect]:
        """Send `request` (not ACK, not CANCEL) on `flow` and watch over it.

        `branch` is random and begins with z9hG4bK; `via_host` and `via_port` are where we listen, `via_params` what our Via
        says besides, so that they too come back in its answers; `ref` comes back in
        `ResponseArrived` and `TransactionFailed`. The request itself stays as it is: a copy gets the Via.
        """
        self._count += 1
        ours = with_via(request, flow, branch=branch, host=via_host, port=via_port, more=via_params)
        transaction = ClientTransaction(ours, flow, ref=ref, order=self._count, timers=self._timers)
        assert transaction.key not in self._clients, "a branch is used once (RFC 3261 §8.1.1.7)"
        if request.method == "INVITE":
            self._invites[ref] = transaction.key
        return self._begin(transaction, now)

    def _begin(self, transaction: ClientTransaction, now: float) -> list[Effect]:
        self._clients[transaction.key] = transaction
        self._by_flow.enter(transaction)
        return transaction.start(now) + self._settle(transaction, now)

    def cancel(self, ref: str, now: float, *, headers: Iterable[tuple[str, str]] = ()) -> list[Effect]:
        """Cancel the INVITE started under `ref`; its end still comes: 487, 2xx, another failure or a timeout.

        The CANCEL has the INVITE's branch and leaves once a provisional response came, with `headers` (its Reason). Nothing
        happens when the INVITE has its final response.
        """
        transaction = self._clients.get(self._invites.get(ref, ""))
        if transaction is None:
            return []
        transaction.cancel_headers = tuple(headers)
        return self._cancel(transaction, now) + self._settle(transaction, now)

    def _cancel(self, invite: ClientTransaction, now: float) -> list[Effect]:
        request = invite.cancel(now)
        if request is None:
            return []
        self._count += 1
        # RFC 3261 §9.1: "the destination address, port, and transport for the CANCEL MUST be identical to those used to
        # send the original request."
        transaction = ClientTransaction(
            request, invite.flow, ref=None, order=self._count, timers=self._timers
        )
        return self._begin(transaction, now)

    def respond(self, transaction: str, response: Response, now: float) -> list[Effect]:
        """Answer the request that came as `RequestArrived(transaction, …)`.

        A 2xx to INVITE may be given again, which transmits it again. A final response after another one is ignored, and
        so is anything for a transaction that is gone.
        """
        server = self._servers.get(transaction)
        if server is None:
            return []
        return server.respond(response, now) + self._settle(server, now)

    def trying(self, transaction: str, now: float) -> list[Effect]:
        """Answer 100 at once to the INVITE that came as `RequestArrived(transaction, …)`: it will have to wait."""
        server = self._servers.get(transaction)
        return [] if server is None else server.trying(now) + self._settle(server, now)

    def answer_once(
        self,
        transaction: str,
        status: int,
        now: float,
        *,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> list[Effect]:
        """Answer with a final response (to an INVITE: 300 to 699) and forget the request at once: for strangers, who shall cost nothing.

        RFC 3261 §8.2.7, the stateless UAS: the response is sent once, a repeated request comes as a new `RequestArrived`
        and must get the same answer; the ACK comes as `AckArrived` of no dialog. A request that has had a response
        already, such as the layer's own 100, is answered as by `respond`.
        """
        server = self._servers.get(transaction)
        if server is None or server.request is None:
            return []
        response = server.request.response(
            status, reason, to_tag=server.to_tag or _tag(transaction), headers=headers
        )
        if server.last is not None:
            return self.respond(transaction, response, now)
        data = response.encode()
        server.abandon()
        self._forget(server)
        return [Transmit(data, server.flow)]

    def send_ack(
        self, request: Request, flow: Flow, now: float, *, branch: str, via_host: str, via_port: int
    ) -> list[Effect]:
        """Send the ACK to a 2xx (RFC 3261 §13.2.2.4): a message without transaction, sent again for each 2xx."""
        del now  # nothing is timed
        ack = with_via(request, flow, branch=branch, host=via_host, port=via_port)
        return [Transmit(ack.encode(), flow)]

    # --- from the clock and the transport ---------------------------------------------------------------------------

    def transport_failed(self, flow: Flow, now: float) -> list[Effect]:
        """What was sent on `flow` cannot arrive: requests fail, responses try their second way."""
        effects: list[Effect] = []
        for transaction in self._by_flow.sending(flow):
            if isinstance(transaction, ClientTransaction):
                effects += transaction.broken(now)
            else:
                self._by_flow.leave(transaction)
                effects += transaction.broken()
                self._by_flow.enter(transaction)
            effects += self._settle(transaction, now)
        return effects

    def closed(self, flow: Flow, now: float) -> list[Effect]:
        """The peer closed the connection `flow` in order: our requests that wait for an answer there fail."""
        effects: list[Effect] = []
        for transaction in self._by_flow.sending(flow):
            if isinstance(transaction, ClientTransaction):
                effects += transaction.broken(now) + self._settle(transaction, now)
        return effects

    def moved(self, old: Flow, new: Flow) -> list[Effect]:
        """The phone behind `old` is reached over `new` now (RFC 5626): answers to what it asked there go there.

        What was answered last is sent again, for it may have been lost with the old flow.
        """
        effects: list[Effect] = []
        for server in self._by_flow.asked_on(old):
            self._by_flow.leave(server)
            effects += server.moved(new)
            self._by_flow.enter(server)
        for client in self._by_flow.sending(old):
            if isinstance(client, ClientTransaction) and client.flow == old:
                self._by_flow.leave(client)
                client.flow = new
                self._by_flow.enter(client)
        return effects

    @property
    def next_due(self) -> float | None:
        """When `expire` wants to be called; None: not before something is received or asked."""
        head = self._wakeups.first()
        return None if head is None else head[0]

    def expire(self, now: float) -> list[Effect]:
        """Fire every timer due at `now`, in order of time."""
        effects: list[Effect] = []
        while (head := self._wakeups.first()) is not None and head[0] <= now:
            self._wakeups.pop()
            effects += head[1].expire(now)
            effects += self._settle(head[1], now)
        return effects

    def _settle(self, transaction: Transaction, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if transaction.next_due is not None and transaction.next_due <= now:
            effects = transaction.expire(now)  # timers of length zero
        if transaction.terminated:
            self._forget(transaction)
        else:
            self._wakeups.note(transaction)
        return effects

    def _forget(self, transaction: Transaction) -> None:
        self._by_flow.leave(transaction)
        if isinstance(transaction, ClientTransaction):
            self._clients.pop(transaction.key, None)
            if transaction.ref is not None and self._invites.get(transaction.ref) == transaction.key:
                del self._invites[transaction.ref]
        elif self._servers.pop(transaction.key, None) is not None:
            sameness = transaction.asked.sameness
            if self._first.get(sameness) == transaction.key:
                del self._first[sameness]

    # --- across a restart -------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `restore`: requests as bytes, times as they are (monotonic, so of this boot only)."""
        return {
            "count": self._count,
            "clients": [t.snapshot() for t in sorted(self._clients.values(), key=lambda t: t.order)],
            "servers": [t.snapshot() for t in sorted(self._servers.values(), key=lambda t: t.order)],
            "invites": dict(self._invites),
            "first": [[list(sameness), key] for sameness, key in self._first.items()],
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any], timers: Timers = _DEFAULT_TIMERS) -> "TransactionLayer":
        """Undo `snapshot`."""
        self = cls(timers)
        self._count = data["count"]
        for item in data["clients"]:
            client = _restored(ClientTransaction.restore, item, timers)
            if client is None:
                continue
            self._clients[client.key] = client
            self._by_flow.enter(client)
            self._wakeups.note(client)
        for item in data["servers"]:
            server = _restored(ServerTransaction.restore, item, timers)
            if server is None:
                continue
            self._servers[server.key] = server
            self._by_flow.enter(server)
            self._wakeups.note(server)
        self._invites = dict(data["invites"])
        self._first = {
            (call_id, tag, number, method): key for (call_id, tag, number, method), key in data["first"]
        }
        return self


def _tag(key: str) -> str:
    # A tag of no dialog: it must only be the same in every repetition, so it may be made from the transaction's name.
    return blake2s(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _restored(
    restore: Callable[[Mapping[str, Any], Timers], T], item: Mapping[str, Any], timers: Timers
) -> T | None:
    try:
        return restore(item, timers)
    except SipError:
        # A stamp made a line longer than the parser takes: better one transaction lost than the whole restart.
        return None
