"""Processes die under live calls and come back."""

import os
import signal
from pathlib import Path

from tests.live.conftest import NewPhone
from tests.live.kit import tshark
from tests.live.kit.exchange import Exchange, at110, read_events


def children(parent: int) -> dict[str, int]:
    """Return role → pid of the supervisor's processes."""
    found: dict[str, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            owner = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if owner == parent and b"process" in words:
            found[words[words.index(b"process") + 1].decode()] = int(folder.name)
    return found


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
    before = children(exchange.pid)
    os.kill(before["media"], signal.SIGKILL)
    exchange.until(
        lambda: children(exchange.pid).get("media", before["media"]) != before["media"],
        "no new media process",
    )
    exchange.until(lambda: exchange.api("GET", "/healthz")["media"] == "up", "media stays down")
    exchange.until(
        lambda: [e for e in exchange.events(call["call"]) if e["event"] == "media_restarted"],
        "the gap is not stated",
    )
    exchange.until(lambda: caller.hears(1000), "the caller doesn't hear the dispatcher again", timeout=12)
    exchange.until(lambda: desk.hears(440), "the dispatcher doesn't hear the caller again", timeout=12)
    assert exchange.call_of("mila")["call"] == call["call"]
    caller.hang_up()
    exchange.wait_gone(call["call"])
    folder = exchange.evidence(call["call"])
    assert at110("verify", folder).returncode == 0
    ports = {(s.source, s.destination) for s in tshark.streams(folder / "call.pcapng")}
    # The caller's two directions, and the dispatcher's sound as it came in: not one more than before.
    assert len(ports) == 3, f"not the same ports as before: {ports}"


def test_evidence_is_sealed_when_signalling_dies_and_its_journal_is_lost(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
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
    exchange.until(lambda: healthy(exchange), "signalling doesn't come back", timeout=12)
    assert children(exchange.pid)["media"] == before["media"], "the media process went on"
    exchange.until(
        lambda: exchange.api("GET", "/healthz")["registrations"] >= registered,
        "the phones are not known again",
        timeout=20,
    )
    folder = exchange.evidence(call, timeout=20)
    assert at110("verify", folder).returncode == 0
    assert {e["event"] for e in read_events(folder)} >= {"call_arrived", "put_through"}
