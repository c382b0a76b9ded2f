"""More calls for help than can be served, from a phone program of others: carried or told 503 at once, never lost (bars L4).

The rush comes from 127.0.0.90, which is trusted as a proxy and so not limited by source. A person with a real phone calls in the
middle of it, from elsewhere.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Final

import pytest

from tests.kit.size import FULL, times
from tests.live.conftest import Measure, NewPhone, NewSipp
from tests.live.kit.exchange import Exchange
from tests.live.kit.sipp import Sipp

RUSH: Final = "127.0.0.90"
RATE: Final = 400
CALLS: Final = times(1600, 8000)
PATIENCE: Final = times(3, 32)
"""Seconds in which a call is to begin, or better hears 503."""
SETTINGS: Final = f"""
[limits]
upstreams = ["{RUSH}"]
emergency_wait_seconds = {PATIENCE}
[media]
drain_seconds = 1.0
[queue]
wrap_up_seconds = 0.0
language = "en"
"""
SECONDS: Final = 0.1
"""In which who does not wait hears 503 (bars L4)."""
_MESSAGE: Final = re.compile(
    r"^-{5,} (\S+ \S+)\n(?:UDP|TCP) message (sent|received) .*?:\n\n(.*?)(?=^-{5,} \d{4}-|\Z)",
    re.MULTILINE | re.DOTALL,
)

_INVITES: Final = 6
"""How often SIPp sends an INVITE before it gives the call up."""
_LOST: Final = "UDP message lost (recv)."
"""What SIPp writes, without a line of its own, of what it received and takes for lost."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    running = Exchange(desks=1, callers=1, settings=SETTINGS)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        running.remove()


@dataclass
class Call:
    """What SIPp wrote down of one call."""

    invites: list[datetime] = field(default_factory=list)
    first: datetime | None = None
    answered: datetime | None = None
    refused: list[tuple[datetime, str]] = field(default_factory=list)
    """When each 503 came, and its To."""
    waits: list[int] = field(default_factory=list)
    """Their Retry-After."""
    acks: int = 0
    after_ack: int = 0
    """Answers that came after the first ACK: no more than there are INVITEs that were sent again."""


def calls_of(sipp: Sipp) -> list[Call]:
    """Read what SIPp sent and received, call by call, in order."""
    found: defaultdict[str, Call] = defaultdict(Call)
    for when, way, text in _MESSAGE.findall(sipp.messages.replace(_LOST, "")):
        at = datetime.fromisoformat(when)
        name = re.search(r"(?mi)^Call-ID: *(\S+)", text)
        assert name is not None, text
        call, start = found[name[1]], text.split(" ", 2)
        if way == "sent":
            call.invites += [at] if start[0] == "INVITE" else []
            call.acks += start[0] == "ACK"
            continue
        call.first = call.first or at
        if start[1] == "503":
            to, again = (
                re.search(r"(?mi)^To: *(\S.*?)\r?$", text),
                re.search(r"(?mi)^Retry-After: *(\d+)", text),
            )
            assert to is not None
            assert again is not None, "when to try again"
            call.refused.append((at, to[1]))
            call.waits.append(int(again[1]))
        elif start[1] == "200" and re.search(r"(?mi)^CSeq: *1 INVITE", text):
            call.answered = call.answered or at
        call.after_ack += call.acks > 0 and start[1] in {"503", "100"}
    return list(found.values())


def number(exchange: Exchange, name: str) -> float:
    found = re.search(rf"(?m)^{re.escape(name)} ([0-9.e+-]+)", exchange.api("GET", "/metrics"))
    return float(found[1]) if found else 0.0


def crowded(exchange: Exchange) -> float:
    return number(exchange, 'at110_guard_refused_total{reason="emergency_crowded"}')


