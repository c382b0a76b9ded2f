"""Encrypted calls of real phones: SRTP with keys in the SDP, and DTLS-SRTP; the other side encrypted or not."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import NewPhone, running
from tests.live.kit import media as pictures
from tests.live.kit import tshark
from tests.live.kit.baresip import Account, Baresip
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.ports import free_port

PATIENCE = 20.0
"""A DTLS handshake whose first datagram comes too early is repeated after a second, on a busy machine after more."""
SETTINGS = """
[queue]
wrap_up_seconds = 0.0
language = 'en'
[tls]
port = {tls}
[media.encryption_for]
8002 = "mandatory"
8003 = "dtls"
"""


@pytest.fixture(scope="module")
def tls() -> int:
    return free_port()


@pytest.fixture(scope="module")
def exchange(tls: int) -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS.format(tls=tls))) as made:
        yield made


@pytest.fixture
def tls_phone(
    exchange: Exchange, tls: int, media: Media, tmp_path: Path, _nothing_left: None
) -> Iterator[NewPhone]:
    made: list[Baresip] = []

    def new(user: str, **how: Any) -> Baresip:
        account = Account(user, transport="tls", **how)
        folder = tmp_path / f"tls-{len(made)}-{user}"
        made.append(Baresip(account, exchange=("127.0.0.1", tls), folder=folder, media=media))
        return made[-1]

    yield new
    for one in made:
        one.close()


def both_hear_and_see(exchange: Exchange, caller: Baresip, desk: Baresip) -> None:
    exchange.until(partial(caller.hears, 1000), "the caller doesn't hear the desk", timeout=PATIENCE)
    exchange.until(partial(desk.hears, 440), "the desk doesn't hear the caller", timeout=PATIENCE)
    assert pictures.border(caller.snapshot(timeout=PATIENCE)) == "blue"
    assert pictures.border(desk.snapshot(timeout=PATIENCE)) == "red"


def suites(exchange: Exchange, call: str, leg: str) -> set[tuple[str, str]]:
    """What the events of a call say about the encryption of a leg: (medium, where the keys came from)."""
    return {
        (event["medium"], event["by"])
        for event in exchange.events(call)
        if event["event"] == "media_encrypted" and event["leg"] == leg
    }


def secured(exchange: Exchange, desk: str) -> set[tuple[str, str]]:
    """The same of a desk's leg that nobody is on: it stands in the log."""
    lines = [json.loads(line) for line in exchange.log.splitlines() if '"media_encrypted"' in line]
    return {(line["medium"], line["by"]) for line in lines if line["leg"] == f"desk:{desk}"}


@pytest.mark.parametrize(
    ("encryption", "by", "mux", "hold"),
    [
        ("srtp-mand", "sdes", False, True),
        ("srtp", "sdes", False, False),
        ("dtls_srtp", "dtls", False, False),
        ("dtls_srtp", "dtls", True, True),
    ],
)
def test_an_encrypted_caller_and_a_plain_desk(
    exchange: Exchange, tls_phone: NewPhone, desk_phone: NewPhone, tls: int, tmp_path: Path,
    encryption: str, by: str, mux: bool, hold: bool,
) -> None:  # fmt: skip
    desk = desk_phone(0, tone=1000, picture="blue")
    exchange.sign_in(desk.account.user)
    caller = tls_phone("erna", tone=440, picture="red", encryption=encryption, mux=mux)
    with tshark.Capture(tmp_path / "wire.pcapng", caller) as capture:
        caller.dial(f"sip:110@127.0.0.1:{tls};transport=tls")
        call = exchange.call_of("erna", state="active")["call"]
        both_hear_and_see(exchange, caller, desk)
        if hold:
            caller.command("hold")
            exchange.until(lambda: not desk.hears(440), "the desk still hears who holds", timeout=PATIENCE)
            caller.command("resume")
            exchange.until(partial(desk.hears, 440), "the desk doesn't hear who is back", timeout=PATIENCE)
            exchange.until(partial(caller.hears, 1000), "who is back doesn't hear the desk", timeout=PATIENCE)
        caller.hang_up()
    exchange.wait_gone(call)
    assert suites(exchange, call, "caller") == {("audio", by), ("video", by)}
    # What the phone sent does not stand on the wire, and does stand in the evidence: as it was said.
    folder = exchange.evidence(call)
    said = {packet.payload for packet in tshark.rtp(folder / "call.pcapng")}
    on_the_wire = capture.file.read_bytes()
    long = [payload for payload in said if len(payload) >= 100]
    assert len(long) >= 5  # pictures mostly: a tone repeats itself
    assert not [payload for payload in long if payload in on_the_wire]
    # Keys stand in the messages, as the phones wrote them, and nowhere else.
    keys = set(re.findall(rb"inline:([A-Za-z0-9+/]{20,})", (folder / "call.pcapng").read_bytes()))
    assert bool(keys) == (by == "sdes")
    elsewhere = (
        exchange.log.encode()
        + (folder / "events.jsonl").read_bytes()
        + (folder / "manifest.json").read_bytes()
    )
    assert not [key for key in keys if key in elsewhere]


@pytest.mark.parametrize(
    ("number", "encryption", "by"), [(0, "srtp", "sdes"), (1, "srtp-mand", "sdes"), (2, "dtls_srtp", "dtls")]
)
def test_an_encrypted_desk_and_a_plain_caller(
    exchange: Exchange, tls_phone: NewPhone, phone: NewPhone, number: int, encryption: str, by: str
) -> None:
    """Three rules: where the phone can, mandatory, and mandatory by DTLS."""
    person = exchange.dispatchers[number]
    desk = tls_phone(
        person.user, password=person.password, tone=1000, picture="blue", encryption=encryption, auto_answer=True
    )  # fmt: skip
    desk.wait_registered()
    exchange.sign_in(person.user)
    exchange.until(
        lambda: secured(exchange, person.user) == {("audio", by), ("video", by)},
        "the desk's sound and picture are not encrypted",
        timeout=PATIENCE,
    )
    caller = phone("otto", tone=440, picture="red")
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = exchange.call_of("otto", state="active")["call"]
    both_hear_and_see(exchange, caller, desk)
    caller.hang_up()
    exchange.wait_gone(call)
