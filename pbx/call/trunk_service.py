"""Trunks as the API sees them (`pbx.api.trunks.Trunks`): views, in and out of service, a call to try one.

in → out: what a person asks → a verb run by `control`, or an `ExchangeError` in both languages.
"""

from collections.abc import Callable, Sequence
from typing import Final

from pbx.api.exchange import ExchangeError, View
from pbx.call import trunk_calls
from pbx.call.control import Control
from pbx.call.effects import Effect
from pbx.call.impossible import REASONS, Impossible
from pbx.call.owner import Owner
from pbx.metrics import Metrics
from pbx.trunks.trunk import Trunk
from pbx.trunks.views import trunk_view

TEST_OWNER: Final = "trial"
"""Owner of the leg of a call that tries a trunk: a tone is played and the leg hung up."""

Verb = Callable[[float], list[Effect]]


class TrunkService:
    """See the module."""

    def __init__(self, control: Control, metrics: Metrics) -> None:
        self._control = control
        self._metrics = metrics

    def start(self) -> None:
        """Begin to ask peers and to register."""

        def begin(now: float) -> list[Effect]:
            self._control.exchange.trunks.start(now)
            return self._control.exchange.run((), now)

        self._control.act(begin)

    def close(self) -> None:
        """End every registration: the exchange is being stopped."""
        exchange = self._control.exchange
        self._control.act(lambda now: exchange.run(exchange.trunks.close(), now))

    def trunks(self) -> Sequence[View]:
        """Give every trunk."""
        return [self._view(trunk) for trunk in self._control.exchange.trunks]

    def _view(self, trunk: Trunk) -> View:
        return trunk_view(trunk, trunk_calls.busy(self._control.exchange, trunk.name))

    def measure(self) -> None:
        """Bring the metrics up to date."""
        for trunk in self._control.exchange.trunks:
            name, counts, registration = trunk.name, trunk.counts, trunk.registration
            self._metrics.trunk_calls.labels(name).set(trunk_calls.busy(self._control.exchange, name))
            for what in ("incoming", "outgoing", "failed", "failovers"):
                self._metrics.trunk_counts.labels(name, what).set(getattr(counts, what))
            for peer in trunk.peers:
                self._metrics.trunk_peer_up.labels(name, peer.name).set(peer.up)
            if registration is not None:
                self._metrics.trunk_registered.labels(name).set(registration.registered)

    async def out_of_service(self, trunk: str) -> None:
        """Place no calls over a trunk and end its registration; calls that come over it are taken all the same."""
        found = self._found(trunk)
        self._act(lambda now: self._control.exchange.run(found.stop(), now))

    async def in_service(self, trunk: str) -> None:
        """Use a trunk again."""
        found = self._found(trunk)

        def begin(now: float) -> list[Effect]:
            found.start(now)
            return self._control.exchange.run((), now)

        self._act(begin)

    async def try_out(self, trunk: str, number: str) -> str:
        """Call a number over a trunk, play it a tone and hang up; gives the leg. How it went is in the feed and the log."""
        self._found(trunk)
        placed: list[str] = []

        def place(now: float) -> list[Effect]:
            exchange = self._control.exchange
            wanted = trunk_calls.Outside(number, trunk=trunk)
            leg, items = trunk_calls.place(exchange, wanted, Owner(TEST_OWNER, trunk), now)
            placed.append(leg)
            return exchange.run(items, now, leg)

        self._act(place)
        return placed[0]

    def _found(self, name: str) -> Trunk:
        found = self._control.exchange.trunks.get(name)
        if found is None:
            raise _error(Impossible("unknown_trunk"))
        return found

    def _act(self, verb: Verb) -> None:
        try:
            self._control.act(verb)
        except Impossible as error:
            raise _error(error) from error


def _error(error: Impossible) -> ExchangeError:
    zh, en = REASONS[error.code]
    return ExchangeError(404 if error.code.startswith("unknown") else 409, error.code, zh, en)
