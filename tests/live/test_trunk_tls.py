"""A trunk over TLS with certificates of both sides: Kamailio is the carrier, SIPp the network behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import running
from tests.live.kit import ports
from tests.live.kit.carrier import NAME, TlsCarrier
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.ports import ADDRESS
from tests.live.kit.sipp import Sipp

pytestmark = pytest.mark.beside

ONWARD = ports.block(4)
"""Where the network behind the carrier takes calls."""

SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = 'en'
[tls]
port = {tls}
clients = "{certificate}"
authorities = "{certificate}"
[[trunk]]
name = "carrier"
peers = [{{ host = "{address}", port = {port}, transport = "tls" }}]
certificates = ["{name}"]
options_seconds = 1.0
attempt_seconds = 5.0
"""


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsCarrier]:
    with TlsCarrier(tmp_path_factory.mktemp("carrier"), onward=f"{ADDRESS}:{ONWARD}") as made:
        yield made


@pytest.fixture(scope="module")
def exchange(carrier: TlsCarrier) -> Iterator[Exchange]:
    tls = ports.block(2)
    words = {"certificate": carrier.certificate, "port": carrier.port, "name": NAME, "address": ADDRESS}
    with running(Exchange(settings=SETTINGS.format(tls=tls, **words))) as made:
        carrier.start(exchange=f"{ADDRESS}:{tls}", customers=made.state / "tls" / "certificate.pem")
        yield made


def test_a_call_goes_out_over_tls_with_both_certificates(
    exchange: Exchange, carrier: TlsCarrier, media: Media, tmp_path: Path
) -> None:
    def state() -> str:
        (found,) = exchange.api("GET", "/api/trunks")["trunks"]
        return str(found["state"])

    exchange.until(lambda: state() == "up", "the trunk is not up", timeout=30)
    keys = {"sound": media.alaw(440)}
    how = {"exchange": carrier.inner, "folder": tmp_path / "takes", "keys": keys, "sip_port": ONWARD}
    with Sipp("trunk_takes", **how) as takes:  # type: ignore[arg-type]
        exchange.api("POST", "/api/trunks/carrier/try", {"number": "13800138000"})
        takes.wait(60).check(1)
        assert "INVITE sip:+8613800138000@" in takes.messages
    assert "GOT INVITE BY tls" in carrier.said


def test_a_call_comes_in_over_tls_and_is_known_by_the_certificate(
    exchange: Exchange, carrier: TlsCarrier, media: Media, tmp_path: Path
) -> None:
    keys = {"sound": media.alaw(440)}
    with Sipp("trunk_keys", exchange=carrier.inner, folder=tmp_path / "calls", keys=keys) as calls:
        call = exchange.call_of("+8613800138000", state="waiting", timeout=20)
        assert call["trunk"] == "carrier"
        calls.wait(40).check(1)
    exchange.wait_gone(str(call["call"]), timeout=15)
    (arrived,) = [event for event in exchange.events(str(call["call"])) if event["event"] == "call_arrived"]
    assert arrived["asserted_by"] == "carrier"


def test_a_stranger_on_the_same_address_is_no_trunk(exchange: Exchange, media: Media, tmp_path: Path) -> None:
    keys = {"sound": media.alaw(440)}
    with Sipp("trunk_keys", exchange=exchange.sip, folder=tmp_path / "stranger", keys=keys) as stranger:
        call = exchange.call_of("sipp", state="waiting", timeout=20)
        assert call["trunk"] is None
        stranger.wait(40).check(1)
    exchange.wait_gone(str(call["call"]), timeout=15)
