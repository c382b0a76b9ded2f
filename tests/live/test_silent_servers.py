"""Carriers whose servers take long requests by UDP alone, and let TCP hang (RFC 3261 §18.1.1, RFC 3263 §4.3).

Firewalls drop what opens such connections without a word; here the queue of a listener is full, to which Linux does the same.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.conftest import Measure, running
from tests.live.kit import ports
from tests.live.kit.exchange import Exchange
from tests.live.kit.media import Media
from tests.live.kit.sipp import Sipp

pytestmark = pytest.mark.beside

CARRIER = "127.0.0.2"
PORT = ports.block(4)
ATTEMPT = 1.5
SETTINGS = f"""
[queue]
wrap_up_seconds = 0.0
language = 'en'

[[trunk]]
name = "pictures"
peers = [{{ host = "{CARRIER}", port = {PORT} }}]
video = true
options_seconds = 0.0
attempt_seconds = {ATTEMPT}
"""


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS)) as made:
        yield made


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A listener that hears nobody any more."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((CARRIER, PORT))
        listener.listen(0)
        for _ in range(4):
            one = opened.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((CARRIER, PORT))
        yield listener


def test_a_long_invite_reaches_a_carrier_that_lets_tcp_hang(
    exchange: Exchange, deaf: socket.socket, media: Media, tmp_path: Path, measure: Measure
) -> None:
    probe = socket.socket()
    probe.settimeout(0.5)
    with probe, pytest.raises(TimeoutError):
        probe.connect(deaf.getsockname())
    took = []
    for number in range(2):
        sipp = Sipp(
            "trunk_takes_sound",
            exchange=exchange.sip,
            folder=tmp_path / str(number),
            keys={"sound": media.alaw(440)},
            address=CARRIER,
            sip_port=PORT,
        )
        with sipp as carrier:
            asked = time.monotonic()
            exchange.api("POST", "/api/trunks/pictures/try", {"number": "13800138000"})
            exchange.until(
                lambda carrier=carrier: "INVITE sip:" in carrier.messages,  # type: ignore[misc]
                "the call did not get through",
                timeout=15,
            )
            took.append(time.monotonic() - asked)
            carrier.wait(40).check(1)
            invite = carrier.messages.partition("INVITE sip:")[2].partition("\n\n")[0]
            assert "SIP/2.0/UDP" in invite
    measure("first call, after TCP was tried in vain", took[0], "s")
    measure("second call, by UDP at once", took[1], "s")
    assert took[0] > ATTEMPT / 2, "TCP was tried first, as RFC 3261 wants"
    assert took[1] < took[0]
    trunk = next(one for one in exchange.api("GET", "/api/trunks")["trunks"] if one["trunk"] == "pictures")
    assert (trunk["outgoing"], trunk["failed"]) == (2, 0)
