"""Signalling is killed under live calls, in mid-setup and mid-queue, and nobody on the phone notices (bars F1, F2)."""

import asyncio
import subprocess
from pathlib import Path

from tests.live.conftest import NewOracle, NewPhone, NewSipp
from tests.live.kit import tshark
from tests.live.kit.exchange import Exchange, at110, read_events
from tests.live.kit.flowphone import FlowPhone
from tests.live.kit.processes import children, kill
from tests.live.test_restart import healthy

ROUNDS = 2
CALLS = 24
RATE = 12.0
"""Calls a second; some are before, some within, some after the second in which nobody listens."""


def kill_signalling(exchange: Exchange) -> None:
    """Kill the signalling process; returns when its successor serves and has lived long enough to be trusted."""
    before = children(exchange.pid)
    restored = exchange.log.count("live_state_restored")
    kill(exchange, "signalling")
    exchange.until(lambda: healthy(exchange), "signalling doesn't come back", timeout=30)
    exchange.until(
        lambda: exchange.log.count("live_state_restored") > restored, "nothing was taken up", timeout=30
    )
    attempts = exchange.state / "live" / "attempts"
    exchange.until(lambda: not attempts.exists(), "the new process isn't trusted", timeout=30)
    assert children(exchange.pid)["media"] == before["media"], "the media process went on"


def check_evidence(exchange: Exchange, call: str, *, outages: int) -> Path:
    """Check that a finished call's evidence is whole and states every outage, and nothing that was not."""
    folder = exchange.evidence(call, timeout=40)
    verdict: subprocess.CompletedProcess[str] = at110("verify", folder)
    assert verdict.returncode == 0, verdict.stdout
    events = [event["event"] for event in read_events(folder)]
    assert events.count("server_outage") == outages, events
    assert events.count("call_arrived") == events.count("call_ended") == 1, events
    assert "media_restarted" not in events
    return folder


def test_calls_and_queue_survive(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, oracle: NewOracle, tmp_path: Path
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    desk_port = desk.rtp_port_of()
    caller = phone("mila", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    talking = exchange.call_of("mila", state="active")["call"]
    exchange.until(lambda: caller.hears(1000), "the caller doesn't hear the dispatcher", timeout=30)
    exchange.until(lambda: desk.hears(440), "the dispatcher doesn't hear the caller", timeout=30)
    waiting = oracle(1)
    waiting.call()
    second = exchange.call_of(waiting.user, state="waiting")["call"]
    with tshark.Capture(tmp_path / "wire.pcapng", desk, caller) as capture:
        for _ in range(ROUNDS):
            kill_signalling(exchange)
            assert {call["call"]: call["state"] for call in exchange.calls()} == {
                talking: "active",
                second: "waiting",
            }
            assert [one["call"] for one in exchange.queue()] == [second]
            assert exchange.desks()[desk.account.user]["call"] == talking
            exchange.until(lambda: caller.hears(1000), "the caller hears something else", timeout=30)
            exchange.until(lambda: desk.hears(440), "the dispatcher hears something else", timeout=30)
            assert waiting.reinvite("sendrecv").status == 200
    packets = tshark.rtp(capture.file, to=desk_port)
    assert tshark.missing(packets) == 0, tshark.describe(packets)
    assert len({packet.ssrc for packet in packets}) == 1
    caller.hang_up()
    exchange.wait_gone(talking)
    exchange.wait_desk(desk.account.user, "busy", call=second)
    assert waiting.bye().status == 200
    exchange.wait_gone(second)
    exchange.wait_desk(desk.account.user, "free")
    ports = {
        (s.source, s.destination)
        for s in tshark.streams(check_evidence(exchange, talking, outages=ROUNDS) / "call.pcapng")
    }
    assert len(ports) == 3, f"not the same ports as before: {ports}"
    check_evidence(exchange, second, outages=ROUNDS)


def test_a_phone_on_a_connection_keeps_its_dialog(exchange: Exchange, desk_phone: NewPhone) -> None:
    desk, person = desk_phone(0, tone=1000), exchange.callers[0]
    exchange.sign_in(desk.account.user)

    async def scenario() -> str:
        async with FlowPhone(person.user, "tcp", exchange.sip) as caller:
            await caller.register(person.password)
            await caller.call()
            call = await asyncio.to_thread(exchange.call_of, person.user, state="active")
            await asyncio.to_thread(kill_signalling, exchange)
            await caller.drop()
            await caller.connect()
            await caller.register(person.password)
            assert [one["call"] for one in exchange.calls()] == [call["call"]]
            await asyncio.to_thread(exchange.desk, desk.account.user, "end-call")
            await caller.asked("BYE")
            return str(call["call"])

    call = asyncio.run(scenario())
    exchange.wait_gone(call)
    check_evidence(exchange, call, outages=1)


def test_calls_that_are_being_set_up_survive(exchange: Exchange, desk_phone: NewPhone, sipp: NewSipp) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    before = {folder.name for folder in exchange.all_evidence()}
    callers = sipp("caller_hangs_up", calls=CALLS, rate=RATE, keys={"talk_ms": "3000"})
    exchange.until(lambda: len(exchange.calls()) > CALLS // 4, "nobody calls", timeout=30)
    kill_signalling(exchange)
    callers.wait(60).check(CALLS)
    exchange.until(lambda: not exchange.calls(), "calls are left over", timeout=40)
    calls = {folder.name for folder in exchange.all_evidence()} - before
    assert len(calls) == CALLS, "each INVITE made one call, however often it came"
