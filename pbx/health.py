"""How the exchange is, in one view: what `/healthz` and the consoles say.

in → out: the parts that can be away → one dict of plain values, told to who watches when it changes.
"""

from dataclasses import dataclass

from pbx.api.feed import Feed
from pbx.call.call import State as CallState
from pbx.call.exchange import Exchange
from pbx.liveness import Liveness
from pbx.media_link import MediaLink
from pbx.registrar import Registrar
from pbx.storage.database import Database
from pbx.storage.outbox import Outbox
from pbx.store_watch import StoreWatch


@dataclass(frozen=True, slots=True)
class Parts:
    """What is asked."""

    exchange: Exchange
    registrar: Registrar
    database: Database
    outbox: Outbox
    media: MediaLink
    liveness: Liveness
    store: StoreWatch


class Health:
    """See the module."""

    def __init__(self, parts: Parts, feed: Feed) -> None:
        self._parts = parts
        self._feed = feed
        self._told: tuple[object, ...] = ()
        self.ready = False
        """Whether everything is started and nothing is being ended."""

    def view(self) -> dict[str, object]:
        """Return every part's word, and how much there is to do."""
        parts = self._parts
        return {
            "ready": self.ready,
            "database": "up" if parts.database.up else "down",
            "media": self._media(),
            "evidence": "up" if parts.store.there else "missing",
            "journal": "ok" if parts.outbox.journal_ok else "failed",
            "outbox_pending": parts.outbox.pending,
            "calls": sum(call.state is not CallState.CLOSING for call in parts.exchange.calls.values()),
            "waiting": len(parts.exchange.acd.queue),
            "registrations": len(parts.registrar),
        }

    def tell(self) -> None:
        """Tell who watches."""
        self._feed.publish({"type": "health", "health": self.view()})

    def look(self) -> None:
        """Tell who watches when a part that says nothing by itself has changed."""
        now = (self._media(), self._parts.store.there)
        if now != self._told:
            self._told = now
            self.tell()

    def _media(self) -> str:
        return self._parts.liveness.media(connected=self._parts.media.connected)
