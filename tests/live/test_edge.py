"""Kamailio in front: the edge proxy of a large site, as `docs/kamailio.cfg` has it (RFC 3261 §16, RFC 3327).

Phones know nothing but the proxy: the exchange is reached through it, and reaches them through it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import _exchanges
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.kamailio import Inner, Kamailio
from tests.live.kit.media import Media
from tests.live.test_transports import free_port

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


@pytest.fixture(scope="module")
def inner_doors() -> dict[str, int]:
    return {"port": free_port(), "tls": free_port()}


@pytest.fixture(scope="module")
def exchange(inner_doors: dict[str, int]) -> Iterator[Exchange]:
    running = Exchange(settings=SETTINGS.format(host=HOST, **inner_doors))
    _exchanges.append(running)
    try:
        running.start()
        yield running
    finally:
        running.stop()


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


@pytest.mark.parametrize(("outer", "inner"), [("udp", "udp"), ("udp", "tcp"), ("tcp", "tls"), ("tls", "tls")])
def test_phones_behind_kamailio_call_and_are_called(
    exchange: Exchange, edge: NewEdge, media: Media, tmp_path: Path, outer: str, inner: Inner
) -> None:
    """Desk and caller are on the outer side; BYE comes from both sides."""
    proxy = edge(inner)
    door = getattr(proxy, outer)

    def phone(user: str, **how: Any) -> Baresip:
        account = Account(user, transport=outer, **how)
        return Baresip(account, exchange=door, folder=tmp_path / user, media=media)

    person = exchange.dispatchers[0]
    with phone(person.user, password=person.password, tone=1000, auto_answer=True) as desk:
        desk.wait_registered()
        exchange.sign_in(person.user)
        with phone("kate", tone=440) as caller:
            try:
                caller.dial(f"sip:110@{door[0]}:{door[1]};transport={outer}")
                first = exchange.call_of("kate", state="active")
                assert first["caller"]
                exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher")
                exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller")
                caller.hang_up()
                exchange.wait_gone(first["call"])
                exchange.wait_desk(person.user, "free")
                caller.dial(f"sip:110@{door[0]}:{door[1]};transport={outer}")
                second = exchange.call_of("kate", state="active")
                exchange.desk(person.user, "end-call")
                exchange.wait_gone(second["call"])
                exchange.until(
                    lambda: "CALL_CLOSED" in [one.type for one in caller.events][-3:], "no BYE at the caller"
                )
                exchange.sign_out(person.user)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{proxy.log[-3000:]}") from None
