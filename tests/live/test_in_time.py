"""Sound and picture in time: whole again when a road stops losing packets, together on the wire and in the film, and with the pauses
of phones that send nothing while nobody speaks."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from tests.kit.size import FULL, times
from tests.live.conftest import Measure, NewOracle, NewPhone, running
from tests.live.kit import media as pictures
from tests.live.kit import pauses, sound, wire
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.flash import SECONDS, Reports, perform, skews, within
from tests.live.kit.media import Media
from tests.live.kit.oracle import Heard, Oracle
from tests.live.kit.road import Recovery, Road, Way
from tests.recordings.test_render import decoded, tracks

SETTINGS: Final = "[queue]\nwrap_up_seconds = 0.0\nlanguage = 'en'\n"
PATIENCE: Final = 30.0
LOSS: Final = 0.05
EPISODES: Final = times(3, 30)
PERFORMANCES: Final = 3
ENOUGH: Final = 3
"""Beeps that were judged on the wire."""
LEAST: Final = 3
"""Packets of picture lost each way in an episode before it ends."""
BAR: Final = 1.0
"""Seconds from the end of the losses to the key frame."""
STALLED: Final = 0.3
"""Seconds without any picture after which an episode is not judged: this machine kept the phone from its encoder, or the exchange
from its work. 15 pictures a second leave 0.07."""


@pytest.fixture(scope="module", params=("native", "python") if FULL else ("auto",))
def exchange(request: pytest.FixtureRequest) -> Iterator[Exchange]:
    """An exchange with the media engine that was built; at the size of the bar with each of the two."""
    with running(Exchange(settings=f"{SETTINGS}[media]\nengine = '{request.param}'\n")) as made:
        yield made


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
    judged: dict[Way, list[Recovery]] = {"up": [], "down": []}
    for _ in range(EPISODES):
        before = {way: _lost(road, way) for way in judged}
        road.loss = LOSS
        exchange.until(
            lambda before=before: all(_lost(road, way) >= before[way] + LEAST for way in judged),  # type: ignore[misc]
            "the road loses nothing",
            timeout=PATIENCE,
        )
        road.loss, ended = 0.0, time.monotonic()
        for way, found in judged.items():
            exchange.until(
                lambda way=way, ended=ended: road.recovered(way, ended),  # type: ignore[misc]
                f"no key frame {way}",
                timeout=PATIENCE,
            )
            recovery = road.recovered(way, ended)
            assert recovery is not None
            found.append(recovery)
            measure(f"picture back {way}", recovery.seconds * 1000, "ms")
    for way, found in judged.items():
        assert any(one.seconds <= BAR for one in found), (way, found)
        assert all(one.seconds <= BAR for one in found if one.pause < STALLED), (way, found)
    _both_see(exchange, caller, desk)
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the dispatcher", timeout=PATIENCE)
    exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the caller", timeout=PATIENCE)
    caller.hang_up()
    exchange.wait_gone(call)


def _lost(road: Road, way: Way) -> int:
    return sum(one.lost for one in tuple(road.seen[way]))


def _both_see(exchange: Exchange, caller: Baresip, desk: Baresip) -> None:
    exchange.until(partial(_shows, caller, "blue"), "the caller doesn't see the dispatcher", timeout=PATIENCE)
    exchange.until(partial(_shows, desk, "red"), "the dispatcher doesn't see the caller", timeout=PATIENCE)


def _shows(phone: Baresip, colour: str) -> bool:
    try:
        return pictures.border(phone.snapshot()) == colour
    except TimeoutError:
        return False


def test_flash_and_beep_stay_together_on_the_wire_and_in_the_film(
    exchange: Exchange, oracle: NewOracle, measure: Measure
) -> None:
    person = exchange.dispatchers[0]
    desk = oracle(60, user=person.user, video=True)
    assert desk.register(person.password)[1].status == 200
    exchange.sign_in(person.user)
    desk.up = True  # it speaks
    reports = {medium: Reports(desk, medium) for medium in ("audio", "video")}
    caller = oracle(61, video=True)
    caller.speaking = False
    caller.call()
    answer, _ = caller.final("INVITE")
    call = exchange.call_of(caller.user, state="active")["call"]
    to = {medium: wire.media_port(answer.body, medium) for medium in ("audio", "video")}
    judged: list[float] = []
    for _ in range(
        PERFORMANCES
    ):  # again where the machine left its phones no second in which they could speak in time
        desk.heard.clear()
        desk.pictures.clear()
        for report in reports.values():
            report.told()
        perform(caller, to)
        told = {medium: report.told() for medium, report in reports.items()}
        assert all(told.values()), "no sender report of ours came"
        judged = skews(desk.heard, desk.pictures, told)
        if len(judged) >= ENOUGH:
            break
    assert len(judged) >= ENOUGH, "no beep could be judged"
    measure("sound behind picture on the wire, worst", max(map(abs, judged)) * 1000, "ms")
    for report in reports.values():
        report.socket.close()
    caller.bye()
    exchange.wait_gone(call)

    film = exchange.evidence(call) / "call.mkv"
    rate, heard = tracks(film)["caller"]
    loud = np.flatnonzero(np.abs(heard) > 4000) / rate
    begins = [at for at, before in zip(loud[1:], loud[:-1], strict=True) if at - before > 0.5]
    bright = [at for at, colour in decoded(film) if min(colour) > 160]
    assert len(begins) >= SECONDS - 3
    judged = [within(float(at), bright) for at in begins]
    measure("sound behind picture in the film, worst", max(map(abs, judged)) * 1000, "ms")


@pytest.fixture
def pausing(exchange: Exchange, _nothing_left: None) -> Iterator[list[pauses.Pausing]]:
    """One phone for each codec with pauses."""
    made = [pauses.Pausing(62 + number, codec, exchange) for number, codec in enumerate(pauses.LINES)]
    yield made
    for one in made:
        one.close()


def test_phones_that_send_nothing_in_pauses_are_neither_missed_nor_misheard(
    exchange: Exchange, oracle: NewOracle, pausing: list[pauses.Pausing], measure: Measure
) -> None:
    """One pause is longer than the time after which a phone is missed."""
    desks = []
    for number, person in enumerate(exchange.dispatchers[: len(pausing)]):
        desks.append(oracle(64 + number, user=person.user, video=True))
        assert desks[-1].register(person.password)[1].status == 200
    exchange.sign_in(*(desk.user for desk in desks))
    for desk in desks:
        desk.up = True  # it speaks
    for _ in range(PERFORMANCES):
        calls = {}
        for phone in pausing:
            phone.call()
            calls[phone.mark] = exchange.call_of(phone.user, state="active")
        for desk in desks:
            desk.wait_heard(lambda packet: packet.payload_type == 8, "sound", timeout=PATIENCE)
            desk.heard.clear()
        late = pauses.speak(pausing)
        exchange.until(
            lambda: all(len(_loud(desk.heard)) > 90 for desk in desks), "not all is heard", timeout=PATIENCE
        )
        for phone in pausing:
            phone.bye()
            exchange.wait_gone(calls[phone.mark]["call"], timeout=PATIENCE)
        measure("the phones were late by", late * 1000, "ms")
        if late < pauses.TOO_LATE:
            break
    assert late < pauses.TOO_LATE, "this machine let no phone speak in time"
    for phone in pausing:
        call = calls[phone.mark]
        desk = next(desk for desk in desks if desk.user == call["desk"])
        _judge_pauses(exchange, phone, desk, call["call"], late)


def _loud(heard: list[Heard]) -> list[float]:
    """Moments of loud packets by the stream's own clock, seconds."""
    first = heard[0].timestamp if heard else 0
    return [
        ((packet.timestamp - first) & 0xFFFFFFFF) / 8000
        for packet in tuple(heard)
        if packet.payload_type == 8 and sound.alaw(packet.payload).rms > pauses.LOUD
    ]


