"""Callers never meet (bar F30b): random acts of callers and dispatchers, and nothing of a caller comes to another."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import pytest

from tests.kit.size import times
from tests.live.conftest import Measure, running
from tests.live.kit.exchange import ApiError, Exchange
from tests.live.kit.processes import children
from tests.live.kit.scripted import Pump
from tests.live.kit.strangers import Loopback, Speaker

STEPS: Final = times(60, 1000)
CALLERS: Final = times(10, 50)
DESKS: Final = times(4, 10)
"""At the size of the bar: 1,000 acts of 50 callers and 10 dispatchers."""
PAUSE: Final = 0.15
"""Seconds of media between two acts."""
PATIENCE: Final = 30.0
SETTINGS: Final = f"""
[queue]
wrap_up_seconds = 0.0
language = "en"
[media]
drain_seconds = 1.0
[hands]
supervisors = [{", ".join(f'"{8001 + number}"' for number in range(DESKS))}]
"""
AT_BUSY: Final = frozenset({"take", "listen", "whisper", "barge"})
VERBS: Final = {
    "free": ("take", "listen", "whisper", "barge", "barge", "pause"),
    "busy": ("hold", "unhold", "transfer", "park", "consult", "consult", "end-call", "silent"),
    "visiting": ("leave", "complete", "conference", "cancel", "unhold"),
    "paused": ("resume",),
}
"""What a dispatcher may want to do, by the state of its desk; not all of it can be done each time."""
pytestmark = pytest.mark.beside
T = TypeVar("T")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with running(Exchange(settings=SETTINGS, desks=DESKS), sealed=120.0) as made:
        yield made


class Town:
    """Everybody, and what each may do next."""

    def __init__(self, exchange: Exchange, web: ThreadPoolExecutor, seed: int) -> None:
        self.exchange, self.web, self.pump, self.dice = exchange, web, Pump(), random.Random(seed)
        self.done: Counter[str] = Counter()
        self.desks = [
            self._phone(person.user, number + CALLERS) for number, person in enumerate(exchange.dispatchers)
        ]
        self.callers = [self._phone(f"stranger-{number}", number) for number in range(CALLERS)]

    def _phone(self, user: str, mark: int) -> Speaker:
        # An address of its own each, as in the world: who sends from where is part of what is judged.
        return Speaker(self.pump, Loopback(), user, mark, self.exchange.sip, f"127.0.1.{10 + mark}")  # type: ignore[arg-type]

    def ask(self, question: Callable[[], T]) -> T:
        answer = self.web.submit(question)
        self.pump.until(answer.done, "no answer of the API", PATIENCE + 20)
        return answer.result()

    def open(self) -> None:
        for desk, person in zip(self.desks, self.exchange.dispatchers, strict=True):
            desk.register(person.password)
            self.ask(lambda user=person.user: self.exchange.desk(user, "sign-in"))  # type: ignore[misc]
        self.pump.until(lambda: all(desk.up for desk in self.desks), "a desk was not called", PATIENCE)

    def act(self) -> None:
        """One random act of somebody."""
        choice = self.dice.random()
        if choice < 0.45:
            self._caller_acts(self.dice.choice(self.callers))
        else:
            self._desk_acts(self.dice.choice(self.desks))
        self.pump.rest(PAUSE)

    def _caller_acts(self, caller: Speaker) -> None:
        self.settled(caller)
        if not caller.up:
            caller.call_id, caller.tag, caller.direction = (
                os.urandom(8).hex(),
                os.urandom(4).hex(),
                "sendrecv",
            )
            caller.invite()
            self.done["call"] += 1
            return
        match self.dice.choice(("hang up", "hang up", "hold", "port")):
            case "hang up":
                caller.hang_up()
                caller.speaking = True
                self.done["hang up"] += 1
            case "hold":
                caller.reinvite("sendrecv" if caller.direction == "sendonly" else "sendonly")
                self.done["hold"] += 1
            case _:
                caller.rebind()
                self.done["port"] += 1

    def _desk_acts(self, desk: Speaker) -> None:
        desks = self.ask(self.exchange.desks)
        mine = desks[desk.user]
        busy = [user for user, view in desks.items() if view["state"] == "busy" and user != desk.user]
        verb = self.dice.choice(VERBS.get(str(mine["state"]), ("resume",)))
        path = f"/api/desks/{desk.user}/{verb}"
        body: dict[str, object] | None = None
        if verb in AT_BUSY:
            if not busy:
                return
            body = {"target": self.dice.choice(busy)}
        elif verb in {"transfer", "consult"}:
            body = {"target": self.dice.choice([one.user for one in self.desks if one is not desk])}
        elif verb == "park":
            path, body = f"/api/desks/{desk.user}/transfer", {"target": "queue"}
        elif verb == "silent":
            path, body = f"/api/calls/{mine['call']}/silent", {"on": True}
        try:
            self.ask(lambda: self.exchange.api("POST", path, body))
        except ApiError as refused:
            if refused.status not in {404, 409, 503}:
                raise
            self.done["refused"] += 1
        else:
            self.done[verb] += 1

    def lose_media(self) -> None:
        """Kill the media process; all go on."""
        before = children(self.exchange.pid)["media"]
        os.kill(before, signal.SIGKILL)
        self.pump.until(
            lambda: children(self.exchange.pid).get("media", before) != before,
            "no new media process",
            PATIENCE,
        )
        self.done["media lost"] += 1

    def settled(self, caller: Speaker) -> None:
        """Wait until nothing is left unanswered that the caller asked."""
        self.pump.until(lambda: not caller.asking, f"{caller.user}: no answer to INVITE", PATIENCE)

    def close(self) -> None:
        for caller in self.callers:
            self.settled(caller)
            caller.hang_up()
        for desk in self.desks:
            with suppress(ApiError):
                self.ask(lambda user=desk.user: self.exchange.desk(user, "sign-out"))  # type: ignore[misc]
        self.pump.until(
            lambda: not any(desk.up for desk in self.desks), "a desk was not signed out", PATIENCE
        )
        self.ask(
            lambda: self.exchange.until(
                lambda: not self.exchange.calls(), "calls are left over", timeout=PATIENCE
            )
        )
        for phone in self.pump.phones:
            for sock in (phone.sip, phone.rtp, phone.picture):  # type: ignore[attr-defined]  # all are Speakers
                sock.close()
        self.pump.readers.close()


@pytest.mark.limit(120 + 2 * STEPS)
def test_nothing_of_a_caller_comes_to_another(exchange: Exchange, measure: Measure) -> None:
    seed = int(os.environ.get("AT110_MEET_SEED", "110"))
    began = time.monotonic()
    with ThreadPoolExecutor(1) as web:
        town = Town(exchange, web, seed)
        town.open()
        for caller in town.callers[: DESKS + 2]:
            caller.invite()
        town.pump.rest(1.0)
        for step in range(STEPS):
            town.act()
            if step == STEPS // 2:
                town.lose_media()
        town.close()
    measure("random acts in", time.monotonic() - began, f"s: {dict(town.done)}")
    callers, desks = {one.mark for one in town.callers}, {one.mark for one in town.desks}
    for caller in town.callers:
        assert caller.marks <= desks | {caller.mark}, (
            f"seed {seed}: {caller.user} got packets of {caller.marks - desks}"
        )
        heard = caller.tones(callers)
        assert not heard - {caller.mark}, f"seed {seed}: {caller.user} hears {heard}"
        assert caller.mark not in heard, f"seed {seed}: {caller.user} hears itself"
    # It was a busy day: people talked, and the judge does hear tones.
    assert sum(bool(caller.marks & desks) for caller in town.callers) >= min(DESKS, CALLERS), town.done
    assert len(set().union(*(desk.marks for desk in town.desks)) & callers) >= min(DESKS, CALLERS), town.done
    assert any(desk.tones(callers) for desk in town.desks)
    assert any(caller.tones(desks) for caller in town.callers)
    assert sum(count for act, count in town.done.items() if act != "refused") > STEPS // 4, town.done
