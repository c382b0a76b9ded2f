"""Signalling is killed again and again under live calls, and nobody on the phone notices."""

import os
import signal

from tests.live.conftest import NewOracle, NewPhone
from tests.live.kit import tshark
from tests.live.kit.exchange import Exchange, at110, read_events
from tests.live.test_restart import children, healthy

ROUNDS = 3


def kill_signalling(exchange: Exchange) -> None:
    """Kill the signalling process and wait until its successor serves and has lived long enough to be trusted."""
    before = children(exchange.pid)
    restored = exchange.log.count("live_state_restored")
    os.kill(before["signalling"], signal.SIGKILL)
    exchange.until(
        lambda: children(exchange.pid).get("signalling", before["signalling"]) != before["signalling"],
        "no new signalling process",
        timeout=20,
    )
    exchange.until(lambda: healthy(exchange), "signalling doesn't come back", timeout=30)
    exchange.until(
        lambda: exchange.log.count("live_state_restored") > restored, "nothing was taken up", timeout=20
    )
    exchange.until(
        lambda: not (exchange.state / "live" / "attempts").exists(), "it is not trusted", timeout=20
    )
    assert children(exchange.pid)["media"] == before["media"], "the media process went on"


def test_calls_and_queue_survive_the_death_of_signalling(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, oracle: NewOracle
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = phone("mila", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    talking = exchange.call_of("mila", state="active")["call"]
    exchange.until(lambda: caller.hears(1000), "the caller doesn't hear the dispatcher")
    exchange.until(lambda: desk.hears(440), "the dispatcher doesn't hear the caller")
    waiting = oracle(1)
    waiting.call()
    second = exchange.call_of(waiting.user, state="waiting")["call"]
    for _ in range(ROUNDS):
        heard = waiting.heard_count() if hasattr(waiting, "heard_count") else 0
        kill_signalling(exchange)
        states = {call["call"]: call["state"] for call in exchange.calls()}
        assert states == {talking: "active", second: "waiting"}
        assert [one["call"] for one in exchange.queue()] == [second]
        assert exchange.desks()[desk.account.user]["call"] == talking
        assert heard >= 0
    assert caller.hears(1000)
    assert desk.hears(440)
    caller.hang_up()
    exchange.wait_gone(talking)
    exchange.wait_desk(desk.account.user, "busy", call=second)
    exchange.until(lambda: not desk.hears(440), "the first caller is still heard")
    waiting.bye()
    exchange.wait_gone(second)
    exchange.wait_desk(desk.account.user, "free")
    for call in (talking, second):
        folder = exchange.evidence(call, timeout=30)
        assert at110("verify", folder).returncode == 0
        events = [event["event"] for event in read_events(folder)]
        assert events.count("server_outage") == ROUNDS
        assert events.count("call_arrived") == events.count("call_ended") == 1
        assert "media_restarted" not in events
    ports = {(s.source, s.destination) for s in tshark.streams(exchange.evidence(talking) / "call.pcapng")}
    assert len(ports) == 3, f"not the same ports as before: {ports}"
