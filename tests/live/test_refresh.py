"""Sessions that are refreshed, and one that is not, with SIPp as the caller (RFC 4028, RFC 3311), over UDP and TCP."""

from collections.abc import Iterator

import pytest

from tests.live.conftest import Measure, NewSipp
from tests.live.kit.exchange import Exchange

pytestmark = pytest.mark.beside

# So short an interval is against RFC 4028 and for this test only.
SETTINGS = "[sip]\nmin_session_seconds = 2\n[queue]\nwrap_up_seconds = 0.0\nlanguage = 'en'\n"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    running = Exchange(settings=SETTINGS)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        running.remove()


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_we_refresh_by_update_and_then_by_reinvite(exchange: Exchange, sipp: NewSipp, transport: str) -> None:
    caller = sipp("caller_refreshed", transport=transport)
    call = exchange.call_of("sipp-1")["call"]
    caller.wait().check(1)
    exchange.wait_gone(call)
    [ended] = [event for event in exchange.events(call) if event["event"] == "call_ended"]
    assert ended["cause"] == "bye"
    assert ended["reason"] == [{"protocol": "Q.850", "cause": 16, "text": "done"}]
    holds = [event["held"] for event in exchange.events(call) if event["event"] == "caller_hold"]
    assert holds[:2] == [False, True]


def test_caller_that_forgets_to_refresh_is_ended_when_the_interval_is_over(
    exchange: Exchange, sipp: NewSipp, measure: Measure
) -> None:
    caller = sipp("caller_forgets")
    call = exchange.call_of("sipp-1")["call"]
    caller.wait().check(1)
    exchange.wait_gone(call)
    [ended] = [event for event in exchange.events(call) if event["event"] == "call_ended"]
    assert ended["cause"] == "session_expired"
    assert 2.9 <= ended["seconds"] < 10.0
    measure("ended after", ended["seconds"], "s")
