"""Who calls while the exchange is being stopped, and a phone that answers no BYE holds it up, is told goodbye as well."""

import socket
import threading

import pytest

from tests.live.kit import wire
from tests.live.kit.exchange import Exchange
from tests.live.kit.fragmented import in_dialog, invite

pytestmark = pytest.mark.beside


class Caller(threading.Thread):
    """Calls, acknowledges, answers no BYE, and keeps what it was told, repetitions once."""

    def __init__(self, name: str, exchange: tuple[str, int]) -> None:
        super().__init__(name=name)
        self.told: list[str] = []
        self._exchange = exchange
        self.over = threading.Event()
        self.answered = threading.Event()

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(0.1)
            port = sock.getsockname()[1]
            sock.sendto(invite(self.name, port, 1000), self._exchange)
            while not self.over.is_set():
                try:
                    message = wire.parse(sock.recv(65535))
                except OSError:  # nothing yet, or nobody there any more
                    continue
                if message is None or message.status == 100:
                    continue
                what = str(message.status or message.method)
                if what not in self.told:
                    self.told.append(what)
                if message.status == 200 and message.method == "INVITE":
                    sock.sendto(in_dialog(message, "ACK", 1, port), self._exchange)
                    self.answered.set()


def test_nobody_is_left_with_an_exchange_that_is_gone() -> None:
    exchange = Exchange()
    exchange.start()
    deaf = Caller("deaf", exchange.sip)
    callers = [deaf]
    deaf.start()
    try:
        assert deaf.answered.wait(10)
        stopping = threading.Thread(target=exchange.stop)
        stopping.start()
        while stopping.is_alive():
            caller = Caller(f"late-{len(callers)}", exchange.sip)
            callers.append(caller)
            caller.start()
            stopping.join(0.4)
    finally:
        for caller in callers:
            caller.over.set()
            caller.join()
        exchange.remove()
    heard = [caller.told for caller in callers if caller.told]
    assert all(told in (["200", "BYE"], ["480"], ["503"]) for told in heard), heard
    assert ["503"] in heard, "who comes last is sent elsewhere"
    assert heard.count(["200", "BYE"]) >= 3, "who comes during the goodbyes is heard"
