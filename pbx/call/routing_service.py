"""Queues, decisions, statistics and callback tasks as the API sees them (`pbx.api.routing.Routing`).

in → out: what a person asks → views, or a verb run by `control`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

from pbx.api.exchange import ExchangeError, View
from pbx.call import ledger
from pbx.call.callbacks import Callbacks
from pbx.call.control import Control
from pbx.call.effects import Note
from pbx.call.exchange import Exchange
from recordings.events import read_events
from recordings.folder import EVENTS_NAME
from routing import statistics
from routing.acd import HoldBack, Prioritise, Priority
from routing.districts import Districts
from routing.statistics import Period

CLASSES = {name: Priority[name.upper()] for name in ("danger", "authority", "raised", "normal", "held")}


class RoutingService:
    """See the module."""

    def __init__(
        self,
        control: Control,
        callbacks: Callbacks,
        *,
        log: Path,
        evidence: Path,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`log`: the folder of the routing log; `evidence`: that of all calls."""
        self._control = control
        self._callbacks = callbacks
        self._log = log
        self._evidence = evidence
        self._wall = wall

    def queues(self) -> list[dict[str, Any]]:
        """Return every queue that has a rule or a caller, with how many wait and who serves it."""
        return queues_view(self._control.exchange)

    async def why(self, call: str) -> Sequence[View]:
        """Return the decisions about one call, the first first."""
        events = await asyncio.to_thread(read_events, self._evidence / call / EVENTS_NAME)
        if not events:
            raise _unknown()
        return decisions(events)

    async def statistics(self, since: float, until: float, period: Period, zone: tzinfo = UTC) -> View:
        """Compute the figures of since ≤ t < until."""
        until = min(until, self._wall())

        def work() -> View:
            events = ledger.read(self._log, since, until)
            return statistics.compute(events, since=since, until=until, zone=zone, period=period).view()

        return await asyncio.to_thread(work)

    async def prioritise(self, call: str, name: str, by: str) -> None:
        """Put a waiting caller into another class."""
        exchange = self._control.exchange
        if exchange.acd.place(call) is None:
            raise _unknown()
        noted = Note("prioritised", call, {"class": name, "by": by})
        event = Prioritise(call, CLASSES[name])
        self._control.act(lambda now: exchange.run([noted, *exchange.acd.receive(event, now)], now))

    async def hold_back(self, prefix: str, by: str, *, on: bool) -> None:
        """Serve whoever's identity or number begins so only when nobody else waits, or no longer so."""
        exchange = self._control.exchange
        noted = Note("held_back", None, {"prefix": prefix, "on": on, "by": by})
        event = HoldBack(prefix, on)
        self._control.act(lambda now: exchange.run([noted, *exchange.acd.receive(event, now)], now))

    def held_back(self) -> list[str]:
        """Return what is held back."""
        return sorted(self._control.exchange.acd.held_back)

    def callbacks(self) -> Sequence[View]:
        """Return the callers who gave up and were not called back."""
        districts = self._control.exchange.whereabouts.districts
        return [callback_view(task, districts) for task in self._callbacks.tasks()]

    async def callback_done(self, call: str) -> None:
        """Close a task."""
        if not self._callbacks.done(call):
            raise _unknown()


def callback_view(task: Mapping[str, Any], districts: Districts) -> dict[str, Any]:
    """Return a task with the name of its district, as the view of a call has it."""
    served = task["district"]
    if served is None:
        return dict(task)
    found = districts.find(served["district"] or "")
    return {**task, "district": {**served, "name": None if found is None else dict(found.names)}}


def queues_view(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the queues as plain data."""
    acd = exchange.acd
    places = acd.queue
    names = sorted({"default", *acd.rules.queues, *(place.queue for place in places)})
    scene = acd.scene(0.0)
    out = []
    for name in names:
        rule = acd.rules.queue(name)
        mine = [place for place in places if place.queue == name]
        out.append(
            {
                "queue": name,
                "waiting": len(mine),
                "staffed": scene.staffed(name),
                "strategy": rule.strategy,
                "overflow_to": list(rule.overflow_to),
                "trunk": rule.trunk,
                "full": False,
            }
        )
    return out


def decisions(events: Sequence[View]) -> list[View]:
    """Return what of a call's events says who got it and why."""
    return [event for event in events if event.get("event") in SAID]


SAID = frozenset(
    {
        "call_arrived", "routed", "put_through", "desk_lost", "same_incident", "overflow", "overflow_wanted",
        "overflow_answered", "overflow_failed", "overflow_cancelled", "desk_sent_no_sound", "takeover_failed", "desk_not_coming", "prioritised", "call_superseded", "call_ended",
        "reconciled",
    }
)  # fmt: skip


def _unknown() -> ExchangeError:
    return ExchangeError(404, "unknown_call", "没有这个呼叫", "There is no such call")