def share(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


@pytest.mark.limit(300)
def test_every_call_of_a_rush_is_carried_or_told_503_at_once(
    exchange: Exchange, sipp: NewSipp, phone: NewPhone, desk_phone: NewPhone, measure: Measure
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(exchange.dispatchers[0].user)
    anna = phone("anna", tone=440)
    rush = sipp("caller_rushes", calls=CALLS, rate=RATE, address=RUSH, keys={"talk_ms": "100"}, media_ports=2)
    exchange.until(lambda: crowded(exchange) > 0, "nobody is turned away", timeout=60)
    waiting, most = number(exchange, "at110_calls_to_begin"), number(exchange, "at110_calls_may_wait")
    assert waiting > 0

    # Whoever calls from elsewhere has one call of the rush in front, not all of it.
    took = anna.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    assert rush.running, "the rush is over"
    measure("a person who calls in the middle of a rush is answered in", took, "s")
    anna.wait_to_hear(1000)
    desk.wait_to_hear(440)

    result = rush.wait(200)
    calls = calls_of(rush)
    assert len(calls) == CALLS
    carried = [call for call in calls if call.answered is not None]
    refused = [call for call in calls if call.answered is None]
    assert all(call.refused for call in refused), "a call heard neither 200 nor 503"
    # SIPp throws six answers of one call away in 1 of 15,625 cases and gives it up then: each of its INVITEs was answered all the same.
    forsaken = [call for call in refused if not call.acks]
    assert all(len(call.refused) == len(call.invites) == _INVITES for call in forsaken), result.errors
    assert (result.successful, result.failed) == (CALLS - len(forsaken), len(forsaken)), result.errors
    assert len(forsaken) <= times(4, 8)
    assert len(carried) >= most / 2, "those that may wait are carried"
    assert refused, "nobody was turned away"

    # A 503 comes at once, says when to try again, and again the same to whoever repeats.
    late = [(call.refused[0][0] - call.invites[0]).total_seconds() for call in refused]
    # A machine that is busy with other things is late with everything, but with a 503 no more than with the 100s of that time.
    since = min(call.refused[0][0] for call in refused)
    heard = [
        (call.first - call.invites[0]).total_seconds()
        for call in carried
        if call.first and not call.refused and call.invites[0] >= since
    ]
    assert heard, "while some are turned away others are taken"
    assert median(late) <= max(SECONDS, 2 * median(heard))
    assert not FULL or share(late, 0.9) <= SECONDS
    assert {wait for call in calls for wait in call.waits} <= set(range(1, 11))
    repeated = [call for call in calls if len(call.refused) > 1]
    assert repeated, "SIPp lost none"
    assert all(len({to for _, to in call.refused}) == 1 for call in calls if call.refused), "answered alike"
    assert all(len(call.refused) <= len(call.invites) for call in refused), (
        "a 503 is not sent again by itself"
    )
    assert all(call.after_ack < len(call.invites) for call in refused), "what was acknowledged is over"

    began = [(call.answered - call.invites[0]).total_seconds() for call in carried if call.answered]
    measure(f"calls carried of {CALLS} for help that SIPp made, {RATE} a second", len(carried), "calls")
    measure("told 503", len(refused), "calls")
    measure("of them in at most, 99 of 100", 1000 * share(late, 0.99), "ms")
    measure("those carried waited, median", median(began), "s")
    measure("and at most", max(began), "s")
    measure(
        "INVITEs sent again because SIPp lost an answer, or had none in time",
        result.retransmissions,
        "INVITEs",
    )

    # And then everything is as before.
    anna.hang_up()
    exchange.until(lambda: not exchange.calls(), "a call was left over", timeout=20)
    exchange.until(lambda: number(exchange, "at110_shed_pressure") == 0.0, "still overloaded", timeout=15)
    assert number(exchange, "at110_calls_to_begin") == 0
    before = crowded(exchange)
    one = sipp("caller_rushes", address=RUSH, keys={"talk_ms": "100"}, media_ports=2)
    one.wait().check(1)
    (only,) = calls_of(one)
    assert only.refused == []
    assert crowded(exchange) == before
