"""What real phones show and see: callers looked at while they wait and talk, the site's badge in the host's place."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from rtp.still import draw
from tests.live.conftest import NewPhone
from tests.live.kit import media
from tests.live.kit.exchange import ApiError, Exchange

PATIENCE = 30.0


def look(exchange: Exchange, call: str, path: Path) -> str:
    """Have the caller's picture shown: the colour of its border, `none` while there is none to be shown yet."""
    request = urllib.request.Request(
        f"{exchange.http}/api/calls/{call}/snapshot", headers={"Authorization": f"Bearer {exchange.token}"}
    )
    status = 200
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            path.write_bytes(answer.read())
            assert answer.headers["Content-Type"] == "image/jpeg"
            assert time.time() - float(answer.headers["X-At110-Taken"]) < 10
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    assert status in {200, 409, 503}
    if status != 200:
        return "none"
    return media.border(path)


def test_callers_are_seen_by_who_asks_while_they_wait_and_while_they_talk(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone, tmp_path: Path
) -> None:
    callers = {
        "red": phone("ronja", tone=440, picture="red"),
        "green": phone("greta", picture="green", video_codecs="vp8"),
    }
    calls = {}
    for colour, caller in callers.items():
        caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
        calls[colour] = exchange.call_of(caller.account.user, state="waiting")["call"]
    seen = tmp_path / "seen.jpg"

    def shows(colour: str) -> bool:
        return look(exchange, calls[colour], seen) == colour

    for colour in calls:
        exchange.until(partial(shows, colour), f"the {colour} caller is not shown", timeout=PATIENCE)
    desk = desk_phone(0, tone=1000, picture="blue")
    exchange.sign_in(desk.account.user)
    assert exchange.call_of("ronja", state="active")["call"] == calls["red"]
    exchange.until(lambda: desk.hears(440), "the dispatcher doesn't hear the caller", timeout=PATIENCE)
    exchange.until(partial(shows, "red"), "who talks is not shown", timeout=PATIENCE)
    for colour, caller in callers.items():
        caller.hang_up()
        exchange.wait_gone(calls[colour])
        looks = [event["by"] for event in exchange.events(calls[colour]) if event["event"] == "looked_at"]
        assert looks, "a look is evidence"
    with pytest.raises(ApiError) as refused:
        exchange.api("GET", f"/api/calls/{calls['red']}/snapshot")
    assert refused.value.status == 404
    folder = exchange.state / "looks"
    exchange.until(lambda: not list(folder.iterdir()), "a picture was left behind", timeout=PATIENCE)


def far_from_the_badge(shown: Path) -> float:
    """How far a picture is from the badge that is drawn where a site has none: mean difference, 0…255."""
    with av.open(str(shown)) as container:
        seen = next(iter(container.decode(video=0))).to_ndarray(format="rgb24").astype(float)
    badge = draw().astype(float)
    return float(np.abs(seen - badge).mean()) if seen.shape == badge.shape else 255.0


def test_a_caller_sees_the_badge_in_the_hosts_place_and_the_host_again(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    desk = desk_phone(0, tone=1000, picture="blue")
    exchange.sign_in(desk.account.user)
    caller = phone("bella", tone=440, picture="red")
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = exchange.call_of("bella", state="active")["call"]

    def sees(what: Callable[[Path], bool]) -> bool:
        try:
            return what(caller.snapshot())
        except TimeoutError:
            return False

    def host(shown: Path) -> bool:
        return media.border(shown) == "blue"

    exchange.until(lambda: sees(host), "the caller doesn't see the dispatcher", timeout=PATIENCE)
    exchange.api("POST", f"/api/calls/{call}/host-picture", {"mode": "still"})
    exchange.until(
        lambda: sees(lambda shown: far_from_the_badge(shown) < 12),
        "the caller sees no badge",
        timeout=PATIENCE,
    )
    exchange.until(lambda: desk.hears(440), "the dispatcher doesn't hear the caller", timeout=PATIENCE)
    exchange.api("POST", f"/api/desks/{desk.account.user}/picture", {"target": "on"})
    exchange.until(lambda: sees(host), "the caller doesn't see the dispatcher again", timeout=PATIENCE)
    caller.hang_up()
    exchange.wait_gone(call)
    modes = [event["mode"] for event in exchange.events(call) if event["event"] == "host_picture"]
    assert modes == ["still", "on"]
