"""What a signalling process takes up of one that died, and what it states of the time in between.

in → out: what the journal held → exchange, transactions, phones' flows, watch and keeping as they were; then what is told to
the media process, and a note in the evidence of every call.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from pbx.call import resync
from pbx.call.control import Control
from pbx.call.effects import Note
from pbx.call.exchange import Exchange
from pbx.call.keeping import Keeping
from pbx.call.live_state import LiveState
from pbx.call.reception import Reception
from pbx.call.watch import Watch
from pbx.flows import Flows
from pbx.live import key
from pbx.live.attempts import Attempts
from pbx.live.continuity import GRACE_SECONDS, Continuity, Left, Numbers, Rows, Source, open_journal
from pbx.live.journal import boot_id
from pbx.live.outward import HeldMedia, HeldRows, HeldTransport, MediaLink, Outward, Transport
from pbx.metrics import Metrics
from pbx.sip.flow import Flow
from pbx.sip.kept_transactions import KeptLayer
from recordings.folder import utc
from rtp.control import Event, Holdings

FOLDER: Final = "live"
RESYNC_SECONDS: Final = 60.0
"""How long after a restart a media process that connects is told everything again."""

log = structlog.get_logger("signalling")


@dataclass(slots=True)
class Machines:
    """What has live state."""

    exchange: Exchange
    layer: KeptLayer
    flows: Flows
    watch: Watch
    keeping: Keeping
    reception: Reception


class Survival:
    """See the module. Made before the machines, so that what they do to the outside goes through it."""

    def __init__(self, rows: Rows, metrics: Metrics) -> None:
        self.outward = Outward()
        self.rows = HeldRows(self.outward, rows)
        self._rows = rows
        self._metrics = metrics
        self._resync_until = 0.0
        self._lost: list[Flow] = []

    def between(self, transport: Transport, media: MediaLink) -> tuple[HeldTransport, HeldMedia]:
        """Stand between the machines and those who send to phones and to the media process."""
        self._transport = HeldTransport(self.outward, transport)
        self._media = HeldMedia(self.outward, media)
        return self._transport, self._media

    def take(self, machines: Machines, state: Path, environment: Mapping[str, str]) -> None:
        """Take the machines; `state`: the state folder; `environment`: names the supervisor's key, if somebody restarts us."""
        folder = state / FOLDER
        self._machines = machines
        self._live = LiveState(machines.exchange)
        metrics = self._metrics
        numbers = Numbers(metrics.live_fault, metrics.live_bytes, metrics.live_restored, metrics.live_dropped)
        sources: dict[str, Source] = {
            "exchange": self._live,
            "sip": machines.layer,
            "flows": machines.flows,
            "plays": self._media,
            "watch": machines.watch,
            "keeping": machines.keeping,
            "reception": machines.reception,
        }
        self._continuity = Continuity(
            open_journal(folder, key.take(environment), boot_id()),
            Attempts(folder),
            sources,
            outward=self.outward,
            rows=self._rows,
            numbers=numbers,
        )

    def resume(self) -> Left:
        """Take up what a dead process left; to be called once, before anything else is done with the machines."""
        now, wall = time.monotonic(), time.time_ns()
        left, machines, continuity = self._continuity.left(now), self._machines, self._continuity
        state = left.state
        if left.died is not None:
            continuity.lost("exchange", self._live.resume(state["exchange"], now, GRACE_SECONDS))
            continuity.lost("sip", machines.layer.resume(state["sip"], now, GRACE_SECONDS))
            continuity.lost("reception", machines.reception.resume(state["reception"], machines.layer.asked))
            flows = machines.flows.resume(state["flows"])
            flows += [leg.flow for leg in machines.exchange.legs.values()]
            self._lost = [flow for flow in dict.fromkeys(flows) if flow.id]
            continuity.lost("plays", self._media.resume(state["plays"]))
            machines.watch.resume(state["watch"])
            machines.keeping.resume(state["keeping"])
            present: dict[str, int] = {}
            continuity.again(left, lambda out: self._again(out, present))
        if not machines.exchange.calls and not machines.exchange.rooms:
            machines.keeping.started(wall / 1e9)
        continuity.begin(left)
        self._resync_until = now + RESYNC_SECONDS if machines.exchange.legs else 0.0
        return left

    def _again(self, out: Any, present: dict[str, int]) -> None:
        self._machines.watch.again(out, present)
        self._machines.keeping.again(out)

    def go_on(self, control: Control, left: Left) -> None:
        """Go on where the dead process was: state the gap, and look after what was lost with its connections."""
        self._transport.open()
        if left.died is None:
            return
        for flow in self._lost:
            control.on_flow_failed(flow)
        exchange = control.exchange
        died, back = left.died[1], time.time_ns()
        gap = {"from": utc(died), "to": utc(back), "seconds": round((back - died) / 1e9, 3)}
        notes = [Note("server_outage", call, dict(gap)) for call in exchange.calls]
        control.act(lambda now: exchange.run(notes, now))
        holds = {ref: self._machines.layer.holds(ref) for ref in resync.calling(exchange)}
        control.act(lambda now: resync.unsent(exchange, holds, now))
        control.beginning.resume()
        self._metrics.live_restored.inc(len(exchange.calls))
        log.warning("live_state_restored", calls=len(exchange.calls), legs=len(exchange.legs), **gap)

    def media_said(self, event: Event, control: Control) -> None:
        """Hear what a media process said, after the exchange did."""
        if isinstance(event, Holdings) and time.monotonic() < self._resync_until:
            plays = self._media.plays
            control.look("resync", lambda now: resync.resync(control.exchange, event, plays, now))

    def settle(self) -> None:
        """See `Continuity.settle`."""
        self._continuity.settle()

    def beat(self) -> None:
        """See `Continuity.beat`."""
        self._live.lazily()
        self._continuity.beat()

    def end(self) -> None:
        """See `Continuity.end`."""
        self._continuity.end()
