"""A newcomer's drill: the exchange in one terminal, `at110 desk` and `at110 call` in two others."""

from collections.abc import Callable, Iterator

import pytest

from tests.live.kit.drill import Running
from tests.live.kit.exchange import Exchange, Person, at110

NewPhone = Callable[..., Running]


@pytest.fixture
def start(exchange: Exchange, _nothing_left: None) -> Iterator[NewPhone]:
    """`start("desk", person, "--seconds", "9")`; the exchange is found by AT110_SIP_PORT."""
    made: list[Running] = []

    def new(command: str, person: Person | None, *arguments: str) -> Running:
        account = () if person is None else ("--user", person.user, "--password", person.password)
        made.append(Running(command, *account, *arguments, sip_port=exchange.sip[1]))
        return made[-1]

    yield new
    for one in made:
        one.stop()


def test_caller_and_desk_hear_and_see_each_other(exchange: Exchange, start: NewPhone) -> None:
    dispatcher, citizen = exchange.dispatchers[0], exchange.callers[0]
    desk = start("desk", dispatcher)
    exchange.wait_desk(dispatcher.user, "free", timeout=20)
    call = start("call", citizen, "--seconds", "5", "--location", "37.4638,121.4479,25")
    code, citizens = call.end()
    exchange.wait_desk(dispatcher.user, "free")
    desk.interrupt()
    desk_code, dispatchers = desk.end()

    assert (code, desk_code) == (0, 0)
    assert citizens["tone_hz"] == pytest.approx(1000, abs=5)
    assert dispatchers["tone_hz"] == pytest.approx(440, abs=5)
    for report in (citizens, dispatchers):
        assert report["frames_decoded"] > 15
        assert report["media"]["audio"]["lost"] == 0
        assert report["media"]["video"]["lost"] == 0
    assert (citizens["ended_by"], dispatchers["ended_by"]) == ("us", "interrupt")
    assert 0 < citizens["times_ms"]["trying"] <= citizens["times_ms"]["answered"]
    assert exchange.desks()[dispatcher.user]["state"] == "signed_out"
    folder = exchange.evidence(citizens["evidence_id"])
    assert at110("verify", folder).returncode == 0
    assert b"<gml:pos>37.4638000 121.4479000</gml:pos>" in (folder / "call.pcapng").read_bytes()


def test_a_silent_caller_hears_nothing_at_all(exchange: Exchange, start: NewPhone) -> None:
    dispatcher = exchange.dispatchers[0]
    desk = start("desk", dispatcher)
    exchange.wait_desk(dispatcher.user, "free", timeout=20)
    code, report = start("call", None, "--silent", "--seconds", "4").end()
    desk.interrupt()
    _, dispatchers = desk.end()
    assert (code, report["rms"], report["tone_hz"]) == (0, 0.0, None)
    assert report["media"]["audio"]["received"] > 150
    assert dispatchers["tone_hz"] == pytest.approx(440, abs=5), "but is heard"


def test_a_waiting_caller_is_told_its_place(exchange: Exchange, start: NewPhone) -> None:
    code, report = start("call", exchange.callers[0], "--seconds", "4", "--audio-only").end()
    assert (code, report["ended_by"]) == (0, "us")
    assert any("1" in text for text in report["messages"])
    assert report["rms"] > 100
    assert report["media"]["audio"]["received"] > 150


def test_a_wrong_password_is_refused(exchange: Exchange, start: NewPhone) -> None:
    wrong = Person(exchange.dispatchers[0].user, "not-it")
    code, report = start("desk", wrong, "--json").end()
    assert (code, report["sip_status"], report["ended_by"]) == (1, 401, "refused")
