"""The torture messages of RFC 4475 and RFC 5118 against the running exchange, over UDP and TCP (bars B1, B2).

A black box: each message is sent as it is, the answer is judged by `tests/data/manifest.json`, and after each one the exchange
still answers OPTIONS. The messages carry no `rport`, so answers come to port 5060 or to the port their Via names: we listen at
127.0.0.2:5060.
"""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.kit.exchange import Exchange

DATA = Path(__file__).parents[1] / "data"
MANIFEST = json.loads((DATA / "manifest.json").read_text())
CASES = {entry["name"]: entry for corpus in ("rfc4475", "rfc5118") for entry in MANIFEST[corpus]}
SOURCE = "127.0.0.2"
PATIENCE = 2.0
"""Seconds an answer may take; the manifest says 1 for silence, and this machine may be busy."""
STATUS = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2}) ")


@pytest.fixture(scope="module")
def ear() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((SOURCE, 5060))
        except OSError as error:
            pytest.skip(f"{SOURCE}:5060 is not free, and answers come there: {error}")
        yield sock


def drain(ear: socket.socket) -> None:
    ear.settimeout(0.0)
    try:
        while ear.recv(65535):
            pass
    except OSError:
        return


def hear(ear: socket.socket, seconds: float) -> list[bytes]:
    """What comes until a final response, or until the time is over."""
    heard: list[bytes] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        ear.settimeout(left)
        try:
            heard.append(ear.recv(65535))
        except OSError:
            break
        if final([heard[-1]]):
            break
    return heard


def final(heard: list[bytes]) -> list[int]:
    """The final statuses among what was heard."""
    found = [int(code) for data in heard for code in STATUS.findall(data)]
    return [code for code in found if code >= 200]


def alive(ear: socket.socket, exchange: Exchange, name: str) -> None:
    """The exchange answers OPTIONS. Raises AssertionError."""
    host, port = exchange.sip
    ping = (
        f"OPTIONS sip:ping@{host} SIP/2.0\r\nVia: SIP/2.0/UDP {SOURCE}:5060;rport;branch=z9hG4bKping{name}\r\n"
        f"From: <sip:p@{SOURCE}>;tag=a\r\nTo: <sip:ping@{host}>\r\nCall-ID: ping-{name}\r\nCSeq: 1 OPTIONS\r\n"
        f"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    for _ in range(3):
        ear.sendto(ping, (host, port))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ear.settimeout(max(0.01, end - time.monotonic()))
            try:
                if f"ping-{name}".encode() in ear.recv(65535):
                    return
            except OSError:
                break
    raise AssertionError(f"no answer to OPTIONS after {name}")


def allowed(verdict: dict[str, Any]) -> set[int]:
    return set(verdict.get("status") or verdict.get("first") or ())


@pytest.mark.parametrize("name", CASES)
def test_by_datagram(name: str, exchange: Exchange, ear: socket.socket) -> None:
    verdict = CASES[name]["udp"]
    if name == "test":
        # "ours: 400 or drop": its head has no end, so there is nothing to answer to but rubbish.
        verdict = {"verdict": "REJECT_OR_DROP", "status": [400, 505]}
    drain(ear)
    ear.sendto((DATA / CASES[name]["file"]).read_bytes(), exchange.sip)
    silent = verdict["verdict"] == "DROP"
    heard = hear(ear, 0.5 if silent else PATIENCE)
    if silent:
        assert heard == []
    else:
        found = final(heard)
        if not found and verdict["verdict"] == "REJECT_OR_DROP":
            alive(ear, exchange, name)
            return
        assert found, f"no answer; {verdict}"
        assert found[-1] in allowed(verdict)
        assert found[-1] not in {500, 503}, "an internal error is no answer to bad input"
    alive(ear, exchange, name)


@pytest.mark.parametrize("name", CASES)
def test_by_stream(name: str, exchange: Exchange, ear: socket.socket) -> None:
    verdict = CASES[name]["tcp"]
    what = verdict["verdict"]
    got, closed = b"", False
    with socket.create_connection(exchange.sip, 5, source_address=(SOURCE, 0)) as stream:
        stream.sendall((DATA / CASES[name]["file"]).read_bytes())
        end = time.monotonic() + {"DROP": 0.5, "WAIT_THEN_CLOSE": 35.0}.get(what, PATIENCE)
        while (left := end - time.monotonic()) > 0:
            stream.settimeout(left)
            try:
                data = stream.recv(65535)
            except TimeoutError:
                break
            except OSError:
                closed = True
                break
            if not data:
                closed = True
                break
            got += data
            if what != "WAIT_THEN_CLOSE" and final([got]):
                break
    found = final([got])
    match what:
        case "DROP":
            assert found == []
        case "WAIT_THEN_CLOSE":
            assert closed or found, "an unfinished message is not waited for without end"
        case "REJECT_OR_CLOSE":
            assert closed or (found and found[-1] in allowed(verdict))
        case _:
            assert found, f"no answer; {verdict}"
            assert found[-1] in allowed(verdict)
    assert not {500, 503} & set(found), "an internal error is no answer to bad input"
    alive(ear, exchange, f"tcp-{name}")
