"""SRTP against an implementation that is not ours: rtpengine's, by the suites that no phone at hand speaks (RFC 6188)."""

from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from recordings import pcapng
from rtp.suites import SUITES
from tests.kit.rtpengine import Rtpengine
from tests.live.conftest import NewPhone, running
from tests.live.kit import ports
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.rtpengine import Gateway, started

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


CALLED = "13800138000"
TRUNK = """
[media.encryption_for]
gate = "mandatory"
[[trunk]]
name = "gate"
peers = [{{ host = "{host}", port = {port}, transport = "udp" }}]
dial = [{{ match = "\\\\+86(1[3-9].*)", give = '\\1' }}]
options_seconds = 1.0
"""


def carried(gateway: Gateway, what: Literal["RTP", "RTCP"], packets: int) -> bool:
    return gateway.carried(what)[0] >= packets


def all_passes(exchange: Exchange, gateway: Gateway) -> None:
    """See that rtpengine reads every packet of a while."""
    for what, more in PASSES:
        before, unread = gateway.carried(what)
        exchange.until(
            partial(carried, gateway, what, before + more), f"too little {what} passes", timeout=PATIENCE
        )
        assert gateway.carried(what)[1] == unread


def crypto_lines(message: bytes) -> list[tuple[bytes, str, bytes]]:
    """Tag, suite, and key with salt of each line; rtpengine leaves the padding out."""
    words = [line.split() for line in message.splitlines() if line.startswith(b"a=crypto:")]
    return [
        (
            tag.removeprefix(b"a=crypto:"),
            suite.decode(),
            b64decode(key.removeprefix(b"inline:").split(b"|")[0] + b"=="),
        )
        for tag, suite, key, *_ in words
    ]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS)) as made:
        yield made


@pytest.fixture
def rtpengine(tmp_path: Path) -> Iterator[Rtpengine]:
    with started(tmp_path / "rtpengine") as made:
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
            all_passes(exchange, gateway)
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
        ((_, named, key),) = crypto_lines(message)
        assert (named, len(key)) == (suite, 46)


@pytest.mark.parametrize("suite", ["AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", "AEAD_AES_256_GCM"])
def test_who_is_called_takes_a_suite_out_of_our_offer(
    rtpengine: Rtpengine, media: Media, tmp_path: Path, suite: str
) -> None:
    """A desk calls a number over a trunk; we offer all we know, and the stranger there takes the one it knows."""
    with Gateway((ports.ADDRESS, 9), rtpengine, suite, encrypted="near") as gateway:
        host, port = gateway.address
        called = Account(CALLED, tone=440, auto_answer=True)
        with (
            running(Exchange(settings=SETTINGS + TRUNK.format(host=host, port=port))) as exchange,
            Baresip(called, exchange=gateway.address, folder=tmp_path / "called", media=media) as stranger,
        ):
            gateway.exchange = (ports.ADDRESS, stranger.sip_port)
            own = exchange.dispatchers[0]
            account = Account(own.user, password=own.password, tone=1000, auto_answer=True)
            with Baresip(account, exchange=exchange.sip, folder=tmp_path / "desk", media=media) as desk:
                desk.wait_registered()
                exchange.sign_in(own.user)
                exchange.until(
                    lambda: exchange.api("GET", "/api/trunks")["trunks"][0]["state"] == "up",
                    "the trunk is not up",
                    timeout=PATIENCE,
                )
                exchange.api("POST", f"/api/desks/{own.user}/call", {"target": CALLED})
                call = str(exchange.until(exchange.calls, "there is no call", timeout=PATIENCE)[0]["call"])
                exchange.until(partial(stranger.hears, 1000), "who was called doesn't hear", timeout=PATIENCE)
                exchange.until(partial(desk.hears, 440), "the desk doesn't hear", timeout=PATIENCE)
                all_passes(exchange, gateway)
                stranger.hang_up()
                exchange.wait_gone(call)
                exchange.sign_out(own.user)
            said = [event for event in exchange.events(call) if event["event"] == "media_encrypted"]
            assert [(event["suite"], event["by"]) for event in said] == [(suite, "sdes")]
            with (exchange.evidence(call) / "call.pcapng").open("rb") as file:
                messages = [packet.data for packet in pcapng.read(file) if b"a=crypto:" in packet.data]
    offer = crypto_lines(next(message for message in messages if message.startswith(b"INVITE ")))
    assert [named for _, named, _ in offer] == list(SUITES)
    answer = crypto_lines(next(message for message in messages if message.startswith(b"SIP/2.0 200 ")))
    # RFC 4568 §5.1.2: one line, with the tag of the one that was taken, and the other direction's own key.
    ((tag, named, key),) = answer
    mine = {named: (tag, key) for tag, named, key in offer}
    assert (named, tag) == (suite, mine[suite][0])
    assert len(key) == len(mine[suite][1])
    assert key != mine[suite][1]
