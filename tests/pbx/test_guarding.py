"""Who the guard is told is known, and what is told of the guard."""

import asyncio
from dataclasses import dataclass

import pytest

from pbx.guarding import PROBE_SECONDS, Peers, make_guard, watch_guard
from pbx.limits import Limits
from pbx.metrics import Metrics
from pbx.sip.effects import RequestArrived
from pbx.sip.flow import Flow
from pbx.sip.message import Request
from pbx.targets import EmergencySettings
from tests.kit import sip

HERE = ("192.0.2.1", 5060)
PHONE = Flow("udp", HERE, ("192.0.2.9", 5062))
OTHER = Flow("udp", HERE, ("192.0.2.8", 5062))


@dataclass
class Leg:
    flow: Flow
    invite: Request | None
    asked: tuple[str, ...] = ("audio",)


class Registrar:
    def __init__(self, *flows):
        self.flows = flows

    def registered_from(self, flow, now):
        return ("sip:anna@at110",) if flow in self.flows else ()


def peers(legs=(), calls=(), registered=()):
    return Peers(lambda: legs, lambda call_id: "call" if call_id in calls else None, Registrar(*registered))


def test_flows():
    known = peers([Leg(PHONE, None)], registered=[OTHER])
    assert known.flow(PHONE, 0.0) == "live"
    assert known.flow(OTHER, 0.0) == "registered"
    assert known.flow(Flow("tcp", HERE, PHONE.remote, 3), 0.0) is None


def test_what_is_known_of_legs_is_a_tenth_of_a_second_old_at_most():
    legs, calls = [], set()
    known = Peers(lambda: legs, lambda call_id: "call" if call_id in calls else None, Registrar())
    assert known.flow(PHONE, 5.0) is None
    legs.append(Leg(PHONE, sip.request(call_id="desk-call")))
    assert known.flow(PHONE, 5.05) is None
    assert known.flow(PHONE, 5.11) == "live"
    assert known.dialog("desk-call", 5.11)
    assert not known.dialog("new-call", 5.11)
    calls.add("new-call")
    assert known.dialog("new-call", 5.11), "a caller's Call-ID is known at once: its ACK comes a moment later"


def test_free_ports_are_counted_at_once():
    legs = []
    known = Peers(lambda: legs, lambda call_id: None, Registrar(), 5)
    assert known.free(0.0) == 5
    legs += [Leg(PHONE, None), Leg(OTHER, None, ("audio", "video"))]
    assert known.free(0.05) == 3, "a tenth of a second old: each has one pair at least"
    assert known.free(0.2) == 2
    arrive(known, 1)
    assert known.free(0.2) == 1
    legs += [Leg(OTHER, None), Leg(OTHER, None)]
    assert known.free(0.2) == 0, "a desk's leg is one more"
    legs.clear()
    assert known.free(0.4) == 4


def arrive(known, count):
    for n in range(count):
        request = sip.request("INVITE", call_id=f"call-{n}", branch=f"z9hG4bK{n}")
        known.reception.arrive(RequestArrived(f"t{n}", request, PHONE), "192.0.2.9", 0.0)


def test_the_guard_hears_who_would_not_begin_in_time():
    known = peers()
    assert not known.crowded("192.0.2.9", 0.0)
    arrive(known, 1600)  # what begins in 32 s where nothing is known better
    assert known.crowded("192.0.2.9", 0.0)
    assert not known.crowded("192.0.2.8", 0.0), "another address has its turn after one call of that"
    assert known.free(0.0) > 0


def test_when_those_that_wait_take_the_last_ports_no_more_wait():
    legs = [Leg(PHONE, None)] * 7
    known = Peers(lambda: legs, lambda call_id: None, Registrar(), 10)
    arrive(known, 2)
    assert not known.crowded("192.0.2.8", 0.0)
    arrive(known, 0)
    legs.append(Leg(PHONE, None))
    assert known.crowded("192.0.2.8", 0.0)
    legs *= 2
    assert known.crowded("192.0.2.8", 0.2)
    while (known.reception.next()) is not None:
        pass
    assert not known.crowded("192.0.2.8", 0.2), "who begins at once is answered by the media process"


async def test_load_counts_and_news_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = make_guard(Limits(flow_burst=1), EmergencySettings(), peers())
    metrics = Metrics()
    for _ in range(3):
        guard.judge(sip.request("OPTIONS", flow=None).encode(), PHONE, 1.0)
    naps = []

    async def nap(seconds):
        naps.append(seconds)
        if len(naps) == 7:
            raise asyncio.CancelledError

    monkeypatch.setattr("pbx.guarding.asyncio.sleep", nap)
    with pytest.raises(asyncio.CancelledError):
        await watch_guard(guard, lambda: 1.0, metrics, lambda data, flow: None, lambda data, flow: None)
    text = metrics.render().decode()
    assert 'at110_guard_refused_total{reason="flow"} 2.0' in text
    shown = float(text.partition("\nat110_shed_pressure ")[2].partition("\n")[0])
    assert shown == guard.load.pressure > 0.0
    assert naps[0] == PROBE_SECONDS
    assert guard.news() == []
