"""Starting, stopping and starting again (Starting it)."""

import json
import os
import signal
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.live.kit.exchange import COMMAND, ApiError, Exchange, at110, read_events
from tests.live.kit.oracle import Oracle
from tests.live.kit.ports import free_port
from tests.live.kit.processes import children

pytestmark = pytest.mark.beside


def test_first_start_makes_accounts_and_the_second_finds_them(fresh_exchange: Exchange) -> None:
    fresh_exchange.given_accounts = False
    fresh_exchange.start()
    path = fresh_exchange.state / "credentials.json"
    made = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    people = json.loads(made)
    assert set(people) == {"dispatchers", "callers", "api_token"}
    passwords = [one["password"] for kind in ("dispatchers", "callers") for one in people[kind]]
    assert len(set(passwords)) == len(passwords) >= 4
    for kind in ("dispatchers", "callers"):
        assert people[kind][0]["user"] in fresh_exchange.log, "the accounts are told at the start"
    assert set(fresh_exchange.desks()) == {one["user"] for one in people["dispatchers"]}
    fresh_exchange.stop()

    fresh_exchange.start()
    assert path.read_bytes() == made
    assert set(fresh_exchange.desks()) == {one["user"] for one in people["dispatchers"]}
    fresh_exchange.stop()


def test_what_ctrl_c_cut_short_is_sealed_at_the_next_start(fresh_exchange: Exchange) -> None:
    fresh_exchange.start()
    with Oracle(1, exchange=fresh_exchange.sip) as caller:
        caller.call()
        call = str(fresh_exchange.call_of(caller.user)["call"])
        fresh_exchange.until(lambda: caller.sent > 25, "the caller doesn't speak")
        fresh_exchange.stop()  # with the call still up
    fresh_exchange.start()
    folder = fresh_exchange.evidence(call)
    names = [event["event"] for event in read_events(folder)]
    assert names[0] == "call_arrived"
    assert {"call.pcapng", "manifest.json"} <= {path.name for path in folder.iterdir()}
    assert at110("verify", folder).returncode == 0
    fresh_exchange.stop()


def goes_on(exchange: Exchange, pid: int) -> None:
    """Let a process go on as soon as a start waits for it; or after a while, so that it does not outlive the test."""
    end = time.monotonic() + 10
    while '"waiting_for_processes"' not in exchange.log and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(pid, signal.SIGCONT)


def test_a_start_right_after_the_supervisor_was_killed_begins_beside_none_of_its_processes(
    fresh_exchange: Exchange,
) -> None:
    fresh_exchange.start()
    with Oracle(1, exchange=fresh_exchange.sip) as caller:
        caller.call()
        call = str(fresh_exchange.call_of(caller.user)["call"])
        fresh_exchange.until(lambda: caller.sent > 25, "the caller doesn't speak")
        media = children(fresh_exchange.pid)["media"]
        os.kill(media, signal.SIGSTOP)  # it would end by itself in no time
        fresh_exchange.kill()
        waking = threading.Thread(target=goes_on, args=(fresh_exchange, media))
        waking.start()
        fresh_exchange.start()
        waking.join()
        assert not Path(f"/proc/{media}").exists(), "begun beside it"
    (waited,) = [line for line in fresh_exchange.log.splitlines() if '"waiting_for_processes"' in line]
    assert media in json.loads(waited)["pids"]
    fresh_exchange.until(lambda: fresh_exchange.api("GET", "/healthz")["media"] == "up", "no media process")
    assert at110("verify", fresh_exchange.evidence(call)).returncode == 0
    with Oracle(2, exchange=fresh_exchange.sip) as caller:
        caller.call()
        fresh_exchange.call_of(caller.user)
    fresh_exchange.stop()


def test_a_second_exchange_on_the_same_state_folder_is_refused(exchange: Exchange) -> None:
    before = children(exchange.pid)
    http = free_port()
    done = subprocess.run(
        [str(COMMAND), "serve"],
        env=exchange.environment() | {"AT110_SIP_PORT": str(free_port()), "AT110_HTTP_PORT": str(http)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"held by process {exchange.pid}: {exchange.state}" in done.stderr, done.stderr
    assert children(exchange.pid) == before
    health = exchange.api("GET", "/healthz")
    assert (health["media"], health["database"]) == ("up", "up")


@pytest.mark.parametrize("port", ["AT110_SIP_PORT", "AT110_HTTP_PORT"])
def test_a_taken_port_is_told_in_one_line(exchange: Exchange, port: str, fresh_exchange: Exchange) -> None:
    taken = str(exchange.sip[1]) if port == "AT110_SIP_PORT" else exchange.http.rpartition(":")[2]
    done = subprocess.run(
        [str(COMMAND), "serve"],
        env=fresh_exchange.environment() | {port: taken},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode != 0
    assert [line for line in said if taken in line], said
    assert not [line for line in said if "Traceback" in line], said


def test_no_anonymous_access(exchange: Exchange) -> None:
    for path in ("/api/calls", "/api/queue", "/api/desks", "/api/evidence/none", "/metrics"):
        with pytest.raises(urllib.error.HTTPError) as anonymous:
            urllib.request.urlopen(f"{exchange.http}{path}", timeout=5)
        anonymous.value.close()
        assert anonymous.value.code == 401, path
    with pytest.raises(ApiError) as refused:
        exchange.api("GET", "/api/calls", token="not the token")
    assert refused.value.status == 401


def test_options_is_answered(exchange: Exchange) -> None:
    host, port = exchange.sip
    done = subprocess.run(
        ["sipsak", "-s", f"sip:{host}:{port}"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
