"""Processes die under live calls and come back."""

import itertools
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.live.conftest import Measure, NewOracle, NewPhone
from tests.live.kit import tshark, wire
from tests.live.kit.exchange import Exchange, at110, read_events
from tests.live.kit.processes import children, kill, ran, spares

KILLS: Final = 2
STEADY_SECONDS: Final = 10.5
"""A process that ran so long did not end young."""
SOON_SECONDS: Final = 2.0
"""From one kill to the next, where the next process has hardly begun."""


def healthy(exchange: Exchange) -> bool:
    try:
        return bool(exchange.api("GET", "/healthz")["ready"])
    except OSError:
        return False


def test_media_process_dies_in_mid_call(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = phone("mila", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = exchange.call_of("mila", state="active")
    exchange.until(lambda: caller.hears(1000), "the caller doesn't hear the dispatcher")
    kill(exchange, "media")
    exchange.until(lambda: exchange.api("GET", "/healthz")["media"] == "up", "media stays down", timeout=30)
    exchange.until(
        lambda: [e for e in exchange.events(call["call"]) if e["event"] == "media_restarted"],
        "the gap is not stated",
        timeout=30,
    )
    exchange.until(lambda: caller.hears(1000), "the caller doesn't hear the dispatcher again", timeout=30)
    exchange.until(lambda: desk.hears(440), "the dispatcher doesn't hear the caller again", timeout=30)
    assert exchange.call_of("mila")["call"] == call["call"]
    caller.hang_up()
    exchange.wait_gone(call["call"])
    folder = exchange.evidence(call["call"])
    assert at110("verify", folder).returncode == 0
    ports = {(s.source, s.destination) for s in tshark.streams(folder / "call.pcapng")}
    # The caller's two directions, and the dispatcher's sound as it came in: not one more than before.
    assert len(ports) == 3, f"not the same ports as before: {ports}"


@pytest.mark.parametrize("soon", [False, True], ids=["one kill", "another two seconds later"])
def test_nobody_is_without_sound_for_a_second_when_a_media_process_dies(
    exchange: Exchange, oracle: NewOracle, measure: Measure, *, soon: bool
) -> None:
    """For less than a second, best of two: a busy machine may keep the new process waiting.

    `soon`: so does the process that took the place of one that was killed, two seconds after that kill.
    """
    person = exchange.dispatchers[0]
    desk = oracle(80, user=person.user, video=True)
    assert desk.register(person.password)[1].status == 200
    exchange.sign_in(person.user)
    desk.up = True  # it speaks
    caller = oracle(81)
    caller.call()
    call = exchange.call_of(caller.user, state="active")["call"]
    heard: list[float] = []

    def hears(since: float) -> bool:
        heard[:] = [
            packet.at
            for packet in tuple(desk.heard)
            if (owner := wire.owner(packet.payload)) and owner[0] == 81
        ]
        return sum(at > since for at in heard) > 25

    exchange.until(lambda: hears(0.0), "the dispatcher doesn't hear the caller", timeout=30)
    gaps = []
    for _ in range(KILLS):
        if soon:  # whoever kills again and again is a loop, and waits
            exchange.until(
                lambda: ran(exchange, "media") > STEADY_SECONDS, "it does not run steadily", timeout=30
            )
        exchange.until(lambda: "media" in spares(exchange.pid), "no spare waits", timeout=60)
        killed = kill(exchange, "media")
        if soon:
            exchange.until(partial(hears, killed), "no sound between the kills", timeout=60)
            time.sleep(max(0.0, killed + SOON_SECONDS - time.monotonic()))
            killed = kill(exchange, "media")
        back = time.monotonic()
        exchange.until(partial(hears, back), "the dispatcher doesn't hear the caller again", timeout=60)
        gaps.append(max(b - a for a, b in itertools.pairwise(heard) if b > killed))
        measure("gap", gaps[-1] * 1000, "ms")
    assert min(gaps) <= 1.0, gaps
    caller.bye()
    exchange.wait_gone(call)
    folder = exchange.evidence(call, timeout=30)
    assert at110("verify", folder).returncode == 0
    stated = [event for event in read_events(folder) if event["event"] == "media_restarted"]
    assert len(stated) == KILLS * (1 + soon)


def test_signalling_that_dies_is_back_at_once(
    exchange: Exchange, oracle: NewOracle, measure: Measure
) -> None:
    """A spare takes its place: calls that stand stay, and one that is dialled in that moment is answered."""
    standing, dials = oracle(90), oracle(91)
    standing.call()
    call = exchange.call_of(standing.user, state="waiting")["call"]
    taken_up = []
    for turn in range(KILLS):
        exchange.until(lambda: "signalling" in spares(exchange.pid), "no spare waits", timeout=60)
        restored = exchange.log.count("live_state_restored")
        killed = kill(exchange, "signalling")
        exchange.until(
            lambda restored=restored: exchange.log.count("live_state_restored") > restored,  # type: ignore[misc]
            "nothing was taken up",
            timeout=30,
        )
        taken_up.append(time.monotonic() - killed)
        measure(f"signalling killed, all taken up, time {turn + 1}", taken_up[-1] * 1000, "ms")
        if turn == 0:
            began = time.monotonic()
            dials.call()
            measure("dialled then, answered", (time.monotonic() - began) * 1000, "ms")
    assert min(taken_up) <= 1.0, taken_up
    assert exchange.call_of(standing.user)["call"] == call
    for caller in (standing, dials):
        caller.bye()
    exchange.wait_gone(call)


@pytest.mark.parametrize("both", [False, True], ids=["signalling", "media too"])
def test_evidence_is_sealed_when_signalling_dies_and_its_journal_is_lost(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, *, both: bool
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    caller = phone("sila", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = exchange.call_of("sila", state="active")["call"]
    exchange.until(lambda: caller.hears(1000), "the caller doesn't hear the dispatcher")
    before = children(exchange.pid)
    registered = exchange.api("GET", "/healthz")["registrations"]
    assert registered >= 1
    exchange.until(
        lambda: exchange.api("GET", "/healthz")["outbox_pending"] == 0, "the rows don't reach PostgreSQL"
    )
    # The dying process writes to the file it has open; the next one finds another.
    lost = exchange.state / "live" / "lost"
    lost.write_bytes(b"no journal of anybody")
    lost.replace(exchange.state / "live" / "journal")
    os.kill(before["signalling"], signal.SIGKILL)
    if both:
        os.kill(before["media"], signal.SIGKILL)
    exchange.until(lambda: healthy(exchange), "signalling doesn't come back", timeout=30)
    if not both:
        assert children(exchange.pid)["media"] == before["media"], "the media process went on"
    exchange.until(
        lambda: exchange.api("GET", "/healthz")["registrations"] >= registered,
        "the phones are not known again",
        timeout=20,
    )
    folder = exchange.evidence(call, timeout=20)
    assert at110("verify", folder).returncode == 0
    events = read_events(folder)
    assert {e["event"] for e in events} >= {"call_arrived", "put_through"}
    left = events[-1]
    assert (left["event"], left["why"], left["missing"]) == ("left_open", "died", None)
    if both:  # nobody told of the call: it was found
        assert left["events"] == len(events) - 1


def test_a_port_that_was_freed_stays_closed_though_the_media_process_dies(
    exchange: Exchange, oracle: NewOracle
) -> None:
    caller = oracle(84)
    caller.call()
    call = exchange.call_of(caller.user)["call"]
    port = caller._remote_audio  # our own kit
    caller.bye()
    exchange.wait_gone(call)
    exchange.until(lambda: _closed(port), "the port does not drain")
    kill(exchange, "media")
    exchange.until(
        lambda: exchange.api("GET", "/healthz")["media"] == "up" and _closed(port),
        "the process that took over gives the port away",
        timeout=10,
    )


def _closed(port: int) -> bool:
    """Whether somebody has a UDP port of this machine; to try it would take it from who wants it."""
    return f":{port:04X} " in Path("/proc/net/udp").read_text()
