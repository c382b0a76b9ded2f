"""A supervisor in another desk's room, judged by what each phone hears: listen, whisper, barge, and away again."""

import contextlib
import http.client
import json
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest

from tests.live.conftest import NewPhone
from tests.live.kit.baresip import LOUD, Baresip
from tests.live.kit.exchange import COMMAND, ApiError, Exchange

pytestmark = pytest.mark.beside

PATIENCE = 20.0
CALLER, DESK, SUPERVISOR = 440, 1000, 1700
"""Hz of what each of them says."""
HEARD, UNHEARD = 0.1, 0.01
"""Shares of the power of what a phone hears: of two voices each has about a half, and what is not there leaves no trace."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """An exchange whose third dispatcher is a supervisor."""
    running = Exchange(
        settings="[queue]\nwrap_up_seconds = 0.0\nlanguage = 'en'\n[hands]\nsupervisors = ['8003']\n"
    )
    try:
        running.start()
        yield running
        running.wait_sealed()
    finally:
        running.stop()
        running.remove()


def hears_only(phone: Baresip, *tones: int) -> bool:
    """Say whether the last 0.6 s a phone heard are these of the three voices and no other."""
    latest = phone.heard.part(-0.6)
    shares = {tone: latest.share(tone) for tone in (CALLER, DESK, SUPERVISOR)}
    wanted = all(share > HEARD if tone in tones else share < UNHEARD for tone, share in shares.items())
    return latest.rms > LOUD and wanted


def test_the_three_gates(exchange: Exchange, phone: NewPhone, desk_phone: NewPhone) -> None:
    desk, supervisor = desk_phone(0, tone=DESK), desk_phone(2, tone=SUPERVISOR)
    exchange.sign_in(desk.account.user, supervisor.account.user)
    exchange.desk(supervisor.account.user, "pause")
    exchange.wait_desk(supervisor.account.user, "paused", timeout=PATIENCE)
    caller = phone("anna", tone=CALLER)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of("anna", state="active", timeout=PATIENCE)["call"])

    def hand(user: str, verb: str, target: str) -> None:
        exchange.api("POST", f"/api/desks/{user}/{verb}", {"target": target})

    def all_hear(
        at_caller: tuple[int, ...], at_desk: tuple[int, ...], at_supervisor: tuple[int, ...]
    ) -> None:
        for who, tones in ((caller, at_caller), (desk, at_desk), (supervisor, at_supervisor)):
            exchange.until(
                lambda who=who, tones=tones: hears_only(who, *tones),  # type: ignore[misc]
                f"{who.account.user} doesn't hear {tones} and nobody else",
                timeout=PATIENCE,
            )

    user, watched = supervisor.account.user, desk.account.user
    with pytest.raises(ApiError) as refused:
        hand(watched, "listen", user)
    assert refused.value.status == 409, "who is no supervisor can't"
    hand(user, "listen", watched)
    all_hear((DESK,), (CALLER,), (CALLER, DESK))
    hand(user, "whisper", watched)
    all_hear((DESK,), (CALLER, SUPERVISOR), (CALLER, DESK))
    hand(user, "barge", watched)
    all_hear((DESK, SUPERVISOR), (CALLER, SUPERVISOR), (CALLER, DESK))
    exchange.api("POST", f"/api/desks/{user}/leave")
    exchange.wait_desk(user, "paused", timeout=PATIENCE)
    all_hear_two = ((caller, (DESK,)), (desk, (CALLER,)))
    for who, tones in all_hear_two:
        exchange.until(
            lambda who=who, tones=tones: hears_only(who, *tones),  # type: ignore[misc]
            f"{who.account.user} hears somebody who left",
            timeout=PATIENCE,
        )
    caller.hang_up()
    exchange.wait_gone(call, timeout=PATIENCE)
    modes = [event["mode"] for event in exchange.events(call) if event["event"].startswith("staff_")]
    assert modes == ["listen", "whisper", "barge", "barge"]


def test_a_role_is_given_and_taken_while_it_is_used(
    exchange: Exchange, phone: NewPhone, desk_phone: NewPhone
) -> None:
    """In PostgreSQL, by the command line: what is taken away ends at once, in the room and on the open stream."""
    desk, other = desk_phone(0, tone=DESK), desk_phone(1, tone=SUPERVISOR)
    watched, user = desk.account.user, other.account.user
    exchange.sign_in(watched, user)
    exchange.desk(user, "pause")
    caller = phone("berta", tone=CALLER)
    caller.dial(f"sip:110@{exchange.sip[0]}:{exchange.sip[1]}")
    call = str(exchange.call_of("berta", state="active", timeout=PATIENCE)["call"])

    def roles(*words: str) -> str:
        command = [str(COMMAND), "roles", *words]
        return subprocess.run(
            command, env=exchange.environment(), capture_output=True, text=True, timeout=60, check=True
        ).stdout

    with pytest.raises(ApiError):
        exchange.api("POST", f"/api/desks/{user}/listen", {"target": watched})
    roles("grant", user, "supervisor")
    exchange.api("POST", f"/api/desks/{user}/listen", {"target": watched})
    exchange.until(
        lambda: hears_only(other, CALLER, DESK), "the supervisor doesn't hear both", timeout=PATIENCE
    )
    cookies = urllib.request.HTTPCookieProcessor()
    person = urllib.request.build_opener(cookies)
    login = json.dumps({"user": user, "password": other.account.password}).encode()
    person.open(
        urllib.request.Request(f"{exchange.http}/api/login", login, {"Content-Type": "application/json"}),
        timeout=10,
    ).close()
    with person.open(f"{exchange.http}/api/events", timeout=20) as stream:
        assert b"snapshot" in stream.readline() + stream.readline() + stream.readline()
        roles("revoke", user, "supervisor")
        with contextlib.suppress(OSError, http.client.HTTPException):
            while stream.readline():
                pass  # what was on its way; the end is what is waited for, and the time limit fails
    exchange.wait_desk(user, "paused", timeout=PATIENCE)
    left = [event for event in exchange.events(call) if event["event"] == "staff_left"]
    assert [event["why"] for event in left] == ["role_revoked"]
    with pytest.raises(ApiError):
        exchange.api("POST", f"/api/desks/{user}/listen", {"target": watched})
    changes = roles("changes").splitlines()
    assert len(changes) == 2
    assert "revoke" in changes[0]
    assert user in changes[0]
    exchange.desk(watched, "end-call")
    exchange.wait_gone(call, timeout=PATIENCE)
