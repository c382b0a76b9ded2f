"""Two hundred callers wait and twenty desks drain them in the right order; nobody is lost (issue 5)."""

import datetime as dt
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import Measure, NewSipp
from tests.live.kit.exchange import COMMAND, Exchange, read_events

pytestmark = pytest.mark.beside

CALLERS, DESKS = 200, 20

SETTINGS = "[queue]\nwrap_up_seconds = 0.0\nlanguage = 'en'\nno_sound_seconds = 0\n"
"""The phones of this test send no sound."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    running = Exchange(desks=DESKS, settings=SETTINGS)
    try:
        running.start()
        yield running
        running.wait_sealed()
    finally:
        running.stop()
        running.remove()


@pytest.mark.limit(240)
def test_two_hundred_wait_and_twenty_desks_drain_them_in_order(
    exchange: Exchange, sipp: NewSipp, measure: Measure, tmp_path: Path
) -> None:
    callers = sipp("caller_parks", calls=CALLERS, rate=40)
    exchange.until(lambda: len(exchange.queue()) == CALLERS, "not all callers wait", timeout=60)
    (queue,) = exchange.api("GET", "/api/queues")["queues"]
    assert (queue["waiting"], queue["staffed"], queue["full"]) == (CALLERS, 0, False)
    waiting = [str(entry["call"]) for entry in exchange.queue()]

    # Desks that dial in unregistered are strangers until they have given their password, and strangers are shed first.
    exchange.until(
        lambda: "\nat110_shed_pressure 0.0\n" in exchange.api("GET", "/metrics"), "still overloaded"
    )

    started = time.monotonic()
    people = [
        f"{one.user};[authentication username={one.user} password={one.password}]"
        for one in exchange.dispatchers
    ]
    auth_uri = f"*10@{exchange.sip[0]}:{exchange.sip[1]}"
    desks = sipp("desk_dials_in", calls=DESKS, rate=10, service="*10", fields=people, auth_uri=auth_uri)
    ended: list[str] = []

    def serve() -> bool:
        for user, desk in exchange.desks().items():
            call = str(desk["call"])
            if desk["state"] == "busy" and call not in ended:
                exchange.desk(user, "end-call")
                ended.append(call)
        return len(ended) == CALLERS

    exchange.until(serve, "not all callers were served", timeout=100)
    measure("200 callers drained by 20 desks in", time.monotonic() - started, "s")
    callers.wait(30).check(CALLERS)
    assert sorted(ended) == sorted(waiting), "everybody once"

    moments = []
    for call in waiting:
        events = {event["event"]: event for event in read_events(exchange.evidence(call, finished=False))}
        moments.append((events["call_answered"]["mono"], events["put_through"]["mono"]))
    through = [moment for _, moment in sorted(moments)]
    assert through == sorted(through), "who waited first was put through first"
    why = exchange.api("GET", f"/api/calls/{waiting[0]}/why")["why"]
    assert [one["event"] for one in why] == ["call_arrived", "routed", "routed", "put_through", "call_ended"]

    now = time.time()
    figures = exchange.api("GET", f"/api/statistics?since={now - 3600}&until={now + 60}")["total"]
    assert (figures["arrived"], figures["answered"], figures["abandoned"]) == (CALLERS, CALLERS, 0)
    exchange.sign_out(*exchange.desks())
    desks.wait(30).check(DESKS)
    _figures_from_the_raw_events(exchange, now)


def _figures_from_the_raw_events(exchange: Exchange, now: float) -> None:
    """Computed again from evidence alone they are those of the running exchange, to the last digit."""
    day = dt.datetime.fromtimestamp(now - 600, dt.UTC).date()
    since = dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()
    days = ("--since", f"{day}", "--until", f"{dt.datetime.fromtimestamp(now + 600, dt.UTC).date()}")
    command = (
        COMMAND,
        "statistics",
        "--json",
        "--zone",
        "UTC",
        *days,
        "--from-events",
        exchange.state / "evidence",
    )
    printed = subprocess.run(command, env=exchange.environment(), capture_output=True, timeout=60, check=True)
    said = exchange.api("GET", f"/api/statistics?since={since}&until={now + 600}&period=hour&zone=UTC")
    assert json.loads(printed.stdout) == said
