"""Who watches hears how the exchange is when it changes, and not each time somebody looks."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pbx.call.call import State
from pbx.health import Health, Parts


class Site:
    """Parts as plain values, and what was published."""

    def __init__(self) -> None:
        self.late = self.connected = False
        self.store = SimpleNamespace(there=True)
        self.database = SimpleNamespace(up=True)
        self.outbox = SimpleNamespace(journal_ok=True, pending=3)
        calls = {str(number): SimpleNamespace(state=state) for number, state in enumerate(State)}
        self.exchange = SimpleNamespace(calls=calls, acd=SimpleNamespace(queue=[1, 2]))
        self.told: list[dict[str, Any]] = []
        self.health = Health(
            Parts(
                exchange=cast("Any", self.exchange),
                registrar=cast("Any", range(7)),
                database=cast("Any", self.database),
                outbox=cast("Any", self.outbox),
                media=cast("Any", self),
                liveness=cast("Any", self),
                store=cast("Any", self.store),
            ),
            cast("Any", SimpleNamespace(publish=self.told.append)),
        )

    def media(self, *, connected: bool) -> str:
        return "down" if not connected else "late" if self.late else "up"


def test_every_part_has_its_word() -> None:
    site = Site()
    site.health.ready = True
    assert site.health.view() == {
        "ready": True,
        "database": "up",
        "media": "down",
        "evidence": "up",
        "journal": "ok",
        "outbox_pending": 3,
        "calls": len(State) - 1,  # but the one that is being closed
        "waiting": 2,
        "registrations": 7,
    }
    site.database.up = site.outbox.journal_ok = site.store.there = site.health.ready = False
    view = site.health.view()
    assert [view[part] for part in ("ready", "database", "evidence", "journal")] == [
        False,
        "down",
        "missing",
        "failed",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda site: setattr(site, "connected", True),
        lambda site: setattr(site.store, "there", False),
    ],
)
def test_a_change_that_no_part_tells_of_is_told_once(change: Any) -> None:
    site = Site()
    site.health.look()
    site.health.look()
    assert len(site.told) == 1
    change(site)
    site.health.look()
    site.health.look()
    assert len(site.told) == 2
    assert site.told[1] == {"type": "health", "health": site.health.view()}
    assert site.told[0]["health"] != site.told[1]["health"]
