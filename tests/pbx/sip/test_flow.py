"""Where messages come from and go to. The roads of responses are tested with the layer, in test_transactions
and test_transport_failures."""

import pytest

from pbx.sip.flow import Flow, fallback_flow, restore_flow, same_host
from tests.kit.sip import TCP, UDP, request


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_snapshot(flow: Flow) -> None:
    assert restore_flow(flow.snapshot()) == flow


@pytest.mark.parametrize("data", [[], ["udp"], ["udp", ["192.0.2.1", "5060"], ["192.0.2.9", 5060], 0]])
def test_what_is_no_snapshot(data: list[object]) -> None:
    with pytest.raises(ValueError, match="not a flow"):
        restore_flow(data)


def test_only_udp_repeats() -> None:
    assert TCP.reliable
    assert not UDP.reliable


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.9", "192.0.2.9", True),
        ("Phone.Example", "phone.example", True),
        ("[2001:DB8::0:9]", "2001:db8::9", True),
        ("192.0.2.9", "192.0.2.8", False),
        ("phone.example", "192.0.2.9", False),
    ],
)
def test_same_host(one: str, other: str, same: bool) -> None:
    assert same_host(one, other) is same


def test_the_second_way_of_a_response() -> None:
    assert fallback_flow(request(), UDP) is None
    there = fallback_flow(request(transport="TCP", sent_by="10.0.0.4", flow=TCP), TCP)
    assert there == Flow("tcp", TCP.local, (TCP.remote[0], 5060))
    tls = Flow("tls", ("192.0.2.1", 5061), ("192.0.2.9", 40000), 7)
    there = fallback_flow(request(transport="TLS", sent_by="10.0.0.4", flow=tls), tls)
    assert there == Flow("tls", tls.local, (tls.remote[0], 5061))


@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_nobody_is_called_behind_a_websocket(transport: str) -> None:
    flow = Flow(transport, ("192.0.2.1", 443), ("192.0.2.9", 40000), 7)
    assert flow.reliable
    assert flow.web
    made = request(transport=transport.upper(), sent_by="df7jal23ls0d.invalid", flow=flow)
    assert fallback_flow(made, flow) is None
