"""SRTP against an implementation that is not ours: rtpengine's, by the suites that no phone at hand speaks (RFC 6188)."""

from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from recordings import pcapng
from tests.live.conftest import NewPhone, running
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.rtpengine import Gateway, Rtpengine

pytestmark = pytest.mark.beside
SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = 'en'
[media]
sdes_in_clear = true
"""
PATIENCE = 30.0
PASSES: tuple[tuple[Literal["RTP", "RTCP"], int], ...] = (("RTP", 100), ("RTCP", 1))
"""Packets that pass once both hear each other."""


def carried(gateway: Gateway, what: Literal["RTP", "RTCP"], packets: int) -> bool:
    return gateway.carried(what)[0] >= packets


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS)) as made:
        yield made


@pytest.fixture
def rtpengine(tmp_path: Path) -> Iterator[Rtpengine]:
    with Rtpengine(tmp_path / "rtpengine") as made:
        yield made


@pytest.mark.parametrize("suite", ["AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32"])
def test_sound_passes_both_ways_encrypted_as_a_stranger_encrypts(
    exchange: Exchange, desk_phone: NewPhone, rtpengine: Rtpengine, media: Media, tmp_path: Path, suite: str
) -> None:
    desk = desk_phone(0, tone=1000)
    exchange.sign_in(desk.account.user)
    user = f"gate-{suite[-2:]}"
    with Gateway(exchange.sip, rtpengine, suite) as gateway:
        account = Account(user, tone=440)
        with Baresip(account, exchange=gateway.address, folder=tmp_path / user, media=media) as caller:
            caller.dial(f"sip:110@{gateway.address[0]}:{gateway.address[1]}")
            call = exchange.call_of(user, state="active")["call"]
            exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the desk", timeout=PATIENCE)
            exchange.until(partial(desk.hears, 440), "the desk doesn't hear the caller", timeout=PATIENCE)
            # What comes to rtpengine before our answer with the key has reached it, it can't read.
            for what, more in PASSES:
                before, unread = gateway.carried(what)
                exchange.until(
                    partial(carried, gateway, what, before + more),
                    f"too little {what} passes",
                    timeout=PATIENCE,
                )
                assert gateway.carried(what)[1] == unread
            caller.hang_up()
        exchange.wait_gone(call)
    events = exchange.events(call)
    said = [event for event in events if event["event"] == "media_encrypted" and event["leg"] == "caller"]
    assert [(event["medium"], event["suite"], event["by"]) for event in said] == [("audio", suite, "sdes")]
    # What the exchange was offered, and what it answered: this suite alone, each with a key and salt of 46 bytes.
    with (exchange.evidence(call) / "call.pcapng").open("rb") as file:
        messages = [packet.data for packet in pcapng.read(file) if b"a=crypto:" in packet.data]
    offer = next(message for message in messages if message.startswith(b"INVITE "))
    answer = next(message for message in messages if message.startswith(b"SIP/2.0 200 "))
    for message in (offer, answer):
        lines = [line for line in message.splitlines() if line.startswith(b"a=crypto:")]
        assert [line.split()[1].decode() for line in lines] == [suite]
        (key,) = (line.split()[2].removeprefix(b"inline:").split(b"|")[0] for line in lines)
        assert len(b64decode(key + b"==")) == 46  # rtpengine leaves the padding out
