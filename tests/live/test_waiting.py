"""A second caller waits and is put through when the first has gone (How it is shown, 2)."""

import re
from functools import partial
from pathlib import Path

from tests.live.conftest import Measure, NewOracle, NewPhone
from tests.live.kit import tshark, wire
from tests.live.kit.exchange import Exchange
from tests.live.kit.oracle import Oracle
from tests.live.kit.sound import is_alaw_silence

GAP_SECONDS = 0.060
"""The desk's stream may pause no longer when guests change."""

TELL_SECONDS = 20.0
"""A new place is not told at once: a caller shall not hear nothing but numbers."""


def test_the_next_caller_is_put_through_on_the_same_stream(
    exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle, measure: Measure, tmp_path: Path
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    first, second = oracle(1), oracle(2)
    desk_port = desk.rtp_port_of()

    with tshark.Capture(tmp_path / "wire.pcapng", desk, first, second) as capture:
        first.call()
        one = exchange.call_of(first.user, state="active")
        second.call()
        two = exchange.call_of(second.user, state="waiting")
        assert two["position"] == 1
        second.wait_heard(lambda p: not is_alaw_silence(p.payload), "a tone or a prompt while waiting")
        exchange.until(partial(_told, second, 1), "the position is not told in a text")
        assert [entry["call"] for entry in exchange.queue()] == [two["call"]]
        recorded = (exchange.evidence(two["call"], finished=False) / "call.pcapng").stat().st_size
        exchange.until(lambda: first.sent > 100 and second.sent > 50, "the oracle phones don't speak")
        first.bye()
        exchange.wait_desk(desk.account.user, "busy", call=two["call"])
        before = second.sent
        exchange.until(lambda: second.sent > before + 75, "the second caller doesn't speak")
        assert (exchange.evidence(two["call"], finished=False) / "call.pcapng").stat().st_size > recorded
        second.bye()
        exchange.wait_gone(two["call"])
        exchange.wait_desk(desk.account.user, "free")

    packets = tshark.rtp(capture.file, to=desk_port)
    said = tshark.describe(packets)
    assert len({packet.ssrc for packet in packets}) == 1, said
    assert tshark.missing(packets) == 0, said
    numbers = tshark.extended(packets)
    assert numbers == sorted(numbers), said
    guests = [
        packet
        for packet in tshark.rtp(capture.file)
        if packet.source in {first.audio_port, second.audio_port}
    ]
    measure("longest gap on the desk's stream", tshark.longest_gap(packets) * 1000, "ms")
    # The guests' own streams show the longest time this machine let nobody run; on an idle one that is 20 ms.
    stalled = max(
        tshark.longest_gap([p for p in guests if p.source == one.audio_port]) for one in (first, second)
    )
    # Silence is filled in 40 ms after the last packet, at a beat of 20: the two meet at 60, give or take a wake-up.
    assert tshark.longest_gap(packets) <= max(GAP_SECONDS + 0.005, stalled + 0.02), said
    _timestamps_follow_the_clock(packets, tolerance=0.2 + 2 * stalled)

    owners = [mark[0] for packet in packets if (mark := wire.owner(packet.payload)) is not None]
    assert set(owners) == {1, 2}, "the desk heard both"
    assert owners == sorted(owners), "nothing of the first caller came after the second was through"
    left = max(packet.at for packet in packets if (mark := wire.owner(packet.payload)) and mark[0] == 1)
    came = min(packet.at for packet in packets if (mark := wire.owner(packet.payload)) and mark[0] == 2)
    measure(
        "last packet of the first caller to first of the second on the desk's leg", (came - left) * 1000, "ms"
    )

    assert first.strangers == []
    assert second.strangers == []
    for caller, call in ((first, one), (second, two)):
        _every_packet_is_evidence(exchange, caller.mark, caller.sent, str(call["call"]))


def _timestamps_follow_the_clock(packets: list[tshark.Packet], *, tolerance: float) -> None:
    """Assert that timestamps only grow and stay with the time of sending, whoever speaks (RFC 3550 §5.1)."""
    origin, before = packets[0], packets[0]
    for index, packet in enumerate(packets[1:], 1):
        step = (packet.timestamp - before.timestamp) % 2**32
        assert 0 < step < 2**31, f"the timestamp goes back at packet {index}"
        media = ((packet.timestamp - origin.timestamp) % 2**32) / 8000
        assert abs(media - (packet.at - origin.at)) < tolerance, (
            f"the timestamp jumps by {step} at packet {index}"
        )
        before = packet


def _every_packet_is_evidence(exchange: Exchange, mark: int, sent: int, call: str) -> None:
    """Assert that the capture of a call holds each packet its caller sent from the first on, and of no other caller."""
    packets = tshark.rtp(exchange.evidence(call) / "call.pcapng")
    marks = [found for packet in packets if (found := wire.owner(packet.payload)) is not None]
    assert {found[0] for found in marks} == {mark}
    numbers = {found[1] for found in marks}
    # The last ones may reach the exchange behind the BYE.
    assert numbers >= set(range(sent - 3)), f"missing: {sorted(set(range(sent - 3)) - numbers)[:20]}"


def _told(caller: Oracle, place: int) -> bool:
    """Say whether the latest text names the place, as a number of its own: the 1 of 110 is none."""
    return bool(caller.texts) and re.search(rf"(?<!\d){place}(?!\d)", caller.texts[-1]) is not None


def test_everybody_is_told_the_place(exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle) -> None:
    callers = [oracle(mark) for mark in (11, 12, 13)]
    for caller in callers:
        caller.call()
        exchange.call_of(caller.user, state="waiting")
    waiting = exchange.queue()
    assert [entry["position"] for entry in waiting] == [1, 2, 3]
    assert [caller.user in str(entry["caller"]) for caller, entry in zip(callers, waiting, strict=True)] == [
        True
    ] * 3
    for place, caller in enumerate(callers, 1):
        exchange.until(partial(_told, caller, place), f"{caller.user} is not told {place}")
    callers[0].bye()
    for place, caller in enumerate(callers[1:], 1):
        exchange.until(
            partial(_told, caller, place), f"{caller.user} is not told {place}", timeout=TELL_SECONDS
        )

    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    call = exchange.call_of(callers[1].user, state="active")
    exchange.wait_desk(desk.account.user, "busy", call=call["call"])
    for caller in callers[1:]:
        caller.bye()
        assert caller.strangers == []


def test_a_paused_desk_gets_nobody(exchange: Exchange, desk_phone: NewPhone, oracle: NewOracle) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    exchange.desk(desk.account.user, "pause")
    exchange.wait_desk(desk.account.user, "paused")
    caller = oracle(21)
    caller.call()
    exchange.call_of(caller.user, state="waiting")
    exchange.desk(desk.account.user, "resume")
    exchange.call_of(caller.user, state="active")
    exchange.desk(desk.account.user, "end-call")
    caller.wait_request("BYE")
    exchange.wait_desk(desk.account.user, "free")
