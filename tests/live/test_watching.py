"""Phones that watch a seat and its room while a desk signs in and takes a call (RFC 6665, 4235, 4575, 3863)."""

import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.kit.watcher import Told
from tests.live.conftest import NewPhone, NewSipp
from tests.live.kit.exchange import Exchange
from tests.live.kit.sipp import Sipp

pytestmark = pytest.mark.beside

TYPES = {
    "dialog": "application/dialog-info+xml",
    "conference": "application/conference-info+xml",
    "presence": "application/pidf+xml",
}


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """SIPp 3.6 stops at a challenge with SHA-256."""
    running = Exchange(
        settings="[sip]\nmd5_agents = ['sipp', 'baresip v0.', 'baresip v1.']\n"
        "[queue]\nwrap_up_seconds = 0.0\nlanguage = 'en'\n"
    )
    try:
        running.start()
        yield running
    finally:
        running.stop()
        running.remove()


def notifies(phone: Sipp) -> list[tuple[dict[str, str], str]]:
    """Headers and body of every NOTIFY that came, retransmissions once."""
    found: dict[str, tuple[dict[str, str], str]] = {}
    for piece in re.split(r"(?m)^-{40,}.*$", phone.messages):
        head, _, body = piece.partition("NOTIFY sip:")[2].partition("\n\n")
        if "received" not in piece or not body:
            continue
        headers = dict(line.partition(": ")[::2] for line in head.splitlines()[1:])
        found.setdefault(headers["CSeq"], (headers, body.strip()))
    return list(found.values())


def shows(phone: Sipp, sign: str) -> bool:
    """Whether the latest NOTIFY of a phone holds a sign."""
    came = notifies(phone)
    return bool(came) and sign in came[-1][1]


def test_lamps_rooms_and_presence_follow_a_desk(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, sipp: NewSipp
) -> None:
    watcher = exchange.dispatchers[1]
    desk = desk_phone(0, tone=1000)
    user = desk.account.user
    targets = {event: f"room-{user}" if event == "conference" else user for event in TYPES}
    phones = {
        event: sipp(
            "watcher",
            auth_uri=f"{targets[event]}@{exchange.sip[0]}:{exchange.sip[1]}",
            keys={
                "user": watcher.user,
                "password": watcher.password,
                "target": targets[event],
                "event": event,
                "accept": accept,
                "idle_ms": "6000",
            },
        )
        for event, accept in TYPES.items()
    }
    for event, one in phones.items():
        exchange.until(partial(notifies, one), f"no first NOTIFY of {event}")
    exchange.sign_in(user)
    for event, sign in (("conference", ">host<"), ("presence", ">open<")):
        exchange.until(partial(shows, phones[event], sign), f"{event} says nothing of the dispatcher")
    caller = phone("lamp", tone=440)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = exchange.call_of("lamp", state="active")
    for event, sign in (("dialog", ">confirmed<"), ("conference", ">guest<"), ("presence", "on-the-phone")):
        exchange.until(partial(shows, phones[event], sign), f"{event} says nothing of the caller")
    caller.hang_up()
    exchange.wait_gone(call["call"])
    for one in phones.values():
        one.wait(40).check(1)

    documents = {event: notifies(one) for event, one in phones.items()}
    for event, came in documents.items():
        assert [h["CSeq"] for h, _ in came] == [f"{n} NOTIFY" for n in range(1, len(came) + 1)]
        assert {h["Event"] for h, _ in came} == {event}
        assert {h["Content-Type"] for h, _ in came} == {TYPES[event]}
        assert came[-1][0]["Subscription-State"] == "terminated;reason=timeout"

    lamp, lit = Told(), []
    for _, body in documents["dialog"]:
        lamp.take(body.encode())
        lit.append(len(lamp.lit))
    assert lamp.states[0] == "full"
    assert lamp.states[-2:] == ["full", "full"], "refresh and end say all"
    assert "partial" in lamp.states
    assert (lit[0], max(lit), lit[-1]) == (0, 1, 0)
    assert call["call"] not in phones["dialog"].messages

    room, seen = Told(), []
    for headers, body in documents["conference"]:
        room.take(body.encode())
        seen.append(sorted(role for _, role, _ in room.users.values()))
        assert ";isfocus" in headers["Contact"]
    assert "partial" in room.states
    assert seen[0] == []
    assert ["guest", "host"] in seen
    assert seen[-1] == ["host"]

    told, states = Told(), []
    for _, body in documents["presence"]:
        told.take(body.encode())
        assert told.presence is not None
        states.append(told.presence[:2])
    assert states[0] == ("closed", None)
    assert states.index(("open", None)) < states.index(("open", "on-the-phone"))
    assert states[-1] == ("open", None)
