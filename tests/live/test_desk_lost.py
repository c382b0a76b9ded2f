"""The dispatcher's phone is lost in mid-call: the caller is not (How it is shown, 4)."""

import pytest

from tests.live.conftest import Measure, NewOracle, NewPhone
from tests.live.kit import tshark, wire
from tests.live.kit.exchange import Exchange
from tests.live.kit.oracle import Oracle

pytestmark = pytest.mark.beside

LOSS_SECONDS = 45.0
"""Silence of the media is noticed after 5 s; a SIP request without an answer lasts up to 32 s (RFC 3261 timer F)."""


def _unbroken(exchange: Exchange, caller: Oracle, call: str) -> None:
    """Assert that the evidence holds every packet the caller sent, in one file, from the first to the last."""
    folder = exchange.evidence(call)
    marks = [mark for p in tshark.rtp(folder / "call.pcapng") if (mark := wire.owner(p.payload)) is not None]
    missing = set(range(caller.sent - 3)) - {number for _, number in marks}
    assert not missing, (
        f"{len(missing)} of {caller.sent} packets are not in the evidence: {sorted(missing)[:20]}"
    )
    assert {owner for owner, _ in marks} == {caller.mark}


def test_a_killed_phone_sends_the_caller_back_to_the_queue(
    exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle, measure: Measure
) -> None:
    desk, other = desk_phone(0, tone=1000), desk_phone(1, tone=1300)
    exchange.sign_in(desk.account.user)
    caller = oracle(31)
    caller.call()
    call = str(exchange.call_of(caller.user, state="active")["call"])
    caller.wait_tone(1000)

    desk.kill()
    exchange.call_of(caller.user, state="waiting", timeout=LOSS_SECONDS)
    exchange.sign_in(other.account.user)
    exchange.wait_desk(other.account.user, "busy", call=call)
    events = exchange.events(call)
    names = [event["event"] for event in events]
    assert names.count("put_through") == 2, names
    lost = names.index("desk_lost")
    assert names.index("put_through") < lost, names
    put_through, again = (event for event in events if event["event"] == "put_through")
    assert put_through["desk"] == desk.account.user
    assert again["desk"] == other.account.user
    measure(
        "desk killed in a call, caller waiting again after", (events[lost]["mono"] - put_through["mono"]), "s"
    )

    before = caller.sent
    exchange.until(lambda: caller.sent > before + 50, "the caller doesn't speak")
    assert caller.up, "the caller's call never ended"
    caller.bye()
    exchange.wait_gone(call)
    assert caller.strangers == []
    _unbroken(exchange, caller, call)


def test_a_desk_that_hangs_up_leaves_its_caller_at_the_head(
    exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle
) -> None:
    desk, other = desk_phone(0, tone=1000), desk_phone(1, tone=1300)
    exchange.sign_in(desk.account.user)
    first, second = oracle(41), oracle(42)
    first.call()
    one = str(exchange.call_of(first.user, state="active")["call"])
    second.call()
    two = str(exchange.call_of(second.user, state="waiting")["call"])

    desk.hang_up()
    exchange.wait_desk(desk.account.user, "signed_out")
    exchange.call_of(first.user, state="waiting")
    assert [entry["call"] for entry in exchange.queue()] == [one, two]

    exchange.sign_in(other.account.user)
    exchange.wait_desk(other.account.user, "busy", call=one)
    exchange.desk(other.account.user, "end-call")
    first.wait_request("BYE")
    exchange.wait_desk(other.account.user, "busy", call=two)
    second.bye()
    for caller, call in ((first, one), (second, two)):
        exchange.wait_gone(call)
        assert caller.strangers == []
        _unbroken(exchange, caller, call)


def test_a_caller_whose_phone_is_switched_off_is_flagged_and_dials_again_to_the_same_dispatcher(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    """F15: power off in mid-call, and the same person on a phone that was started anew."""
    desk, person = desk_phone(0, tone=1000), exchange.callers[0]
    exchange.sign_in(desk.account.user)
    target = f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}"
    caller = phone(person.user, password=person.password, tone=440)
    caller.wait_registered()
    caller.dial(target)
    first = str(exchange.call_of(person.user, state="active", timeout=20)["call"])
    desk.wait_to_hear(440, timeout=20)
    caller.kill()

    def flagged() -> bool:
        return any(call["call"] == first and call["alarm"] == "no_media" for call in exchange.calls())

    exchange.until(flagged, "the vanished phone is not flagged", timeout=20)
    again = phone(person.user, password=person.password, tone=700)
    again.wait_registered()
    again.dial(target)
    exchange.wait_gone(first, timeout=30)
    call = exchange.call_of(person.user, state="active", timeout=20)
    assert call["desk"] == desk.account.user
    desk.wait_to_hear(700, timeout=20)
    again.hang_up()
    exchange.wait_gone(str(call["call"]), timeout=15)
    incidents = [e for e in exchange.events(str(call["call"])) if e["event"] == "same_incident"]
    assert incidents
    assert incidents[0]["incident"] == first
    ended = [e for e in exchange.events(first) if e["event"] == "call_ended"]
    assert len(ended) == 1
    exchange.evidence(first)
