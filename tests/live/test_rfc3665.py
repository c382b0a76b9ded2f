"""Flows of RFC 3665 with SIPp as the phone, over UDP and TCP: 2.1, 2.3, 2.4, 2.5, 3.1, 3.6 (bars B13).

All of them are played on the virtual network in `tests/scenarios/test_rfc3665.py`; these show that a phone nobody here wrote agrees.
"""

from collections.abc import Iterator

import pytest

from tests.live.conftest import NewSipp
from tests.live.kit.exchange import Exchange

pytestmark = pytest.mark.beside

TRANSPORTS = ("u1", "t1")
# SIPp 3.6 gives up at a challenge that is not MD5.
SETTINGS = "[sip]\nmd5_agents = ['sipp']\n[queue]\nwrap_up_seconds = 0.0\n"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    running = Exchange(settings=SETTINGS)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        running.remove()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_registrations(exchange: Exchange, sipp: NewSipp, transport: str) -> None:
    account = exchange.dispatchers[1]
    place = f"{exchange.sip[0]}:{exchange.sip[1]}"
    right = {"user": account.user, "password": account.password}
    known = exchange.api("GET", "/healthz")["registrations"]
    sipp("rfc3665_registers", keys=right, transport=transport, auth_uri=place).wait().check(1)
    assert exchange.api("GET", "/healthz")["registrations"] == known
    wrong = right | {"password": "wrong"}
    sipp("rfc3665_wrong_password", keys=wrong, transport=transport, auth_uri=place).wait().check(1)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", ["rfc3665_session", "rfc3665_late_answer"])
def test_sessions(exchange: Exchange, sipp: NewSipp, transport: str, scenario: str) -> None:
    caller = sipp(scenario, transport=transport, keys={"talk_ms": "500"})
    call = exchange.call_of("sipp-1")["call"]
    caller.wait().check(1)
    exchange.wait_gone(call)
    events = exchange.events(call)
    [ended] = [event for event in events if event["event"] == "call_ended"]
    assert ended["cause"] == "bye"
    assert [event["event"] for event in events].count("call_confirmed") == 1
