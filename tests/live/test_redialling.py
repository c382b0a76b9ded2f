"""Two hundred registered identities dial again and again while honest callers call for help (bars L6, at the size of CI): every
honest call is answered, nobody has two places, and a supervisor's hand on their numbers takes effect at once.
"""

import asyncio
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.conftest import Measure
from tests.live.kit import wire
from tests.live.kit.exchange import Exchange
from tests.live.kit.flowphone import FlowPhone

BOTS, ROUNDS, RATE = 200, 2, 40.0
"""Identities, times that each dials, and calls a second of all together."""
HONEST = 10
ANSWERED, HELD = 0.5, 3.0
"""Seconds at the median until an honest caller is answered; until a hold shows, of which the bar is 1."""
PATIENCE = 30.0


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    running = Exchange(desks=1, callers=BOTS, settings="[queue]\nlanguage = 'en'\n")
    try:
        running.start()
        yield running
    finally:
        running.stop()
        running.remove()


async def dial(phone: FlowPhone, *, patience: float = PATIENCE) -> tuple[wire.Message, float]:
    """Call 110 and acknowledge; gives the 200, and the seconds until the caller knew that somebody is there."""
    body = wire.offer(audio=9000, video=None, direction="inactive", version=1)
    began = time.monotonic()
    call_id = f"call-{secrets.token_hex(8)}"
    await phone.ask("INVITE", "sip:110@at110", call_id=call_id, to="<sip:110@at110>", body=body)
    sequence = phone.sequence

    def heard() -> bool:
        return any(m.status >= 180 and (m.method, m.sequence) == ("INVITE", sequence) for m in phone.got)

    await phone.until(heard, "word of a call for help", timeout=patience)
    took = time.monotonic() - began
    answer = await phone.answer_to("INVITE", sequence, timeout=patience)
    assert answer.status == 200, answer.start
    await phone.in_dialog("ACK", answer, sequence=sequence)
    return answer, took


@pytest.mark.limit(150)
def test_who_dials_again_and_again_locks_nobody_out(exchange: Exchange, measure: Measure) -> None:
    users = {person.user for person in exchange.callers}
    took: list[float] = []
    doubles: Counter[str] = Counter()

    def waiting() -> list[dict[str, Any]]:
        """The queue; whoever stands in it twice is counted."""
        queue = exchange.queue()
        found = Counter(str(entry["caller"]) for entry in queue)
        doubles.update({who: times for who, times in found.items() if times > 1})
        return queue

    async def bots_dial(bots: list[FlowPhone]) -> None:
        async with asyncio.TaskGroup() as calls:
            for turn in range(ROUNDS * BOTS):
                calls.create_task(one_dials(bots[turn % BOTS], drops=turn % 2 == 0))
                await asyncio.sleep(1 / RATE)

    async def one_dials(bot: FlowPhone, *, drops: bool) -> None:
        """Dial once more; half of them hang up before, the others are in the queue already."""
        up = dialled.setdefault(bot.user, [])
        if up and drops:
            await bot.in_dialog("BYE", up.pop())
        up.append((await dial(bot))[0])

    async def honest_call(people: list[FlowPhone], over: asyncio.Event) -> None:
        for person in people:
            answer, seconds = await dial(person)
            dialled[person.user] = [answer]
            took.append(seconds)
            await asyncio.sleep(0.5)
        over.set()

    async def watch(over: asyncio.Event) -> None:
        while not over.is_set():
            await asyncio.to_thread(waiting)
            await asyncio.sleep(0.2)

    dialled: dict[str, list[wire.Message]] = {}

    async def scenario() -> None:
        bots = [FlowPhone(person.user, "tcp", exchange.sip) for person in exchange.callers]
        people = [FlowPhone(f"honest{number}", "tcp", exchange.sip) for number in range(HONEST)]
        for number, (bot, person) in enumerate(zip(bots, exchange.callers, strict=True)):
            await bot.connect(f"127.0.110.{1 + number % 250}")
            await bot.register(person.password)
        for number, one in enumerate(people):
            await one.connect(f"127.0.111.{1 + number}")
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(bots_dial(bots))
            group.create_task(honest_call(people, over))
            group.create_task(watch(over))
        await asyncio.to_thread(judge)
        for phone in (*bots, *people):
            for answer in dialled[phone.user]:
                await phone.in_dialog("BYE", answer)
        await asyncio.to_thread(
            exchange.until, lambda: not exchange.calls(), "calls are left over", timeout=PATIENCE
        )
        for phone in (*bots, *people):
            await phone.drop()

    def judge() -> None:
        exchange.until(lambda: len(waiting()) == BOTS + HONEST, "not everybody has one place", timeout=30)
        assert {entry["caller"] for entry in waiting()} >= users
        honest = [entry for entry in waiting() if entry["caller"] not in users]
        assert len(honest) == HONEST, "none is lost"

        began = time.monotonic()
        exchange.api("POST", "/api/queue/hold", {"prefix": "138000", "on": True})
        exchange.until(everybody_held, "the hold does not show", timeout=20)
        held = time.monotonic() - began
        measure("a hold shows after", 1000 * held, "ms")
        assert held <= HELD
        first = waiting()[:HONEST]
        assert {entry["call"] for entry in first} == {entry["call"] for entry in honest}, "served first now"
        exchange.until(
            lambda: "hold-back" in exchange.log, "who held them back is not written down", timeout=20
        )

    def everybody_held() -> bool:
        queue = waiting()
        held = [entry for entry in queue if entry["class"] == "held"]
        return {entry["caller"] for entry in held} == users and len(held) == BOTS

    asyncio.run(scenario())
    assert doubles == Counter(), "one person, one place"
    assert len(took) == HONEST
    measure("an honest caller is answered at the median in", 1000 * statistics.median(took), "ms")
    assert statistics.median(took) <= ANSWERED
