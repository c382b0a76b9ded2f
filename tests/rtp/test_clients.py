import asyncio

import pytest

from pbx.tasks import Tasks
from rtp import control as c
from rtp.clients import MediaClients
from rtp.frames import encode
from rtp.moving import LegsMoved, MoveLegs
from tests.rtp.test_client import Worker


class Ends:
    """Two media processes and signalling's end of both."""

    def __init__(self, folder):
        self.failures = []
        self.tasks = Tasks("test", lambda name, error: self.failures.append((name, error)))
        self.workers = [Worker(folder / f"{number}.sock") for number in range(2)]
        self.events = asyncio.Queue()
        self.media = MediaClients([w.path for w in self.workers], self.events.put_nowait, self.tasks)

    def says(self, number, event):
        self.workers[number].writers[-1].write(encode(event))

    async def gets(self, number):
        return await asyncio.wait_for(self.workers[number].commands.get(), 10)


@pytest.fixture
async def ends(tmp_path, monkeypatch):
    monkeypatch.setattr("rtp.client.RETRY_SECONDS", 0.005)
    made = Ends(tmp_path)
    for worker in made.workers:
        await worker.start()
    yield made
    await made.media.close()
    await made.tasks.close()
    for worker in made.workers:
        await worker.stop()
    assert made.failures == []


async def test_all_are_told_of_as_one_and_each_gets_what_is_for_it(ends):
    await ends.media.connect()
    assert ends.media.connected
    assert ends.media.processes == (True, True)
    assert await ends.events.get() == c.Holdings("", (), ())
    for leg in ("a", "b"):
        ends.media.send(c.OpenLeg(leg, ("audio",), ""))
    assert [(await ends.gets(number)).leg for number in (0, 1)] == ["a", "b"]
    ends.media.send(c.Join("room", "a", "host"))
    ends.media.send(c.Join("room", "b", "guest"))
    ends.media.send(c.StopPlay("b"))
    assert await ends.gets(0) == c.Join("room", "a", "host")
    assert await ends.gets(1) == MoveLegs(("b",), (), 0)
    ends.says(0, LegsMoved(("b",)))
    assert [await ends.gets(0), await ends.gets(0)] == [c.Join("room", "b", "guest"), c.StopPlay("b")]
    ends.says(0, c.Dtmf("b", "1"))
    assert await ends.events.get() == c.Dtmf("b", "1")


async def test_one_that_dies_is_told_of_when_it_is_back_and_the_other_goes_on(ends):
    await ends.media.connect()
    assert await ends.events.get() == c.Holdings("", (), ())
    for leg in ("a", "b"):
        ends.media.send(c.OpenLeg(leg, ("audio",), ""))
    await ends.gets(0), await ends.gets(1)
    await ends.workers[1].stop()
    ends.media.send(c.Leave("a"))
    assert await ends.gets(0) == c.Leave("a")
    await ends.workers[1].start()
    held = await asyncio.wait_for(ends.events.get(), 10)
    assert [holding.leg for holding in held.legs] == ["a"]


async def test_a_join_that_had_to_wait_is_tried_again(ends):
    await ends.media.connect()
    for leg in ("a", "b"):
        ends.media.send(c.OpenLeg(leg, ("audio",), ""))
    ends.media.send(c.Join("room", "a", "host"))
    ends.media.send(c.Join("room", "b", "guest"))
    await ends.gets(1)
    assert await ends.gets(1) == MoveLegs(("b",), (), 0)
    ends.says(1, c.Refused("MoveLegs", "b", "shaking_hands"))
    assert await ends.gets(1) == MoveLegs(("b",), (), 0)


async def test_who_is_late_is_asked_about_before_each_call_that_comes(ends):
    late = {0}
    ends.media._late = lambda: frozenset(late)
    await ends.media.connect()
    ends.media.send(c.OpenEvidence("call", "/folder"))
    ends.media.send(c.OpenLeg("a", ("audio",), "", "call"))
    assert [type(await ends.gets(1)) for _ in range(2)] == [c.OpenEvidence, c.OpenLeg]
    late.clear()
    ends.media.send(c.OpenLeg("b", ("audio",), ""))
    assert (await ends.gets(0)).leg == "b"
