"""What statistics are computed from, read again from the raw events of the calls themselves.

in → out: the folder with the evidence of all calls (`events.jsonl` of each), and the routing log for what desks were, which
is no call's evidence → `routing.statistics.Event`s. They must give the figures the running exchange gives, to the last digit.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pbx.call import ledger
from recordings.events import read_events
from recordings.folder import EVENTS_NAME
from routing.statistics import AGAIN, ARRIVED, DESK, DISTRICT, ENDED, HEARD, LOST, START, THROUGH, Event

_WHAT: Final = {
    "call_arrived": ARRIVED,
    "put_through": THROUGH,
    "desk_heard": HEARD,
    "desk_lost": LOST,
    "call_ended": ENDED,
    "district": DISTRICT,
    "same_incident": "",  # what the record says of it
}
SLACK: Final = 5.0
"""Seconds by which the clock of a file system may lag behind ours."""


def read(evidence: Path, routing: Path, since: float, until: float) -> Iterator[Event]:
    """Give the events of calls that may concern since ≤ t < until, and of desks. Raises OSError.

    `evidence`: any folder above those of the calls; `routing`: that of the routing log; without it there is no occupancy.
    """
    # Not rglob, which fails on a folder that goes meanwhile, as those do in which films are made.
    logs = (Path(folder) / EVENTS_NAME for folder, _, files in os.walk(evidence) if EVENTS_NAME in files)
    for file in sorted(logs):
        if file.stat().st_mtime >= since - SLACK:
            yield from of_call(read_events(file))
    for event in ledger.read(routing, since, until):
        if event.what in {DESK, START}:
            yield event


def of_call(records: list[dict[str, Any]]) -> Iterator[Event]:
    """Give what the events of one call say; nothing of a call that a desk placed: there nobody waited."""
    if any(record.get("direction") == "outgoing" for record in records):
        return
    queue = next(
        (str(r["queue"]) for r in records if r.get("event") == "call_arrived" and "queue" in r), "default"
    )
    for record in records:
        what = _WHAT.get(str(record.get("event")))
        if what == "":
            what = str(record.get("why")) if record.get("why") in AGAIN else None
        if what is not None:
            yield _event(record, what, queue)


def _event(record: Mapping[str, Any], what: str, queue: str) -> Event:
    desk = str(record.get("desk") or "")
    district = str(record.get("district") or "") if what == DISTRICT else ""
    at = datetime.fromisoformat(str(record["at"])).timestamp()
    agent = str(record.get("agent") or desk)
    incident = str(record.get("incident") or "") if what in AGAIN else ""
    return Event(at, what, str(record["call"]), queue, desk, agent, district=district, incident=incident)
