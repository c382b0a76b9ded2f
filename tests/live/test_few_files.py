"""More callers than there are files for (bar F24): whoever finds none is told so and when to try again, nobody who talks loses a word,
and what comes back is given out again. That a part is kept for calls for help: tests/rtp/test_reserve.py, tests/pbx/call/test_port_reserve.py.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final, TypeVar

import pytest

from tests.kit.size import times
from tests.live.conftest import Measure
from tests.live.kit.exchange import Exchange, at110
from tests.live.kit.oracle import Oracle
from tests.live.kit.processes import children
from tests.live.kit.scripted import Phone, Pump
from tests.live.kit.strangers import Loopback

FILES: Final = times(192, 512)
WANTED: Final = times(60, 400)
"""Callers; a call with sound alone takes four files of the media process."""
PATIENCE: Final = 60.0
SETTINGS: Final = "[media]\ndrain_seconds = 1.0\n[queue]\nwrap_up_seconds = 0.0\nlanguage = 'en'\n"
T = TypeVar("T")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    running = Exchange(desks=1, callers=1, settings=SETTINGS)
    running.files = FILES
    try:
        running.start()
        yield running
    finally:
        running.stop()
        running.remove()


class Scene:
    """Phones that go on while the API is asked."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.pump, self.net = exchange, Pump(), Loopback()
        self.web = ThreadPoolExecutor(1)
        self.count = 0

    def phone(self, user: str, *, speaking: bool = False) -> Phone:
        self.count += 1
        made = Phone(self.pump, self.net, user, self.count, self.exchange.sip, "127.0.0.1")  # type: ignore[arg-type]
        made.speaking = speaking
        return made

    def ask(self, question: Callable[[], T]) -> T:
        answer = self.web.submit(question)
        self.pump.until(answer.done, "no answer of the API", PATIENCE)
        return answer.result()

    def dial(self, phones: list[Phone]) -> tuple[list[Phone], list[Phone]]:
        """Let them all call 110; gives who was answered, and who was told that there is no place."""
        for phone in phones:
            phone.invite()
            self.pump.turn()
        self.pump.until(
            lambda: all(phone.answered() for phone in phones), "a caller is not answered", PATIENCE
        )
        found = Counter(phone.answers[-1].status for phone in phones)
        assert set(found) <= {200, 503}, found
        refused = [phone for phone in phones if not phone.up]
        for phone in refused:
            assert int(phone.answers[-1].get("retry-after")) > 0, "when to try again"
        return [phone for phone in phones if phone.up], refused

    def close(self) -> None:
        self.web.shutdown()
        for phone in self.pump.phones:
            phone.sip.close()
            phone.rtp.close()
        self.pump.readers.close()

    def talk(self) -> tuple[Phone, Phone]:
        """A caller who talks with a desk."""
        person = self.exchange.dispatchers[0]
        desk, caller = self.phone(person.user, speaking=True), self.phone("talks", speaking=True)
        desk.register(person.password)
        self.ask(lambda: self.exchange.desk(person.user, "sign-in"))
        self.pump.until(lambda: desk.up, "the desk is not called", PATIENCE)
        self.dial([caller])
        self.pump.until(lambda: len(desk.numbers(caller.mark)) > 25, "the caller is not heard", PATIENCE)
        return desk, caller


@pytest.fixture
def scene(exchange: Exchange) -> Iterator[Scene]:
    made = Scene(exchange)
    yield made
    made.close()


@pytest.mark.limit(240)
def test_more_callers_than_files(exchange: Exchange, scene: Scene, measure: Measure) -> None:
    desk, caller = scene.talk()
    before = children(exchange.pid)
    people = [scene.phone(f"crowd-{number}") for number in range(WANTED)]
    answered, refused = scene.dial(people)
    measure(f"callers who found a place, of {WANTED}, with {FILES} files", len(answered), "callers")
    assert refused, "there were files for all"
    assert len(answered) > FILES // 8

    # A place that comes back is the next caller's.
    answered[0].hang_up()
    found: list[Phone] = []
    for number in range(100):
        found, _ = scene.dial([scene.phone(f"next-{number}")])
        if found:
            break
        scene.pump.rest(0.2)  # ports drain
    assert found, "no place came back"

    # And so are all of them.
    for phone in (*answered[1:], *found):
        phone.hang_up()
    again: list[Phone] = []
    for number in range(100):
        more, _ = scene.dial([scene.phone(f"again-{number}")])
        again += more
        if len(again) > len(answered) // 2:
            break
        if not more:
            scene.pump.rest(0.2)
    assert len(again) > len(answered) // 2, "the places do not come back"

    sent = caller.sent
    scene.pump.until(lambda: sent in desk.numbers(caller.mark), "the caller is not heard any more", PATIENCE)
    numbers = desk.numbers(caller.mark)
    missing = sorted(set(range(numbers[0], sent)) - set(numbers))
    assert not [number for number in missing if number > numbers[0] + 100], "a word of who talked was lost"
    assert children(exchange.pid) == before, "no process ended"
    call = scene.ask(lambda: exchange.call_of("talks"))["call"]
    for phone in (*again, caller):
        phone.hang_up()
    scene.ask(lambda: exchange.until(lambda: not exchange.calls(), "calls are left over", timeout=PATIENCE))
    folder = scene.ask(lambda: exchange.evidence(call, timeout=PATIENCE))
    assert at110("verify", folder).returncode == 0


@pytest.mark.limit(120)
def test_connections_leave_files_for_calls_and_for_dispatchers(exchange: Exchange) -> None:
    """Each says one whole message, so that none is a stranger; they come until no more are taken."""
    said = "\r\n".join((
        f"OPTIONS sip:{exchange.sip[0]} SIP/2.0", "Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{0}", "Max-Forwards: 70",
        "From: <sip:crowd@127.0.0.1>;tag=t{0}", "To: <sip:127.0.0.1>", "Call-ID: {0}@crowd", "CSeq: 1 OPTIONS", "Content-Length: 0", "", "",
    ))  # fmt: skip
    with ExitStack() as open_ones, Oracle(1, exchange=exchange.sip) as caller:
        taken = 0
        for number in range(FILES + 50):
            one = open_ones.enter_context(socket.create_connection(exchange.sip, timeout=10))
            try:
                one.sendall(said.format(number).encode())
                if not one.recv(100):
                    break
            except ConnectionError:
                break
            taken += 1
        assert 20 < taken < FILES - 64, "a part is left"
        assert exchange.api("GET", "/healthz")["ready"]
        caller.call()
        call = str(exchange.call_of(caller.user)["call"])
        caller.bye()
        exchange.wait_gone(call)
        assert at110("verify", exchange.evidence(call)).returncode == 0
        assert "event_not_recorded" not in exchange.log