def _judge_pauses(exchange: Exchange, phone: pauses.Pausing, desk: Oracle, call: str, late: float) -> None:
    events = [event for event in exchange.events(call) if event.get("leg") == "caller"]
    begun = next(number for number, event in enumerate(events) if event["event"] == "media_started")
    # A busy machine may keep a phone from its first word for long; from then on it is never missed, and so nobody is told of it.
    missed = [event for event in events[begun:] if event["event"] in {"media_lost", "media_sought"}]
    assert not missed, (phone.codec, missed)
    pauses.unbroken(desk.heard)
    told = pauses.bursts(_loud(desk.heard))
    # The tone that tells the desk of its caller comes first.
    talk = told[-len(pauses.BURSTS) :]
    assert len(talk) == len(pauses.BURSTS), (phone.codec, told)
    for (begin, end), (began, ended) in zip(talk[1:], pauses.BURSTS[1:], strict=True):
        assert abs((end - begin) - (ended - began)) < late + pauses.STALL, (phone.codec, told)
    folder = exchange.evidence(call, timeout=PATIENCE)
    report = json.loads((folder / "manifest.json").read_text())["derived"]["report"]
    assert [one["missing"] for one in report["senders"] if one["leg"] == "caller"] == [0], report
    rate, heard = tracks(folder / "call.mkv")["caller"]
    block = rate // 50
    loudness = np.sqrt(np.mean(heard[: len(heard) // block * block].reshape(-1, block) ** 2, axis=1))
    film = pauses.bursts([number / 50 for number in np.flatnonzero(loudness > pauses.LOUD)])
    assert len(film) == len(pauses.BURSTS), (phone.codec, film)
    for (begin, end), (began, ended) in zip(film, pauses.BURSTS, strict=True):
        assert abs(begin - film[0][0] - began) < pauses.SEAM, (phone.codec, film)
        assert abs(end - film[0][0] - ended) < pauses.SEAM, (phone.codec, film)
