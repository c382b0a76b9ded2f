"""Requests to servers that the settings name, through the shell: looked up, sent, tried again; nobody waits for DNS."""

import asyncio
from collections.abc import Iterator

import pytest

from pbx.call.control import Control
from pbx.call.effects import Effect, SendCancel, SendElsewhere
from pbx.call.rim import Rim
from pbx.places import Place, Places
from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.flow import Flow
from pbx.sip.locate import Locator, Naptr, Question, Srv
from pbx.sip.message import Request, Response
from pbx.sip.outgoing import Outgoing
from pbx.sip.parser import parse
from pbx.sip.transactions import TransactionLayer
from pbx.sip.uri import parse_name_addr, parse_uri
from tests.kit.world import HOST, World

UDP, TLS = ("udp", (HOST, 5060)), ("tls", (HOST, 5061))


class Shell:
    """Control with everything around it played."""

    def __init__(self) -> None:
        self.world = World(desks=("d1",))
        site = self.world.exchange.site
        places = Places(
            [
                Place("udp", HOST, 5060, HOST, 5060, HOST, HOST),
                Place("tls", HOST, 5061, "pbx.example", 5061, HOST, HOST),
                Place("tcp", HOST, 5060, HOST, 5060, HOST, HOST),
            ]
        )
        self.world.exchange.site = type(site)(
            legs=site.legs, policy=site.policy, host=HOST, port=5060, places=places
        )
        self.sent: list[tuple[Request, Flow]] = []
        self.expected: list[tuple[str, tuple[str, int], str]] = []
        self.asked: dict[Question, object] = {}
        self.told: list[object] = []
        layer, outgoing = TransactionLayer(), Outgoing(Locator(lambda: 0.5))
        rim = Rim(self, self, self, self, self)  # type: ignore[arg-type]  # it plays all five
        self.control = Control(self.world.exchange, self.world.answering, layer, rim, outgoing=outgoing)
        self.world.exchange.sip = self.hear  # type: ignore[method-assign,assignment]

    def hear(self, event: object, _now: float) -> list[Effect]:
        self.told.append(event)
        return []

    def send(self, data: object, flow: Flow | None = None) -> None:
        """Transport and media link."""
        if isinstance(data, bytes) and flow is not None:
            message = parse(data)
            assert isinstance(message, Request)
            self.sent.append((message, flow))

    def expect(self, transport: str, remote: tuple[str, int], name: str) -> None:
        self.expected.append((transport, remote, name))

    def ask(self, question: Question, done: object) -> None:
        self.asked[question] = done

    def noted(self, *_: object) -> None: ...
    def finished(self, _call: str) -> None: ...

    def say(self, name: str, kind: str, *records: object) -> None:
        self.asked.pop((name, kind))(records, 60.0)  # type: ignore[arg-type,operator]

    def invite(
        self, ref: str = "leg-9/invite/1", method: str = "OPTIONS", *, patience: float | None = None
    ) -> None:
        request = Request.build(
            method,
            parse_uri("sip:119@carrier.example"),
            from_=parse_name_addr("<sip:110@pbx.example>;tag=x"),
            to=parse_name_addr("<sip:119@carrier.example>"),
            call_id="out-1",
            cseq=1,
            contact=parse_name_addr(f"<sip:110@{HOST}:5060>;isfocus"),
        )
        self.control.act(lambda _now: [SendElsewhere(ref, request, patience=patience)])

    def answer(self, request: Request, flow: Flow, status: int) -> None:
        message = request.response(status, to_tag="t")
        assert isinstance(message, Response)
        self.control.on_message(message, flow, message.encode())


@pytest.fixture
async def shell() -> "Iterator[Shell]":  # type: ignore[misc]
    made = Shell()
    yield made
    made.control.close()


async def test_looked_up_and_sent_over_tls(shell: Shell) -> None:
    shell.invite()
    assert shell.sent == []
    shell.say("carrier.example", "NAPTR", Naptr(1, 1, "s", "SIPS+D2T", "_sips._tcp.carrier.example"))
    shell.say("_sips._tcp.carrier.example", "SRV", Srv(1, 1, 5061, "a.carrier.example"))
    shell.say("a.carrier.example", "AAAA")
    shell.say("a.carrier.example", "A", "198.51.100.7")
    ((request, flow),) = shell.sent
    assert flow == Flow("tls", (HOST, 5061), ("198.51.100.7", 5061))
    assert str(request.via).startswith("SIP/2.0/TLS pbx.example:5061;branch=z9hG4bK")
    assert str(request.contact) == "<sip:110@pbx.example:5061;transport=tls>;isfocus"
    assert shell.expected == [("tls", ("198.51.100.7", 5061), "carrier.example")]
    shell.answer(request, flow, 200)
    (outcome,) = shell.told
    assert isinstance(outcome, ResponseArrived)
    assert (outcome.ref, outcome.response.status) == ("leg-9/invite/1", 200)


