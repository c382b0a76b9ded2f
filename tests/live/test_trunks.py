"""Trunks on a running exchange: two Kamailios as a carrier, SIPp as the 110 exchange that is there already."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import NewPhone, running
from tests.live.kit import ports, sound, tshark
from tests.live.kit.carrier import PASSWORD, REALM, Carrier
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.ports import ADDRESS
from tests.live.kit.sipp import Sipp

pytestmark = pytest.mark.beside

EXISTING = "127.0.0.2"
"""Address of the exchange that is there already: what a trunk is known by."""
ONWARD = (ports.block(4), ports.block(4))
"""Where it takes calls: those of the first carrier's switch, those of the second's."""
CARRIERS = (ports.block(2), ports.block(2))

SETTINGS = f"""
[queue]
wrap_up_seconds = 0.0
language = 'en'

[[trunk]]
name = "carrier"
peers = [
    {{ host = "{ADDRESS}", port = {CARRIERS[0]}, transport = "udp", priority = 1 }},
    {{ host = "{ADDRESS}", port = {CARRIERS[1]}, transport = "udp", priority = 2 }},
]
user = "at110"
realm = "{REALM}"
password_file = "carrier.secret"
register = true
options_seconds = 1.0
attempt_seconds = 1.5
progress_seconds = 2.0

