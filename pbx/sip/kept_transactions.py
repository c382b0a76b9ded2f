"""The transaction layer of a process that may die and come back: it tells which of its transactions changed.

in → out: as `transactions`; `changes` → records for a journal; those → the same transactions.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pbx.sip.client_transaction import ClientTransaction
from pbx.sip.effects import Effect
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.sip.server_transaction import ServerTransaction, server_key
from pbx.sip.timers import Timer, Timers
from pbx.sip.transactions import Transaction, TransactionLayer

NOT_KEPT: Final = frozenset({"REGISTER", "SUBSCRIBE", "OPTIONS"})
"""Requests of peers whose repetition does no harm: who asks twice is answered twice."""
NOT_OURS: Final = ("trunk/", "notify/")
"""What begins the `ref` of requests whose senders begin anew after a restart."""
PATIENT: Final = frozenset({Timer.B.value, Timer.F.value, Timer.CANCELLED.value})
"""Timers that give a peer up. What it said while nobody listened here it says again, if it is given the time."""

Change = tuple[str, Any]
"""Name of a record, and its plain data; None: it is no more."""


class KeptLayer(TransactionLayer):
    """See the module."""

    def __init__(self, timers: Timers | None = None) -> None:
        super().__init__(*(() if timers is None else (timers,)))
        self._changed: dict[int, Transaction] = {}
        self._told: dict[int, bool] = {}
        """Transactions that were told of, and whether the records hold their requests."""

    def changes(self) -> Iterator[Change]:
        """Give what changed since this was asked last. A request, which never changes, is a record of its own, for as long as it
        has no final answer.
        """
        changed, self._changed = self._changed, {}
        for order, transaction in changed.items():
            if self._clients.get(transaction.key) is not transaction and (
                self._servers.get(transaction.key) is not transaction
            ):
                if (whole := self._told.pop(order, None)) is not None:
                    yield f"{order}", None
                    if whole:
                        yield f"{order}/request", None
                continue
            whole = self._told.get(order)
            if whole is None and not _is_kept(transaction):
                continue
            has = self._told[order] = _has_request(transaction)
            if has and not whole:
                yield f"{order}/request", _request_of(transaction)
            elif whole and not has:
                yield f"{order}/request", None
            yield f"{order}", transaction.state()

    def resume(self, records: Mapping[str, Any], now: float, grace: float) -> list[str]:
        """Take up the transactions that `changes` told; nobody is given up before `grace` seconds have passed.

        Returns the names of records that could not be read.
        """
        bad: list[str] = []
        for name in sorted((name for name in records if name.isdecimal()), key=int):
            try:
                state = records[name]
                over = state.get("asked") is not None
                ours, data = (False, None) if over else records[f"{name}/request"]
                due = state["machine"]["due"]
                due.update({timer: max(due[timer], now + grace) for timer in PATIENT & due.keys()})
                self._take_up(ours, {**state, "request": data})
            except (SipError, LookupError, TypeError, ValueError, AssertionError):
                bad.append(name)
        return bad

    def _take_up(self, ours: bool, data: Mapping[str, Any]) -> None:
        transaction: Transaction
        if ours:
            transaction = ClientTransaction.restore(data, self._timers)
            self._clients[transaction.key] = transaction
            if transaction.ref is not None and transaction.request.method == "INVITE":
                self._invites[transaction.ref] = transaction.key
        else:
            transaction = ServerTransaction.restore(data, self._timers)
            self._servers[transaction.key] = transaction
            if transaction.asked.opens:
                self._first.setdefault(transaction.asked.sameness, transaction.key)
        self._count = max(self._count, transaction.order)
        self._by_flow.enter(transaction)
        self._wakeups.note(transaction)
        self._told[transaction.order] = _has_request(transaction)

    def holds(self, ref: str) -> bool:
        """Whether a request that was sent under `ref` still waits for its end."""
        return any(client.ref == ref for client in self._clients.values())

    def asked(self, transaction: str) -> Request | None:
        """Return the request of a server transaction; None: there is none of this name, or it has its final answer."""
        server = self._servers.get(transaction)
        return None if server is None else server.request

    # --- what may have changed --------------------------------------------------------------------------------------

    def _settle(self, transaction: Transaction, now: float) -> list[Effect]:
        self._changed[transaction.order] = transaction
        return super()._settle(transaction, now)

    def _forget(self, transaction: Transaction) -> None:
        self._changed[transaction.order] = transaction
        super()._forget(transaction)

    def _receive_cancel(self, cancel: Request, flow: Flow, now: float, *, key: str) -> list[Effect]:
        invite = self._servers.get(server_key(cancel, "INVITE"))
        if invite is not None:
            self._changed[invite.order] = invite
        return super()._receive_cancel(cancel, flow, now, key=key)

    def moved(self, old: Flow, new: Flow) -> list[Effect]:
        """See `TransactionLayer.moved`."""
        for transaction in (*self._by_flow.asked_on(old), *self._by_flow.sending(old)):
            self._changed[transaction.order] = transaction
        return super().moved(old, new)


def _is_kept(transaction: Transaction) -> bool:
    if isinstance(transaction, ClientTransaction):
        return transaction.ref is None or not transaction.ref.startswith(NOT_OURS)
    return transaction.asked.method not in NOT_KEPT


def _has_request(transaction: Transaction) -> bool:
    return isinstance(transaction, ClientTransaction) or transaction.request is not None


def _request_of(transaction: Transaction) -> tuple[bool, bytes]:
    if isinstance(transaction, ClientTransaction):
        return True, transaction.data
    assert transaction.request is not None, "it was looked whether it is there"
    return False, transaction.request.encode()
