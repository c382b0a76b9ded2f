"""Callers whom nobody here takes go on to the 110 exchange that is there already, which SIPp plays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.conftest import NewPhone, running
from tests.live.kit import ports, sound, tshark
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.sipp import Sipp

EXISTING = "127.0.0.2"
"""Address of the exchange that is there already."""
ONWARD = ports.block(4)
"""Where it takes calls."""

SETTINGS = f"""
[queue]
wrap_up_seconds = 0.0
language = 'en'

[[queue.queues]]
name = "default"
trunk = "existing"

[[trunk]]
name = "existing"
peers = [{{ host = "{EXISTING}", port = {ONWARD}, transport = "udp" }}]
sources = ["{EXISTING}"]
options_seconds = 0.0
attempt_seconds = 2.0
"""

NewPeer = Callable[[str], Sipp]


@dataclass(frozen=True)
class Listener:
    """A media port on the wire."""

    port: int

    @property
    def bpf(self) -> str:
        return f"udp port {self.port}"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS)) as made:
        yield made


@pytest.fixture
def existing(exchange: Exchange, media: Media, tmp_path: Path) -> Iterator[NewPeer]:
    made: list[Sipp] = []

    def new(scenario: str) -> Sipp:
        folder = tmp_path / f"{len(made)}-{scenario}"
        keys = {"sound": media.alaw(440)}
        how = {"keys": keys, "address": EXISTING, "sip_port": ONWARD}
        made.append(Sipp(scenario, exchange=exchange.sip, folder=folder, **how))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for one in made:
        one.stop()


def names(exchange: Exchange, call: str) -> list[str]:
    return [str(event["event"]) for event in exchange.events(call)]


def test_a_busy_trunk_is_tried_again_and_then_both_hear_each_other(
    exchange: Exchange, phone: NewPhone, existing: NewPeer, tmp_path: Path
) -> None:
    busy, caller = existing("trunk_busy"), phone("anna", tone=700)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of("anna", state="waiting")["call"])
    busy.wait(30).check(1)
    exchange.until(lambda: "overflow_failed" in names(exchange, call), "the failure is not noted", timeout=15)
    assert [place["call"] for place in exchange.queue()] == [call], "the place is kept"
    takes = existing("trunk_takes")
    with tshark.Capture(tmp_path / "wire.pcapng", Listener(takes.media_port)) as capture:
        exchange.call_of("anna", state="active", timeout=30)
        caller.wait_to_hear(440, timeout=20)
        exchange.until(
            lambda: len(capture.file.read_bytes()) > 40_000, "nothing is sent to the trunk", timeout=20
        )
    caller.hang_up()
    takes.wait(30).check(1)
    exchange.wait_gone(call, timeout=15)
    assert "Resource-Priority: esnet.0" in takes.messages
    assert "anna" not in takes.messages.partition("a=rtpmap")[0], "the trunk may not know who calls"
    packets = tshark.rtp(capture.file, to=takes.media_port)
    assert {packet.payload_type for packet in packets} == {8}, tshark.describe(packets)
    heard = sound.alaw(b"".join(packet.payload for packet in packets[-40:]))
    assert abs(heard.tone - 700) < 20, heard.tone
    told = names(exchange, call)
    assert told.index("overflow_failed") < told.index("overflow_answered") < told.index("put_through")


def test_a_desk_that_comes_first_has_the_caller(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, existing: NewPeer
) -> None:
    rings, caller, desk = existing("trunk_rings"), phone("berta", tone=700), desk_phone(0, tone=1000)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of("berta")["call"])
    exchange.until(lambda: "180 Ringing" in rings.messages, "the trunk does not ring", timeout=20)
    exchange.sign_in(desk.account.user)
    exchange.wait_desk(desk.account.user, "busy", call=call, timeout=15)
    rings.wait(30).check(1)
    caller.wait_to_hear(1000, timeout=15)
    exchange.desk(desk.account.user, "end-call")
    exchange.wait_gone(call, timeout=15)
    assert "overflow_cancelled" in names(exchange, call)


def test_nothing_is_audible_to_a_silent_caller_and_the_trunk_is_told(
    exchange: Exchange, phone: NewPhone, existing: NewPeer, tmp_path: Path
) -> None:
    takes, caller = existing("trunk_takes"), phone("silja", tone=700)
    with tshark.Capture(tmp_path / "wire.pcapng", caller) as capture:
        caller.dial(f"sip:110-silent@{exchange.sip[0]}:{exchange.sip[1]}")
        call = str(exchange.call_of("silja", state="active", timeout=20)["call"])
        audio = caller.rtp_port_of()
        seconds = caller.heard.seconds
        exchange.until(lambda: caller.heard.seconds > seconds + 1.5, "no packets to the caller", timeout=20)
        caller.hang_up()
    takes.wait(30).check(1)
    exchange.wait_gone(call, timeout=15)
    packets = tshark.rtp(capture.file, to=audio)
    assert packets
    assert all(sound.is_alaw_silence(packet.payload) for packet in packets), tshark.describe(packets)
    assert "silent call for help" in takes.messages


def test_silent_mode_switched_on_later_is_heard_by_the_trunk_and_by_nobody_else(
    exchange: Exchange, phone: NewPhone, existing: NewPeer, tmp_path: Path
) -> None:
    """The other side is told by a prompt in place of the caller's sound, which goes on after it; the caller hears silence."""
    takes, caller = existing("trunk_takes"), phone("sanne", tone=700)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of("sanne", state="active", timeout=20)["call"])
    caller.wait_to_hear(440, timeout=20)
    with tshark.Capture(tmp_path / "trunk.pcapng", Listener(takes.media_port)) as capture:
        exchange.silent(call, {"on": True})
        exchange.until(
            lambda: len(capture.file.read_bytes()) > 170_000, "nothing is sent to the trunk", timeout=30
        )
    with tshark.Capture(tmp_path / "caller.pcapng", caller) as quiet:
        audio, seconds = caller.rtp_port_of(), caller.heard.seconds
        exchange.until(lambda: caller.heard.seconds > seconds + 1.5, "no packets to the caller", timeout=20)
        caller.hang_up()
    takes.wait(30).check(1)
    exchange.wait_gone(call, timeout=15)
    packets = tshark.rtp(quiet.file, to=audio)
    assert packets
    assert all(sound.is_alaw_silence(packet.payload) for packet in packets), tshark.describe(packets)
    told = tshark.rtp(capture.file, to=takes.media_port)
    parts = [
        sound.alaw(b"".join(packet.payload for packet in told[start : start + 25]))
        for start in range(0, len(told) - 25, 25)
    ]
    spoken = [part.rms > 300 and part.share(700) < 0.2 for part in parts]
    assert sum(spoken) >= 2, "the prompt is not heard"
    assert parts[-1].share(700) > 0.5, "after it the caller is heard again"
    (noted,) = [event for event in exchange.events(call) if event["event"] == "silence_told"]
    assert noted["silent"] is True
