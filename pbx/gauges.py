"""What is counted by looking: how much the parts of signalling hold now, put into the metrics some times a second.

in → out: parts → gauges of `pbx.metrics`
"""

import time
from dataclasses import asdict, dataclass

from pbx.call.exchange import Exchange
from pbx.call.reception import Reception
from pbx.call.routing_service import queues_view
from pbx.call.watch import Watch
from pbx.directory import Directory
from pbx.metrics import Metrics
from pbx.registrar import Registrar
from pbx.storage.outbox import Outbox
from pbx.transport.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Gauges:
    """See the module."""

    metrics: Metrics
    exchange: Exchange
    registrar: Registrar
    reception: Reception
    outbox: Outbox
    endpoint: Endpoint
    watch: Watch
    directory: Directory

    def often(self) -> None:
        """Count what changes within a second and costs nothing to count."""
        metrics = self.metrics
        metrics.registrations.set(len(self.registrar))
        metrics.to_begin.set(len(self.reception))
        metrics.may_wait.set(self.reception.most(time.monotonic()))
        metrics.outbox_pending.set(self.outbox.pending)
        metrics.outbox_refused.set(self.outbox.refused)

    def seldom(self) -> None:
        """Count what takes a look at every desk, queue and kind of message."""
        for what, count in asdict(self.endpoint.counts).items():
            self.metrics.sip_messages.labels(what).set(count)
        for state, desks in self.watch.desk_states(self.directory.desks()).items():
            self.metrics.desks.labels(state).set(desks)
        for view in queues_view(self.exchange):
            self.metrics.waiting.labels(view["queue"]).set(view["waiting"])
