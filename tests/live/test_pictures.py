"""What real phones show and see: callers looked at while they wait and talk, the site's badge in the host's place."""

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

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
    for colour, call in calls.items():
        exchange.until(
            lambda call=call, colour=colour: look(exchange, call, seen) == colour,
            f"the {colour} caller is not shown",
            timeout=PATIENCE,
        )
    desk = desk_phone(0, tone=1000, picture="blue")
    exchange.sign_in(desk.account.user)
    assert exchange.call_of("ronja", state="active")["call"] == calls["red"]
    exchange.until(lambda: desk.hears(440), "the dispatcher doesn't hear the caller", timeout=PATIENCE)
    exchange.until(
        lambda: look(exchange, calls["red"], seen) == "red", "who talks is not shown", timeout=PATIENCE
    )
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
