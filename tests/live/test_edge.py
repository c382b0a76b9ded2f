"""Kamailio in front: the edge proxy of a large site, as `docs/kamailio.cfg` has it (RFC 3261 §16, RFC 3327).

Phones know nothing but the proxy: the exchange is reached through it, and reaches them through it.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import running
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.flowphone import FlowPhone
from tests.live.kit.kamailio import Inner, Kamailio
from tests.live.kit.media import Media
from tests.live.kit.ports import free_port

pytestmark = pytest.mark.beside

SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = 'en'
[[sip.listen]]
host = "{host}"
port = {port}
[[sip.listen]]
host = "{host}"
port = {tls}
transports = ["tls"]
"""
HOST = "127.0.0.110"
"""Of the exchange, for the proxy: it tells by this address who speaks."""

NewEdge = Callable[[Inner], Kamailio]
NewPhone = Callable[..., Baresip]


@pytest.fixture(scope="module")
def inner_doors() -> dict[str, int]:
    return {"port": free_port(), "tls": free_port()}


@pytest.fixture(scope="module")
def exchange(inner_doors: dict[str, int]) -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS.format(host=HOST, **inner_doors)), sealed=None) as made:
        yield made


@pytest.fixture
def edge(exchange: Exchange, inner_doors: dict[str, int], tmp_path: Path) -> Iterator[NewEdge]:
    made: list[Kamailio] = []

    def new(inner: Inner) -> Kamailio:
        port = inner_doors["tls" if inner == "tls" else "port"]
        authority = exchange.state / "tls" / "certificate.pem"
        made.append(Kamailio((HOST, port), inner, tmp_path / "edge", authority=authority))
        made[-1].start()
        return made[-1]

    yield new
    for one in made:
        one.stop()


@pytest.fixture
def phone(edge: NewEdge, media: Media, tmp_path: Path) -> Iterator[NewPhone]:
    """Make phones that know nothing but a proxy: `phone(proxy, "udp", "kate", tone=440)`."""
    made: list[Baresip] = []

    def new(proxy: Kamailio, outer: str, user: str, **how: Any) -> Baresip:
        account = Account(user, transport=outer, **how)
        made.append(
            Baresip(account, exchange=proxy.door(outer), folder=tmp_path / f"{len(made)}-{user}", media=media)
        )
        return made[-1]

    yield new
    for one in made:
        one.close()


def arrival(exchange: Exchange, call: str) -> str:
    """What the log tells of the beginning of a call."""
    exchange.settle()
    return next(line for line in exchange.log.splitlines() if "call_arrived" in line and call in line)


def is_closed(phone: Baresip) -> bool:
    return [one.type for one in phone.events if one.type.startswith("CALL_")][-1:] == ["CALL_CLOSED"]


@pytest.mark.parametrize(("outer", "inner"), [("udp", "udp"), ("udp", "tcp"), ("tcp", "tls"), ("tls", "tls")])
def test_phones_behind_kamailio_call_and_are_called(
    exchange: Exchange, edge: NewEdge, phone: NewPhone, outer: str, inner: Inner
) -> None:
    """Desk and caller are on the outer side; BYE comes from both sides."""
    proxy = edge(inner)
    host, port = proxy.door(outer)
    person = exchange.dispatchers[0]
    desk = phone(proxy, outer, person.user, password=person.password, tone=1000, auto_answer=True)
    desk.wait_registered()
    exchange.sign_in(person.user)
    kate = exchange.callers[0]
    caller = phone(proxy, outer, kate.user, password=kate.password, tone=440)
    caller.wait_registered()
    caller.dial(f"sip:110@{host}:{port};transport={outer}")
    first = exchange.call_of(kate.user, state="active")
    # Two phones share the proxy's way to us: where it heard each of them tells who calls.
    assert '"proof":"registration"' in arrival(exchange, first["call"])
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher")
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
    caller.hang_up()
    exchange.wait_gone(first["call"])
    exchange.wait_desk(person.user, "free")
    caller.dial(f"sip:110@{host}:{port};transport={outer}")
    second = exchange.call_of(kate.user, state="active")
    exchange.desk(person.user, "end-call")
    exchange.until(partial(is_closed, caller), "no BYE comes to the caller")
    exchange.wait_gone(second["call"])
    exchange.sign_out(person.user)
    exchange.until(partial(is_closed, desk), "no BYE comes to the desk")


def test_calls_outlive_a_restart_of_the_proxy(exchange: Exchange, edge: NewEdge, phone: NewPhone) -> None:
    """Its connections to us end; what is registered and what is said through it goes on over a new one."""
    proxy = edge("tcp")
    host, port = proxy.door("udp")
    people = exchange.dispatchers[1:3]
    desks = [
        phone(proxy, "udp", one.user, password=one.password, tone=1000, auto_answer=True) for one in people
    ]
    for desk in desks:
        desk.wait_registered()
    exchange.sign_in(people[0].user)
    caller = phone(proxy, "udp", "kurt", tone=440)
    caller.dial(f"sip:110@{host}:{port};transport=udp")
    call = exchange.call_of("kurt", state="active")
    proxy.stop()
    exchange.until(partial(caller.hears, 1000), "media does not go through the proxy, but stopped with it")
    proxy.start()
    exchange.desk(people[0].user, "end-call")
    exchange.until(partial(is_closed, caller), "no BYE comes to the caller")
    exchange.wait_gone(call["call"])
    exchange.wait_desk(people[0].user, "free")
    # The other desk registered before, and is called now.
    exchange.sign_in(people[1].user)
    exchange.sign_out(*(one.user for one in people))
    for desk in desks:
        exchange.until(partial(is_closed, desk), "no BYE comes to a desk")


def test_a_flow_that_failed_is_not_the_end_of_a_phone(exchange: Exchange, edge: NewEdge) -> None:
    """RFC 5626 §7: the proxy says 430 of a connection that is gone; the phone is reached over its other one. And one that broke off
    in the middle of a call and came back is reached over its new one."""
    proxy = edge("tcp")
    person, kate = exchange.dispatchers[0], exchange.callers[0]

    async def scenario() -> None:
        first = FlowPhone(person.user, "tcp", proxy.door("tcp"))
        second = FlowPhone(person.user, "tls", proxy.door("tls"))
        second.instance, second.reg_id = first.instance, 2
        for flow in (first, second):
            await flow.connect()
            await flow.register(person.password)
        await second.drop()  # the one that is called first
        await asyncio.to_thread(exchange.desk, person.user, "sign-in")
        invite = await first.asked("INVITE")
        await first.accept(invite)
        await first.asked("ACK")
        await asyncio.to_thread(exchange.wait_desk, person.user, "free")

        caller = FlowPhone(kate.user, "tcp", proxy.door("tcp"))
        await caller.connect()
        await caller.register(kate.password)
        await caller.call()
        call = await asyncio.to_thread(partial(exchange.call_of, kate.user, state="active"))
        await caller.drop()
        await caller.connect()
        await caller.register(kate.password)
        caller.got.clear()
        await asyncio.to_thread(exchange.desk, person.user, "end-call")
        await caller.asked("BYE")
        await asyncio.to_thread(exchange.wait_gone, call["call"])
        await asyncio.to_thread(exchange.sign_out, person.user)
        await first.asked("BYE")
        for flow in (first, caller):
            await flow.drop()

    async def whole() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(whole())
