"""The transaction layer across a restart, and thousands of transactions."""

import random
from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.sip.timers import Timers
from pbx.sip.transactions import (
    Effect,
    RequestArrived,
    Transaction,
    TransactionLayer,
    Transmit,
)
from tests.kit.layer import arrive, drain, ours, statuses
from tests.kit.sip import TCP, UDP, cached_request, request, response

Step = Callable[[TransactionLayer, float], list[Effect]]


class Script:
    """Random steps: whatever peers and the TU may do, sensible or not."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.names: list[str] = []
        self.asked: list[bytes] = []
        self.count = 0

    def watch(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case RequestArrived(transaction=name):
                    self.names.append(name)
                case Transmit(data=data) if not data.startswith((b"SIP/2.0", b"ACK")):
                    self.asked.append(data)
                case _:
                    pass

    def next(self, layer: TransactionLayer) -> Step:
        pick = self.chance
        self.now += pick.choice((0.0, 0.01, 0.4, 3.0, 20.0))
        kind = pick.randrange(12)
        flow = pick.choice((UDP, TCP))
        if kind < 4:
            message = cached_request(
                method=pick.choice(("INVITE", "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS")),
                branch=pick.choice((None, "z9hG4bKa", "z9hG4bKb", "z9hG4bKc")),
                to_tag=pick.choice((None, "t")),
                call_id=pick.choice(("c1", "c2")),
                cseq=pick.randrange(1, 4),
                rport=pick.random() < 0.5,
                transport=flow.transport.upper(),
                flow=flow,
            )
            return lambda layer, now: layer.receive(message, flow, now)
        if kind < 6 and self.names:
            name, status = pick.choice(self.names[-6:]), pick.choice((100, 180, 200, 200, 404, 487))
            server = layer._servers.get(name)
            answer = ((server and server.request) or request()).response(status, to_tag="t")
            return lambda layer, now: layer.respond(name, answer, now)
        if kind == 6:
            self.count += 1
            message, ref, branch = (
                ours(pick.choice(("INVITE", "BYE"))),
                f"r{self.count % 5}",
                f"z9hG4bKo{self.count}",
            )
            return lambda layer, now: layer.request(
                message, flow, now, ref=ref, branch=branch, via_host="192.0.2.1", via_port=5060
            )
        if kind < 9 and self.asked:
            reply = response(pick.choice(self.asked[-6:]), pick.choice((100, 180, 200, 486)))
            return lambda layer, now: layer.receive(reply, flow, now)
        if kind == 9:
            ref = f"r{pick.randrange(5)}"
            return lambda layer, now: layer.cancel(ref, now)
        if kind == 10 and pick.random() < 0.3:
            return lambda layer, now: layer.transport_failed(flow, now)
        return lambda layer, now: layer.expire(now)


def reborn(layer: TransactionLayer) -> TransactionLayer:
    data = msgspec.msgpack.decode(msgspec.msgpack.encode(layer.snapshot()))
    return TransactionLayer.restore(data)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 300))
def test_a_restored_layer_behaves_the_same(seed: int, age: int) -> None:
    script, layer = Script(seed), TransactionLayer()
    for _ in range(age):
        script.watch(script.next(layer)(layer, script.now))
    twin = reborn(layer)
    for _ in range(1000):
        step = script.next(layer)
        effects = step(layer, script.now)
        assert step(twin, script.now) == effects
        assert twin.next_due == layer.next_due
        script.watch(effects)
    assert twin.snapshot() == layer.snapshot()
    drain(layer, script.now + 1000)
    left = [
        t for t in layer._clients.values() if t.request.method != "INVITE" or t.machine.state != "PROCEEDING"
    ]
    assert left == []  # only INVITEs that ring wait for ever, and those the TU has not answered
    assert {t.machine.state for t in layer._servers.values()} <= {"PROCEEDING"}
    waiting: list[Transaction] = [
        *layer._clients.values(),
        *(t for t in layer._servers.values() if t.fallback is not None),
    ]
    assert layer._by_flow._to.keys() == {(t.flow.transport, *t.flow.remote) for t in waiting}
    assert set(layer._first.values()) <= set(layer._servers)


def test_a_transaction_that_cannot_be_read_back_is_dropped_alone() -> None:
    layer = TransactionLayer()
    arrive(layer, request())
    name = arrive(layer, request("OPTIONS", branch="z9hG4bK2"))
    data = layer.snapshot()
    data["servers"][0]["request"] = b"nonsense"
    twin = TransactionLayer.restore(data)
    assert len(twin) == 1
    assert statuses(twin.respond(name, request("OPTIONS").response(200, to_tag="t"), 0.1)) == [200]


def test_ten_thousand_transactions() -> None:
    layer = TransactionLayer(Timers())
    plain = request("OPTIONS")
    for i in range(10_000):
        options = plain.copy()
        options.headers.set("Via", f"SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK{i};rport=5062")
        options.headers.set("Call-ID", f"call-{i}")
        name = arrive(layer, options, now=i / 1000)
        if i % 10 == 0:
            layer.respond(name, options.response(200, to_tag="t"), i / 1000)
    assert len(layer) == 10_000
    assert len(layer._wakeups) == 10_000
    drain(layer, 42.0)
    assert (len(layer), len(layer._wakeups)) == (0, 0)
    assert (layer._first, layer._by_flow._to, layer._by_flow._from) == ({}, {}, {})
