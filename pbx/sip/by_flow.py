"""Which transactions hear of what happens to a flow.

in → out: transactions that come, change their flow and go → those a broken, closed or moved flow concerns, oldest first.
"""

from collections.abc import Iterable
from typing import TypeVar

from pbx.sip.client_transaction import ClientTransaction
from pbx.sip.flow import Flow
from pbx.sip.server_transaction import ServerTransaction

Transaction = ClientTransaction | ServerTransaction
K = TypeVar("K")
T = TypeVar("T", bound=Transaction)


class ByFlow:
    """All transactions of one layer. One that changes its flow leaves before and enters after."""

    def __init__(self) -> None:
        self._to: dict[tuple[str, str, int], dict[Transaction, None]] = {}
        """(transport, remote host, remote port) → the transactions that send there and hear of its failure."""
        self._from: dict[Flow, dict[ServerTransaction, None]] = {}
        """Connection → the server transactions whose request came on it."""

    def enter(self, transaction: Transaction) -> None:
        """Take a transaction in."""
        if isinstance(transaction, ServerTransaction):
            if transaction.source.reliable:
                self._from.setdefault(transaction.source, {})[transaction] = None
            if transaction.fallback is None:
                return  # its state does not change when the transport fails, and there is nothing else to try
        self._to.setdefault(_key(transaction.flow), {})[transaction] = None

    def leave(self, transaction: Transaction) -> None:
        """Forget a transaction; harmless for one that is not here."""
        _drop(self._to, _key(transaction.flow), transaction)
        if isinstance(transaction, ServerTransaction):
            _drop(self._from, transaction.source, transaction)

    def sending(self, flow: Flow) -> list[Transaction]:
        """Return the transactions that send to where `flow` leads, on it or on any connection there."""
        there = self._to.get(_key(flow), {})
        return _aged(t for t in there if not t.flow.id or not flow.id or t.flow.id == flow.id)

    def asked_on(self, flow: Flow) -> list[ServerTransaction]:
        """Return the server transactions whose request came on the connection `flow`."""
        return _aged(self._from.get(flow, ()))


def _key(flow: Flow) -> tuple[str, str, int]:
    return (flow.transport, *flow.remote)


def _drop(index: dict[K, dict[T, None]], key: K, transaction: T) -> None:
    there = index.get(key)
    if there is not None:
        there.pop(transaction, None)
        if not there:
            del index[key]


def _aged(transactions: Iterable[T]) -> list[T]:
    return sorted(transactions, key=lambda t: t.order)