[[trunk]]
name = "existing"
sources = ["{EXISTING}"]
called = [{{ match = "0535(110)", give = '\\1' }}]
"""


NewPeer = Callable[..., Sipp]


@dataclass(frozen=True)
class Listener:
    """A media port on the wire."""

    port: int

    @property
    def bpf(self) -> str:
        return f"udp port {self.port}"


@pytest.fixture(scope="module")
def carriers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Carrier, Carrier]]:
    folder = tmp_path_factory.mktemp("carriers")
    with (
        Carrier(folder / "a", onward=f"{EXISTING}:{ONWARD[0]}", port=CARRIERS[0]) as first,
        Carrier(folder / "b", onward=f"{EXISTING}:{ONWARD[1]}", port=CARRIERS[1]) as second,
    ):
        yield first, second


@pytest.fixture(scope="module")
def exchange(carriers: tuple[Carrier, Carrier]) -> Iterator[Exchange]:
    made = Exchange(settings=SETTINGS)
    (made.state / "carrier.secret").write_text(f"{PASSWORD}\n")
    with running(made):
        yield made


def trunk(exchange: Exchange, name: str = "carrier") -> dict[str, Any]:
    found: list[dict[str, Any]] = exchange.api("GET", "/api/trunks")["trunks"]
    return next(one for one in found if one["trunk"] == name)


def up(exchange: Exchange) -> list[bool]:
    return [peer["up"] for peer in trunk(exchange)["peers"]]


@pytest.fixture
def existing(exchange: Exchange, media: Media, tmp_path: Path) -> Iterator[NewPeer]:
    """Play the exchange that is there already: `existing("trunk_calls", service="0535110")`."""
    made: list[Sipp] = []

    def new(scenario: str, *, service: str = "110", port: int | None = None) -> Sipp:
        folder = tmp_path / f"{len(made)}-{scenario}"
        keys = {"sound": media.alaw(440)}
        made.append(
            Sipp(
                scenario,
                exchange=exchange.sip,
                folder=folder,
                keys=keys,
                service=service,
                address=EXISTING,
                sip_port=port,
            )
        )
        return made[-1]

    yield new
    for one in made:
        one.stop()


def test_we_register_and_ask_whether_peers_live(
    exchange: Exchange, carriers: tuple[Carrier, Carrier]
) -> None:
    exchange.until(lambda: trunk(exchange)["state"] == "up", "the trunk is not up", timeout=30)
    assert trunk(exchange)["registered"] is True
    exchange.until(lambda: all("GOT OPTIONS" in one.said for one in carriers), "nobody is asked", timeout=15)
    # Metrics are set now and then, not with every change.
    for line in (
        'at110_trunk_registered{trunk="carrier"} 1.0',
        f'at110_trunk_peer_up{{peer="{carriers[0].peer}",trunk="carrier"}} 1.0',
    ):
        exchange.until(
            lambda line=line: line in exchange.api("GET", "/metrics"),  # type: ignore[misc]
            f"the metrics don't say {line}",
            timeout=15,
        )
    assert PASSWORD not in exchange.log


def test_a_challenged_call_goes_out_in_a_law(exchange: Exchange, existing: NewPeer, tmp_path: Path) -> None:
    takes = existing("trunk_takes", port=ONWARD[0])
    with tshark.Capture(tmp_path / "wire.pcapng", Listener(takes.media_port)) as capture:
        exchange.api("POST", "/api/trunks/carrier/try", {"number": "13800138000"})
        takes.wait(40).check(1)
    assert "INVITE sip:+8613800138000@" in takes.messages
    assert "P-Asserted-Identity: <sip:110@" in takes.messages
    packets = tshark.rtp(capture.file, to=takes.media_port)
    assert {packet.payload_type for packet in packets} == {8}, tshark.describe(packets)
    heard = sound.alaw(b"".join(packet.payload for packet in packets))
    assert abs(heard.tone - 1000) < 20, heard.tone
    exchange.until(lambda: trunk(exchange)["calls"] == 0, "the call is left over", timeout=15)
    assert PASSWORD not in exchange.log


def test_a_service_is_called_into_the_room_over_a_trunk(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, existing: NewPeer
) -> None:
    exchange.until(lambda: up(exchange) == [True, True], "the peers are not up", timeout=20)
    desk, caller = desk_phone(0, tone=1000), phone("anna", tone=700)
    user = desk.account.user
    exchange.sign_in(user)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of("anna", state="active", timeout=20)["call"])
    takes = existing("trunk_takes", port=ONWARD[0])
    exchange.api("POST", f"/api/desks/{user}/add", {"target": "13800138000", "role": "fire"})
    for who in (caller, desk):
        exchange.until(
            lambda who=who: who.heard.part(-0.6).share(440) > 0.05,  # type: ignore[misc]
            f"{who.account.user} doesn't hear the service",
            timeout=20,
        )
    exchange.api("POST", f"/api/desks/{user}/remove", {})
    takes.wait(40).check(1)
    exchange.desk(user, "end-call")
    exchange.wait_gone(call, timeout=15)
    names = [event["event"] for event in exchange.events(call)]
    assert names.index("staff_joined") < names.index("staff_left")


def test_a_peer_killed_in_mid_attempt_is_passed_over(
    exchange: Exchange, carriers: tuple[Carrier, Carrier], existing: NewPeer
) -> None:
    exchange.until(lambda: up(exchange) == [True, True], "the peers are not up", timeout=20)
    before = trunk(exchange)["failovers"]
    silent = existing("trunk_silent", port=ONWARD[0])
    takes = existing("trunk_takes", port=ONWARD[1])
    exchange.api("POST", "/api/trunks/carrier/try", {"number": "13800138000"})
    exchange.until(
        lambda: "INVITE sip:" in silent.messages, "the call did not get through the first peer", timeout=15
    )
    carriers[0].kill()
    takes.wait(60).check(1)
    assert trunk(exchange)["failovers"] == before + 1
    assert "GOT INVITE" in carriers[1].said
    exchange.until(lambda: up(exchange) == [False, True], "the dead peer is not found out", timeout=30)
    assert trunk(exchange)["state"] in ("partly", "unregistered")
    carriers[0].start()
    exchange.until(lambda: up(exchange) == [True, True], "the peer is back and not used", timeout=30)


def test_out_of_service_and_back(exchange: Exchange) -> None:
    exchange.api("POST", "/api/trunks/carrier/out-of-service")
    assert trunk(exchange)["state"] == "out_of_service"
    with pytest.raises(Exception, match="no_trunk"):
        exchange.api("POST", "/api/trunks/carrier/try", {"number": "13800138000"})
    exchange.api("POST", "/api/trunks/carrier/in-service")
    exchange.until(lambda: trunk(exchange)["state"] == "up", "the trunk did not come back", timeout=30)


def test_a_call_of_the_existing_exchange(
    exchange: Exchange, desk_phone: NewPhone, existing: NewPeer, tmp_path: Path
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    calls = existing("trunk_calls", service="0535110")
    call = exchange.call_of("+8613800138000", state="active", timeout=15)
    assert (call["trunk"], call["identity"]) == ("existing", "unverified")
    desk.wait_to_hear(440, timeout=20)
    with tshark.Capture(tmp_path / "wire.pcapng", Listener(calls.media_port)) as capture:
        exchange.until(
            lambda: len(capture.file.read_bytes()) > 40_000, "nothing is sent to the trunk", timeout=20
        )
    digits = [event["digit"] for event in exchange.events(call["call"]) if event["event"] == "dtmf"]
    assert digits == ["5"]
    exchange.desk(desk.account.user, "end-call")
    calls.wait(30).check(1)
    packets = tshark.rtp(capture.file, to=calls.media_port)
    assert {packet.payload_type for packet in packets} == {8}, tshark.describe(packets)
    heard = sound.alaw(b"".join(packet.payload for packet in packets))
    assert abs(heard.tone - 1000) < 20, heard.tone
    (arrived,) = [event for event in exchange.events(call["call"]) if event["event"] == "call_arrived"]
    assert arrived["asserted_by"] == "existing"
    assert arrived["resource_priority"] == "esnet.1"
    assert arrived["claims"]["Diversion"]


def test_keys_in_the_sound_of_a_trunk(exchange: Exchange, existing: NewPeer) -> None:
    calls = existing("trunk_keys")
    call = str(exchange.call_of("+8613800138000", state="waiting", timeout=15)["call"])
    calls.wait(40).check(1)
    exchange.wait_gone(call, timeout=15)
    assert "".join(event["digit"] for event in exchange.events(call) if event["event"] == "dtmf") == "19#"


def test_the_same_words_of_a_stranger_count_nothing(
    exchange: Exchange, desk_phone: NewPhone, media: Media, tmp_path: Path
) -> None:
    """S8: the same INVITE from an address that is no trunk's."""
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    with Sipp(
        "trunk_calls", exchange=exchange.sip, folder=tmp_path / "s", keys={"sound": media.alaw(440)}
    ) as stranger:
        call = exchange.call_of("sipp-1", state="active", timeout=15)
        assert (call["trunk"], call["identity"]) == (None, "unverified")
        # It asks one thing more before it expects a BYE.
        exchange.until(
            lambda: any(event["event"] == "dtmf" for event in exchange.events(str(call["call"]))),
            "no key comes",
        )
        exchange.desk(desk.account.user, "end-call")
        stranger.wait(30).check(1)
    events = exchange.events(str(call["call"]))
    assert any(event["event"] == "claims_ignored" for event in events)