async def test_the_next_server_is_tried_when_one_fails(shell: Shell) -> None:
    shell.invite()
    shell.say("carrier.example", "NAPTR")
    shell.say("_sip._udp.carrier.example", "SRV", Srv(1, 1, 5060, "a.carrier.example"))
    shell.say("_sip._tcp.carrier.example", "SRV")
    shell.say("_sips._tcp.carrier.example", "SRV")
    shell.say("a.carrier.example", "AAAA")
    shell.say("a.carrier.example", "A", "198.51.100.7", "198.51.100.8")
    (first,) = shell.sent
    shell.answer(*first, 503)
    second = shell.sent[-1]
    assert second[1].remote == ("198.51.100.8", 5060)
    assert second[0].via.branch != first[0].via.branch, "RFC 3263 §4.3: a new transaction"
    assert shell.told == []
    shell.control.on_flow_failed(second[1])
    assert shell.told == [TransactionFailed("leg-9/invite/1", "transport")]


async def test_the_next_server_is_tried_when_one_says_nothing(shell: Shell) -> None:
    shell.invite("leg-9/invite/1", "INVITE", patience=4.0)
    shell.say("carrier.example", "NAPTR", Naptr(1, 1, "s", "SIP+D2T", "_sip._tcp.carrier.example"))
    shell.say("_sip._tcp.carrier.example", "SRV", Srv(1, 1, 5060, "a.carrier.example"))
    shell.say("a.carrier.example", "AAAA")
    shell.say("a.carrier.example", "A", "198.51.100.7", "198.51.100.8")
    (first,) = shell.sent
    await asyncio.sleep(0)  # the turn ends
    assert shell.control._timer_at - asyncio.get_running_loop().time() <= 4.0, (
        "its own timers are timer B, 32 s"
    )
    shell.control._outgoing._sending["leg-9/invite/1"].due = 0.0
    shell.control._tick()
    assert [flow.remote[0] for _, flow in shell.sent] == ["198.51.100.7", "198.51.100.8"]
    second = shell.sent[-1]
    # RFC 3261 §9.1: the first is cancelled as soon as it says anything.
    shell.answer(*first, 100)
    assert (shell.sent[-1][0].method, shell.sent[-1][1].remote[0]) == ("CANCEL", "198.51.100.7")
    shell.answer(*second, 180)
    shell.control.act(lambda _now: [SendCancel("leg-9/invite/1")])
    assert (shell.sent[-1][0].method, shell.sent[-1][1].remote[0]) == ("CANCEL", "198.51.100.8")
    shell.answer(*second, 487)
    told = [(e.ref, e.response.status) for e in shell.told if isinstance(e, ResponseArrived)]
    assert told == [("leg-9/invite/1~0", 100), ("leg-9/invite/1", 180), ("leg-9/invite/1", 487)]


async def test_a_dead_resolver_delays_nobody_else(shell: Shell) -> None:
    """F26: with twenty look-ups that never end, a phone that is there is answered in the same turn."""
    for number in range(20):
        shell.invite(f"leg-{number}/invite/1")
    flow = shell.world.flow("bob")
    options = shell.world.request("OPTIONS", f"sip:110@{HOST}", "bob")
    answered: list[object] = []
    shell.send = lambda data, flow=None: answered.append(data)  # type: ignore[method-assign,assignment,misc]
    shell.control.on_message(options, flow, options.encode())
    assert str(answered[0]).startswith("b'SIP/2.0 200")
    assert len(shell.asked) == 1, "one question for all twenty"


async def test_cancelled_while_it_is_looked_up(shell: Shell) -> None:
    shell.invite()
    shell.control.act(lambda _now: [SendCancel("leg-9/invite/1")])
    assert shell.told == [TransactionFailed("leg-9/invite/1", "transport")]
    shell.say("carrier.example", "NAPTR")
    await asyncio.sleep(0)
    assert shell.sent == []


async def test_a_server_that_nobody_knows(shell: Shell) -> None:
    shell.invite()
    while shell.asked:
        _, done = shell.asked.popitem()
        done(None, 0.0)  # type: ignore[operator]
    assert shell.told == [TransactionFailed("leg-9/invite/1", "transport")]
