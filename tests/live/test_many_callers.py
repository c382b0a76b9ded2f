"""Fifty callers on ten desks (How it is shown, 7)."""

import time

import pytest

from tests.live.conftest import Measure, NewPhone, NewSipp
from tests.live.kit import tshark
from tests.live.kit.exchange import Exchange

CALLERS, DESKS = 50, 10

TALK_SECONDS = 1.0
"""Each call lasts about so long once it is put through."""


@pytest.mark.limit(240)
def test_fifty_callers_on_ten_desks(
    exchange: Exchange, desk_phone: NewPhone, sipp: NewSipp, measure: Measure
) -> None:
    desks = [desk_phone(number, tone=1000).account.user for number in range(DESKS)]
    exchange.sign_in(*desks)
    callers = sipp("caller_waits", calls=CALLERS, rate=25)
    started = time.monotonic()
    since: dict[str, float] = {}
    ended: list[str] = []
    most_waiting = 0

    def serve() -> bool:
        nonlocal most_waiting
        most_waiting = max(most_waiting, len(exchange.queue()))
        for user, desk in exchange.desks().items():
            call = str(desk["call"])
            if desk["state"] != "busy" or call in ended:
                continue
            if time.monotonic() - since.setdefault(call, time.monotonic()) > TALK_SECONDS:
                exchange.desk(user, "end-call")
                ended.append(call)
        return len(ended) == CALLERS

    exchange.until(serve, "not all callers were served", timeout=120)
    result = callers.wait(20)
    measure("50 callers of 1 s on 10 desks served in", time.monotonic() - started, "s")
    measure("most of them waiting at once", most_waiting, "callers")
    result.check(CALLERS)
    assert most_waiting >= CALLERS // 2, "the test was to make a queue"
    assert sorted(set(ended)) == sorted(ended)

    _queue_order_is_right(exchange, ended)
    for call in ended:
        folder = exchange.evidence(call, timeout=60)
        received = [
            stream for stream in tshark.streams(folder / "call.pcapng") if stream.source == callers.media_port
        ]
        assert received, f"{folder}: nothing of the caller in {tshark.streams(folder / 'call.pcapng')}"
        assert sum(stream.lost for stream in received) == 0, f"{folder}: {received}"
        # SIPp's thread for sound begins a tenth of a second and more after its ACK.
        assert sum(stream.packets for stream in received) > TALK_SECONDS * 25, f"{folder}: {received}"


def _queue_order_is_right(exchange: Exchange, calls: list[str]) -> None:
    """Assert that whoever came first was put through first, by the evidence of each call."""
    moments = []
    for call in calls:
        events = {event["event"]: event for event in exchange.events(call)}
        moments.append((events["call_arrived"]["mono"], events["put_through"]["mono"], call))
    in_order_of_arrival = [through for _, through, _ in sorted(moments)]
    assert in_order_of_arrival == sorted(in_order_of_arrival), sorted(moments)
