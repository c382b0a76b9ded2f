"""The operator's word about who calls over a trunk: it is there when it comes in time, and no call waits for it (issue 5)."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.sipp import Sipp

pytestmark = pytest.mark.beside

EXISTING = "127.0.0.2"
NUMBER = "+8613800138000"
FACTS = {"name": "王丽", "address": "滨海路1号", "needs": ["speech"], "credit": "bad"}
ATTEMPTS = 6
"""Calls that may be made until one is answered within 0.3 s: on a busy machine both ends may sleep that long."""


class Service(ThreadingHTTPServer):
    """Knows everybody; says so at once, or not before `released` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        self.released.set()
        super().__init__(("127.0.0.1", 0), Answering)


class Answering(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.released.wait(30)
        body = json.dumps(FACTS).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # whoever asked has given up

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def exchange(service: Service) -> Iterator[Exchange]:
    running = Exchange(
        settings=f"[queue]\nlanguage = 'en'\n[[trunk]]\nname = 'existing'\nsources = ['{EXISTING}']\n"
        f"[subscribers]\nurl = 'http://127.0.0.1:{service.server_address[1]}/by/{{number}}'\n"
    )
    try:
        running.start()
        yield running
        running.wait_sealed()
    finally:
        running.stop()
        running.remove()


def rings(exchange: Exchange, media: Media, folder: Path) -> Sipp:
    """The 110 exchange brings a call that ends by itself after some seconds."""
    keys = {"sound": media.alaw(440)}
    return Sipp("trunk_keys", exchange=exchange.sip, folder=folder, keys=keys, address=EXISTING)


def told(exchange: Exchange, call: str) -> list[dict[str, Any]]:
    """What came of asking the operator, as the evidence of a call has it."""
    return [
        event
        for event in exchange.events(call)
        if event["event"] == "caller_facts" and event["source"] == "subscriber"
    ]


def test_what_the_operator_says_in_time_stands_with_the_call(
    exchange: Exchange, service: Service, media: Media, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}
    for attempt in range(ATTEMPTS):
        with rings(exchange, media, tmp_path / str(attempt)) as trunk:
            call = str(exchange.call_of(NUMBER, state="waiting", timeout=15)["call"])
            (fact,) = exchange.until(lambda call=call: told(exchange, call), "nobody was asked", timeout=15)  # type: ignore[misc]
            seen = next((one for one in exchange.calls() if one["call"] == call), {})
            trunk.wait(40).check(1)
        exchange.wait_gone(call, timeout=15)
        if "found" in fact and seen:
            break
    assert service.asked[0] == "/by/%2B8613800138000"
    found = seen["facts"]["subscriber"]
    assert {key: found[key] for key in ("name", "address", "needs", "by")} == {
        "name": "王丽", "address": "滨海路1号", "needs": ["speech"], "by": "127.0.0.1",
    }  # fmt: skip
    assert "credit" not in found
    assert any("滨海路1号" in line for line in seen["advice"])
    assert (seen["identity"], seen["name"]) == ("unverified", None), (
        "what an operator says makes nobody verified"
    )
    assert "滨海路1号" not in exchange.log


def test_a_call_is_answered_while_the_operator_thinks(
    exchange: Exchange, service: Service, media: Media, tmp_path: Path
) -> None:
    asked = len(service.asked)
    service.released.clear()
    try:
        with rings(exchange, media, tmp_path / "late") as trunk:
            call = str(exchange.call_of(NUMBER, state="waiting", timeout=15)["call"])
            exchange.until(lambda: len(service.asked) > asked, "nobody was asked", timeout=15)
            (fact,) = exchange.until(lambda: told(exchange, call), "it is waited for", timeout=15)
            assert "SIP/2.0 200" in trunk.messages, "it was answered all the same"
            assert "found" not in fact
            assert fact["why"] == "no answer within 0.3 s"
            service.released.set()
            trunk.wait(40).check(1)
        exchange.wait_gone(call, timeout=15)
        assert len(told(exchange, call)) == 1, "what comes too late is not taken"
        assert not any(event["event"] == "call_refused" for event in exchange.events(call))
    finally:
        service.released.set()
