"""RFC 5626: phones are told by their instance, and their dialogs follow them from flow to flow."""

import random
from dataclasses import replace

import msgspec
import pytest

from pbx.binding import Binding
from pbx.flows import KEEP_SECONDS, MAX_LOST, FlowMoved, Flows
from pbx.sip.flow import Flow
from pbx.sip.uri import parse_name_addr


def flow(number: int, transport: str = "tls") -> Flow:
    number_or_none = 0 if transport == "udp" else number
    return Flow(transport, ("192.0.2.1", 5061), ("192.0.2.9", 40_000 + number), number_or_none)


def binding(
    on: Flow, *, aor: str = "sip:a@x", instance: str | None = "one", reg_id: int | None = 1
) -> Binding:
    contact = "<sip:a@q.invalid;transport=ws>"
    contact += f';+sip.instance="<urn:uuid:{instance}>"' if instance else ""
    contact += f";reg-id={reg_id}" if reg_id else ""
    return Binding(aor, parse_name_addr(contact), on, "c", 1, 1.0, 0.0, 0.0, 300.0, 1)


def come(flows: Flows, on: Flow, **more: object) -> list[FlowMoved]:
    return flows.registered(binding(on, **more), direct=True)  # type: ignore[arg-type]


def test_a_phone_that_returns_after_a_break() -> None:
    flows = Flows()
    assert come(flows, flow(1)) == []
    assert flows.failed(flow(1), 10.0) == []
    assert come(flows, flow(2)) == [FlowMoved(flow(1), flow(2))]
    assert flows.failed(flow(1), 20.0) == [], "told once"


def test_a_phone_that_changes_before_the_break_is_noticed() -> None:
    flows = Flows()
    come(flows, flow(1))
    assert come(flows, flow(2)) == [FlowMoved(flow(1), flow(2))]
    assert come(flows, flow(2)) == [], "a refresh"


def test_a_nat_that_chose_another_port() -> None:
    """F13: UDP flows move as connections do."""
    flows = Flows()
    come(flows, flow(1, "udp"))
    assert come(flows, flow(2, "udp")) == [FlowMoved(flow(1, "udp"), flow(2, "udp"))]


def test_several_breaks_before_it_returns() -> None:
    flows = Flows()
    for number in range(1, 9):
        come(flows, flow(number))
        flows.failed(flow(number), 0.0)
    # Each return led the one before on, so one is left.
    assert come(flows, flow(9)) == [FlowMoved(flow(8), flow(9))]


def test_two_flows_of_one_phone() -> None:
    """RFC 5626 §3.4: when one breaks, the other leads to the phone, at once."""
    flows = Flows()
    come(flows, flow(1), reg_id=1)
    assert come(flows, flow(2), reg_id=2) == []
    assert flows.failed(flow(1), 0.0) == [FlowMoved(flow(1), flow(2))]
    assert come(flows, flow(3), reg_id=1) == []
    assert flows.failed(flow(2), 0.0) == [FlowMoved(flow(2), flow(3))]


def test_others_do_not_follow() -> None:
    flows = Flows()
    come(flows, flow(1), instance="one")
    come(flows, flow(2), instance="two")
    come(flows, flow(3), instance="one", aor="sip:b@x")
    flows.failed(flow(1), 0.0)
    assert come(flows, flow(4), instance="two") == [FlowMoved(flow(2), flow(4))]
    assert come(flows, flow(5), instance="one", aor="sip:b@x") == [FlowMoved(flow(3), flow(5))]
    assert come(flows, flow(6), instance="one") == [FlowMoved(flow(1), flow(6))]


@pytest.mark.parametrize("direct", [False, True])
def test_who_is_not_followed(direct: bool) -> None:
    """A proxy's flow is many phones'; a phone without instance is nobody's successor."""
    flows = Flows()
    phone = binding(flow(1), instance="one" if not direct else None)
    assert flows.registered(phone, direct=direct) == []
    assert flows.registered(replace(phone, flow=flow(2)), direct=direct) == []
    assert flows.failed(flow(1), 0.0) == []
    assert len(flows) == 0


def test_an_instance_alone_is_enough() -> None:
    flows = Flows()
    come(flows, flow(1), reg_id=None)
    assert come(flows, flow(2), reg_id=None) == [FlowMoved(flow(1), flow(2))]


def test_what_ended_is_forgotten() -> None:
    flows = Flows()
    come(flows, flow(1), reg_id=1)
    come(flows, flow(2), reg_id=2)
    flows.removed(binding(flow(1), reg_id=1), 0.0)
    flows.removed(binding(flow(1), reg_id=1), 0.0)
    flows.removed(binding(flow(9), instance=None), 0.0)
    assert len(flows) == 1
    flows.removed(binding(flow(2), reg_id=2), 0.0)
    assert (len(flows), flows._on) == (0, {})


def test_who_stays_away_is_forgotten() -> None:
    flows = Flows()
    come(flows, flow(1))
    flows.failed(flow(1), 0.0)
    come(flows, flow(2), instance="two")
    flows.failed(flow(2), KEEP_SECONDS + 1)
    assert len(flows) == 1
    assert come(flows, flow(3)) == []


def test_few_lost_flows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    flows = Flows()
    for reg_id in range(1, 10):
        come(flows, flow(reg_id), reg_id=reg_id)
    for reg_id in range(1, 10):
        flows.failed(flow(reg_id), 0.0)
    assert len(flows._phones["sip:a@x", "<urn:uuid:one>"].lost) <= MAX_LOST
    monkeypatch.setattr("pbx.flows.MAX_FORGOTTEN", 3)
    for number in range(10):
        come(flows, flow(100 + number), instance=f"i{number}")
        flows.failed(flow(100 + number), 0.0)
    assert len(flows) == 3


def test_the_road_for_long_requests() -> None:
    flows = Flows()
    come(flows, flow(1, "udp"), reg_id=1)
    assert flows.reliable(flow(1, "udp")) is None
    come(flows, flow(2, "tcp"), reg_id=2)
    assert flows.reliable(flow(1, "udp")) == flow(2, "tcp")
    assert flows.reliable(flow(3, "udp")) is None


def test_snapshots() -> None:
    chance = random.Random(5)
    one, other = Flows(), Flows()
    for step in range(3000):
        if step % 100 == 0:
            other = Flows.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(other.snapshot())))
        number, now = chance.randrange(12), step * 10.0
        phone = binding(flow(number), instance=f"i{chance.randrange(3)}", reg_id=chance.randrange(1, 3))
        match chance.randrange(4):
            case 0 | 1:
                assert one.registered(phone, direct=True) == other.registered(phone, direct=True)
            case 2:
                assert one.failed(phone.flow, now) == other.failed(phone.flow, now)
            case 3:
                one.removed(phone, now)
                other.removed(phone, now)
        for key, it in one._phones.items():
            assert all(key in one._on[on] for on in it.flows.values())
        assert {key for there in one._on.values() for key in there} <= set(one._phones)
