"""Silent mode: no sound reaches the caller, the exchange can be heard by nobody near (How it is shown, 5)."""

import time
from functools import partial
from pathlib import Path

import pytest

from tests.live.conftest import Measure, NewOracle, NewPhone
from tests.live.kit import sound, tshark
from tests.live.kit.exchange import ApiError, Exchange
from tests.live.kit.oracle import Oracle

GAP_SECONDS = 0.040
SMALLEST_STEP = 8.0
"""A-law has no zero: its silence decodes to +-8 of 32768."""


def test_a_silent_caller_hears_nothing_and_is_heard(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, measure: Measure, tmp_path: Path
) -> None:
    desk = desk_phone(0, tone=1000, picture="blue")
    caller = phone("silja", tone=440, picture="red")
    with tshark.Capture(tmp_path / "wire.pcapng", caller) as capture:
        caller.dial(f"sip:110-silent@{exchange.sip[0]}:{exchange.sip[1]}")
        call = exchange.call_of("silja", state="waiting")
        assert call["silent"] is True
        audio, video = caller.rtp_port_of(), caller.rtp_port_of("video")
        exchange.until(lambda: caller.heard.seconds > 1.5, "no packets while waiting")
        exchange.sign_in(desk.account.user)
        exchange.wait_desk(desk.account.user, "busy", call=call["call"])
        exchange.until(partial(desk.hears, 440), "the dispatcher doesn't hear the silent caller")
        exchange.until(lambda: caller.heard.seconds > 4, "the caller's stream stopped")
        caller.hang_up()
        exchange.wait_gone(call["call"])

    packets = tshark.rtp(capture.file, to=audio)
    said = tshark.describe(packets)
    assert packets
    loud = [index for index, p in enumerate(packets) if not sound.is_alaw_silence(p.payload)]
    assert not loud, f"packets {loud[:10]} of {said} are not silence"
    assert sound.alaw(b"".join(packet.payload for packet in packets)).rms <= SMALLEST_STEP
    measure("longest gap of the silence", tshark.longest_gap(packets) * 1000, "ms")
    assert tshark.missing(packets) == 0, said
    # The phone's own stream tells how long this machine let nobody run; on an idle one that is no more than 20 ms.
    stalled = tshark.longest_gap(tshark.rtp(capture.file, by=audio))
    assert tshark.longest_gap(packets) <= max(GAP_SECONDS, stalled + 0.02), said
    assert tshark.rtp(capture.file, to=video) == [], "the dispatcher's picture may be seen over a shoulder"
    assert caller.heard.rms <= SMALLEST_STEP


def test_silence_ends_only_by_two_acts(exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = oracle(51)
    caller.call("110")
    call = str(exchange.call_of(caller.user, state="active")["call"])
    caller.wait_tone(1000)

    exchange.silent(call, {"on": True})
    switched = time.monotonic()
    exchange.until(lambda: exchange.call_of(caller.user)["silent"], "silent mode is not on")
    _wait_packets(exchange, caller, switched + 0.06, 40)
    after = [packet for packet in tuple(caller.heard) if packet.at > switched + 0.06]
    assert all(sound.is_alaw_silence(packet.payload) for packet in after), (
        "sound after silent mode was switched on"
    )

    with pytest.raises(ApiError) as refused:
        exchange.silent(call, {"off": "confirm"})
    assert refused.value.status == 409, "confirming what was not requested"
    exchange.silent(call, {"off": "request"})
    requested = time.monotonic()
    _wait_packets(exchange, caller, requested, 15)
    assert all(sound.is_alaw_silence(p.payload) for p in tuple(caller.heard) if p.at > requested), (
        "one act is not two"
    )
    exchange.silent(call, {"off": "confirm"})
    confirmed = time.monotonic()
    caller.wait_tone(1000, since=confirmed)
    assert exchange.call_of(caller.user)["silent"] is False
    names = [event["event"] for event in exchange.events(call)]
    told = [name for name in names if name in {"silent_on", "silent_off_asked", "silent_off"}]
    assert told == ["silent_on", "silent_off_asked", "silent_off"], names
    caller.bye()


def _wait_packets(exchange: Exchange, caller: Oracle, since: float, count: int) -> None:
    heard = caller.heard
    exchange.until(
        lambda: sum(packet.at > since for packet in tuple(heard)) >= count, "the caller's stream stopped"
    )


@pytest.mark.parametrize("target", ["110-silent", "sip:110@{host}:{port};mode=silent"])
def test_ways_to_ask_for_silence(exchange: Exchange, oracle: NewOracle, target: str) -> None:
    caller = oracle(52, video=True)
    caller.call(target.format(host=exchange.sip[0], port=exchange.sip[1]))
    assert exchange.call_of(caller.user, state="waiting")["silent"] is True
    exchange.until(lambda: len(caller.heard) > 50, "the caller's stream stopped")
    assert all(sound.is_alaw_silence(packet.payload) for packet in tuple(caller.heard))
    caller.bye()
