"""Real phones on a road that loses packets of sound, picture and RTCP both ways: the picture comes back when the loss ends."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.live.conftest import Measure, NewPhone
from tests.live.kit import media as pictures
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.road import Road

PATIENCE: Final = 30.0
LOSS: Final = 0.05
EPISODES: Final = 3
LEAST: Final = 3
"""Packets of picture lost each way in an episode before it ends."""
BAR: Final = 1.0
"""Seconds from the last loss to the key frame, which one episode at least has to meet: a request may be lost too, and a machine
that is busy elsewhere may keep a phone from its encoder."""


@pytest.fixture
def road(exchange: Exchange, _nothing_left: None) -> Iterator[Road]:
    with Road(exchange.sip) as made:
        yield made


@pytest.fixture
def caller(road: Road, media: Media, tmp_path: Path) -> Iterator[Baresip]:
    account = Account("lossy", tone=440, picture="red")
    with Baresip(account, exchange=road.address, folder=tmp_path / "lossy", media=media) as phone:
        yield phone


def test_the_picture_recovers_within_a_second_of_the_loss(
    exchange: Exchange, road: Road, caller: Baresip, desk_phone: NewPhone, measure: Measure
) -> None:
    desk = desk_phone(0, tone=1000, picture="blue")
    exchange.sign_in(desk.account.user)
    caller.dial(f"sip:110@{road.address[0]}:{road.address[1]}")
    call = exchange.call_of("lossy", state="active")["call"]
    _both_see(exchange, caller, desk)
    times: dict[str, list[float]] = {"up": [], "down": []}
    for _ in range(EPISODES):
        before = {way: _lost(road, way) for way in times}
        road.loss = LOSS
        exchange.until(
            lambda before=before: all(_lost(road, way) >= before[way] + LEAST for way in times),  # type: ignore[misc]
            "the road loses nothing",
            timeout=PATIENCE,
        )
        road.loss = 0.0
        for way, found in times.items():
            exchange.until(lambda way=way: road.recovered(way), f"no key frame {way}", timeout=PATIENCE)  # type: ignore[misc]
            seconds = road.recovered(way)  # type: ignore[arg-type]
            assert seconds is not None
            found.append(seconds)
            measure(f"picture back {way}", seconds * 1000, "ms")
    for way, found in times.items():
        assert min(found) <= BAR, (way, found)
    _both_see(exchange, caller, desk)
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher", timeout=PATIENCE)
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller", timeout=PATIENCE)
    caller.hang_up()
    exchange.wait_gone(call)


def _lost(road: Road, way: str) -> int:
    return sum(one.lost for one in tuple(road.seen[way]))  # type: ignore[index]


def _both_see(exchange: Exchange, caller: Baresip, desk: Baresip) -> None:
    exchange.until(partial(_shows, caller, "blue"), "the caller doesn't see the dispatcher", timeout=PATIENCE)
    exchange.until(partial(_shows, desk, "red"), "the dispatcher doesn't see the caller", timeout=PATIENCE)


def _shows(phone: Baresip, colour: str) -> bool:
    try:
        return pictures.border(phone.snapshot()) == colour
    except TimeoutError:
        return False
